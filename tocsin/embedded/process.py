"""Start, await and end server processes; every wait has a limit."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tocsin.embedded.errors import PlatformError
from tocsin.embedded.pids import look
from tocsin.embedded.server_user import ServerUser

LOG_LIMIT = 20 * 1024 * 1024
_TICK = 0.02
_AFTER_SIGKILL = 5.0

Steps = Sequence[tuple[signal.Signals, float]]


def spawn(
    argv: Sequence[str | Path],
    *,
    log: IO[bytes],
    user: ServerUser | None,
    cwd: Path,
    extra: Mapping[str, str],
) -> "subprocess.Popen[bytes]":
    """Start a server with an environment of its own and all output in `log`.

    It gets its own session, so that Ctrl-C reaches `tocsin` alone, which then stops its
    servers in order. Our PG* and NATS* variables must not change its behaviour.
    Privileges are dropped by Popen itself: a preexec_fn is unsafe beside threads.
    """
    return subprocess.Popen(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "TZ": "UTC",
            **extra,
        },
        start_new_session=True,
        umask=0o077,
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )


async def run(
    argv: Sequence[str | Path],
    *,
    log: Path,
    user: ServerUser | None,
    cwd: Path,
    limit: float,
    extra: Mapping[str, str],
) -> None:
    """Run a tool to its end; a failure or a passed limit is refused with the end of its output."""
    start, process = size(log), _spawn_into(log, argv, user, cwd, extra)
    name = Path(argv[0]).name
    try:
        if not await until(lambda: process.poll() is not None, limit):
            raise PlatformError(f"{name} did not finish within {limit:.0f} s.")
    finally:
        await end(process, ((signal.SIGTERM, 2.0),))
    if process.returncode != 0:
        raise PlatformError(f"{name} failed: {tail(log, start)}")


def _spawn_into(
    log: Path,
    argv: Sequence[str | Path],
    user: ServerUser | None,
    cwd: Path,
    extra: Mapping[str, str],
) -> "subprocess.Popen[bytes]":
    with open_log(log) as file:
        return spawn(argv, log=file, user=user, cwd=cwd, extra=extra)


async def until(holds: Callable[[], bool], limit: float = 60.0) -> bool:
    """Wait until `holds()`; False when the limit passes first."""
    give_up = time.monotonic() + limit
    while not holds():
        if time.monotonic() >= give_up:
            return False
        await asyncio.sleep(_TICK)
    return True


async def until_ready(
    process: "subprocess.Popen[bytes]", ready: Callable[[], Awaitable[bool]], limit: float
) -> bool:
    """Wait for `ready()`; False as soon as the process ends, or when the limit passes."""
    give_up = time.monotonic() + limit
    while process.poll() is None and time.monotonic() < give_up:
        if await ready():
            return process.poll() is None
        await asyncio.sleep(_TICK)
    return False


async def end(process: "subprocess.Popen[bytes]", steps: Steps) -> None:
    """Send one signal after the other, each with its limit, then SIGKILL; reaps the process."""
    for number, limit in (*steps, (signal.SIGKILL, _AFTER_SIGKILL)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        await until(lambda: process.poll() is not None, limit)


async def end_stranger(pid: int, steps: Steps) -> bool:
    """Do the same to a process that an earlier run left behind; True when it is gone."""
    before = look(pid)
    if before is None:
        return True

    def gone() -> bool:
        now = look(pid)
        return now is None or now.started != before.started

    for number, limit in (*steps, (signal.SIGKILL, _AFTER_SIGKILL)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if await until(gone, limit):
            return True
    return False


def open_log(path: Path, *, limit: int = LOG_LIMIT) -> IO[bytes]:
    """Open a log for appending, 0600; one that is too long is first put aside as `<name>.1`."""
    if size(path) > limit:
        path.replace(path.with_name(path.name + ".1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def size(path: Path) -> int:
    """Return the size of a file, 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def tail(path: Path, start: int = 0, lines: int = 8) -> str:
    """Return the last lines written behind `start`, joined for one readable message."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, size(path) - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return f"no output in {path}"
    last = [line.strip() for line in text.splitlines() if line.strip()][-lines:]
    return " | ".join(last) or f"no output in {path}"
