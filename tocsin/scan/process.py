"""One process of a scan: rules loaded once, then part after part."""

from datetime import datetime

from services.detect.engine.matcher import FastMatcher
from services.detect.rules.model import LogSource, Rule
from tocsin.scan.events import Unreadable, events_of, time_of
from tocsin.scan.work import Done, Hit, Work

__all__ = ["Scanner"]

_REASONS = 3


class Scanner:
    """The rules in force, asked about parts of files."""

    def __init__(self, rules: tuple[Rule, ...], hint: LogSource, now: datetime) -> None:
        self._matcher = FastMatcher(rules)
        self._positions = {rule.id: position for position, rule in enumerate(rules)}
        self._hint, self._now = hint, now

    def scan(self, work: Work) -> Done:
        """Return what *work* gives."""
        events = broken = 0
        hits: list[Hit] = []
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
                position = self._positions[match.rule.id]
                hits.append(Hit(record, position, time_of(event.fields)))
        return Done(work.file, events, tuple(hits), broken, tuple(reasons), work.position)
