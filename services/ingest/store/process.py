"""The store's own process: decoding and compressing keeps neither the doors nor their GIL."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from shared.companion import Companion

__all__ = ["StoreProcess", "StoreProcessError"]

P = ParamSpec("P")
T = TypeVar("T")
JOBS = 500  # then it is replaced: whatever a library holds on to goes with it


class StoreProcessError(Exception):
    """The process was killed or did not answer in time; what it did is not in the manifest."""


class StoreProcess:
    """One child process, started when needed and again when it has died; one job at a time."""

    def __init__(self, seconds: float = 120.0) -> None:
        self._seconds = seconds
        self._process: Companion | None = None
        self._jobs = 0
        self._alone = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "store-process")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *work* returns, over there; StoreProcessError when the process failed."""
        loop = asyncio.get_running_loop()
        async with self._alone:
            try:
                answer = await loop.run_in_executor(self._thread, self._ask, work, args, kwargs)
            except (EOFError, OSError, TimeoutError) as error:
                self._end()
                raise StoreProcessError(f"the store's process failed: {error!r}") from error
            except asyncio.CancelledError:
                self._end()  # its answer would be taken for another job's
                raise
        if isinstance(answer, Exception):
            raise answer
        result: T = answer[0]
        return result

    def _ask(self, work: Any, args: Any, kwargs: Any) -> Any:
        if self._process is None or self._jobs >= JOBS:
            self._end()
            self._process, self._jobs = Companion(_serve), 0
        self._jobs += 1
        self._process.send((work, args, kwargs))
        return self._process.receive(self._seconds)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()

    def close(self) -> None:
        """End the process; what it was doing is done again by the next one."""
        self._end()


def _serve(pipe: Connection) -> None:
    """Do what comes; an answer is a tuple of one, or the exception that was raised."""
    while True:
        work, args, kwargs = pipe.recv()
        try:
            answer: Any = (work(*args, **kwargs),)
        except Exception as error:  # noqa: BLE001 - it is raised where the job came from
            answer = error
        pipe.send(answer)
