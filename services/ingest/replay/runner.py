"""Carries replays out: portions of the store, in order, as blocks on REPLAYS; then how it ended.

What was published is noted after the broker has it: a crash in between publishes one portion again,
in blocks of the same ids, which detect knows by their events. Only so much goes out a second, and a
full stream holds it up rather than losing anything.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.blocks import build_block, split
from services.ingest.envelope import Sealed
from services.ingest.replay import records
from services.ingest.replay.records import Replay
from services.ingest.search.language import QueryError, parse
from services.ingest.search.plan import Sort
from services.ingest.search.request import Prepared
from services.ingest.search.service import SearchService
from services.ingest.store.rows import envelope_of
from shared.bus import Bus
from shared.clock import Clock, rfc3339
from shared.cloudevents import Outgoing, outgoing
from shared.consume import Delivery, TransientError
from shared.contracts.detect import ReplayRequestedV1
from shared.contracts.ingest import (
    REPLAY_BLOCK_SUBJECT,
    REPLAY_ID_HEADER,
    REPLAY_PURPOSE_HEADER,
    ReplayFinishedV1,
)
from shared.db import is_transient
from shared.ids import derived_id, jitter
from shared.problems import ProblemError
from shared.reconcile import Reconciler
from shared.topology import REPLAYS

__all__ = ["ReplayRequests", "Replayer", "replay_block"]

PORTION = 5000
BUSY_PAUSE = 2.0

log = structlog.get_logger()
_replayed = Counter("tocsin_ingest_events_replayed_total", "Events published again", ["purpose"])


def replay_block(replay: Replay, envelopes: Sequence[Sealed], now: datetime) -> Outgoing:
    """Return the message of one block of *replay*; its id follows from replay and events."""
    block = build_block(envelopes, now)
    identity = str(derived_id("replay-block", replay.id, *(e.id for e in envelopes)))
    headers = {
        **block.headers,
        "ce-id": identity,
        "ce-type": REPLAY_BLOCK_SUBJECT,
        "ce-time": rfc3339(now),
        REPLAY_ID_HEADER: str(replay.id),
        REPLAY_PURPOSE_HEADER: replay.purpose,
    }
    return Outgoing(identity, REPLAY_BLOCK_SUBJECT, block.payload, headers)


class Replayer:
    """A reconciler's work: the oldest replay that is not over, one portion at a time."""

    def __init__(
        self,
        engine: AsyncEngine,
        bus: Bus,
        search: SearchService,
        events_per_second: int,
        clock: Clock,
    ) -> None:
        self._engine, self._bus, self._search = engine, bus, search
        self._rate, self._clock = events_per_second, clock

    async def once(self) -> int:
        """Carry out what waits; return how many replays have ended."""
        ended = 0
        for replay in await records.unfinished(self._engine):
            async with AsyncExitStack() as stack:
                if await self._take(replay.id, stack):
                    ended += await self._carry_out(replay.id)
        return ended

    async def _take(self, identity: UUID, stack: AsyncExitStack) -> bool:
        """Take a replay for this process alone, until the stack ends."""
        raw = await stack.enter_async_context(self._engine.connect())
        connection = await raw.execution_options(isolation_level="AUTOCOMMIT")
        key = {"key": f"replay {identity}"}
        take = text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
        if not await connection.scalar(take, key):
            return False
        give = text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))")
        stack.push_async_callback(connection.execute, give, key)
        return True

    async def _carry_out(self, identity: UUID) -> int:
        replay = await records.find(self._engine, identity)
        while replay is not None and replay.state in {"waiting", "running"}:
            begun = time.monotonic()
            published = await self._portion(replay)
            await asyncio.sleep(max(0.0, published / self._rate - (time.monotonic() - begun)))
            replay = await records.find(self._engine, identity)
        if replay is None:
            return 0
        await self._bus.publish(self._finished(replay), stream=REPLAYS.name)
        await records.announced(self._engine, identity)
        log.info("replay ended", replay=str(identity), state=replay.state, events=replay.events)
        return 1

    async def _portion(self, replay: Replay) -> int:
        """Publish the next events of *replay*; return how many. The last portion ends it."""
        prepared = Prepared(
            parse(replay.query or ""), replay.start, replay.end, Sort(None, False), replay.after,
            {}, "",
        )  # fmt: skip
        try:
            answer = await self._search.search(
                prepared,
                limit=PORTION,
                owner=f"replay {replay.id}",
                query=replay.query or "",
                tenant=replay.tenant,
            )
        except ProblemError as error:
            if error.status_code in {429, 503}:
                log.warning("replay waits", replay=str(replay.id), reason=error.detail)
                await asyncio.sleep(jitter(BUSY_PAUSE))
                return 0
            await records.end(self._engine, replay.id, "failed", self._clock(), error.detail)
            return 0
        sealed = [Sealed(str(h["id"]), envelope_of(h), has_client_id=True) for h in answer.hits]
        blocks = [replay_block(replay, run, self._clock()) for run in split(sealed)]
        for block in blocks:
            await self._bus.publish(block, stream=REPLAYS.name)
        if answer.hits:
            last = answer.hits[-1]
            after = [last["time"].isoformat(timespec="microseconds"), str(last["id"])]
            if not await records.advance(
                self._engine,
                replay.id,
                after,
                replay.events + len(sealed),
                replay.blocks + len(blocks),
            ):
                return 0
            _replayed.labels(replay.purpose).inc(len(sealed))
        if answer.next_after is None:
            await records.end(self._engine, replay.id, "complete", self._clock())
        return len(sealed)

    def _finished(self, replay: Replay) -> Outgoing:
        return outgoing(
            ReplayFinishedV1(
                event_id=derived_id("replay-finished", replay.id),
                occurred_at=replay.finished_at or self._clock(),
                replay_id=replay.id,
                purpose=replay.purpose,
                outcome=replay.state,
                reason=replay.reason,
                events=replay.events,
                blocks=replay.blocks,
            ),
            source="ingest",
        )


class ReplayRequests:
    """Handles what detect asks for (`tocsin.v1.detect.replay.requested`)."""

    def __init__(self, engine: AsyncEngine, replays: Reconciler, clock: Clock) -> None:
        self._engine, self._replays, self._clock = engine, replays, clock

    async def __call__(self, delivery: Delivery) -> None:
        wanted = ReplayRequestedV1.from_json(delivery.data)
        refused = None
        if wanted.from_time >= wanted.to_time:
            refused = "the time window ends before it begins"
        try:
            parse(wanted.query or "")
        except QueryError as error:
            refused = f"query: {error.message} (at character {error.position + 1})"
        try:
            async with self._engine.begin() as connection:
                await records.add(
                    connection,
                    identity=wanted.replay_id,
                    purpose=wanted.purpose,
                    start=wanted.from_time,
                    end=wanted.to_time,
                    query=wanted.query,
                    requested_by=wanted.requested_by,
                    now=self._clock(),
                    refused=refused,
                )
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise
        self._replays.wake()
