"""Keep child processes running: start, watch, start again with growing waits, stop in the end."""

import asyncio
import contextlib
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from tocsin.embedded.child import Child, send, spawn, sweep, until_ready
from tocsin.embedded.child_log import ChildLog
from tocsin.embedded.errors import PlatformError
from tocsin.embedded.orphans import forget_child, mark, record_child

__all__ = ["Backoff", "Child", "Event", "State", "Supervisor"]

_AFTER_SIGKILL = 5.0


class State(StrEnum):
    """What a child does now."""

    STARTING = "starting"
    READY = "ready"
    EXITED = "exited"
    BACKING_OFF = "backing off"
    FAILING = "failing"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A child's change of state; `code` is negative for a signal, as in subprocess."""

    name: str
    state: State
    pid: int | None = None
    code: int | None = None
    wait: float = 0.0
    last_line: str = ""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a child is started again."""

    first: float = 0.2
    limit: float = 10.0
    healthy: float = 60.0
    failing_after: int = 3

    def wait(self, failures: int, jitter: float) -> float:
        """Return the wait after so many failures in a row; `jitter` (0..1) takes up to half off."""
        longest = min(self.limit, self.first * 2.0 ** min(failures - 1, 30))
        return longest * (1.0 - jitter / 2.0)


class Supervisor:
    """Runs `children` until `stop()`; `on_event` hears every change of state, in order.

    `jitter` returns a number from 0 to 1. With `run_dir`, children are recorded there, so that
    the next `tocsin up` can end those that outlive a kill -9 of this one.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        jitter: Callable[[], float],
        on_event: Callable[[Event], None] = lambda event: None,
        run_dir: Path | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = {child.name: child for child in children}
        self._jitter = jitter
        self._on_event = on_event
        self._run_dir = run_dir
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._latest: dict[str, Event] = {}
        self._processes: dict[str, Process] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._overdue: set[str] = set()
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def states(self) -> dict[str, Event]:
        """The latest event of every child, by name."""
        return dict(self._latest)

    def start(self) -> None:
        """Start all children at once, each with a task of its own that keeps it running."""
        for name, child in self._children.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._keep(child), name=f"keep {name}")

    async def wait_ready(self, limit: float) -> None:
        """Wait until all children are ready; refuse when one keeps failing or the limit passes."""
        try:
            async with asyncio.timeout(limit):
                while late := self._late():
                    self._refuse_failing()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            late = self._late()
            raise PlatformError(
                f"{', '.join(late)} did not get ready within {limit:.0f} s"
                f"{_quoted(self._latest.get(late[0]))}."
            ) from None

    async def stop(self, *, grace: float = 25.0, order: Sequence[str] = ()) -> None:
        """Send SIGTERM to all (`order` first, then the rest, last started first), await their end.

        Whoever still runs after `grace` gets SIGKILL, together with all it started.
        """
        self._stopping.set()
        for name in (*order, *(each for each in reversed(self._children) if each not in order)):
            if process := self._processes.get(name):
                send(process, signal.SIGTERM)
        await self._all_ended(grace)
        for process in self._processes.values():
            send(process, signal.SIGKILL)
        await self._all_ended(_AFTER_SIGKILL)
        for task in self._tasks.values():
            task.cancel()
        results = await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        for result in results:
            if isinstance(result, Exception):  # a fault of ours, or of `on_event`
                raise result

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _all_ended(self, limit: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=limit)

    async def _keep(self, child: Child) -> None:
        failures = 0
        log = ChildLog(child.log_path)
        while not self._stopping.is_set():
            since = self._clock()
            code, last_line = await self._run_once(child, log)
            if self._stopping.is_set():
                break
            lasted = self._clock() - since >= self._backoff.healthy
            failures = 1 if lasted else failures + 1
            self._tell(Event(name=child.name, state=State.EXITED, code=code, last_line=last_line))
            failing = failures >= self._backoff.failing_after
            wait = self._backoff.wait(failures, self._jitter())
            self._tell(
                Event(
                    name=child.name,
                    state=State.FAILING if failing else State.BACKING_OFF,
                    code=code,
                    wait=wait,
                    last_line=last_line,
                )
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
        self._tell(Event(name=child.name, state=State.STOPPED))

    async def _run_once(self, child: Child, log: ChildLog) -> tuple[int | None, str]:
        """Run a child to its end; return its exit code (None: it never started) and last line."""
        log.begin()
        self._overdue.discard(child.name)
        self._tell(Event(name=child.name, state=State.STARTING))
        try:
            process, close = await spawn(child, log, mark(self._run_dir, child.name))
        except OSError as error:
            return None, f"{child.argv[0]} cannot be started: {error.strerror}"
        self._processes[child.name] = process
        if self._run_dir is not None:
            record_child(self._run_dir, child.name, process.pid)
        if self._stopping.is_set():  # stop() came while it was being started
            send(process, signal.SIGTERM)
        readiness = asyncio.create_task(self._watch_readiness(child, process))
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            send(process, signal.SIGKILL)
            await process.wait()
            raise
        finally:
            readiness.cancel()
            await asyncio.wait([readiness])
            sweep(process.pid)
            close()
            del self._processes[child.name]
            if self._run_dir is not None:
                forget_child(self._run_dir, child.name)
        if child.name in self._overdue:
            return code, f"not ready within {child.ready_limit:.0f} s; {log.last_line}"
        return code, log.last_line

    async def _watch_readiness(self, child: Child, process: Process) -> None:
        if await until_ready(child):
            self._tell(Event(name=child.name, state=State.READY, pid=process.pid))
            return
        self._overdue.add(child.name)
        send(process, signal.SIGTERM)
        await asyncio.sleep(_AFTER_SIGKILL)
        send(process, signal.SIGKILL)

    def _tell(self, event: Event) -> None:
        self._latest[event.name] = event
        self._changed.set()
        self._on_event(event)

    def _late(self) -> list[str]:
        return [name for name in self._children if not self._is(name, State.READY)]

    def _is(self, name: str, state: State) -> bool:
        return name in self._latest and self._latest[name].state is state

    def _refuse_failing(self) -> None:
        for name, event in self._latest.items():
            if event.state is State.FAILING:
                raise PlatformError(
                    f"{name} keeps failing (exit code {event.code}){_quoted(event)}; "
                    f"see {self._children[name].log_path}."
                )


def _quoted(event: Event | None) -> str:
    return f": {event.last_line}" if event is not None and event.last_line else ""
