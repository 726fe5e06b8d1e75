"""Background work as reconcilers: read the state, bring it in line; woken by signal or timer."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Counter

from shared.bus import BusUnavailableError
from shared.db import is_transient
from shared.ids import jitter

__all__ = ["Reconciler"]

log = structlog.get_logger()
_failures = Counter("tocsin_reconciler_failures_total", "Runs that ended in an error", ["name"])


class Reconciler:
    """Runs *work* whenever woken and at least every *interval* seconds, until cancelled.

    *work* returns how many things it did; while that is not 0 it is run again at once. A failed run
    is logged, counted and repeated after a pause that doubles within *pauses* (seconds): it never
    ends the loop.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[int]],
        interval: float,
        *,
        pauses: tuple[float, float] = (0.2, 10.0),
    ) -> None:
        self.name = name
        self._shortest, self._longest = pauses
        self._work = work
        self._interval = interval
        self._signal = asyncio.Event()

    def wake(self) -> None:
        """Ask for a run now."""
        self._signal.set()

    async def run(self) -> None:
        pause = 0.0
        while True:
            try:
                self._signal.clear()
                done = await self._work()
                pause = 0.0
            except Exception as error:
                _failures.labels(self.name).inc()
                if isinstance(error, BusUnavailableError) or is_transient(error):
                    log.warning("will retry", reconciler=self.name, error=str(error))
                else:
                    log.exception("reconciler failed", reconciler=self.name)
                pause = min(self._longest, max(self._shortest, pause * 2))
                await asyncio.sleep(jitter(pause))
                continue
            if done:
                continue
            try:
                await asyncio.wait_for(self._signal.wait(), self._interval)
            except TimeoutError:
                continue
