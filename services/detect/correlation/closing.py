"""Groups decided when their window closes: averages, percentiles, upper bounds, what is absent.

A window begins with a group's first event and ends a timespan later, by the event clock. Where
the condition also holds for nothing at all (`lt: 5`, `eq: 0`), a group that fell silent is asked
once more: a timespan after its last event, when the window that followed it was empty.
"""

import math
from collections import Counter
from collections.abc import Callable

from services.detect.correlation.firing import Counted, Firing, Outcome
from services.detect.correlation.model import Type
from services.detect.correlation.plan import Step
from services.detect.correlation.windows import (
    MAX_ENTRIES,
    MAX_EVIDENCE,
    Processor,
    Update,
    satisfied,
)

__all__ = ["Closing", "Window"]


class Window:
    """The events of one window, as they came; *over* once decided, while silence is waited for."""

    __slots__ = ("counted", "last", "over", "start", "values")

    def __init__(self) -> None:
        self.start = -1
        self.last = -1
        self.over = False
        self.counted: dict[tuple[bytes, int], Counted] = {}
        self.values: list[str | float] = []


class Closing(Processor):
    """Any condition that is known only when a window is over."""

    kind = Window

    def __init__(self, step: Step, limit: int, count: Callable[[str, int], None]) -> None:
        super().__init__(step, limit, count)
        rule = step.rule
        self._takes_values = rule.type not in (Type.EVENT_COUNT, Type.TEMPORAL)
        counts = rule.type in (Type.EVENT_COUNT, Type.VALUE_COUNT)
        self._silence = counts and rule.condition is not None and rule.condition.holds(0)

    def add(self, group: Window, update: Update, out: Outcome) -> None:
        time = update[0]
        if group.start >= 0 and time > group.start + self._span:
            told = self._decide(update[5], group, out) and group.last == group.start
            if time > group.last + self._span and not told:
                self._silent(update[5], group, out)
            group.counted.clear()
            group.values.clear()
            group.start, group.over = -1, False
        if group.start < 0:
            group.start = time
        elif time < group.start:
            self.count("late_ignored", 1)  # only what is late can be older than its window
            return
        group.last = max(group.last, time)
        mark = (update[2], update[4])
        if mark in group.counted or (
            not self._takes_values and self.step.rule.type is Type.EVENT_COUNT
            and any((update[2], p) in group.counted for p in range(len(self.step.members)))
        ):  # fmt: skip
            self.count("duplicates", 1)
            return
        if len(group.counted) >= MAX_ENTRIES:
            self.count("evicted_events", 1)
            return
        group.counted[mark] = Counted(time, update[2], update[7], update[4], update[8])
        if self._takes_values:
            group.values.append(update[6])

    def deadline(self, group: Window) -> int:
        if group.over:
            return group.last + self._span
        return group.start + self._span

    def expire(self, watermark: int, out: Outcome) -> None:
        due: list[tuple[int, str]] = []
        for bucket in sorted(b for b in self._ending if b <= watermark // self._width):
            for key in self._ending.pop(bucket):
                group = self.groups.get(key)
                if group is None:
                    continue
                deadline = self.deadline(group)
                if deadline <= watermark:
                    due.append((deadline, key))
                else:
                    self._ending.setdefault(deadline // self._width, []).append(key)
        for _, key in sorted(due):
            self._time_is_up(key, self.groups[key], watermark, out)

    def _time_is_up(self, key: str, group: Window, watermark: int, out: Outcome) -> None:
        if not group.over:
            fired = self._decide(key, group, out)
            # A window of one instant ends where its silence does: it has been told already.
            if self._silence and not (fired and group.last == group.start):
                group.over = True
                if (deadline := self.deadline(group)) > watermark:
                    self._ending.setdefault(deadline // self._width, []).append(key)
                    return
        if group.over:
            self._silent(key, group, out)
        del self.groups[key]

    def end(self, key: str, group: Window, out: Outcome) -> None:
        """An evicted window is not decided: part of it would look like all of it."""

    def _decide(self, key: str, group: Window, out: Outcome) -> bool:
        if group.over:
            return False
        held, number, values = self._number(group)
        if held:
            events = sorted(group.counted.values())
            out.firings.append(
                Firing(
                    self.step,
                    key,
                    group.start,
                    group.start + self._span,
                    number,
                    len(events),
                    _some(events),
                    {},
                    values,
                )
            )
        return held

    def _silent(self, key: str, group: Window, out: Outcome) -> None:
        if not self._silence:
            return
        latest = max(group.counted.values(), default=None)
        out.firings.append(
            Firing(
                self.step,
                key,
                group.last,
                group.last + self._span,
                0,
                0,
                (latest,) if latest else (),
                {},
                (),
            )
        )

    def _number(self, group: Window) -> tuple[bool, float, tuple[str, ...]]:
        rule = self.step.rule
        condition, values = rule.condition, group.values
        if rule.type is Type.TEMPORAL:
            seen = {rule.rules[counted.position] for counted in group.counted.values()}
            return satisfied(self.step, seen), len(seen), ()
        if condition is None:
            raise AssertionError("only temporal types go without a condition")
        if rule.type is Type.EVENT_COUNT:
            number: float = len(group.counted)
        elif rule.type is Type.VALUE_COUNT:
            distinct = sorted({str(value) for value in values})
            held = condition.holds(len(distinct))
            return held, len(distinct), tuple(distinct[:MAX_EVIDENCE])
        elif rule.type is Type.VALUE_PERCENTILE and condition.percentile is None:
            return self._rare(values)
        else:
            numbers = sorted(value for value in values if isinstance(value, float))
            if rule.type is Type.VALUE_SUM:
                number = math.fsum(numbers)
            elif not numbers:
                return False, 0, ()
            elif rule.type is Type.VALUE_AVG:
                number = math.fsum(numbers) / len(numbers)
            else:
                number = _nearest_rank(numbers, condition.percentile or 50.0)
        return condition.holds(number), number, ()

    def _rare(self, values: list[str | float]) -> tuple[bool, float, tuple[str, ...]]:
        """Return the values whose share of all is within the bounds, and the least share."""
        condition = self.step.rule.condition
        counts = Counter(map(str, values))
        shares = {value: 100 * times / len(values) for value, times in counts.items()}
        within = sorted(
            (share, value)
            for value, share in shares.items()
            if condition and condition.holds(share)
        )
        if not within:
            return False, 0, ()
        return True, within[0][0], tuple(value for _, value in within[:MAX_EVIDENCE])

    @property
    def waiting(self) -> bool:
        return bool(self.groups)


def _nearest_rank(numbers: list[float], percentile: float) -> float:
    return numbers[max(0, math.ceil(percentile / 100 * len(numbers)) - 1)]


def _some(events: list[Counted]) -> tuple[Counted, ...]:
    if len(events) <= MAX_EVIDENCE:
        return tuple(events)
    half = MAX_EVIDENCE // 2
    return (*events[:half], *events[-half:])
