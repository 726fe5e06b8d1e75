"""Rotations: DST weeks of 167 and 169 hours, and an independent computation by dateutil (§6)."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule, tz
from hypothesis import given, settings
from hypothesis import strategies as st

from services.escalate.oncall.rotation import (
    Layer,
    Override,
    Schedule,
    Window,
    gaps,
    on_call,
    overlapping,
    shifts,
)
from shared.zones import zone

pytestmark = pytest.mark.unit
# The half-hour change of Lord Howe, the southern one, a change at midnight, and two usual ones.
ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo",
)  # fmt: skip
WEEK, HOUR = timedelta(weeks=1), timedelta(hours=1)


def wall(year: int, month: int, day: int) -> datetime:
    """Return midnight as a clock on the wall shows it: without an offset."""
    return datetime(year, month, day, tzinfo=UTC).replace(tzinfo=None)


def weekly(name: str = "Europe/Berlin", *, length: timedelta = WEEK, at: int = 9 * 60) -> Layer:
    begins = wall(2026, 1, 5) + timedelta(minutes=at)
    return Layer("week", ("ana", "bo", "cy"), zone(name), begins, length)


@pytest.mark.parametrize(
    ("name", "around", "hours"),
    [
        ("Europe/Berlin", datetime(2026, 3, 26, tzinfo=UTC), 167),
        ("Europe/Berlin", datetime(2026, 10, 22, tzinfo=UTC), 169),
        ("America/New_York", datetime(2026, 3, 6, tzinfo=UTC), 167),
        ("America/New_York", datetime(2026, 10, 29, tzinfo=UTC), 169),
        ("Australia/Lord_Howe", datetime(2026, 4, 3, tzinfo=UTC), 168.5),
        ("Australia/Lord_Howe", datetime(2026, 10, 2, tzinfo=UTC), 167.5),
        ("Etc/UTC", datetime(2026, 3, 26, tzinfo=UTC), 168),
    ],
)
def test_the_week_in_which_the_clocks_change(name: str, around: datetime, hours: float) -> None:
    found = shifts(Schedule("s", (weekly(name),)), around - 2 * WEEK, around + 2 * WEEK)
    (shift,) = [s for s in found if s.start <= around < s.end]
    assert shift.end - shift.start == timedelta(hours=hours)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(ZONES),
    unit=st.sampled_from(["weeks", "days"]),
    length=st.integers(1, 3),
    at=st.integers(0, 24 * 60 - 1),
    minutes=st.lists(st.integers(0, 2 * 366 * 24 * 60), min_size=1, max_size=40),
)
def test_turns_are_those_that_dateutil_counts(
    name: str, unit: str, length: int, at: int, minutes: list[int]
) -> None:
    layer = weekly(name, length=timedelta(**{unit: length}), at=at)
    frequency = rrule.WEEKLY if unit == "weeks" else rrule.DAILY
    local = rrule.rrule(frequency, interval=length, dtstart=layer.begins, until=wall(2028, 2, 1))
    there = tz.gettz(name)
    handed = [tz.resolve_imaginary(when.replace(tzinfo=there)).astimezone(UTC) for when in local]
    for number in minutes:
        instant = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        turn = bisect_right(handed, instant) - 1
        expected = layer.people[turn % 3] if turn >= 0 else None
        assert on_call(Schedule("s", (layer,)), instant)[0] == expected


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(ZONES),
    hours=st.integers(1, 36),
    start=st.integers(0, 24 * 60 - 1),
    open_for=st.integers(30, 24 * 60),
    days=st.sets(st.integers(0, 6), min_size=1),
    offset=st.integers(0, 366 * 24),
)
def test_shifts_cover_the_range_and_agree_with_every_quarter_of_an_hour(
    name: str, hours: int, start: int, open_for: int, days: set[int], offset: int
) -> None:
    window = Window(frozenset(days), timedelta(minutes=start), timedelta(minutes=start + open_for))
    top = Layer("top", ("dee",), zone(name), wall(2026, 1, 5), WEEK, (window,))
    schedule = Schedule("s", (weekly(name, length=timedelta(hours=hours)), top))
    begin = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(hours=offset)
    end = begin + timedelta(days=3)
    found = shifts(schedule, begin, end)
    assert (found[0].start, found[-1].end) == (begin, end)
    assert all(a.end == b.start for a, b in pairwise(found))
    at = begin
    while at < end:
        (shift,) = [s for s in found if s.start <= at < s.end]
        assert shift.person == on_call(schedule, at)[0]
        at += timedelta(minutes=15)


@pytest.mark.parametrize("name", ZONES)
def test_active_hours_keep_to_the_wall_clock_over_every_change_of_a_year(name: str) -> None:
    """An independent look: the hour that the wall clock shows decides."""
    window = Window(frozenset(range(7)), 8 * HOUR, 20 * HOUR)
    there = ZoneInfo(name)
    layer = Layer("day", ("ana",), zone(name), wall(2026, 1, 1), timedelta(days=1), (window,))
    schedule = Schedule("s", (layer,))
    at = datetime(2026, 1, 3, tzinfo=UTC)
    while at < datetime(2027, 1, 3, tzinfo=UTC):
        expected = "ana" if 8 <= at.astimezone(there).hour < 20 else None
        assert on_call(schedule, at)[0] == expected
        at += timedelta(minutes=97)


def test_the_last_matching_layer_wins_and_an_override_over_all() -> None:
    office = Window(frozenset(range(5)), 9 * HOUR, 17 * HOUR)
    top = Layer("office", ("dee",), zone("Etc/UTC"), wall(2026, 1, 5), WEEK, (office,))
    monday = datetime(2026, 1, 12, tzinfo=UTC)
    first = Override(UUID(int=1), "eve", monday + 10 * HOUR, monday + 12 * HOUR)
    later = Override(UUID(int=2), "fay", monday + 11 * HOUR, monday + 13 * HOUR)
    schedule = Schedule("s", (weekly("Etc/UTC"), top), (first, later))
    found = shifts(schedule, monday, monday + 24 * HOUR)
    assert [(s.person, (s.end - s.start) // HOUR) for s in found] == [
        ("ana", 9), ("dee", 1), ("eve", 1), ("fay", 2), ("dee", 4), ("bo", 7),
    ]  # fmt: skip
    assert found[3].source == f"override {later.id}"


def test_nobody_is_on_call_before_the_first_turn_and_outside_active_hours() -> None:
    begin = datetime(2026, 1, 5, tzinfo=UTC)
    schedule = Schedule("s", (weekly("Etc/UTC"),))
    assert gaps(schedule, begin, begin + WEEK) == [(begin, begin + 9 * HOUR)]


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    night = Window(frozenset({4}), 22 * HOUR, 30 * HOUR)  # Friday 22:00 to Saturday 06:00
    layer = Layer("n", ("ana",), zone("Etc/UTC"), wall(2026, 1, 1), WEEK, (night,))
    friday = datetime(2026, 1, 9, tzinfo=UTC)
    found = [s for s in shifts(Schedule("s", (layer,)), friday, friday + 48 * HOUR) if s.person]
    assert [(s.start, s.end) for s in found] == [(friday + 22 * HOUR, friday + 30 * HOUR)]


def test_windows_that_overlap_are_found_even_over_the_end_of_the_week() -> None:
    sunday = Window(frozenset({6}), 22 * HOUR, 30 * HOUR)
    monday = Window(frozenset({0}), 5 * HOUR, 9 * HOUR)
    assert overlapping([monday, sunday]) is not None
    assert overlapping([Window(frozenset({0}), 6 * HOUR, 9 * HOUR), sunday]) is None
