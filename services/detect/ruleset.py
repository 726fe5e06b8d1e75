"""The rules in force: loaded off the event loop, looked at for changes, swapped in one step."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import Gauge

from services.detect.correlation.extract import Extractor
from services.detect.correlation.plan import Plan
from services.detect.engine.matcher import FastMatcher
from services.detect.rules.load import LoadReport, load_rules, rule_files
from services.detect.rules.match import Matcher
from services.detect.rules.model import Rule

__all__ = ["PACK", "Ruleset"]

PACK = Path(__file__).parent / "pack"

log = structlog.get_logger()
_rules = Gauge("tocsin_detect_rules", "Rules by state", ["state"])


@dataclass(frozen=True, slots=True)
class InForce:
    """What evaluates now, and the report of how it came to be."""

    matcher: Matcher
    report: LoadReport
    extractor: Extractor
    unrouted: Sequence[Rule]
    """Rules for a log that nothing here sends unless an envelope names it."""
    loaded_in_seconds: float

    @property
    def plan(self) -> Plan:
        """Return the correlations in force."""
        return self.report.plan


class Ruleset:
    """The current rules of some directories. `current` is None until the first load is done."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = tuple(directories)
        self._signature: object = None
        self._loaded = asyncio.Event()
        self.current: InForce | None = None

    async def in_force(self) -> InForce:
        """Return the rules in force, waiting for the first load."""
        await self._loaded.wait()
        if self.current is None:
            raise AssertionError("loaded, yet nothing is in force")
        return self.current

    async def refresh(self) -> int:
        """Load the rules anew if a file changed since; a reconciler's work, so it returns 0."""
        signature = await asyncio.to_thread(self._look)
        if signature == self._signature:
            return 0
        started = time.monotonic()
        report, matcher = await asyncio.to_thread(self._load)
        self.current = InForce(
            matcher,
            report,
            Extractor(report.plan, report.rules),
            matcher.unrouted,
            time.monotonic() - started,
        )
        self._signature = signature
        self._loaded.set()
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
            seconds=round(self.current.loaded_in_seconds, 2),
        )
        return 0

    async def problem(self) -> str | None:
        """Return why events cannot be evaluated yet, or None (a readiness check)."""
        return None if self.current else "rules are being loaded"

    def _look(self) -> object:
        found = [(str(path), path.stat()) for path in rule_files(self._directories)]
        return hash(tuple((name, s.st_mtime_ns, s.st_size, s.st_ino) for name, s in found))

    def _load(self) -> tuple[LoadReport, FastMatcher]:
        report = load_rules(self._directories)
        return report, FastMatcher(report.rules)
