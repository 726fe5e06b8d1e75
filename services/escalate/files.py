"""The operator's files while the service runs: a change takes force, or is refused with its line.

A file that is wrong changes nothing: what was read before stays in force, and the service says so
in its log, its metrics and at /readyz until the file is right again.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from prometheus_client import Counter, Gauge

from shared.errors import UserError

__all__ = ["Files", "Watched"]

log = structlog.get_logger()
_refused = Gauge(
    "tocsin_escalate_file_refused",
    "1 while a changed file is refused; the one before holds",
    ["file"],
)
_read = Counter(
    "tocsin_escalate_file_reads_total", "Files that took force, at the start and changed", ["file"]
)

Stamp = tuple[int, int, int] | None
"""What tells whether a file may have changed; None: it is not there."""


@dataclass(slots=True)
class Watched:
    """One file: *load* reads it or raises UserError, and returns what puts it in force."""

    name: str
    path: Path
    load: Callable[[Path], Callable[[], None]]
    # Not of when the service read it: it may have changed before anybody looked.
    stamp: Stamp = field(default=None, init=False)
    known: bool = field(default=False, init=False)


class Files:
    """The work of a reconciler: looks whether a file has changed."""

    def __init__(self, watched: list[Watched]) -> None:
        self._watched = watched
        self._problems: dict[str, str] = {}

    async def look(self) -> int:
        """Read what has changed; return 0: the next look is a matter of time."""
        for file in self._watched:
            stamp = await asyncio.to_thread(_stamp, file.path)
            if stamp != file.stamp or not file.known:
                file.stamp, file.known = stamp, True
                await self._read(file)
        return 0

    def notices(self) -> Mapping[str, str]:
        """Return by name which files are refused, where and why."""
        return dict(self._problems)

    async def _read(self, file: Watched) -> None:
        try:
            put_in_force = await asyncio.to_thread(file.load, file.path)
        except UserError as error:
            self._problems[file.name] = f"{error}; the version before stays in force"
            _refused.labels(file.name).set(1)
            log.warning("file refused", file=file.name, reason=str(error))
            return
        put_in_force()
        self._problems.pop(file.name, None)
        _refused.labels(file.name).set(0)
        _read.labels(file.name).inc()
        log.info("file in force", file=file.name, path=str(file.path))


def _stamp(path: Path) -> Stamp:
    try:
        found = os.stat(path)  # through links: Kubernetes swaps one to change a mounted file
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
