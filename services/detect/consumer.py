"""Blocks in, detections out: evaluated off the event loop, recorded in one transaction."""

import asyncio
from collections import Counter as Tally
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.detect.detection import detection_of, event_of
from services.detect.rules.match import Matcher
from services.detect.ruleset import Ruleset
from services.detect.store import record_block
from shared.clock import Clock
from shared.consume import Delivery, TransientError
from shared.contracts.base import ContractError
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.ingest import Envelope, decode_block
from shared.db import is_transient
from shared.reconcile import Reconciler

__all__ = ["BlockHandler"]

_evaluated = Counter("tocsin_detect_events_evaluated_total", "Events that met every rule")
_raised = Counter("tocsin_detect_detections_total", "Detections raised", ["level"])


def evaluate(matcher: Matcher, envelopes: list[Envelope], clock: Clock) -> list[DetectionRaisedV1]:
    """Return what *matcher* finds in *envelopes*."""
    now = clock()
    return [
        detection_of(match, envelope, now)
        for envelope in envelopes
        for match in matcher.match(event_of(envelope))
    ]


class BlockHandler:
    """Handles one block message; the acknowledgement follows its transaction."""

    def __init__(
        self, engine: AsyncEngine, ruleset: Ruleset, outbox: Reconciler, clock: Clock
    ) -> None:
        self._engine, self._ruleset, self._outbox, self._clock = engine, ruleset, outbox, clock

    async def __call__(self, delivery: Delivery) -> None:
        block_id = _block_id(delivery)
        envelopes = await asyncio.to_thread(decode_block, delivery.headers, delivery.data)
        matcher = (await self._ruleset.in_force()).matcher
        found = await asyncio.to_thread(evaluate, matcher, envelopes, self._clock)
        try:
            async with self._engine.begin() as connection:
                fresh = await record_block(
                    connection,
                    block_id,
                    delivery.stream_seq,
                    Tally(str(e["source_id"]) for e in envelopes),
                    found,
                    self._clock(),
                )
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise
        _evaluated.inc(len(envelopes))
        for raised in found:
            _raised.labels(raised.level).inc()
        if fresh:
            self._outbox.wake()


def _block_id(delivery: Delivery) -> UUID:
    try:
        return UUID(delivery.headers["ce-id"])
    except (KeyError, ValueError) as error:
        raise ContractError("a block needs a UUID in ce-id") from error
