"""Back-tests: stored events come by as a replay; what the proposed text finds in them is counted.

Blocks arrive in order and are recorded one by one, so a restart goes on where it was; what a
correlation counts is kept until the end and then looked at as a whole.
"""

import asyncio
from collections import OrderedDict
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.detect.correlation.firing import Matched
from services.detect.lifecycle import domain
from services.detect.lifecycle.domain import Managed
from services.detect.lifecycle.store import change_in
from services.detect.lifecycle.text import read_proposal
from services.detect.lifecycle.trial import Trial, trial_of
from services.detect.ruleset import Ruleset
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.detect import ReplayRequestedV1
from shared.contracts.ingest import Envelope, ReplayFinishedV1
from shared.outbox import enqueue

__all__ = ["Backtests", "request_replay"]

MAX_KEPT = 200_000
_CACHED = 8

log = structlog.get_logger()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Matched]).decode

_NEW = text(
    "INSERT INTO backtests (replay_id, rule_id, rule_text)"
    " VALUES (:replay, CAST(:rule AS uuid), :text)"
)
_FIND = text("SELECT rule_id, rule_text FROM backtests WHERE replay_id = :replay AND NOT finished")
_BLOCK = text(
    "INSERT INTO backtest_blocks (replay_id, block_id, events, matches)"
    " VALUES (:replay, :block, :events, :matches) ON CONFLICT DO NOTHING"
)
_BLOCKS = text("SELECT events, matches FROM backtest_blocks WHERE replay_id = :replay")
_DONE = text("UPDATE backtests SET finished = true WHERE replay_id = :replay")
_FORGET = text("DELETE FROM backtest_blocks WHERE replay_id = :replay")


async def request_replay(
    engine: AsyncEngine, rule_id: str, replay_id: UUID, from_time: datetime, to_time: datetime,
    query: str | None, actor: str, now: datetime,
) -> Managed:  # fmt: skip
    """Ask ingest for the stored events and remember for which text; RefusedChangeError."""
    period = {"from_time": from_time.isoformat(), "to_time": to_time.isoformat(), "query": query}
    async with engine.begin() as connection:
        rule = await change_in(
            connection,
            rule_id,
            lambda r: domain.request_backtest(r, str(replay_id), period, actor, now),
        )
        pending = rule.revision(rule.pending or 0)
        await connection.execute(_NEW, {"replay": replay_id, "rule": rule_id, "text": pending.text})
        asked = ReplayRequestedV1(
            event_id=replay_id, occurred_at=now, replay_id=replay_id, purpose="backtest",
            from_time=from_time, to_time=to_time, query=query, requested_by=actor,
        )  # fmt: skip
        await enqueue(connection, [outgoing(asked, source="detect")])
    return rule


class Backtests:
    """What REPLAYS with purpose ``backtest`` leads to."""

    def __init__(self, engine: AsyncEngine, ruleset: Ruleset, clock: Clock) -> None:
        self._engine, self._ruleset, self._clock = engine, ruleset, clock
        self._trials: OrderedDict[UUID, Trial | None] = OrderedDict()

    async def block(self, replay_id: UUID, block_id: UUID, envelopes: list[Envelope]) -> None:
        """Count what the proposed text finds in one block; a block counts once."""
        trial = await self._trial(replay_id)
        if trial is None:
            return
        found = await asyncio.to_thread(trial.matches, envelopes)
        async with self._engine.begin() as connection:
            await connection.execute(
                _BLOCK,
                {"replay": replay_id, "block": block_id, "events": len(envelopes),
                 "matches": _encode(found)},
            )  # fmt: skip

    async def finished(self, message: ReplayFinishedV1) -> None:
        """Tell the rule what its back-test gave."""
        trial = await self._trial(message.replay_id)
        if trial is None:
            return
        async with self._engine.begin() as connection:
            events, found, cut = await _kept(connection, message.replay_id)
            result = await asyncio.to_thread(trial.result, found)
            result |= {
                "events": events, "expected_events": message.events, "outcome": message.outcome,
                "cut": cut,
            }  # fmt: skip
            now = self._clock()
            await change_in(
                connection,
                trial.rule_id,
                lambda rule: domain.finish_backtest(rule, str(message.replay_id), result, now),
            )
            await connection.execute(_DONE, {"replay": message.replay_id})
            await connection.execute(_FORGET, {"replay": message.replay_id})
        self._trials.pop(message.replay_id, None)
        log.info("back-test ended", rule=trial.rule_id, **result)

    async def _trial(self, replay_id: UUID) -> Trial | None:
        if replay_id in self._trials:
            return self._trials[replay_id]
        async with self._engine.connect() as connection:
            row = (await connection.execute(_FIND, {"replay": replay_id})).one_or_none()
        trial = None
        if row is not None:
            report = (await self._ruleset.in_force()).report
            trial = await asyncio.to_thread(
                trial_of,
                str(row.rule_id),
                read_proposal(row.rule_text, report.placeholders),
                report,
            )
        self._trials[replay_id] = trial
        while len(self._trials) > _CACHED:
            self._trials.popitem(last=False)
        return trial


async def _kept(connection: AsyncConnection, replay_id: UUID) -> tuple[int, list[Matched], bool]:
    """Return the events seen, the matches, and whether there were too many to keep them all."""
    events, found, cut = 0, list[Matched](), False
    for row in (await connection.execute(_BLOCKS, {"replay": replay_id})).all():
        events += row.events
        matches = _decode(bytes(row.matches))
        cut = cut or len(found) + len(matches) > MAX_KEPT
        found += matches[: MAX_KEPT - len(found)]
    return events, found, cut
