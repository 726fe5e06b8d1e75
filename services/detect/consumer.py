"""Blocks in, detections out: evaluated off the event loop, recorded in one transaction."""

import asyncio
from collections import Counter as Tally
from dataclasses import dataclass
from uuid import UUID

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.detect.correlation.firing import Matched
from services.detect.correlation.publisher import MatchPublisher
from services.detect.detection import detection_of, event_of
from services.detect.ruleset import InForce, Ruleset
from services.detect.store import is_recorded, record_block
from shared.clock import Clock
from shared.consume import Delivery, TransientError
from shared.contracts.base import ContractError
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.ingest import Envelope, decode_block
from shared.db import is_transient
from shared.reconcile import Reconciler

__all__ = ["BlockHandler", "Evaluated", "block_id_of", "evaluate"]

_evaluated = Counter("tocsin_detect_events_evaluated_total", "Events that met every rule")
_raised = Counter("tocsin_detect_detections_total", "Detections raised", ["level"])


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a block holds: detections, and matches for correlations (their *ref* is its index)."""

    detections: list[DetectionRaisedV1]
    matches: list[Matched]


def evaluate(rules: InForce, envelopes: list[Envelope], clock: Clock) -> Evaluated:
    """Return what the *rules* in force find in *envelopes*."""
    now = clock()
    found = Evaluated([], [])
    for index, envelope in enumerate(envelopes):
        event = event_of(envelope)
        for match in rules.matcher.match(event):
            rule_id = match.rule.id
            if rule_id not in rules.plan.silent:
                found.detections.append(detection_of(match, envelope, now))
            found.matches.extend(rules.extractor.matches(rule_id, event, envelope, index))
    return found


class BlockHandler:
    """Handles one block message; the acknowledgement follows its transaction."""

    def __init__(
        self,
        engine: AsyncEngine,
        ruleset: Ruleset,
        outbox: Reconciler,
        clock: Clock,
        matches: MatchPublisher,
    ) -> None:
        self._engine, self._ruleset, self._outbox, self._clock = engine, ruleset, outbox, clock
        self._matches = matches

    async def __call__(self, delivery: Delivery) -> None:
        block_id = block_id_of(delivery)
        envelopes = await asyncio.to_thread(decode_block, delivery.headers, delivery.data)
        rules = await self._ruleset.in_force()
        evaluated = await asyncio.to_thread(evaluate, rules, envelopes, self._clock)
        found = evaluated.detections
        try:
            # Matches first: what a crash leaves in between is published again under the same ids.
            if evaluated.matches and not await is_recorded(self._engine, block_id):
                await self._matches.publish(rules.plan, block_id, evaluated.matches, envelopes)
            async with self._engine.begin() as connection:
                fresh = await record_block(
                    connection,
                    block_id,
                    delivery.stream_seq,
                    Tally(str(e["source_id"]) for e in envelopes),
                    found,
                    self._clock(),
                )
        except TransientError:
            raise
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise
        _evaluated.inc(len(envelopes))
        for raised in found:
            _raised.labels(raised.level).inc()
        if fresh:
            self._outbox.wake()


def block_id_of(delivery: Delivery) -> UUID:
    """Return the id of the block in *delivery*; ContractError where it has none."""
    try:
        return UUID(delivery.headers["ce-id"])
    except (KeyError, ValueError) as error:
        raise ContractError("a block needs a UUID in ce-id") from error
