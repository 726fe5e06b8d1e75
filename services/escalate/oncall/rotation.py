"""Rotations as pure arithmetic: layers, hand-overs in local time, active hours, overrides (§6).

A hand-over is at a local wall-clock time, so a week of duty has 167 or 169 hours where the clocks
change. A local time that does not exist is read with the offset before the change, one that exists
twice as the first (RFC 5545 §3.3.5).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

__all__ = ["Layer", "Override", "Schedule", "Shift", "Window", "gaps", "on_call", "shifts"]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = timedelta(days=1)
# No zone has ever moved by more than a day at once (Samoa, 2011), so an estimate that reckons
# without the clocks' changes is off by no more than this.
_SLACK = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of a week in local time: from *start* to *end* after midnight of each day."""

    days: frozenset[int]
    start: timedelta
    end: timedelta


@dataclass(frozen=True, slots=True)
class Layer:
    """People who take turns of *length*, the first from *begins* (local, no offset) on.

    Without *active* hours it always holds; otherwise only in those.
    """

    name: str
    people: tuple[str, ...]
    zone: ZoneInfo
    begins: datetime
    length: timedelta
    active: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Override:
    """*person* instead of whoever the layers name, for [start, end)."""

    id: UUID
    person: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """Layers from the bottom up: the last that matches wins; over all of them the overrides."""

    name: str
    layers: tuple[Layer, ...]
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class Shift:
    """One person for [start, end); nobody, if *person* is None. *source* is layer or override."""

    start: datetime
    end: datetime
    person: str | None
    source: str | None


def on_call(schedule: Schedule, at: datetime) -> tuple[str | None, str | None]:
    """Return who is on call at the instant *at* and which layer or override says so."""
    for override in reversed(schedule.overrides):
        if override.start <= at < override.end:
            return override.person, f"override {override.id}"
    for layer in reversed(schedule.layers):
        person = _turn(layer, at)
        if person is not None:
            return person, layer.name
    return None, None


def shifts(schedule: Schedule, start: datetime, end: datetime) -> list[Shift]:
    """Return who is on call when in [start, end), without a hole: nobody is a shift as well.

    Two turns of one person that follow on each other are one shift.
    """
    edges = {start}
    for override in schedule.overrides:
        edges |= {override.start, override.end}
    for layer in schedule.layers:
        edges.update(_hand_overs(layer, start, end))
        for window in layer.active:
            for opens, closes in _openings(layer.zone, window, start, end):
                edges |= {opens, closes}
    ordered = [*sorted(edge for edge in edges if start <= edge < end), end]
    found: list[Shift] = []
    for begin, finish in pairwise(ordered):
        person, source = on_call(schedule, begin)
        if found and (found[-1].person, found[-1].source) == (person, source):
            found[-1] = Shift(found[-1].start, finish, person, source)
        else:
            found.append(Shift(begin, finish, person, source))
    return found


def gaps(schedule: Schedule, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return the stretches of [start, end) in which nobody is on call."""
    return [(s.start, s.end) for s in shifts(schedule, start, end) if s.person is None]


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of a wall-clock time in *zone*, as RFC 5545 §3.3.5 reads it."""
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _turn(layer: Layer, at: datetime) -> str | None:
    if instant(layer.begins, layer.zone) > at:
        return None
    if layer.active and not any(
        opens <= at < closes
        for window in layer.active
        for opens, closes in _openings(layer.zone, window, at, at + timedelta.resolution)
    ):
        return None
    return layer.people[_number(layer, at) % len(layer.people)]


def _number(layer: Layer, at: datetime) -> int:
    """Return how many hand-overs there have been since the first turn."""
    local = at.astimezone(layer.zone).replace(tzinfo=None)
    least = max(0, (local - _SLACK - layer.begins) // layer.length)
    most = max(0, (local + _SLACK - layer.begins) // layer.length) + 1
    turns = range(least, most + 1)
    return least + bisect_right(turns, at, key=lambda n: _hand_over(layer, n)) - 1


def _hand_over(layer: Layer, number: int) -> datetime:
    return instant(layer.begins + number * layer.length, layer.zone)


def _hand_overs(layer: Layer, start: datetime, end: datetime) -> Iterator[datetime]:
    first = start.astimezone(layer.zone).replace(tzinfo=None) - _SLACK
    number = max(0, (first - layer.begins) // layer.length)
    while (at := _hand_over(layer, number)) < end:
        yield at
        number += 1


def _openings(
    zone: ZoneInfo, window: Window, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the times at which *window* is open that may touch [start, end)."""
    day = start.astimezone(zone).date() - 2 * _DAY
    last = end.astimezone(zone).date() + _DAY
    while day <= last:
        if day.weekday() in window.days:
            opens, closes = (_on(day, offset, zone) for offset in (window.start, window.end))
            if opens < closes:
                yield opens, closes
        day += _DAY


def _on(day: date, offset: timedelta, zone: ZoneInfo) -> datetime:
    return instant(datetime.combine(day, time()) + offset, zone)  # wall-clock, hence no offset


def overlapping(windows: Sequence[Window]) -> tuple[Window, Window] | None:
    """Return two windows that share an hour of the week, if there are any."""
    week = 7 * _DAY
    spans = sorted(
        (day * _DAY + window.start, day * _DAY + window.end, number)
        for number, window in enumerate(windows)
        for day in window.days
    )
    following: Iterable[tuple[timedelta, timedelta, int]] = (
        *spans[1:],
        *((s + week, e + week, n) for s, e, n in spans[:1]),
    )
    for (_, end, one), (start, _, other) in zip(spans, following, strict=True):
        if start < end:
            return windows[one], windows[other]
    return None
