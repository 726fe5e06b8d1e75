"""A process beside the service: an interpreter and memory of its own, asked through a pipe.

`multiprocessing` would load the service's main module, and with it the whole service, into each of
its processes, and start a tracker that outlives them; so this starts Python itself and borrows only
the pipe. The process ends when its pipe does: nothing is left behind where the service is killed.
"""

import contextlib
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import structlog

from shared.logging import configure_logging

__all__ = ["Companion"]

END_SECONDS = 5.0


class Companion:
    """Runs ``target(pipe, *arguments)`` over there; blocking, for threads.

    *target* is a function of a module, the arguments and all that is sent can be pickled.
    """

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves, with a number
                [sys.executable, "-m", "shared.companion", str(theirs.fileno()), *_logging()],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._pipe = Connection(ours.detach())
        self._pipe.send((target, arguments))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return how the process ended; None while it runs."""
        return self._process.poll()

    def send(self, message: object) -> None:
        """Hand *message* over; OSError where the process is gone."""
        self._pipe.send(message)

    def receive(self, seconds: float | None = None) -> Any:
        """Return what it sends; EOFError or OSError when it is gone, TimeoutError when too late."""
        if seconds is not None and not self._pipe.poll(seconds):
            raise TimeoutError(f"no answer in {seconds:g} s")
        return self._pipe.recv()

    def kill(self) -> None:
        """End the process at once; who receives sees the end of the pipe."""
        self._process.kill()

    def end(self) -> None:
        """End the process and wait until it is gone."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self._pipe.close()


def _logging() -> list[str]:
    """Return as what the service logs, and from which level on: its companion does the same."""
    service = structlog.contextvars.get_contextvars().get("service", "tocsin")
    return [service, logging.getLevelName(logging.getLogger().getEffectiveLevel())]


def _main(descriptor: int, service: str, level: str) -> None:
    configure_logging(service, level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends us
    pipe = Connection(descriptor)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        target, arguments = pipe.recv()
        target(pipe, *arguments)


if __name__ == "__main__":
    _main(int(sys.argv[1]), *sys.argv[2:])
