"""Evaluated events per source: counted in batches behind the blocks, reported as totals (R13a).

The hot path writes one row a block and touches no counter, so that any number of workers commit
side by side; this reconciler adds the rows up. A total only grows: a report that comes twice or
late changes nothing at the reader's.
"""

from collections import Counter
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.detect import EvaluatedTotal, EvaluationProgressedV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["report_once"]

BLOCKS_A_REPORT = 2000
SOURCES_A_MESSAGE = 2000  # well below 1 MiB

_COUNT = text(
    "UPDATE blocks SET counted = true WHERE id IN (SELECT id FROM blocks WHERE NOT counted"
    " LIMIT :n FOR UPDATE SKIP LOCKED) RETURNING stream_seq, sources"
)
_ADD = text(
    "INSERT INTO evaluated (source_id, events)"
    " SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:events AS bigint[]))"
    " ON CONFLICT (source_id) DO UPDATE SET events = evaluated.events + excluded.events"
    " RETURNING source_id, events"
)


async def report_once(engine: AsyncEngine, clock: Clock) -> int:
    """Count blocks that were not counted yet and enqueue the new totals; return how many blocks."""
    async with engine.begin() as connection:
        blocks = (await connection.execute(_COUNT, {"n": BLOCKS_A_REPORT})).all()
        fresh: Counter[str] = Counter()
        for block in blocks:
            fresh.update(block.sources or {})
        if not fresh:
            return len(blocks)
        ordered = sorted(fresh)  # one order of locks for all replicas
        added = await connection.execute(
            _ADD, {"sources": ordered, "events": [fresh[s] for s in ordered]}
        )
        totals = sorted((str(row.source_id), int(row.events)) for row in added)
        highest = max(block.stream_seq for block in blocks)
        await enqueue(
            connection,
            [
                outgoing(
                    _report(totals[i : i + SOURCES_A_MESSAGE], highest, clock), source="detect"
                )
                for i in range(0, len(totals), SOURCES_A_MESSAGE)
            ],
        )
    return len(blocks)


def _report(totals: list[tuple[str, int]], highest: int, clock: Clock) -> EvaluationProgressedV1:
    causes: list[Any] = [f"{source}={events}" for source, events in totals]
    return EvaluationProgressedV1(
        event_id=derived_id("evaluated", *causes),
        occurred_at=clock(),
        highest_seq=highest,
        totals=[EvaluatedTotal(source_id=source, events=events) for source, events in totals],
    )
