"""The store's own process: decoding and compressing keeps neither the doors nor their GIL."""

import asyncio
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

__all__ = ["StoreProcess", "StoreProcessError"]

P = ParamSpec("P")
T = TypeVar("T")
JOBS = 500  # then it is replaced: whatever a library holds on to goes with it


class StoreProcessError(Exception):
    """The process was killed or did not answer in time; what it did is not in the manifest."""


class StoreProcess:
    """One child process, started when needed and again when it has died."""

    def __init__(self, seconds: float = 120.0) -> None:
        self._seconds = seconds
        self._pool: ProcessPoolExecutor | None = None

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *work* returns, over there; StoreProcessError when the process failed."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_ignore_signals,
                max_tasks_per_child=JOBS,
            )
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(self._pool.submit(work, *args, **kwargs)), self._seconds
            )
        except (BrokenProcessPool, TimeoutError) as error:
            self._end()
            raise StoreProcessError(f"the store's process failed: {error!r}") from error

    def _end(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the process; what it was doing is done again by the next one."""
        self._end()


def _ignore_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends us
