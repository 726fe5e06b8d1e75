"""Look-ups of providers' addresses: one at a time for each host, and its answer for some seconds.

The operating system is asked in a thread, and there are few of them: a name server that hangs for
one provider must not take them all.
"""

import asyncio
from collections.abc import Sequence

from shared.egress import Resolver

__all__ = ["Lookups"]

SECONDS = 10.0


class Lookups:
    """A resolver in front of another; what could not be resolved is asked again."""

    def __init__(self, resolve: Resolver, seconds: float = SECONDS) -> None:
        self._resolve, self._seconds = resolve, seconds
        self._known: dict[tuple[str, int], tuple[float, Sequence[str]]] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[Sequence[str]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of *host*; OSError when they cannot be found."""
        end, now = (host, port), asyncio.get_running_loop().time()
        until, addresses = self._known.get(end, (now, ()))
        if until > now:
            return addresses
        if end not in self._asking:
            asking = self._asking[end] = asyncio.create_task(self._ask(end))
            # Nobody may be left to hear that it failed.
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Who waits no longer does not take the answer from the others.
        return await asyncio.shield(self._asking[end])

    async def _ask(self, end: tuple[str, int]) -> Sequence[str]:
        try:
            addresses = await self._resolve(*end)
        finally:
            del self._asking[end]
        self._known[end] = (asyncio.get_running_loop().time() + self._seconds, addresses)
        return addresses
