"""Groups over sliding event-time windows: counts, sums, distinct values, and what came with what.

A processor holds the groups of one correlation. It is given updates in order of event time (late
ones may stand out of it), and decides at each whether the group fires. A group that fired takes in
what still belongs to its window, and may fire again only after that.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, NamedTuple
from uuid import UUID

from services.detect.correlation.firing import Counted, Firing, Outcome, Tally
from services.detect.correlation.model import Refire, Type
from services.detect.correlation.plan import Step
from services.detect.rules.model import AllOf, AtLeast, Item, Node, Not, Selection

__all__ = [
    "MAX_ENTRIES", "MAX_EVIDENCE", "Chain", "Distinct", "Fired", "Processor", "Records", "Sequence",
    "Sliding", "Update", "Values", "number_of", "satisfied",
]  # fmt: skip

MAX_ENTRIES = 10_000
"""Events kept of one group; older ones beyond it are given up, and counted."""
MAX_EVIDENCE = 100

_NEVER = -(1 << 62)


class Update(NamedTuple):
    """One match for one correlation; the first four order it."""

    time: int
    tie: int
    event_id: bytes
    number: int
    position: int
    key: str
    value: Any
    ref: int
    via: tuple[bytes, ...]
    fields: Any


class Processor:
    """What all kinds share: groups, their end, their limit, and what is told of them."""

    kind: type[Any]

    def __init__(self, step: Step, limit: int, count: Callable[[str, int], None]) -> None:
        self.step, self.limit, self.count = step, limit, count
        self.groups: dict[str, Any] = {}
        self._span = step.rule.timespan
        self._width = max(self._span // 16, 1_000_000)
        self._ending: dict[int, list[str]] = {}

    def run(self, updates: Iterable[Update], out: Outcome) -> None:
        """Take in *updates*."""
        groups, add = self.groups, self.add
        for update in updates:
            group = groups.get(update[5])
            if group is None:
                group = self.open(update[5], update[0], out)
            add(group, update, out)

    def add(self, group: Any, update: Update, out: Outcome) -> None:
        raise NotImplementedError

    def deadline(self, group: Any) -> int:
        """Return the instant after which *group* says nothing any more."""
        raise NotImplementedError

    def end(self, key: str, group: Any, out: Outcome) -> None:
        """Take leave of *group*."""
        raise NotImplementedError

    def open(self, key: str, time: int, out: Outcome) -> Any:
        """Return a new group, at the cost of the oldest one where there are too many."""
        if len(self.groups) >= self.limit:
            oldest = next(iter(self.groups))
            self.end(oldest, self.groups.pop(oldest), out)
            self.count("evicted_groups", 1)
        group = self.groups[key] = self.kind()
        self._ending.setdefault((time + self._span) // self._width, []).append(key)
        return group

    def expire(self, watermark: int, out: Outcome) -> None:
        """End the groups whose time is over."""
        for bucket in sorted(b for b in self._ending if b < watermark // self._width):
            for key in self._ending.pop(bucket):
                group = self.groups.get(key)
                if group is None:
                    continue
                deadline = self.deadline(group)
                if deadline < watermark:
                    del self.groups[key]
                    self.end(key, group, out)
                else:
                    self._ending.setdefault(deadline // self._width, []).append(key)

    def restore(self, groups: dict[str, Any]) -> None:
        """Take *groups* over from a snapshot."""
        self.groups = groups
        self._ending.clear()
        for key, group in groups.items():
            self._ending.setdefault(self.deadline(group) // self._width, []).append(key)

    @property
    def waiting(self) -> bool:
        """Return whether time alone may still change something that people see."""
        return False


class Fired:
    """What a group that fired remembers: whether, when, as what, and what came after."""

    __slots__ = ("detection", "events", "seen", "start", "until")

    def __init__(self) -> None:
        self.until = _NEVER
        self.start = 0
        self.events = 0
        self.detection = b""
        self.seen = 0  # the latest event in the window

    def fire(self, firing: Firing, span: int, out: Outcome) -> None:
        out.firings.append(firing)
        if firing.step.rule.refire is Refire.ONCE:
            self.until, self.start = firing.start + span, firing.start
            self.events, self.seen = firing.events, firing.end
            self.detection = firing.detection_id.bytes

    def over(self, told: int, out: Outcome) -> None:
        """Tell how many events the window had in all, if more came after it fired."""
        if self.detection and self.events > told:
            out.tallies.append(Tally(UUID(bytes=self.detection), self.events, self.seen))
        self.until, self.detection = _NEVER, b""


_RECORD = Struct("<q16sQd")
_TIME = Struct("<q")
_SIZE = _RECORD.size


class Records(Fired):
    """Events of a window in order of time, 40 bytes each."""

    __slots__ = ("buffer", "head", "last", "last_id", "told", "total")

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray()
        self.head = 0
        self.last = _NEVER
        self.last_id = b""
        self.total = 0.0
        self.told = 0

    def __len__(self) -> int:
        return (len(self.buffer) - self.head) // _SIZE

    @property
    def first(self) -> int:
        time: int = _TIME.unpack_from(self.buffer, self.head)[0]
        return time

    def insert(self, time: int, event_id: bytes, ref: int, value: float) -> bool:
        """Put an event in its place; return False if it is there already."""
        if time > self.last or (time == self.last and event_id > self.last_id):
            self.buffer += _RECORD.pack(time, event_id, ref, value)
            self.last, self.last_id = time, event_id
        else:
            at = bisect_left(range(len(self)), (time, event_id), key=self._order)
            offset = self.head + at * _SIZE
            if at < len(self) and self._order(at) == (time, event_id):
                return False
            self.buffer[offset:offset] = _RECORD.pack(time, event_id, ref, value)
        self.total += value
        return True

    def _order(self, index: int) -> tuple[int, bytes]:
        time, event_id, _, _ = _RECORD.unpack_from(self.buffer, self.head + index * _SIZE)
        return time, event_id

    def drop_before(self, time: int) -> None:
        buffer, head = self.buffer, self.head
        while head < len(buffer) and _TIME.unpack_from(buffer, head)[0] < time:
            self.total -= _RECORD.unpack_from(buffer, head)[3]
            head += _SIZE
        self._begin_at(head)

    def drop_oldest(self) -> None:
        self.total -= _RECORD.unpack_from(self.buffer, self.head)[3]
        self._begin_at(self.head + _SIZE)

    def _begin_at(self, head: int) -> None:
        if head == len(self.buffer):
            self.total = 0.0  # what subtraction left behind
        if head > 64 * _SIZE or head * 2 >= len(self.buffer):
            del self.buffer[:head]
            head = 0
        self.head = head

    def clear(self) -> None:
        self.buffer.clear()
        self.head, self.total = 0, 0.0
        self.last, self.last_id = _NEVER, b""

    def evidence(self) -> tuple[Counted, ...]:
        """Return the first and the latest events, MAX_EVIDENCE in all."""
        count = len(self)
        chosen: Iterable[int] = range(count)
        if count > MAX_EVIDENCE:
            half = MAX_EVIDENCE // 2
            chosen = (*range(half), *range(count - half, count))
        found = (_RECORD.unpack_from(self.buffer, self.head + i * _SIZE) for i in chosen)
        return tuple(Counted(time, event_id, ref, 0) for time, event_id, ref, _ in found)


class Sliding(Processor):
    """`event_count` and `value_sum` with a lower bound: decided at the event that reaches it."""

    kind = Records

    def __init__(self, step: Step, limit: int, count: Callable[[str, int], None]) -> None:
        super().__init__(step, limit, count)
        condition = step.rule.condition
        if condition is None:
            raise AssertionError("counts have a condition")
        self._holds = condition.holds
        self._sums = step.rule.type is Type.VALUE_SUM
        every = step.rule.refire is Refire.EVERY
        reached = max(bound for _, bound in condition.bounds) + 1
        # A count forgets its events when it is reached; what goes on counting needs a limit.
        self._most = MAX_ENTRIES if self._sums else max(reached, MAX_ENTRIES if every else 0)

    def add(self, group: Records, update: Update, out: Outcome) -> None:
        time = update[0]
        span = self._span
        if group.until != _NEVER:
            if time <= group.until:
                self._add_to_fired(group, update)
                return
            group.over(group.told, out)
            group.clear()
        value = update[6] if self._sums else 0.0
        if not group.insert(time, update[2], update[7], value):
            self.count("duplicates", 1)
            return
        begin = group.last - span
        if group.first < begin:
            group.drop_before(begin)
        size = len(group)
        if size > self._most:
            group.drop_oldest()
            size -= 1
            self.count("evicted_events", 1)
        number = group.total if self._sums else size
        if size and self._holds(number):
            firing = Firing(
                self.step, update[5], group.first, group.last, number, size,
                group.evidence(), update[9], (),
                update[2] if self.step.rule.refire is Refire.EVERY else b"",
            )  # fmt: skip
            group.fire(firing, span, out)
            group.told = size

    def _add_to_fired(self, group: Records, update: Update) -> None:
        if update[0] < group.start:
            self.count("late_ignored", 1)
        elif len(group) >= MAX_ENTRIES:
            group.events += 1
            group.seen = max(group.seen, update[0])
            self.count("evicted_events", 1)
        elif group.insert(update[0], update[2], update[7], 0.0):
            group.events += 1
            group.seen = max(group.seen, update[0])
        else:
            self.count("duplicates", 1)

    def deadline(self, group: Records) -> int:
        return group.until if group.until != _NEVER else group.last + self._span

    def end(self, key: str, group: Records, out: Outcome) -> None:
        group.over(group.told, out)


class Values(Fired):
    """The latest event of each value; few are needed, since many of them fire."""

    __slots__ = ("first", "last", "latest", "told")

    def __init__(self) -> None:
        super().__init__()
        self.first = _NEVER  # no value's latest event is older
        self.latest: dict[str, tuple[int, bytes, int]] = {}
        self.last = _NEVER
        self.told = 0


class Distinct(Processor):
    """`value_count` with a lower bound."""

    kind = Values

    def add(self, group: Values, update: Update, out: Outcome) -> None:
        time, event_id, value = update[0], update[2], update[6]
        if group.until != _NEVER:
            if time <= group.until:
                known = group.latest.get(value)
                if time < group.start:
                    self.count("late_ignored", 1)
                elif known is not None and known[1] == event_id:
                    self.count("duplicates", 1)
                else:
                    group.events += 1
                    group.seen = max(group.seen, time)
                    if known is not None or len(group.latest) < MAX_ENTRIES:
                        group.latest[value] = (time, event_id, update[7])
                return
            group.over(group.told, out)
            group.latest.clear()
        latest = group.latest
        known = latest.get(value)
        if known is not None and known[:2] >= (time, event_id):
            if known[1] == event_id:
                self.count("duplicates", 1)
            return
        latest[value] = (time, event_id, update[7])
        group.last = max(group.last, time)
        begin = group.last - self._span
        group.first = min(group.first, time) if len(latest) > 1 else time
        if group.first < begin:
            for old in [v for v, seen in latest.items() if seen[0] < begin]:
                del latest[old]
            group.first = min(seen[0] for seen in latest.values()) if latest else _NEVER
        condition = self.step.rule.condition
        if condition is not None and latest and condition.holds(len(latest)):
            ordered = sorted((seen, value) for value, seen in latest.items())
            firing = Firing(
                self.step, update[5], ordered[0][0][0], group.last, len(latest), len(latest),
                tuple(Counted(*seen, 0) for seen, _ in ordered[:MAX_EVIDENCE]), update[9],
                tuple(value for _, value in ordered[:MAX_EVIDENCE]),
                event_id if self.step.rule.refire is Refire.EVERY else b"",
            )  # fmt: skip
            group.fire(firing, self._span, out)
            group.told = group.events

    def deadline(self, group: Values) -> int:
        return group.until if group.until != _NEVER else group.last + self._span

    def end(self, key: str, group: Values, out: Outcome) -> None:
        group.over(group.told, out)


class Chain(Fired):
    """The latest event of each rule, or for an order the latest start that led to each rule."""

    __slots__ = ("last", "latest", "told")

    def __init__(self) -> None:
        super().__init__()
        self.latest: dict[int, tuple[Counted, ...]] = {}
        self.last = _NEVER
        self.told = 0


class Sequence(Processor):
    """`temporal` without negation, and `temporal_ordered`: decided at the event that completes it.

    Events of one instant are in any order that fits: logs often know whole seconds only.
    """

    kind = Chain

    def __init__(self, step: Step, limit: int, count: Callable[[str, int], None]) -> None:
        super().__init__(step, limit, count)
        rule = step.rule
        self._ordered = rule.type is Type.TEMPORAL_ORDERED
        negated = _negated(rule.expression)
        self._forbidden = {i for i, name in enumerate(rule.rules) if name in negated}
        wanted = _named(rule.expression) or set(rule.rules)
        self._order = [
            i for i, name in enumerate(rule.rules)
            if name in wanted and i not in self._forbidden
        ]  # fmt: skip

    def add(self, group: Chain, update: Update, out: Outcome) -> None:
        time, position = update[0], update[4]
        counted = Counted(time, update[2], update[7], position, update[8])
        if group.until != _NEVER:
            if time <= group.until:
                self._add_to_fired(group, counted)
                return
            group.over(group.told, out)
            group.latest.clear()
        latest = group.latest
        if self._ordered:
            if not self._extend(group, counted):
                return
        else:
            known = latest.get(position)
            if known is not None and known[0][:2] >= counted[:2]:
                if known[0].event_id == counted.event_id:
                    self.count("duplicates", 1)
                return
            latest[position] = (counted,)
        group.last = max(group.last, time)
        begin = group.last - self._span
        for old in [p for p, path in latest.items() if path[0].time < begin]:
            del latest[old]
        evidence = self._complete(latest)
        if evidence:
            firing = Firing(
                self.step, update[5], min(e.time for e in evidence), group.last,
                len(evidence), len(evidence), evidence, update[9], (),
                update[2] if self.step.rule.refire is Refire.EVERY else b"",
            )  # fmt: skip
            group.fire(firing, self._span, out)
            group.told = group.events

    def _extend(self, group: Chain, counted: Counted) -> bool:
        """Lead the way to *counted*'s rule on; return False where nothing leads there."""
        latest, position = group.latest, counted.position
        if position in self._forbidden:
            path: tuple[Counted, ...] = (counted,)
        elif position not in self._order:
            return False
        elif position == self._order[0]:
            path = (counted,)
        else:
            before = latest.get(self._order[self._order.index(position) - 1])
            if before is None or before[-1].time > counted.time:
                return False
            if any(step.event_id == counted.event_id for step in before):
                return False
            path = (*before, counted)
        known = latest.get(position)
        if known is not None:
            if known[-1].event_id == counted.event_id:
                self.count("duplicates", 1)
                return False
            if (known[0].time, known[-1].time) > (path[0].time, path[-1].time):
                return False
        latest[position] = path
        return True

    def _complete(self, latest: dict[int, tuple[Counted, ...]]) -> tuple[Counted, ...]:
        """Return the evidence if the condition holds, else nothing."""
        if self._ordered:
            path = latest.get(self._order[-1], ())
            # What must not happen between is known at the end: its latest event is after the start.
            for position in self._forbidden:
                between = latest.get(position)
                if path and between and path[0].time <= between[0].time <= path[-1].time:
                    return ()
            return path
        seen = {self.step.rule.rules[position] for position in latest}
        if not satisfied(self.step, seen):
            return ()
        return tuple(sorted(path[0] for path in latest.values()))

    def _add_to_fired(self, group: Chain, counted: Counted) -> None:
        known = group.latest.get(counted.position)
        if counted.time < group.start:
            self.count("late_ignored", 1)
        elif known is not None and any(c.event_id == counted.event_id for c in known):
            self.count("duplicates", 1)
        else:
            group.events += 1
            group.seen = max(group.seen, counted.time)
            group.latest[counted.position] = (counted,)

    def deadline(self, group: Chain) -> int:
        return group.until if group.until != _NEVER else group.last + self._span

    def end(self, key: str, group: Chain, out: Outcome) -> None:
        group.over(group.told, out)


def satisfied(step: Step, seen: set[str]) -> bool:
    """Return whether the rules *seen* fulfil what a temporal correlation asks for."""
    rule = step.rule
    if rule.expression is not None:
        return _holds(rule.expression, seen)
    if rule.condition is not None:
        return rule.condition.holds(len(seen))
    return len(seen) == len(rule.rules)


def _holds(node: Node, seen: set[str]) -> bool:
    match node:
        case Selection(name=name):
            return name in seen
        case Not(node=inner):
            return not _holds(inner, seen)
        case AllOf(nodes=nodes):
            return all(_holds(inner, seen) for inner in nodes)
        case AtLeast(count=count, nodes=nodes):
            return sum(_holds(inner, seen) for inner in nodes) >= count
        case Item():
            return False


def _named(node: Node | None) -> set[str]:
    match node:
        case Selection(name=name):
            return {name}
        case Not(node=inner):
            return _named(inner)
        case AllOf(nodes=nodes) | AtLeast(nodes=nodes):
            return set().union(*map(_named, nodes))
        case _:
            return set()


def _negated(node: Node | None) -> set[str]:
    match node:
        case Not(node=inner):
            return _named(inner)
        case AllOf(nodes=nodes):
            return set().union(*map(_negated, nodes))
        case _:
            return set()


def number_of(text: str) -> float | None:
    """Return the finite number that *text* writes, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
