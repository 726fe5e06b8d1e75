"""The rules in force: loaded off the event loop, looked at for changes, swapped in one step."""

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import structlog
from prometheus_client import Gauge

from services.detect.in_force import InForce, load_in_force, signature_of
from services.detect.rules.cache import RuleCache
from services.detect.rules.load import ReadFiles

__all__ = ["PACK", "InForce", "Ruleset"]

PACK = Path(__file__).parent / "pack"
_STATES = 4  # of the rules' files, by which an evaluator may have been going still

log = structlog.get_logger()
_rules = Gauge("tocsin_detect_rules", "Rules by state", ["state"])


class Ruleset:
    """The current rules of some directories. `current` is None until the first load is done.

    Parsed rules are kept in *cache_folder* for the next start, of this process and others.
    """

    def __init__(self, directories: Sequence[Path], cache_folder: Path | None = None) -> None:
        self.directories = tuple(directories)
        self.cache_folder = cache_folder
        self._cache = RuleCache(cache_folder) if cache_folder else None
        self._loaded = asyncio.Event()
        self._read: ReadFiles = {}
        self._known: deque[str] = deque(maxlen=_STATES)
        self._refreshing = asyncio.Lock()
        self.current: InForce | None = None

    async def in_force(self) -> InForce:
        """Return the rules in force, waiting for the first load."""
        await self._loaded.wait()
        if self.current is None:
            raise AssertionError("loaded, yet nothing is in force")
        return self.current

    async def knows(self, signature: str) -> bool:
        """Tell whether the rules of *signature* are in force here, or were before these."""
        if signature not in self._known:
            await self.refresh()
        return signature in self._known

    async def refresh(self) -> int:
        """Load the rules anew if a file changed since; a reconciler's work, so it returns 0."""
        async with self._refreshing:
            signature = await asyncio.to_thread(signature_of, self.directories)
            if self.current is not None and signature == self.current.signature:
                return 0
            current = await asyncio.to_thread(self._load)
            self.current = current
            self._known.append(current.signature)
        self._loaded.set()
        self._tell(current)
        return 0

    def _load(self) -> InForce:
        loaded = load_in_force(self.directories, self._read, cache=self._cache)
        if self._cache is not None:
            self._cache.save()
        return loaded

    async def problem(self) -> str | None:
        """Return why events cannot be evaluated yet, or None (a readiness check)."""
        return None if self.current else "rules are being loaded"

    def _tell(self, current: InForce) -> None:
        report = current.report
        _rules.labels("loaded").set(len(report.rules))
        _rules.labels("correlations").set(len(report.correlations))
        _rules.labels("rejected").set(len(report.errors))
        _rules.labels("skipped").set(len(report.skipped))
        for error in report.errors[:20]:
            log.warning("rule rejected", error=str(error))
        log.info(
            "rules in force",
            loaded=len(report.rules),
            correlations=len(report.correlations),
            rejected=len(report.errors),
            skipped=len(report.skipped),
            seconds=round(current.loaded_in_seconds, 2),
        )
