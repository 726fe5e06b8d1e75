"""A program that a test kills (-9) and starts again."""

import asyncio
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from pathlib import Path


class Program:
    """Started by `start`; ended for good by `stop`. What it says goes to the end of *log*."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path | None = None
    ) -> None:
        self._command, self._environment = command, dict(environment)
        self._log, self._process = log, _none()

    async def start(self) -> None:
        """Start it; it need not answer yet."""
        output = self._log.open("ab") if self._log else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment, stdout=output or DEVNULL, stderr=output
            )
        finally:
            if output is not None:
                output.close()

    async def kill(self) -> None:
        """Send SIGKILL and wait until it is gone."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        """Kill it if it runs."""
        if self._process is not None:
            await self.kill()


def _none() -> Process | None:
    return None
