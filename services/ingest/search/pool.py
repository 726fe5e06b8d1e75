"""Searches in a bounded number of processes: waiting has an end, cancelling works, a dead one is
replaced."""

import asyncio
import contextlib
from collections import Counter as Tally
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge, Histogram

from services.ingest.search.plan import Answer, Search
from services.ingest.search.worker import CANCEL, Failure, Job, serve
from services.ingest.store.batch import Store
from shared.companion import Companion

__all__ = ["BusyError", "Running", "Searchers", "TooManyError"]

WAITING_PER_PROCESS = 8
PER_PERSON = 4
KILL_AFTER = 3.0  # seconds that a process has to end a statement

log = structlog.get_logger()
_searches = Counter("tocsin_ingest_searches_total", "Searches by how they ended", ["outcome"])
_running = Gauge("tocsin_ingest_searches_running", "Searches running or waiting")
_seconds = Histogram(
    "tocsin_ingest_search_seconds",
    "Time of a search, waiting included",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
)


class BusyError(Exception):
    """Every process has its queue full."""


class TooManyError(Exception):
    """One person has too many searches going."""


@dataclass(slots=True)
class Running:
    """A search that has not ended."""

    id: UUID
    owner: str
    query: str
    since: datetime
    cancel: asyncio.Event = field(default_factory=asyncio.Event)


class _Worker:
    """One process; whoever holds it has it alone."""

    def __init__(self, store: Store, threads: int) -> None:
        self._store, self._threads = store, threads
        self._process: Companion | None = None
        self._reader = ThreadPoolExecutor(1, "search-reader")

    def _start(self) -> Companion:
        if self._process is None or self._process.exit_code is not None:
            self.end()
            self._process = Companion(serve, self._store, self._threads)
        return self._process

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()

    async def run(self, job: Job, cancel: asyncio.Event) -> Answer | Failure:
        """Return the answer, or why there is none."""
        loop = asyncio.get_running_loop()
        try:
            process = await loop.run_in_executor(self._reader, self._start)
            process.send(job)
            receiving = loop.run_in_executor(self._reader, process.receive)
        except OSError as error:
            self.end()
            return Failure("failed", f"the search process cannot be reached: {error}")
        stopping = asyncio.create_task(cancel.wait())
        try:
            await asyncio.wait(
                {receiving, stopping},
                timeout=job.seconds + KILL_AFTER,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not receiving.done():
                with contextlib.suppress(OSError):
                    process.send(CANCEL)
                await asyncio.wait({receiving}, timeout=KILL_AFTER)
            if not receiving.done():
                self._kill()
                await asyncio.wait({receiving}, timeout=KILL_AFTER)
                return Failure("cancelled" if cancel.is_set() else "too_long", "it had to be ended")
            answer: Answer | Failure = receiving.result()
            return answer
        except (EOFError, OSError) as error:
            self.end()
            return Failure("too_large", f"the search process died: {error!r}")
        except asyncio.CancelledError:
            self._kill()
            raise
        finally:
            stopping.cancel()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()  # the reader then sees the end of the pipe


class Searchers:
    """The processes, who waits for them, and what is going on."""

    def __init__(self, store: Store, processes: int, threads: int, seconds: float) -> None:
        self._workers = [_Worker(store, threads) for _ in range(processes)]
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        for worker in self._workers:
            self._idle.put_nowait(worker)
        self._seconds = seconds
        self._capacity = processes * (1 + WAITING_PER_PROCESS)
        self.running: dict[UUID, Running] = {}

    @asynccontextmanager
    async def registered(self, running: Running) -> AsyncIterator[None]:
        """Count a search among those that run; BusyError, TooManyError, KeyError for a used id."""
        if running.id in self.running:
            raise KeyError(running.id)
        if len(self.running) >= self._capacity:
            _searches.labels("busy").inc()
            raise BusyError
        if Tally(r.owner for r in self.running.values())[running.owner] >= PER_PERSON:
            _searches.labels("busy").inc()
            raise TooManyError
        self.running[running.id] = running
        _running.set(len(self.running))
        try:
            yield
        finally:
            del self.running[running.id]
            _running.set(len(self.running))

    async def run(self, search: Search, cancel: asyncio.Event) -> Answer | Failure:
        """Return the answer of *search*, or why there is none."""
        with _seconds.time():
            worker = await self._take(cancel)
            if worker is None:
                return Failure("cancelled", "cancelled while it waited")
            try:
                answer = await worker.run(Job(search, self._seconds), cancel)
            finally:
                self._idle.put_nowait(worker)
        outcome = answer.kind if isinstance(answer, Failure) else "answered"
        _searches.labels(outcome).inc()
        return answer

    async def _take(self, cancel: asyncio.Event) -> _Worker | None:
        taking = asyncio.ensure_future(self._idle.get())
        stopping = asyncio.ensure_future(cancel.wait())
        try:
            await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                return taking.result()
            return None
        finally:
            stopping.cancel()
            if not taking.done():
                taking.cancel()

    def close(self) -> None:
        """End every process."""
        for worker in self._workers:
            worker.end()
