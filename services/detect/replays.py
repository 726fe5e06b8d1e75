"""Stored events, evaluated again: what the rules in force find in them now, nothing doubled.

A detection's id follows from rule, rule version and event, so what was found when the event came is
the same detection and changes nothing; what is new says ``replay: true``. The blocks of a replay
are no progress of the evaluation of EVENTS: they count in no ledger.
"""

import asyncio
from collections.abc import Awaitable
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.detect.consumer import block_id_of, followed
from services.detect.correlation.publisher import MatchPublisher
from services.detect.evaluators import Evaluators
from services.detect.lifecycle.backtest import Backtests
from services.detect.ruleset import Ruleset
from services.detect.store import record_detections
from shared.clock import Clock
from shared.consume import Delivery, TransientError
from shared.contracts.base import ContractError
from shared.contracts.ingest import (
    REPLAY_BLOCK_SUBJECT,
    REPLAY_ID_HEADER,
    REPLAY_PURPOSE_HEADER,
    ReplayFinishedV1,
    decode_block,
)
from shared.db import is_transient
from shared.reconcile import Reconciler

__all__ = ["ReplayHandler"]

log = structlog.get_logger()
_replayed = Counter("tocsin_detect_events_replayed_total", "Stored events that met the rules again")


class ReplayHandler:
    """Handles the messages of REPLAYS, by their purpose."""

    def __init__(
        self,
        engine: AsyncEngine,
        ruleset: Ruleset,
        evaluators: Evaluators,
        outbox: Reconciler,
        clock: Clock,
        matches: MatchPublisher,
        backtests: Backtests,
    ) -> None:
        self._engine, self._ruleset, self._outbox, self._clock = engine, ruleset, outbox, clock
        self._evaluators, self._matches = evaluators, matches
        self._backtests = backtests

    async def __call__(self, delivery: Delivery) -> None:
        if delivery.subject == ReplayFinishedV1.SUBJECT:
            finished = ReplayFinishedV1.from_json(delivery.data)
            if finished.purpose == "backtest":
                await self._trying(self._backtests.finished(finished))
            else:
                log.info(
                    "replay ended",
                    replay=str(finished.replay_id),
                    outcome=finished.outcome,
                    events=finished.events,
                )
        elif delivery.subject == REPLAY_BLOCK_SUBJECT:
            match delivery.headers.get(REPLAY_PURPOSE_HEADER):
                case "detect":
                    await self._evaluate(delivery)
                case "backtest":
                    await self._backtest(delivery)
                case _:
                    pass  # a purpose of another version

    async def _backtest(self, delivery: Delivery) -> None:
        try:
            replay_id = UUID(delivery.headers[REPLAY_ID_HEADER])
        except (KeyError, ValueError) as error:
            raise ContractError(f"a replayed block needs a UUID in {REPLAY_ID_HEADER}") from error
        envelopes = await asyncio.to_thread(decode_block, delivery.headers, delivery.data)
        await self._trying(self._backtests.block(replay_id, block_id_of(delivery), envelopes))

    async def _trying(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise

    async def _evaluate(self, delivery: Delivery) -> None:
        found = await self._evaluators.evaluate(delivery.headers, delivery.data, self._clock())
        await followed(self._ruleset, found)
        marked = [raised.model_copy(update={"replay": True}) for raised in found.detections]
        # A group knows the events of its window; an older window gives the detection it gave.
        await self._matches.publish(found.messages)
        try:
            async with self._engine.begin() as connection:
                fresh = await record_detections(connection, marked)
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise
        _replayed.inc(found.events)
        if fresh:
            log.info(
                "replay found more", replay=delivery.headers.get(REPLAY_ID_HEADER), detections=fresh
            )
            self._outbox.wake()
