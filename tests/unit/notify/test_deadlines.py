"""Worked deadlines of §4.3 that elapsed hours and calendar days give; values are exact."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.deadlines import CalendarDays, ElapsedHours, Rule, WithoutUndueDelay, deadline

pytestmark = pytest.mark.unit

instants = st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001 - hypothesis wants the bounds so
    datetime(2040, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)
rules = st.one_of(
    st.builds(ElapsedHours, st.integers(1, 2000), st.booleans()),
    st.builds(
        CalendarDays,
        st.integers(1, 400),
        st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney"]),
        st.booleans(),
    ),
    st.builds(WithoutUndueDelay, st.integers(1, 500)),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("vector", "rule", "clock_at", "due"),
    [
        ("V01", ElapsedHours(72), "2026-03-03T09:20Z", "2026-03-06T09:20:00Z"),
        ("V03", ElapsedHours(72), "2026-10-24T10:00+02:00", "2026-10-27T08:00:00Z"),
        ("V04", ElapsedHours(72), "2026-04-02T18:30+02:00", "2026-04-05T16:30:00Z"),
        ("V05a", ElapsedHours(24), "2026-02-27T22:15Z", "2026-02-28T22:15:00Z"),
        ("V05b", ElapsedHours(72), "2026-02-27T22:15Z", "2026-03-02T22:15:00Z"),
        (
            "V13b",
            CalendarDays(60, "America/New_York"),
            "2026-12-31T12:00-05:00",
            "2027-03-02T04:59:59Z",
        ),
        (
            "V15",
            CalendarDays(60, "America/New_York"),
            "2026-01-10T09:00-05:00",
            "2026-03-12T03:59:59Z",
        ),
        ("V16", ElapsedHours(6), "2026-08-15T23:30+05:30", "2026-08-16T00:00:00Z"),
        (
            "V20",
            CalendarDays(30, "Australia/Sydney"),
            "2026-09-10T12:00+10:00",
            "2026-10-10T12:59:59Z",
        ),
        ("V21", ElapsedHours(36), "2026-03-07T20:00-05:00", "2026-03-09T13:00:00Z"),
        ("V24", ElapsedHours(72), "2026-10-30T17:00-04:00", "2026-11-02T21:00:00Z"),
    ],
)
def test_worked_deadlines(vector: str, rule: Rule, clock_at: str, due: str) -> None:
    assert deadline(rule, "aware", at(clock_at)).due_at == at(due), vector


def test_v01_the_arguable_reading_does_not_count_the_hour_of_the_event() -> None:
    found = deadline(ElapsedHours(72, True), "aware", at("2026-03-03T09:20Z"))
    assert found.due_at == at("2026-03-06T09:20Z")
    assert found.latest_arguable == at("2026-03-06T10:00Z")


def test_inclusive_counting_makes_the_first_day_day_one() -> None:
    rule = CalendarDays(5, "Asia/Tokyo", inclusive=True)
    assert deadline(rule, "known", at("2026-11-02T10:00+09:00")).due_at == at(
        "2026-11-06T23:59:59+09:00"
    )


def test_the_steps_say_the_arithmetic() -> None:
    assert deadline(ElapsedHours(72), "aware", at("2026-03-03T09:20Z")).steps == (
        "aware at 2026-03-03T09:20:00Z",
        "+ 72 h elapsed (weekends, holidays, clock changes do not count)",
        "= due 2026-03-06T09:20:00Z",
    )


def test_an_internal_target_is_never_called_law() -> None:
    found = deadline(WithoutUndueDelay(24), "aware", at("2026-03-03T09:20Z"))
    assert found.internal_target
    assert "internal target of the operator, not law" in " ".join(found.steps)


@given(rules, instants)
def test_due_is_never_before_the_clock(rule: Rule, clock_at: datetime) -> None:
    found = deadline(rule, "aware", clock_at)
    # A day's last second is 23:59:59, so a clock in its fraction may be later by less than that.
    assert found.due_at > clock_at - timedelta(seconds=1)
    assert found.latest_arguable is None or found.latest_arguable >= found.due_at


@given(rules, instants, st.integers(-12, 14))
def test_the_zone_in_which_the_clock_is_told_is_no_matter(
    rule: Rule, clock_at: datetime, hours: int
) -> None:
    told = clock_at.astimezone(timezone(timedelta(hours=hours)))
    assert deadline(rule, "aware", told) == deadline(rule, "aware", clock_at)


@given(st.integers(1, 2000), instants)
def test_elapsed_hours_are_absolute_in_every_zone(hours: int, clock_at: datetime) -> None:
    local = clock_at.astimezone(ZoneInfo("Europe/Berlin"))
    due = deadline(ElapsedHours(hours), "aware", local).due_at
    assert due - clock_at == timedelta(hours=hours)
