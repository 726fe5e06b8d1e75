"""Correlation beside the service: the process that counts is started, told the rules, replaced.

Nothing is lost with it: matches lie in MATCHES, its state and how far it read in PostgreSQL, and
partitions are free again as soon as its connection to the database ends.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from prometheus_client import Counter

from services.detect.correlation.metrics import Taken
from services.detect.correlation.plan import Plan
from services.detect.correlation.process import Begin, Found, Tell, Told, serve
from services.detect.correlation.worker import RulesSource
from shared.companion import Companion
from shared.consume import TransientError
from shared.ids import jitter

__all__ = ["CountingProcess"]

FOLLOW_SECONDS = 0.2
ANSWER_SECONDS = 30.0  # a process that starts answers when it is there
RESTART_SECONDS = 1.0

log = structlog.get_logger()
_died = Counter("tocsin_detect_correlation_processes_died_total", "Counting processes that ended")


class CountingProcess:
    """Keeps one process counting; *found* is called after it has new detections."""

    def __init__(self, begin: Begin, ruleset: RulesSource, found: Callable[[], None]) -> None:
        self._begin, self._ruleset, self._found = begin, ruleset, found
        self._telling = asyncio.Lock()
        self._process: Companion | None = None
        self._plan: Plan | None = None
        self._told = 0
        self._answers: dict[int, asyncio.Future[None]] = {}
        # One thread hears the process, one speaks to it; a new one may begin while another ends.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="correlation")

    @property
    def pid(self) -> int | None:
        """Return the process that counts; None between two."""
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Have a process until cancelled; one that ends is replaced."""
        try:
            while True:
                try:
                    await self._live()
                except (EOFError, OSError, TransientError) as error:
                    _died.inc()
                    log.warning("counting process ended", error=repr(error))
                await asyncio.sleep(jitter(RESTART_SECONDS))
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def follow(self) -> None:
        """Return once whatever is published from now on is counted by the rules in force here.

        TransientError where the process does not answer; between two there is nothing to wait for.
        """
        async with self._telling:
            rules = await self._ruleset.in_force()
            process = self._process
            if process is None or rules.plan is self._plan:
                return
            self._told += 1
            answer = self._answers[self._told] = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._in_thread(process.send, Tell(self._told, rules.extractor))
                    await answer
            except (EOFError, OSError, TimeoutError) as error:
                process.kill()  # who hears it sees the end
                raise TransientError(f"the counting process ended: {error!r}") from error
            finally:
                self._answers.clear()
            self._plan = rules.plan

    async def _live(self) -> None:
        """Have one process; ends by an error, or cancelled."""
        process: Companion | None = None
        tasks: list[asyncio.Task[None]] = []
        try:
            async with self._telling:
                rules = await self._ruleset.in_force()
                process = Companion(serve, self._begin)
                # It reads nothing before its first rules: nobody needs to wait for the answer.
                self._process, self._plan = process, rules.plan
                await self._in_thread(process.send, Tell(0, rules.extractor))
            tasks = [
                asyncio.create_task(self._hear(process), name="correlation"),
                asyncio.create_task(self._keep_following(), name="correlation rules"),
            ]
            await asyncio.gather(*tasks)
        finally:
            self._process = None
            if process is not None:
                process.end()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(EOFError())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, process: Companion) -> None:
        taken = Taken()
        try:
            while True:
                match await self._in_thread(process.receive):
                    case Found(detections=detections, samples=samples):
                        taken.take(samples)
                        if detections:
                            self._found()
                    case Told(mark=mark):
                        if (answer := self._answers.get(mark)) and not answer.done():
                            answer.set_result(None)
                    case other:
                        raise AssertionError(f"not for us: {other!r}")
        finally:
            taken.forget()

    async def _keep_following(self) -> None:
        while True:
            await self.follow()
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
