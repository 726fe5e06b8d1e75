"""Blocks in, detections out: evaluated by other processes, recorded in one transaction."""

from uuid import UUID

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.detect.correlation.publisher import MatchPublisher
from services.detect.evaluate import Evaluated, block_id_in
from services.detect.evaluators import Evaluators
from services.detect.ruleset import Ruleset
from services.detect.store import is_recorded, record_block
from shared.clock import Clock
from shared.consume import Delivery, TransientError
from shared.db import is_transient
from shared.reconcile import Reconciler

__all__ = ["BlockHandler", "block_id_of", "followed"]

_evaluated = Counter("tocsin_detect_events_evaluated_total", "Events that met every rule")
_raised = Counter("tocsin_detect_detections_total", "Detections raised", ["level"])


class BlockHandler:
    """Handles one block message; the acknowledgement follows its transaction."""

    def __init__(
        self,
        engine: AsyncEngine,
        ruleset: Ruleset,
        evaluators: Evaluators,
        outbox: Reconciler,
        clock: Clock,
        matches: MatchPublisher,
    ) -> None:
        self._engine, self._ruleset, self._outbox, self._clock = engine, ruleset, outbox, clock
        self._evaluators, self._matches = evaluators, matches

    async def __call__(self, delivery: Delivery) -> None:
        block_id = block_id_of(delivery)
        evaluated = await self._evaluators.evaluate(delivery.headers, delivery.data, self._clock())
        await followed(self._ruleset, evaluated)
        found = evaluated.detections
        try:
            # Matches first: what a crash leaves in between is published again under the same ids.
            if evaluated.messages and not await is_recorded(self._engine, block_id):
                await self._matches.publish(evaluated.messages)
            async with self._engine.begin() as connection:
                fresh = await record_block(
                    connection,
                    block_id,
                    delivery.stream_seq,
                    evaluated.sources,
                    found,
                    self._clock(),
                )
        except TransientError:
            raise
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise
        _evaluated.inc(evaluated.events)
        for raised in found:
            _raised.labels(raised.level).inc()
        if fresh:
            self._outbox.wake()


def block_id_of(delivery: Delivery) -> UUID:
    """Return the id of the block in *delivery*; ContractError where it has none."""
    return block_id_in(delivery.headers)


async def followed(ruleset: Ruleset, evaluated: Evaluated) -> None:
    """Return once the rules by which *evaluated* was made are known here; else TransientError."""
    if not await ruleset.knows(evaluated.signature):
        # A process saw the rules' files in a state that this one did not.
        raise TransientError("the rules changed while a block was evaluated")
