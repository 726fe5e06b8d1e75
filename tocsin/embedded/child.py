"""One run of a supervised child: spawned without a shell, its output captured, ended for sure."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tocsin.embedded.child_log import ChildLog

_READ = 65_536
_ASK_EVERY, _ANSWER_LIMIT = 0.1, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A program to keep running; `env` is its whole environment.

    `ready` is asked until it says True; a child that does not get there within `ready_limit`
    is ended and started again. Without `ready`, a started child counts as ready.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log_path: Path
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_limit: float = 60.0
    cwd: Path | None = None


async def spawn(
    child: Child, log: ChildLog, extra: Mapping[str, str]
) -> tuple[Process, Callable[[], None]]:
    """Start a child; return it and what closes its output after the end.

    The output comes through a pipe of our own, not asyncio's: `wait()` must not hang while a
    grandchild holds the other end. The child leads its own session: Ctrl-C is ours to pass on.
    """
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        process = await asyncio.create_subprocess_exec(
            *child.argv,
            stdin=DEVNULL,
            stdout=writing,
            stderr=STDOUT,
            env={**child.env, **extra},
            cwd=child.cwd,
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)

    def drain() -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(reading, _READ):
                log.write(data)
            loop.remove_reader(reading)

    def close() -> None:
        drain()
        loop.remove_reader(reading)
        os.close(reading)
        log.close()

    loop.add_reader(reading, drain)
    return process, close


async def until_ready(child: Child) -> bool:
    """Ask the child until it is ready; False when its limit passes first."""
    if child.ready is None:
        return True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(child.ready_limit):
            while True:
                if await _asked(child.ready):
                    return True
                await asyncio.sleep(_ASK_EVERY)
    return False


async def _asked(ready: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await asyncio.wait_for(ready(), _ANSWER_LIMIT)
    except Exception:  # noqa: BLE001 - refused, reset, no answer: all of them mean "not yet"
        return False


def send(process: Process, number: signal.Signals) -> None:
    """Signal a child that may just have ended; SIGKILL also goes to whatever it started."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        if number is signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


def sweep(pid: int) -> None:
    """Kill what a dead child left in its session; its id stays reserved while any of it lives."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
