"""A whole scan: rules loaded, files read, hits told as they are found, a summary at the end."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from services.detect.rules.load import LoadReport, load_rules
from services.detect.rules.model import Level, LogSource, Rule
from shared.errors import UserError
from tocsin.reading import ReadingError
from tocsin.scan.parts import files_of, parts
from tocsin.scan.pool import scanning
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
    """A rule that an event of a file fulfils."""

    file: str
    record: int
    rule: Rule
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


def load(places: Sequence[Path], at_least: Level) -> tuple[LoadReport, tuple[Rule, ...]]:
    """Return what *places* hold, and the rules of *at_least* that level; ScanError for none."""
    for place in places:
        if not place.exists():
            raise ScanError(f"{place}: there is no such file or directory of rules")
    report = load_rules(places)
    least = _LEVELS.index(at_least)
    rules = tuple(rule for rule in report.rules if _LEVELS.index(rule.level) >= least)
    if not rules:
        why = f", the first reason: {report.errors[0]}" if report.errors else ""
        raise ScanError(f"there is no rule to scan with ({report.documents} documents read{why})")
    return report, rules


def scan(
    options: Options,
    rules: tuple[Rule, ...],
    now: datetime,
    summary: Summary,
    on_progress: Callable[[str, int], None] = lambda file, position: None,
) -> Iterator[Found]:
    """Yield what *rules* find, file by file, record by record; *summary* grows on the way."""
    files = files_of(options.places)
    summary.files = len(files)
    jobs = max(1, min(options.jobs, 64))
    with scanning(rules, options.hint, now, jobs) as pool:
        for done in pool.run(_all_parts(files, summary)):
            _add(summary, done)
            on_progress(done.file, done.position)
            for hit in done.hits:
                yield Found(done.file, hit.record, rules[hit.rule], hit.time)


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
    if done.events == 0 and done.broken:
        summary.failed += 1
    room = _UNREADABLE - len(summary.complaints)
    summary.complaints.extend(f"{done.file}: {reason}" for reason in done.reasons[: max(0, room)])
