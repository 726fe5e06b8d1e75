"""A whole scan: rules loaded, files read, hits told as they are found, a summary at the end."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from services.detect.correlation.model import Correlation
from services.detect.rules.load import LoadReport, load_rules
from services.detect.rules.model import Level, LogSource, Rule
from shared.errors import UserError
from tocsin.reading import ReadingError
from tocsin.scan.correlate import Correlator
from tocsin.scan.parts import files_of, parts
from tocsin.scan.pool import scanning
from tocsin.scan.process import InUse
from tocsin.scan.work import Done, Work

__all__ = ["Found", "Options", "ScanError", "Summary", "load", "scan"]

_LEVELS = tuple(Level)
_UNREADABLE = 20


class ScanError(UserError):
    """The scan cannot be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is scanned with what. *hint* is the logsource of the files, if their user knows it."""

    rules: Sequence[Path]
    places: Sequence[Path]
    hint: LogSource
    at_least: Level
    jobs: int


@dataclass(frozen=True, slots=True)
class Found:
    """A rule that an event of a file fulfils, or a correlation that it makes whole."""

    file: str
    record: int
    rule: Rule | Correlation
    time: str | None

    def as_json(self) -> dict[str, object]:
        """Return it as one line of the JSON output."""
        return {
            "file": self.file,
            "record": self.record,
            "rule_id": self.rule.id,
            "title": self.rule.title,
            "level": str(self.rule.level),
            "time": self.time,
        }


@dataclass(slots=True)
class Summary:
    """What a scan came to."""

    files: int = 0
    events: int = 0
    hits: int = 0
    broken: int = 0
    complaints: list[str] = field(default_factory=list)
    failed: int = 0
    timeless: int = 0


def load(places: Sequence[Path], at_least: Level) -> tuple[LoadReport, InUse]:
    """Return what *places* hold, and what is shown of at least that level; ScanError for nothing.

    As in the service, rules that a correlation only counts are not shown on their own.
    """
    for place in places:
        if not place.exists():
            raise ScanError(f"{place}: there is no such file or directory of rules")
    report = load_rules(places)
    least = _LEVELS.index(at_least)
    plan = report.plan
    rules = tuple(
        rule
        for rule in report.rules
        if _LEVELS.index(rule.level) >= least or rule.id in plan.needed
    )
    shown = frozenset(
        rule.id
        for rule in rules
        if _LEVELS.index(rule.level) >= least and rule.id not in plan.silent
    )
    shown |= {
        step.rule.id
        for step in plan.steps
        if _LEVELS.index(step.level) >= least and step.rule.id not in plan.silent
    }
    if not shown:
        why = f", the first reason: {report.errors[0]}" if report.errors else ""
        raise ScanError(f"there is no rule to scan with ({report.documents} documents read{why})")
    return report, InUse(rules, shown, plan)


def scan(
    options: Options,
    use: InUse,
    now: datetime,
    summary: Summary,
    on_progress: Callable[[str, int], None] = lambda file, position: None,
) -> Iterator[Found]:
    """Yield what the rules in *use* find, record by record; *summary* grows on the way.

    Correlations come last, by time, as their events may lie in several files.
    """
    files = files_of(options.places)
    summary.files = len(files)
    jobs = max(1, min(options.jobs, 64))
    correlator = Correlator(use.plan)
    with scanning(use, options.hint, now, jobs) as pool:
        for done in pool.run(_all_parts(files, summary)):
            _add(summary, done)
            on_progress(done.file, done.position)
            for hit in done.hits:
                rule = use.rules[hit.rule]
                yield Found(done.file, hit.record, rule, hit.time)
            correlator.take(done)
    for step, file, record, time in correlator.finish():
        if step.rule.id in use.shown:
            summary.hits += 1
            yield Found(file, record, replace(step.rule, level=step.level), time)


def _all_parts(files: Sequence[Path], summary: Summary) -> Iterator[Work]:
    for path in files:
        try:
            yield from parts(path)
        except (ReadingError, OSError) as error:
            summary.failed += 1
            summary.complaints.append(str(error))


def _add(summary: Summary, done: Done) -> None:
    summary.events += done.events
    summary.hits += len(done.hits)
    summary.broken += done.broken
    summary.timeless += done.timeless
    if done.events == 0 and done.broken:
        summary.failed += 1
    room = _UNREADABLE - len(summary.complaints)
    summary.complaints.extend(f"{done.file}: {reason}" for reason in done.reasons[: max(0, room)])
