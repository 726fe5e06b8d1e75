"""Rules as they evaluate: loaded from files, with a mark that says of which state of the files."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.detect.correlation.extract import Extractor
from services.detect.correlation.plan import Plan
from services.detect.engine.bucket import Run, at_once
from services.detect.engine.matcher import FastMatcher
from services.detect.rules.cache import RuleCache
from services.detect.rules.load import LoadReport, ReadFiles, load_rules, rule_files
from services.detect.rules.match import Matcher
from services.detect.rules.model import Rule

__all__ = ["InForce", "load_in_force", "signature_of"]


@dataclass(frozen=True, slots=True)
class InForce:
    """What evaluates now, and the report of how it came to be."""

    matcher: Matcher
    report: LoadReport
    extractor: Extractor
    unrouted: Sequence[Rule]
    """Rules for a log that nothing here sends unless an envelope names it."""
    loaded_in_seconds: float
    signature: str
    """Of the files: the same in every process that read the same files."""

    @property
    def plan(self) -> Plan:
        """Return the correlations in force."""
        return self.report.plan


def signature_of(directories: Sequence[Path]) -> str:
    """Return what changes when a rule file does."""
    digest = hashlib.sha256()
    for path in rule_files(directories):
        try:
            found = path.stat()
        except OSError:
            continue  # gone since it was listed; the next look will tell
        digest.update(f"{path}\0{found.st_mtime_ns}\0{found.st_size}\0{found.st_ino}\n".encode())
    return digest.hexdigest()


def load_in_force(
    directories: Sequence[Path],
    read: ReadFiles,
    before: InForce | None = None,
    run: Run = at_once,
    cache: RuleCache | None = None,
) -> InForce:
    """Return the rules of *directories*; what *read* or *cache* knows is not parsed again.

    What was learned of events by the rules in force *before* is kept; *run* learns on.
    """
    signature = signature_of(directories)
    started = time.monotonic()
    report = load_rules(directories, read=read, cache=cache)
    after = before.matcher if before else None
    matcher = FastMatcher(
        report.rules, after=after if isinstance(after, FastMatcher) else None, run=run
    )
    return InForce(
        matcher,
        report,
        Extractor(report.plan, report.rules),
        matcher.unrouted,
        time.monotonic() - started,
        signature,
    )
