"""All cores for one scan: parts go out as fast as answers come back, and come back in order."""

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any

from services.detect.rules.model import LogSource
from tocsin.scan.process import InUse, Scanner
from tocsin.scan.work import Done, Work

__all__ = ["scanning"]

AHEAD = 4  # parts a process has waiting

_scanner: Scanner | None = None


class Scanning:
    """Scans parts with *jobs* processes."""

    def __init__(self, pool: ProcessPoolExecutor, jobs: int) -> None:
        self._pool, self._room = pool, jobs * AHEAD

    def run(self, parts: Iterator[Work]) -> Iterator[Done]:
        """Yield what each part gives, in order; at most `AHEAD` parts a process are in memory."""
        waiting: list[Future[Done]] = [
            self._pool.submit(_scan, part) for part in islice(parts, self._room)
        ]
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(self._pool.submit(_scan, part) for part in islice(parts, 1))


@contextmanager
def scanning(use: InUse, hint: LogSource, now: datetime, jobs: int) -> Iterator[Scanning]:
    """Start *jobs* processes that know the rules in *use*; they end with the context.

    Where processes can be forked they inherit the rules; elsewhere these are sent.
    """
    start = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context(start),
        initializer=_begin,
        initargs=(use, hint, now),
    )
    try:
        yield Scanning(pool, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(use: Any, hint: LogSource, now: datetime) -> None:
    global _scanner
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    _scanner = Scanner(use, hint, now)


def _scan(work: Work) -> Done:
    if _scanner is None:
        raise AssertionError("the process was not begun")
    return _scanner.scan(work)
