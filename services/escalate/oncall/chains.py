"""Timers of paging, in PostgreSQL: whatever is due is done, by whichever instance comes first.

A turn and its pages are one transaction; ids of pages follow from chain and turn. So a restart in
the middle pages nobody twice under two ids, and passes nobody over.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.directory import Directory
from services.escalate.oncall.overrides import overrides
from services.escalate.oncall.roster import Roster
from services.escalate.oncall.steps import Chain, Turn, policy_for, skip, turn
from services.escalate.oncall.targets import Recipient, recipients
from services.escalate.pages import Written, write_pages
from services.escalate.proposal import Policies
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.escalate import CoverageGapFoundV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["Chains"]

BATCH = 200

log = structlog.get_logger()
_lateness = Histogram(
    "tocsin_escalate_page_lateness_seconds",
    "From when a step was due until its pages were on the ledger",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300),
)
_exhausted = Counter(
    "tocsin_escalate_pages_exhausted_total", "Pages that nobody answered to the last step"
)
_open = Gauge("tocsin_escalate_page_chains_open", "Pages that wait for an answer")

_DUE = text(
    "SELECT id, incident_id, team, severity, reason, people, channel, started_at, position, due_at"
    " FROM page_chains WHERE due_at <= :now ORDER BY due_at, id LIMIT :n FOR UPDATE SKIP LOCKED"
)
_MOVE = text(
    "UPDATE page_chains SET position = :position, due_at = :due, ended = :ended WHERE id = :id"
)
_OPEN = text("SELECT count(*) FROM page_chains WHERE due_at IS NOT NULL")


class Chains:
    """The work of a reconciler: takes the turns that are due."""

    def __init__(
        self,
        engine: AsyncEngine,
        policies: Callable[[], Policies],
        clock: Clock,
    ) -> None:
        self._engine, self._policies, self._clock = engine, policies, clock

    async def advance(self) -> int:
        """Take up to 200 turns; return how many were due."""
        async with self._engine.begin() as connection:
            now = self._clock()
            rows = (await connection.execute(_DUE, {"now": now, "n": BATCH})).all()
            if not rows:
                _open.set(await connection.scalar(_OPEN) or 0)
                return 0
            policies = self._policies()
            roster = policies.directory.roster.with_overrides(await overrides(connection, now))
            wanted: list[tuple[Written, tuple[Recipient, ...]]] = []
            moves, alarms = [], []
            for row in rows:
                chain = _take(policies, row, roster, now, wanted)
                moves.append(
                    {
                        "id": row.id,
                        "position": chain.position,
                        "due": chain.due,
                        "ended": chain.ended,
                    }
                )
                if chain.ended == "exhausted":
                    alarms.append(_alarm(row, now))
                _lateness.observe((now - row.due_at).total_seconds())
            await write_pages(connection, wanted, now)
            await connection.execute(_MOVE, moves)
            await enqueue(connection, [outgoing(alarm, source="escalate") for alarm in alarms])
        for alarm in alarms:
            log.error("nobody answered a page", team=alarm.name, incident=str(alarm.incident_id))
            _exhausted.inc()
        return len(rows)


def _take(
    policies: Policies,
    row: Any,
    roster: Roster,
    now: datetime,
    wanted: list[tuple[Written, tuple[Recipient, ...]]],
) -> Chain:
    """Return the chain after its turn; turns that reach nobody are passed over at once (§6)."""
    policy = policy_for(policies.paging, row.severity)
    chain = Chain(row.started_at, row.position, row.due_at)
    while (taken := turn(policy, chain, now)) is not None:
        chain = taken.chain
        found = _found(policies.directory, row, taken, roster, now)
        if found:
            written = Written(
                row.id, row.incident_id, row.team, row.reason, taken.number, row.due_at
            )
            wanted.append((written, found))
            break
        chain = skip(policy, chain, now)
    return chain


def _found(
    directory: Directory, row: Any, taken: Turn, roster: Roster, now: datetime
) -> tuple[Recipient, ...]:
    found = recipients(directory, roster, row.team, taken.targets, row.people, now)
    if not found and taken.number == 0:  # never without any trace
        return (Recipient(None, row.channel, row.team),)
    return found


def _alarm(row: Any, now: datetime) -> CoverageGapFoundV1:
    return CoverageGapFoundV1(
        event_id=derived_id("page-exhausted", row.id),
        occurred_at=now,
        what="page",
        name=row.team,
        why="nobody_answered",
        starts_at=now,
        incident_id=row.incident_id,
    )
