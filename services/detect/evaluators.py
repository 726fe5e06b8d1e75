"""Processes that evaluate blocks, so that matching never holds up the service's event loop.

A process that dies takes no block with it: whoever waits for its answer is told to try again, the
message goes back to the broker, and another process takes the place.
"""

import asyncio
import contextlib
from collections import Counter as Tally
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import Counter

from services.detect.evaluate import Evaluated
from services.detect.evaluator import Ask, Bad, Failed, Ready, evaluate_whole, serve
from services.detect.ruleset import Ruleset
from shared.companion import Companion
from shared.consume import TransientError
from shared.contracts.base import ContractError
from shared.ids import jitter

__all__ = ["Evaluators", "evaluating"]

START_SECONDS = 120.0
ANSWER_SECONDS = 60.0
RESTART_SECONDS = 2.0
MAX_DEATHS = 5
MAX_BLAMED = 1_000

log = structlog.get_logger()
_died = Counter("tocsin_detect_evaluators_died_total", "Evaluating processes that had to be ended")


class Evaluators:
    """Evaluates blocks in *count* processes, or in a thread where that is 0.

    What correlations count is packed there for as many *partitions*.
    """

    def __init__(
        self, ruleset: Ruleset, count: int, reload_seconds: float, partitions: int
    ) -> None:
        self._partitions = partitions
        self._ruleset, self.count, self._reload = ruleset, count, reload_seconds
        self._free: asyncio.Queue[_Process] = asyncio.Queue()
        self._all: set[_Process] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._blamed: Tally[str] = Tally()
        self._threads = ThreadPoolExecutor(max(1, 2 * count), thread_name_prefix="evaluator")

    @property
    def ready(self) -> int:
        """Return how many processes wait for a block."""
        return self._free.qsize()

    @property
    def pids(self) -> list[int]:
        """Return the processes that there are."""
        return [process.pid for process in self._all]

    async def evaluate(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Evaluated:
        """Return what a block holds.

        ContractError where it is no block, TransientError where its process ended meanwhile.
        """
        if self.count == 0:
            rules = await self._ruleset.in_force()
            return await asyncio.to_thread(
                evaluate_whole, rules, headers, body, now, self._partitions
            )
        process = await self._free.get()
        try:
            rules = await self._ruleset.in_force()
            ask = Ask(rules.signature, dict(headers), body, now)
            answer = await self._in_thread(process.ask, ask, ANSWER_SECONDS)
        except (EOFError, OSError, TimeoutError) as error:
            self._replace(process)
            raise self._blame(headers.get("ce-id", ""), error) from error
        except BaseException:  # cancelled: its answer would be taken for another block's
            self._end(process)
            raise
        self._free.put_nowait(process)
        match answer:
            case Evaluated():
                return answer
            case Bad(why=why):
                raise ContractError(why)
            case Failed(why=why):
                raise RuntimeError(why)
            case _:
                raise AssertionError(f"no answer: {answer!r}")

    async def start(self) -> None:
        """Start the processes; they take blocks as soon as each has loaded the rules."""
        await asyncio.gather(*(self._begin_anew() for _ in range(self.count)))

    async def stop(self) -> None:
        """End all processes."""
        for task in self._starting:
            task.cancel()
        for process in list(self._all):
            self._end(process)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _begin_anew(self) -> None:
        while True:
            try:
                await self._begin()
            except (EOFError, OSError, TimeoutError) as error:
                log.warning("evaluating process did not start", error=repr(error))
                await asyncio.sleep(jitter(RESTART_SECONDS))
            else:
                return

    async def _begin(self) -> None:
        process = _Process(self._ruleset, self._reload, self._partitions)
        self._all.add(process)
        try:
            await self._in_thread(process.begun, START_SECONDS)
        except BaseException:
            self._end(process)
            raise
        self._free.put_nowait(process)

    def _replace(self, process: "_Process") -> None:
        _died.inc()
        log.warning("evaluating process ended", pid=process.pid, exit=process.exit_code)
        self._end(process)
        task = asyncio.create_task(self._begin_anew(), name="evaluator")
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    def _blame(self, block: str, error: BaseException) -> Exception:
        """Return what to raise for a block whose process ended: not without end for the same."""
        if len(self._blamed) > MAX_BLAMED:
            self._blamed.clear()
        self._blamed[block] += 1
        if self._blamed[block] > MAX_DEATHS:
            return RuntimeError(f"this block ended {self._blamed[block]} processes: {error!r}")
        return TransientError(f"an evaluating process ended: {error!r}")

    def _end(self, process: "_Process") -> None:
        self._all.discard(process)
        process.end()

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


class _Process(Companion):
    """One evaluating process."""

    def __init__(self, ruleset: Ruleset, reload_seconds: float, partitions: int) -> None:
        super().__init__(
            serve, ruleset.directories, reload_seconds, ruleset.cache_folder, partitions
        )

    def begun(self, seconds: float) -> None:
        """Return once the rules are loaded; EOFError where the process ended instead."""
        match self.receive(seconds):
            case Ready():
                return
            case other:
                raise EOFError(f"the process did not begin but said {other!r}")

    def ask(self, ask: Ask, seconds: float) -> Any:
        """Return the answer; EOFError, OSError or TimeoutError where there is none."""
        self.send(ask)
        return self.receive(seconds)


@contextlib.asynccontextmanager
async def evaluating(evaluators: Evaluators) -> AsyncIterator[Evaluators]:
    """Have the processes for as long as the context lasts; they load rules in the background."""
    starting = asyncio.create_task(evaluators.start(), name="evaluators")
    try:
        yield evaluators
    finally:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, EOFError, OSError, TimeoutError):
            await starting
        await evaluators.stop()
