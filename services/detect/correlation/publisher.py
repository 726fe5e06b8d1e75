"""A block's matches to their partitions, before the block counts as evaluated."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from shared.bus import Bus, BusUnavailableError
from shared.cloudevents import Outgoing
from shared.consume import TransientError
from shared.topology import MATCHES

__all__ = ["MatchPublisher"]


class MatchPublisher:
    """Publishes matches and returns once the broker has them.

    A block that is evaluated twice is published under the same ids: the broker drops the second
    for some minutes, and after that the groups know their events. Whoever counts them follows the
    rules first, by which they were found.
    """

    def __init__(self, bus: Bus, follow: Callable[[], Awaitable[None]] | None = None) -> None:
        self._bus, self._follow = bus, follow

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish *messages*; TransientError when the broker does not confirm."""
        if not messages:
            return
        if self._follow is not None:
            await self._follow()
        try:
            await asyncio.gather(
                *(self._bus.publish(message, stream=MATCHES.name) for message in messages)
            )
        except BusUnavailableError as error:
            raise TransientError(str(error)) from error
