"""A block's matches to their partitions, before the block counts as evaluated."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from services.detect.correlation.extract import microseconds
from services.detect.correlation.firing import Matched
from services.detect.correlation.messages import spread
from services.detect.correlation.plan import Plan
from shared.bus import Bus, BusUnavailableError
from shared.clock import Clock
from shared.consume import TransientError
from shared.contracts.ingest import Envelope
from shared.topology import MATCHES

__all__ = ["MatchPublisher"]


class MatchPublisher:
    """Publishes matches and returns once the broker has them.

    A block that is evaluated twice is published under the same ids: the broker drops the second
    for some minutes, and after that the groups know their events. Whoever counts them follows the
    rules first, by which they were found.
    """

    def __init__(
        self,
        bus: Bus,
        partitions: int,
        clock: Clock,
        follow: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._bus, self._partitions, self._clock = bus, partitions, clock
        self._follow = follow

    async def publish(
        self,
        plan: Plan,
        block_id: UUID,
        matches: Sequence[Matched],
        envelopes: Mapping[int, Envelope],
    ) -> None:
        """Publish *matches*; TransientError when the broker does not confirm."""
        if not matches:
            return
        if self._follow is not None:
            await self._follow()
        now = microseconds(self._clock())
        messages = await asyncio.to_thread(
            lambda: list(spread(plan, matches, envelopes, self._partitions, block_id, now))
        )
        try:
            await asyncio.gather(
                *(self._bus.publish(message, stream=MATCHES.name) for message in messages)
            )
        except BusUnavailableError as error:
            raise TransientError(str(error)) from error
