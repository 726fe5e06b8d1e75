"""Worked deadlines of §4.3, exact, and the properties that every rule has."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.obligations.calendars import (
    Calendar,
    CalendarRangeError,
    UnknownCalendarError,
    shipped_calendar,
)
from services.notify.obligations.deadlines import (
    AUTHORITY,
    BusinessDays,
    BusinessHours,
    CalendarDays,
    Deadline,
    EarliestOf,
    ElapsedHours,
    LatestOf,
    Member,
    MissingClockError,
    Months,
    Rule,
    Setting,
    WeekendNoon,
    WithoutUndueDelay,
    YearEndPlusDays,
    deadline,
)
from services.notify.obligations.holds import Delay, HoldForDays, HoldUntil, held
from shared.zones import TZDB, UnknownZoneError, zone

pytestmark = pytest.mark.unit

NEW_YORK = "America/New_York"
SEC = BusinessDays(days=4, tz=NEW_YORK, calendar="us-federal", cutoff=time(17, 30))
HIPAA = CalendarDays(days=60, tz=NEW_YORK)
DORA = EarliestOf(
    (
        Member(ElapsedHours(4), "classified_major"),
        Member(ElapsedHours(24), "aware", "classified_major"),
    )
)
JAPAN = CalendarDays(days=3, tz="Asia/Tokyo", inclusive=True, roll=True, calendar="jp")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def due(rule: Rule, clock_at: datetime, **setting: object) -> Deadline:
    return deadline(rule, "aware", Setting(clocks={"aware": clock_at}, **setting))  # type: ignore[arg-type]  # tests name what they set


@pytest.mark.parametrize(
    ("vector", "rule", "clock_at", "expected"),
    [
        ("V01", ElapsedHours(72), "2026-03-03T09:20Z", "2026-03-06T09:20:00Z"),
        ("V03", ElapsedHours(72), "2026-10-24T10:00+02:00", "2026-10-27T08:00:00Z"),
        ("V04", ElapsedHours(72), "2026-04-02T18:30+02:00", "2026-04-05T16:30:00Z"),
        ("V05a", ElapsedHours(24), "2026-02-27T22:15Z", "2026-02-28T22:15:00Z"),
        ("V05b", ElapsedHours(72), "2026-02-27T22:15Z", "2026-03-02T22:15:00Z"),
        ("V06", Months(months=1, tz="Europe/Berlin"), "2027-01-31T15:00Z", "2027-02-28T15:00:00Z"),
        ("V06b", Months(months=1, tz="Europe/Berlin"), "2028-01-31T15:00Z", "2028-02-29T15:00:00Z"),
        ("V11", SEC, "2026-11-25T16:00-05:00", "2026-12-02T22:30:00Z"),
        ("V12 Saturday", SEC, "2026-07-11T12:00-04:00", "2026-07-16T21:30:00Z"),
        ("V12 Friday", SEC, "2026-07-10T12:00-04:00", "2026-07-16T21:30:00Z"),
        ("V13b", HIPAA, "2026-12-31T12:00-05:00", "2027-03-02T04:59:59Z"),
        (
            "V14 of 2026",
            YearEndPlusDays(days=60, tz=NEW_YORK),
            "2026-05-01T12:00-04:00",
            "2027-03-02T04:59:59Z",
        ),
        (
            "V14 of 2027",
            YearEndPlusDays(days=60, tz=NEW_YORK),
            "2027-05-01T12:00-04:00",
            "2028-03-01T04:59:59Z",
        ),
        ("V15", HIPAA, "2026-01-10T09:00-05:00", "2026-03-12T03:59:59Z"),
        ("V16", ElapsedHours(6), "2026-08-15T23:30+05:30", "2026-08-16T00:00:00Z"),
        (
            "V20",
            CalendarDays(days=30, tz="Australia/Sydney"),
            "2026-09-10T12:00+10:00",
            "2026-10-10T12:59:59Z",
        ),
        ("V21", ElapsedHours(36), "2026-03-07T20:00-05:00", "2026-03-09T13:00:00Z"),
        ("V24", ElapsedHours(72), "2026-10-30T17:00-04:00", "2026-11-02T21:00:00Z"),
        ("V27", SEC, "2026-09-01T12:00-04:00", "2026-09-08T21:30:00Z"),
        # Known on Wednesday 29 April: day 3 is Friday 1 May. Known on Saturday 2 May: Monday 4
        # is Greenery Day, 5 and 6 are holidays too, so Thursday 7.
        ("JP", JAPAN, "2026-04-29T10:00+09:00", "2026-05-01T14:59:59Z"),
        ("JP golden week", JAPAN, "2026-05-02T10:00+09:00", "2026-05-07T14:59:59Z"),
        ("JP closure days", JAPAN, "2026-12-28T10:00+09:00", "2027-01-04T14:59:59Z"),
    ],
)
def test_worked_deadlines(vector: str, rule: Rule, clock_at: str, expected: str) -> None:
    assert due(rule, at(clock_at)).due_at == at(expected), vector


@pytest.mark.parametrize(
    ("vector", "aware", "classified", "expected"),
    [
        ("V07", "2026-06-10T08:00Z", "2026-06-10T13:00Z", "2026-06-10T17:00:00Z"),
        ("aware + 24 h is earlier", "2026-06-10T08:00Z", "2026-06-11T06:00Z", "2026-06-11T08:00Z"),
        ("V09", "2026-06-10T08:00Z", "2026-06-12T09:00Z", "2026-06-12T13:00:00Z"),
    ],
)
def test_dora_initial_notification(vector: str, aware: str, classified: str, expected: str) -> None:
    clocks = {"aware": at(aware), "classified_major": at(classified)}
    found = deadline(DORA, "classified_major", Setting(clocks=clocks))
    assert found.due_at == at(expected), vector


def test_v01_the_arguable_reading_does_not_count_the_hour_of_the_event() -> None:
    found = due(ElapsedHours(72, True), at("2026-03-03T09:20Z"))
    assert found.due_at == at("2026-03-06T09:20Z")
    assert found.latest_arguable == at("2026-03-06T10:00Z")


def test_v04_two_working_days_are_only_arguable() -> None:
    found = due(
        ElapsedHours(72, True), at("2026-04-02T18:30+02:00"), tz="Europe/Berlin", calendar="de"
    )
    assert found.due_at == at("2026-04-05T16:30Z")  # Easter Sunday, no roll
    # Friday, Monday are holidays: the second working day is Wednesday.
    assert found.latest_arguable == at("2026-04-08T23:59:59+02:00")
    assert found.calendars == ("de holidays-0.109",)


@pytest.mark.parametrize(
    ("hold", "base", "expected"),
    [
        (
            HoldForDays(30, at("2026-03-05T12:00-05:00"), NEW_YORK),  # V15c
            due(HIPAA, at("2026-01-10T09:00-05:00")),
            "2026-04-05T03:59:59Z",
        ),
        (
            HoldUntil(date(2026, 5, 1), NEW_YORK),
            due(HIPAA, at("2026-01-10T09:00-05:00")),
            "2026-05-02T03:59:59Z",
        ),
        (
            HoldUntil(date(2026, 2, 1), NEW_YORK),  # ends before the deadline: never shortens
            due(HIPAA, at("2026-01-10T09:00-05:00")),
            "2026-03-12T03:59:59Z",
        ),
        (
            Delay(30, NEW_YORK),  # V27
            due(SEC, at("2026-09-01T12:00-04:00")),
            "2026-10-08T21:30:00Z",
        ),
        (
            Delay(60, NEW_YORK),  # over the end of daylight saving: the local time stays
            due(SEC, at("2026-09-01T12:00-04:00")),
            "2026-11-07T22:30:00Z",
        ),
    ],
)
def test_holds(hold: HoldForDays | HoldUntil | Delay, base: Deadline, expected: str) -> None:
    assert held(base, hold).due_at == at(expected)


def test_weekend_noon_moves_to_the_next_working_day_but_not_for_the_exempt() -> None:
    rule = WeekendNoon(
        rule=ElapsedHours(72),
        tz=AUTHORITY,
        calendar=AUTHORITY,
        unless=frozenset({"credit_institution"}),
    )
    germany = {"tz": "Europe/Berlin", "calendar": "de"}
    wednesday = at("2026-03-31T10:00+02:00")  # + 72 h: Good Friday
    assert due(rule, wednesday, **germany).due_at == at("2026-04-07T12:00+02:00")
    bank = due(rule, wednesday, entity_classes=frozenset({"credit_institution"}), **germany)
    assert bank.due_at == at("2026-04-03T10:00+02:00")
    assert "credit_institution" in " ".join(bank.steps)


def test_what_nobody_stated_is_assumed_in_words() -> None:
    found = due(Months(months=1, tz=AUTHORITY), at("2026-01-31T15:00Z"))
    assert found.assumed == ("the authority's time zone is not stated: UTC assumed",)


@pytest.mark.parametrize(
    ("hours", "clock_at", "expected"),
    [
        (4, "2026-06-03T10:00+02:00", "2026-06-03T14:00+02:00"),
        (8, "2026-06-03T10:00+02:00", "2026-06-05T10:00+02:00"),  # Thursday is Corpus Christi
        (1, "2026-06-06T12:00+02:00", "2026-06-08T10:00+02:00"),  # Saturday: next opening
        (8, "2026-06-03T08:00+02:00", "2026-06-03T17:00+02:00"),  # used up at closing time
    ],
)
def test_business_hours(hours: int, clock_at: str, expected: str) -> None:
    corpus_christi = Calendar(id="at", version="t", holidays={date(2026, 6, 4): "Corpus Christi"})
    rule = BusinessHours(hours=hours, tz="Europe/Vienna", calendar="at")
    found = due(rule, at(clock_at), calendars=lambda _: corpus_christi)
    assert found.due_at == at(expected)


def test_an_ambiguous_local_time_is_taken_at_its_earlier_instant() -> None:
    # 02:30 comes twice in Berlin on 25 October 2026, and not at all on 29 March.
    twice = due(Months(months=1, tz="Europe/Berlin"), at("2026-09-25T02:30+02:00"))
    never = due(Months(months=1, tz="Europe/Berlin"), at("2026-02-28T02:30+01:00"))
    assert twice.due_at == at("2026-10-25T00:30Z")
    assert never.due_at == at("2026-03-28T01:30Z")
    gap = due(Months(months=2, tz="Europe/Berlin"), at("2026-01-29T02:30+01:00"))
    assert gap.due_at == at("2026-03-29T00:30Z")  # strict: before the gap, not after it


def test_latest_of_needs_all_its_clocks_and_earliest_of_one() -> None:
    members = (Member(ElapsedHours(1), "aware"), Member(ElapsedHours(1), "handled"))
    setting = Setting(clocks={"aware": at("2026-01-01T00:00Z")})
    assert deadline(EarliestOf(members), "aware", setting).due_at == at("2026-01-01T01:00Z")
    with pytest.raises(MissingClockError) as refused:
        deadline(LatestOf(members), "aware", setting)
    assert refused.value.clock == "handled"


def test_the_steps_say_the_arithmetic() -> None:
    assert due(ElapsedHours(72), at("2026-03-03T09:20Z")).steps == (
        "aware at 2026-03-03T09:20:00Z",
        "+ 72 h elapsed (weekends, holidays, clock changes do not count)",
        "= due 2026-03-06T09:20:00Z",
    )
    assert due(SEC, at("2026-11-25T16:00-05:00")).steps[2] == (
        "+ 4 business days → 2026-12-02 17:30:00 in America/New_York;"
        " not counted: 2026-11-26 Thanksgiving Day"
    )


def test_an_internal_target_is_never_called_law() -> None:
    found = due(WithoutUndueDelay(24), at("2026-03-03T09:20Z"))
    assert found.internal_target
    assert "internal target of the operator, not law" in " ".join(found.steps)


def test_a_year_that_a_calendar_does_not_know_is_refused_not_taken_for_working_days() -> None:
    with pytest.raises(CalendarRangeError, match=r"us-federal holidays-0.109 knows 2024 to 2035"):
        due(SEC, at("2035-12-31T12:00-05:00"))


def test_unknown_zones_and_calendars_are_refused() -> None:
    with pytest.raises(UnknownZoneError, match=r"\.\./\.\./etc/passwd"):
        zone("../../etc/passwd")
    with pytest.raises(UnknownCalendarError):
        shipped_calendar("../table/eu")
    assert TZDB[:2] == "20"


# Properties (§4.3, last paragraph).

ZONES = ["UTC", "Europe/Berlin", NEW_YORK, "Australia/Sydney", "Asia/Kolkata", "Pacific/Apia"]
CALENDARS = ["us-federal", "de", "jp", "weekends", "sa"]
zones, calendars = st.sampled_from(ZONES), st.sampled_from(CALENDARS)
instants = st.datetimes(
    datetime(2024, 1, 2),  # noqa: DTZ001 - hypothesis wants the bounds so
    datetime(2033, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)
leaves: st.SearchStrategy[Rule] = st.one_of(
    st.builds(ElapsedHours, st.integers(1, 2000), st.booleans()),
    st.builds(
        CalendarDays,
        days=st.integers(1, 400),
        tz=zones,
        inclusive=st.booleans(),
        roll=st.booleans(),
        calendar=calendars,
        eu_1182_71=st.booleans(),
    ),
    st.builds(BusinessDays, days=st.integers(1, 60), tz=zones, calendar=calendars),
    st.builds(BusinessHours, hours=st.integers(1, 200), tz=zones, calendar=calendars),
    st.builds(
        Months, months=st.integers(1, 24), tz=zones, calendar=calendars, eu_1182_71=st.booleans()
    ),
    st.builds(YearEndPlusDays, days=st.integers(1, 400), tz=zones),
    st.builds(WithoutUndueDelay, st.integers(1, 500)),
)
rules: st.SearchStrategy[Rule] = st.one_of(
    leaves,
    st.builds(EarliestOf, st.lists(st.builds(Member, leaves), min_size=2, max_size=3).map(tuple)),
    st.builds(LatestOf, st.lists(st.builds(Member, leaves), min_size=2, max_size=3).map(tuple)),
    st.builds(WeekendNoon, rule=leaves, tz=zones, calendar=calendars),
)


@given(rules, instants)
def test_due_is_never_before_the_clock_and_the_strict_reading_never_after_the_arguable(
    rule: Rule, clock_at: datetime
) -> None:
    found = due(rule, clock_at)
    # A day's last second is 23:59:59, so a clock in its fraction may be later by less than that.
    assert found.due_at > clock_at - timedelta(seconds=1)
    assert found.latest_arguable is None or found.latest_arguable >= found.due_at
    assert due(rule, clock_at) == found  # idempotent


@given(rules, instants, st.integers(-12, 14))
def test_the_zone_in_which_the_clock_is_told_is_no_matter(
    rule: Rule, clock_at: datetime, hours: int
) -> None:
    told = clock_at.astimezone(timezone(timedelta(hours=hours)))
    assert due(rule, told) == due(rule, clock_at)


@given(st.integers(1, 2000), instants)
def test_elapsed_hours_are_absolute_in_every_zone(hours: int, clock_at: datetime) -> None:
    local = clock_at.astimezone(ZoneInfo("Europe/Berlin"))
    assert due(ElapsedHours(hours), local).due_at - clock_at == timedelta(hours=hours)


@given(st.integers(1, 60), zones, calendars, instants)
def test_a_business_day_result_is_a_business_day(
    days: int, tz: str, calendar: str, clock_at: datetime
) -> None:
    found = due(BusinessDays(days=days, tz=tz, calendar=calendar), clock_at)
    assert shipped_calendar(calendar).working(found.due_at.astimezone(zone(tz)).date())


@given(
    st.one_of(
        st.builds(BusinessDays, days=st.integers(1, 40), tz=zones, calendar=st.just("x")),
        st.builds(BusinessHours, hours=st.integers(1, 99), tz=zones, calendar=st.just("x")),
        st.builds(
            CalendarDays,
            days=st.integers(1, 60),
            tz=zones,
            roll=st.just(True),
            calendar=st.just("x"),
        ),
        st.builds(WeekendNoon, rule=leaves, tz=zones, calendar=st.just("x")),
    ),
    instants,
    st.sets(st.integers(0, 90), max_size=20),
    st.integers(0, 90),
)
def test_one_more_holiday_never_makes_a_deadline_earlier(
    rule: Rule, clock_at: datetime, off: set[int], more: int
) -> None:
    def with_holidays(days: set[int]) -> Calendar:
        first = clock_at.date()
        return Calendar(
            id="x", version="t", holidays={first + timedelta(days=n): "a holiday" for n in days}
        )

    def calendar(days: set[int]) -> Deadline:
        chosen = with_holidays(days)
        return due(
            rule, clock_at, calendars=lambda name: chosen if name == "x" else shipped_calendar(name)
        )

    assert calendar(off | {more}).due_at >= calendar(off).due_at


@given(st.lists(st.builds(Member, leaves), min_size=2, max_size=4), instants)
def test_earliest_never_exceeds_a_member_and_latest_never_falls_short_of_one(
    members: list[Member], clock_at: datetime
) -> None:
    each = [due(member.rule, clock_at).due_at for member in members]
    assert due(EarliestOf(tuple(members)), clock_at).due_at == min(each)
    assert due(LatestOf(tuple(members)), clock_at).due_at == max(each)
