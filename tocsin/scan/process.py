"""One process of a scan: rules loaded once, then part after part."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from services.detect.correlation.extract import Extractor
from services.detect.correlation.firing import Matched
from services.detect.correlation.plan import Plan
from services.detect.engine.matcher import FastMatcher
from services.detect.rules.match import Event
from services.detect.rules.model import LogSource, Rule
from shared.clock import rfc3339
from shared.ids import derived_id
from tocsin.scan.correlate import when
from tocsin.scan.events import Unreadable, events_of, time_of
from tocsin.scan.work import Done, Hit, Work

__all__ = ["InUse", "Scanner"]

_REASONS = 3


@dataclass(frozen=True, slots=True)
class InUse:
    """The rules of a scan: those that are *shown* by id, others only feed correlations."""

    rules: tuple[Rule, ...]
    shown: frozenset[str]
    plan: Plan


class Scanner:
    """The rules in force, asked about parts of files."""

    def __init__(self, use: InUse, hint: LogSource, now: datetime) -> None:
        self._matcher = FastMatcher(use.rules)
        self._positions = {rule.id: position for position, rule in enumerate(use.rules)}
        self._shown, self._needed = use.shown, frozenset(use.plan.needed)
        self._extractor = Extractor(use.plan, use.rules)
        self._hint, self._now = hint, now

    def scan(self, work: Work) -> Done:
        """Return what *work* gives."""
        events = broken = timeless = 0
        hits: list[Hit] = []
        matches: list[Matched] = []
        reasons: list[str] = []
        for found in events_of(work, self._hint, self._now):
            if isinstance(found, Unreadable):
                broken += 1
                if len(reasons) < _REASONS:
                    reasons.append(f"record {found.record}: {found.why}")
                continue
            events += 1
            record, event = found
            for match in self._matcher.match(event):
                time = time_of(event.fields)
                if match.rule.id in self._shown:
                    hits.append(Hit(record, self._positions[match.rule.id], time))
                if match.rule.id in self._needed:
                    instant = when(time)
                    if instant is None:
                        timeless += 1
                    else:
                        place = (work.file, work.start, events)
                        matches.extend(self._counted(match.rule.id, event, place, record, instant))
        return Done(
            work.file, events, tuple(hits), broken, tuple(reasons), work.position,
            tuple(matches), timeless,
        )  # fmt: skip

    def _counted(
        self, rule_id: str, event: Event, place: object, record: int, instant: datetime
    ) -> Iterator[Matched]:
        said = rfc3339(instant)
        envelope = {
            "id": str(derived_id("scanned", place)), "time": said, "observed_time": said,
        }  # fmt: skip
        return self._extractor.matches(rule_id, event, envelope, record)
