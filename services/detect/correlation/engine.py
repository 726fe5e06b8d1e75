"""Correlations over a stream of matches: the same firings whatever the order they arrive in.

A match waits until the watermark has passed its event time; then all that waited is taken in by
event time. What arrives behind the watermark is late: it is counted, and taken in as well as its
group still can. The watermark follows an event clock, which runs on with the wall clock from the
latest event time seen, so that silence too comes to an end. Time is given, never read.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping

from services.detect.correlation.closing import Closing
from services.detect.correlation.firing import SEPARATOR, Firing, Matched, Outcome
from services.detect.correlation.model import METRICS, SECOND, Missing, Type
from services.detect.correlation.plan import Feed, Plan, Step, closes
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
_LAST = b"\xff" * 17


class Engine:
    """All correlations of a plan, for one partition."""

    def __init__(
        self, plan: Plan, *, lateness: int = 10 * SECOND, groups: int = MAX_GROUPS
    ) -> None:
        self.plan = plan
        self.lateness = lateness
        self.counts: Counter[tuple[str, str]] = Counter()
        """(rule id, what) → how often: late, late_ignored, duplicates, ungrouped, evicted_…"""
        self.watermark = -(1 << 62)
        self.newest = -(1 << 62)
        self.newest_at = 0
        self.made = 0
        self._limit = groups
        self.processors: list[Processor] = [self._processor(step) for step in plan.steps]
        self.waiting: list[list[Update]] = [[] for _ in plan.steps]

    def _processor(self, step: Step) -> Processor:
        def count(what: str, times: int) -> None:
            self.counts[step.rule.id, what] += times

        return processor_of(step)(step, self._limit, count)

    def feed(self, matches: Iterable[Matched], now: int) -> None:
        """Take in *matches*, which arrived at *now* (microseconds, the wall clock)."""
        feeds, steps = self.plan.feeds, self.plan.steps
        newest = self.newest
        for match in matches:
            if match.time > newest:
                newest = match.time
            for feed in feeds.get(match.rule_id, ()):
                if not match.family or steps[feed.step].family == match.family:
                    self._enqueue(feed, steps[feed.step], match, ())
        if newest > self.newest:
            self.newest, self.newest_at = newest, now

    def _enqueue(self, feed: Feed, step: Step, match: Matched, via: tuple[bytes, ...]) -> None:
        rule = step.rule
        fields = match.fields
        parts = []
        for name in feed.group:
            value = fields.get(name)
            if value is None:
                if rule.missing is Missing.DROP:
                    self.counts[rule.id, "ungrouped"] += 1
                    return
                value = _ABSENT
            parts.append(fold(value))
        found: str | float | None = None
        if feed.values:
            found = self._value(feed, step, fields)
            if found is None:
                return
        if match.time <= self.watermark:
            self.counts[rule.id, "late"] += 1
        tie = feed.position if rule.type is Type.TEMPORAL_ORDERED else 0
        self.made += 1
        self.waiting[feed.step].append(
            Update(
                match.time,
                tie,
                match.event_id,
                self.made,
                feed.position,
                SEPARATOR.join(parts),
                found,
                match.ref,
                via,
                fields,
            )
        )

    def _value(self, feed: Feed, step: Step, fields: Mapping[str, str]) -> str | float | None:
        """Return what is counted or summed; None, and counted, where the event has nothing."""
        values = [fields.get(name) for name in feed.values]
        if any(value is None for value in values):
            self.counts[step.rule.id, "without_value"] += 1
            return None
        condition = step.rule.condition
        texts = [value for value in values if value is not None]
        if step.rule.type in METRICS and not (
            step.rule.type is Type.VALUE_PERCENTILE and condition and condition.percentile is None
        ):
            number = number_of(texts[0])
            if number is None:
                self.counts[step.rule.id, "not_a_number"] += 1
            return number
        return SEPARATOR.join(map(fold, texts))

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
                waiting.sort()
                end = bisect_right(waiting, (self.watermark, 1 << 62, _LAST))
                self._limit_waiting(index, len(waiting) - end)
                due, self.waiting[index] = waiting[:end], waiting[end:]
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
        above = self.plan.feeds.get(rule.id)
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
        late = self.watermark
        for feed in above:
            # A firing at the watermark itself is in time: those above it have not been asked yet.
            self.watermark = -(1 << 62)
            self._enqueue(feed, self.plan.steps[feed.step], match, via)
        self.watermark = late

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
