"""The process that counts: a `Correlator` with an event loop, a database and a broker of its own.

The service tells it the rules in force and hears what it found. It ends when its pipe does, at once
and wherever it is: what was not committed is read again by whoever takes its partitions over.
"""

import asyncio
import contextlib
import os
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection

from services.detect.correlation.extract import Extractor
from services.detect.correlation.metrics import Sample, samples
from services.detect.correlation.plan import Plan
from services.detect.correlation.worker import Correlator
from shared.bus import Bus
from shared.clock import utc_now
from shared.db import create_engine

__all__ = ["Begin", "Found", "Tell", "Told", "serve"]

TELL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Begin:
    """What the process is started with; secrets in it are never shown."""

    database_url: str
    nats_url: str
    nkey_seed: str | None
    partitions: int
    lateness: float
    groups: int

    def __repr__(self) -> str:
        return f"Begin(partitions={self.partitions})"


@dataclass(frozen=True, slots=True)
class Tell:
    """Rules to count by from now on; *mark* is for the answer."""

    mark: int
    extractor: Extractor


@dataclass(frozen=True, slots=True)
class Told:
    """The rules of *mark* were taken: all that is read from now on is counted by them."""

    mark: int


@dataclass(frozen=True, slots=True)
class Found:
    """New detections are in the outbox, or *samples* have changed."""

    detections: bool
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class _Rules:
    extractor: Extractor

    @property
    def plan(self) -> Plan:
        return self.extractor.plan


class _Counting:
    """The rules that were told, and what is to be said."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._rules: _Rules | None = None
        self._first = asyncio.Event()
        self._detections = asyncio.Event()

    async def in_force(self) -> _Rules:
        """Return the rules that were told last, waiting for the first."""
        await self._first.wait()
        if self._rules is None:
            raise AssertionError("told, yet there are none")
        return self._rules

    def take(self, tell: Tell) -> None:
        """Have the rules in force, and say so."""
        self._rules = _Rules(tell.extractor)
        self._first.set()
        self._pipe.send(Told(tell.mark))

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take what comes through the pipe; a thread's work. The end of it is the process's."""
        try:
            while True:
                loop.call_soon_threadsafe(self.take, self._pipe.recv())
        except (EOFError, OSError):
            os._exit(0)

    async def tell(self) -> None:
        """Say what was found as soon as it is, and what is counted every second if it changed."""
        before: set[Sample] = set()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELL_SECONDS):
                    await self._detections.wait()
            found, now = self._detections.is_set(), samples()
            self._detections.clear()
            changed = [sample for sample in now if sample not in before]
            if found or changed:
                self._pipe.send(Found(found, changed))
                before = set(now)

    async def run(self, begin: Begin) -> None:
        """Count until the process ends."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self.listen, args=(loop,), name="pipe", daemon=True).start()
        engine = create_engine(begin.database_url, "detect")
        async with Bus(begin.nats_url, "detect", begin.nkey_seed) as bus:
            correlator = Correlator(
                engine,
                bus,
                self,
                self._detections.set,
                utc_now,
                partitions=begin.partitions,
                lateness=begin.lateness,
                groups=begin.groups,
            )
            await asyncio.gather(correlator.run(), self.tell())


def serve(pipe: Connection, begin: Begin) -> None:
    """Count until *pipe* ends."""

    async def run() -> None:
        await _Counting(pipe).run(begin)

    asyncio.run(run())
