"""Correlations over a stream of matches: the same firings whatever the order they arrive in.

A match waits until the watermark has passed its event time; then all that waited is taken in by
event time. What arrives behind the watermark is late: it is counted, and taken in as well as its
group still can. The watermark follows an event clock, which runs on with the wall clock from the
latest event time seen, so that silence too comes to an end. Time is given, never read.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.detect.correlation.closing import Closing
from services.detect.correlation.firing import SEPARATOR, Firing, Matched, Outcome
from services.detect.correlation.model import METRICS, SECOND, Missing, Type
from services.detect.correlation.plan import Feed, Plan, Step, closes
from services.detect.correlation.waiting import Waiting
from services.detect.correlation.windows import (
    Distinct,
    Processor,
    Sequence,
    Sliding,
    Update,
    number_of,
)
from services.detect.rules.text import fold

__all__ = ["MAX_GROUPS", "Engine", "processor_of"]

MAX_GROUPS = 1_000_000
MAX_WAITING = 1_000_000
_ABSENT = "\x00absent"
_BEGINNING = -(1 << 62)
_new: Callable[[type[Update], Iterable[Any]], Update] = tuple.__new__  # as cheap as a tuple


@dataclass(frozen=True, slots=True)
class _Entry:
    """A feed, with all that taking a match in needs to know."""

    step: int
    rule_id: str
    family: str
    position: int
    group: tuple[str, ...]
    only: str | None
    values: tuple[str, ...]
    ordered: bool
    drops: bool
    numeric: bool


def _entry(feed: Feed, step: Step) -> _Entry:
    rule = step.rule
    shares = (
        rule.type is Type.VALUE_PERCENTILE
        and rule.condition is not None
        and rule.condition.percentile is None
    )
    return _Entry(
        step=feed.step,
        rule_id=rule.id,
        family=step.family,
        position=feed.position,
        group=feed.group,
        only=feed.group[0] if len(feed.group) == 1 else None,
        values=feed.values,
        ordered=rule.type is Type.TEMPORAL_ORDERED,
        drops=rule.missing is Missing.DROP,
        numeric=rule.type in METRICS and not shares,
    )


class Engine:
    """All correlations of a plan, for one partition."""

    def __init__(
        self, plan: Plan, *, lateness: int = 10 * SECOND, groups: int = MAX_GROUPS
    ) -> None:
        self.plan = plan
        self.lateness = lateness
        self.counts: Counter[tuple[str, str]] = Counter()
        """(rule id, what) → how often: late, late_ignored, duplicates, ungrouped, evicted_…"""
        self.watermark = _BEGINNING
        self.newest = _BEGINNING
        self.newest_at = 0
        self.made = 0
        self._limit = groups
        self.processors: list[Processor] = [self._processor(step) for step in plan.steps]
        self.waiting = [Waiting() for _ in plan.steps]
        self._entries = {
            rule_id: tuple(_entry(feed, plan.steps[feed.step]) for feed in feeds)
            for rule_id, feeds in plan.feeds.items()
        }

    def _processor(self, step: Step) -> Processor:
        def count(what: str, times: int) -> None:
            self.counts[step.rule.id, what] += times

        return processor_of(step)(step, self._limit, count)

    def feed(self, matches: Iterable[Matched], now: int) -> None:
        """Take in *matches*, which arrived at *now* (microseconds, the wall clock)."""
        entries = self._entries
        newest = self.newest
        for match in matches:
            rule_id, _, time, _, _, family = match
            if time > newest:
                newest = time
            for entry in entries.get(rule_id, ()):
                if not family or entry.family == family:
                    self._enqueue(entry, match, (), self.watermark)
        if newest > self.newest:
            self.newest, self.newest_at = newest, now

    def _enqueue(
        self, entry: "_Entry", match: Matched, via: tuple[bytes, ...], watermark: int
    ) -> None:
        _, event_id, time, fields, ref, _ = match
        if entry.only is not None and (value := fields.get(entry.only)) is not None:
            key = fold(value)
        else:
            joined = self._key(entry, fields)
            if joined is None:
                return
            key = joined
        found: str | float | None = None
        if entry.values:
            found = self._value(entry, fields)
            if found is None:
                return
        if time <= watermark:
            self.counts[entry.rule_id, "late"] += 1
        self.made += 1
        tie = entry.position if entry.ordered else 0
        update = (
            time, tie, event_id, self.made, entry.position, key, found, ref, via, fields,
        )  # fmt: skip
        self.waiting[entry.step].add(_new(Update, update))

    def _key(self, entry: "_Entry", fields: Mapping[str, str]) -> str | None:
        parts = []
        for name in entry.group:
            value = fields.get(name)
            if value is None:
                if entry.drops:
                    self.counts[entry.rule_id, "ungrouped"] += 1
                    return None
                value = _ABSENT
            parts.append(fold(value))
        return SEPARATOR.join(parts)

    def _value(self, entry: "_Entry", fields: Mapping[str, str]) -> str | float | None:
        """Return what is counted or summed; None, and counted, where the event has nothing."""
        texts = []
        for name in entry.values:
            value = fields.get(name)
            if value is None:
                self.counts[entry.rule_id, "without_value"] += 1
                return None
            texts.append(value)
        if not entry.numeric:
            return SEPARATOR.join(map(fold, texts))
        number = number_of(texts[0])
        if number is None:
            self.counts[entry.rule_id, "not_a_number"] += 1
        return number

    def advance(self, now: int) -> Outcome:
        """Return what the time until *now* (the wall clock) has decided."""
        out = Outcome()
        if self.newest_at:
            clock = self.newest + max(0, now - self.newest_at)
            self.watermark = max(self.watermark, clock - self.lateness)
            self._settle(out)
        return out

    def finish(self) -> Outcome:
        """Return what is decided once it is known that nothing else will come."""
        out = Outcome()
        if self.newest_at or any(self.waiting):
            longest = max((step.rule.timespan for step in self.plan.steps), default=0)
            self.watermark = max(self.watermark, self.newest + 1)
            self._settle(out)
            self.watermark += 2 * longest + SECOND
            self._settle(out)
        return out

    def _settle(self, out: Outcome) -> None:
        """Take in all that waited until the watermark: correlations that feed others first."""
        before = len(out.firings)
        for index, processor in enumerate(self.processors):
            waiting = self.waiting[index]
            if waiting:
                due = waiting.until(self.watermark)
                self._limit_waiting(index, len(waiting))
                processor.run(due, out)
            processor.expire(self.watermark, out)
            for firing in out.firings[before:]:
                self._chain(firing)
            before = len(out.firings)

    def _limit_waiting(self, index: int, count: int) -> None:
        if count > MAX_WAITING:
            # A clock far in the future is cut off before it gets here; this is a flood.
            self.counts[self.plan.steps[index].rule.id, "waiting_over_limit"] += count - MAX_WAITING

    def _chain(self, firing: Firing) -> None:
        rule = firing.step.rule
        above = self._entries.get(rule.id)
        if not above:
            return
        identity = firing.detection_id.bytes
        last = firing.evidence[-1] if firing.evidence else None
        match = Matched(
            rule.id, identity, firing.end, {**firing.fields, **firing.group},
            last.ref if last else 0,
        )  # fmt: skip
        via = tuple(
            dict.fromkeys(
                leaf for event in firing.evidence for leaf in (event.via or (event.event_id,))
            )
        )[:100]
        for entry in above:
            # A firing at the watermark itself is in time: those above have not been asked yet.
            self._enqueue(entry, match, via, _BEGINNING)

    @property
    def groups(self) -> int:
        """Return how many groups are alive."""
        return sum(len(processor.groups) for processor in self.processors)

    @property
    def restless(self) -> bool:
        """Return whether the passing of time may decide something."""
        return any(self.waiting) or any(processor.waiting for processor in self.processors)


def processor_of(step: Step) -> type[Processor]:
    """Return how *step* is evaluated."""
    if closes(step.rule):
        return Closing
    return {
        Type.EVENT_COUNT: Sliding,
        Type.VALUE_SUM: Sliding,
        Type.VALUE_COUNT: Distinct,
    }.get(step.rule.type, Sequence)
