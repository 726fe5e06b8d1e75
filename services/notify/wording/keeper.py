"""The templates in force, read again when their files change; a file that is wrong changes nothing.

What is refused is said in the log, in metrics and at /readyz, with its line, until it is right.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from prometheus_client import Gauge

from services.notify.wording.catalogue import Catalogue
from shared.errors import UserError

__all__ = ["WordingKeeper"]

log = structlog.get_logger()
_refused = Gauge(
    "tocsin_notify_templates_refused", "1 while changed templates are refused; those before hold"
)

Stamp = Mapping[str, tuple[int, int, int]]
"""What tells whether files may have changed, by their names."""


class WordingKeeper:
    """Holds what notices, corrections and forms say; `look` is the work of a reconciler."""

    def __init__(self, folder: Path | None, load: Callable[[], Catalogue]) -> None:
        """Take the templates as they are now, by *load*; UserError if they cannot be taken."""
        self._folder, self._load = folder, load
        # Before they are read: a change in between is one.
        self._stamp = _stamp(folder) if folder else {}
        self.current = load()
        self._problem = ""

    def notices(self) -> Mapping[str, str]:
        """Return why changed templates are not in force."""
        return {"templates": self._problem} if self._problem else {}

    async def look(self) -> int:
        """Put changed files in force, all or none of them; return 0."""
        if self._folder is None:
            return 0
        stamp = await asyncio.to_thread(_stamp, self._folder)
        if stamp == self._stamp:
            return 0
        self._stamp = stamp
        try:
            self.current = await asyncio.to_thread(self._load)
        except UserError as error:
            self._problem = f"{error}; the version before stays in force"
            _refused.set(1)
            log.warning("templates refused", reason=str(error))
            return 0
        self._problem = ""
        _refused.set(0)
        log.info("templates in force", version=self.current.version)
        return 0


def _stamp(folder: Path) -> Stamp:
    found = {}
    for path in folder.glob("*.yml"):
        try:
            state = path.stat()  # through links: Kubernetes swaps one to change a mounted folder
        except OSError:
            continue  # gone since it was listed
        found[path.name] = (state.st_mtime_ns, state.st_size, state.st_ino)
    return found
