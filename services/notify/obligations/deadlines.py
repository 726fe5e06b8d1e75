"""Pure: deadline arithmetic (§4.1): an instant in, an instant out, every step in words.

``due_at`` is always the strict (earliest) reading; ``latest_arguable`` is shown beside it and
drives no alarm. A local time that a clock change makes ambiguous is taken at its earlier instant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import assert_never

from services.notify.obligations.calendars import Calendar, shipped_calendar
from shared.zones import zone

__all__ = [
    "AUTHORITY", "END_OF_DAY", "BusinessDays", "BusinessHours", "CalendarDays", "Deadline",
    "EarliestOf", "ElapsedHours", "LatestOf", "Member", "MissingClockError", "Months", "Rule",
    "Setting", "WeekendNoon", "WithoutUndueDelay", "YearEndPlusDays", "deadline", "instant", "z",
]  # fmt: skip

AUTHORITY = "authority"
"""As a zone or calendar: the one of the authority's country, which the profile states."""
END_OF_DAY = time(23, 59, 59)
_LONGEST = timedelta(days=3700)


class MissingClockError(Exception):
    """A rule needs a clock that is not known; ``clock`` names it."""

    def __init__(self, clock: str) -> None:
        super().__init__(f"the clock {clock} is not known")
        self.clock = clock


@dataclass(frozen=True, slots=True)
class ElapsedHours:
    """Absolute hours; no roll for weekends or holidays, no effect of daylight saving.

    ``eu_1182_71`` adds the readings of EU Reg. 1182/71 as latest arguable: the hour of the event is
    not counted (Art. 3(1)); two days or more include two working days (Art. 3(5)).
    """

    hours: int
    eu_1182_71: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDays:
    """Days in *tz*, to the last second of the last one.

    The clock's local date is day 0, or day 1 where *inclusive*. *roll* moves a last day that is no
    working day of *calendar* to the next one; without it *eu_1182_71* makes that the latest
    arguable reading (Art. 3(4)).
    """

    days: int
    tz: str
    inclusive: bool = False
    roll: bool = False
    calendar: str = "weekends"
    eu_1182_71: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessDays:
    """Working days of *calendar*; the clock's local date is day 0, working day or not."""

    days: int
    tz: str
    calendar: str
    cutoff: time = END_OF_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessHours:
    """Hours inside [opens, closes) of working days; due when the last one is used up."""

    hours: int
    tz: str
    calendar: str
    opens: time = time(9)
    closes: time = time(17)


@dataclass(frozen=True, slots=True, kw_only=True)
class Months:
    """The same local time on the same day of the month, or on the month's last if it is shorter."""

    months: int
    tz: str
    calendar: str = "weekends"
    eu_1182_71: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class YearEndPlusDays:
    """Calendar days counted from 31 December of the clock's local year."""

    days: int
    tz: str


@dataclass(frozen=True, slots=True)
class WithoutUndueDelay:
    """The law names no number; the hours are the operator's own target, never called law."""

    internal_target_hours: int


@dataclass(frozen=True, slots=True)
class Member:
    """A rule of its own clock within a choice; it lapses if *lapses_after* comes after its due."""

    rule: "Rule"
    clock: str | None = None
    lapses_after: str | None = None


@dataclass(frozen=True, slots=True)
class EarliestOf:
    """The earliest of its members whose clocks are known; at least one has to be."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class LatestOf:
    """The latest of its members; all clocks have to be known."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekendNoon:
    """Applied last: due on a weekend or holiday → noon of the next working day (DORA, 2025/301).

    Not for an entity of one of the *unless* classes.
    """

    rule: "Rule"
    tz: str
    calendar: str
    unless: frozenset[str] = frozenset()


Leaf = (
    ElapsedHours
    | CalendarDays
    | BusinessDays
    | BusinessHours
    | Months
    | YearEndPlusDays
    | WithoutUndueDelay
)
Rule = Leaf | EarliestOf | LatestOf | WeekendNoon


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a rule is reckoned in: clocks that started, and the authority's zone and calendar."""

    clocks: Mapping[str, datetime]
    tz: str | None = None
    calendar: str | None = None
    entity_classes: frozenset[str] = frozenset()
    calendars: Callable[[str], Calendar] = shipped_calendar


@dataclass(frozen=True, slots=True)
class Deadline:
    """When it is due, how that was reckoned, and with which calendars.

    ``assumed`` says what had to be assumed because nobody stated it.
    """

    due_at: datetime
    steps: tuple[str, ...]
    latest_arguable: datetime | None = None
    internal_target: bool = False
    calendars: tuple[str, ...] = ()
    assumed: tuple[str, ...] = field(default=())


def deadline(rule: Rule, clock: str, setting: Setting) -> Deadline:
    """Return when *rule* is due that *clock* started.

    MissingClockError when a clock that it needs is not in *setting*; CalendarRangeError when it
    leads out of the years that a calendar knows.
    """
    found = _reckon(rule, clock, setting)
    return replace(found, steps=(*found.steps, f"= due {z(found.due_at)}"))


def instant(day: date, at: time, where: tzinfo) -> datetime:
    """Return the earlier instant of a local time that a clock change doubles or leaves out."""
    local = datetime.combine(day, at, where)
    return min(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def z(moment: datetime) -> str:
    """Return *moment* as people read it: UTC, with Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _reckon(rule: Rule, clock: str, setting: Setting) -> Deadline:
    match rule:
        case EarliestOf() | LatestOf():
            return _choose(rule, clock, setting)
        case WeekendNoon():
            return _weekend_noon(rule, clock, setting)
        case _:
            return _from_clock(rule, clock, setting)


def _from_clock(rule: Leaf, clock: str, setting: Setting) -> Deadline:
    if clock not in setting.clocks:
        raise MissingClockError(clock)
    start = setting.clocks[clock].astimezone(UTC)
    began = f"{clock} at {z(start)}"
    match rule:
        case ElapsedHours():
            found = _elapsed_hours(rule, start, setting)
        case CalendarDays():
            found = _calendar_days(rule, start, setting)
        case BusinessDays():
            found = _business_days(rule, start, setting)
        case BusinessHours():
            found = _business_hours(rule, start, setting)
        case Months():
            found = _months(rule, start, setting)
        case YearEndPlusDays(days=days, tz=tz):
            name, assumed = _zone_name(tz, setting)
            year_end = date(start.astimezone(zone(name)).year, 12, 31)
            last = year_end + timedelta(days=days)
            step = f"+ {days} calendar days from {year_end} → end of {last} in {name}"
            found = Deadline(instant(last, END_OF_DAY, zone(name)), (step,), assumed=assumed)
        case WithoutUndueDelay(hours):
            steps = (
                "without undue delay: the law names no number of hours",
                f"+ {hours} h internal target of the operator, not law",
            )
            found = Deadline(start + timedelta(hours=hours), steps, internal_target=True)
        case _:
            assert_never(rule)
    return replace(found, steps=(began, *found.steps))


def _elapsed_hours(rule: ElapsedHours, start: datetime, setting: Setting) -> Deadline:
    due = start + timedelta(hours=rule.hours)
    step = f"+ {rule.hours} h elapsed (weekends, holidays, clock changes do not count)"
    if not rule.eu_1182_71:
        return Deadline(due, (step,))
    next_hour = start.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    latest = next_hour + timedelta(hours=rule.hours)
    why = "hour of the event not counted"
    calendars: tuple[str, ...] = ()
    if rule.hours >= 48 and setting.tz and setting.calendar:
        where, calendar = zone(setting.tz), setting.calendars(setting.calendar)
        second = _nth_working_day(calendar, start.astimezone(where).date(), 2)
        if second > latest.astimezone(where).date():
            latest, why = instant(second, END_OF_DAY, where), "two working days included"
            calendars = (_named(calendar),)
    arguable = f"latest arguable {z(latest)}: EU Reg. 1182/71, {why}"
    return Deadline(due, (step, arguable), max(latest, due), calendars=calendars)


def _calendar_days(rule: CalendarDays, start: datetime, setting: Setting) -> Deadline:
    name, assumed = _zone_name(rule.tz, setting)
    where = zone(name)
    first = start.astimezone(where).date()
    last = first + timedelta(days=rule.days - 1 if rule.inclusive else rule.days)
    counted = "counted as day 1" if rule.inclusive else "not counted"
    steps = [
        f"local date {first} in {name}, {counted}",
        f"+ {rule.days} calendar days → end of {last} in {name}",
    ]
    due = instant(last, END_OF_DAY, where)
    if not rule.roll and not rule.eu_1182_71:
        return Deadline(due, tuple(steps), assumed=assumed)
    calendar, unknown = _calendar(rule.calendar, setting)
    rolled = calendar.next_working(last)
    arguable = None
    if rolled != last:
        moved = instant(rolled, END_OF_DAY, where)
        if rule.roll:
            due = moved
            steps.append(f"{last} is {calendar.closed(last)} → end of {rolled}")
        else:
            arguable = moved
            steps.append(
                f"latest arguable {z(moved)}: EU Reg. 1182/71 Art. 3(4), {last} is"
                f" {calendar.closed(last)}"
            )
    return Deadline(
        due, tuple(steps), arguable, calendars=(_named(calendar),), assumed=assumed + unknown
    )


def _business_days(rule: BusinessDays, start: datetime, setting: Setting) -> Deadline:
    name, assumed = _zone_name(rule.tz, setting)
    calendar, unknown = _calendar(rule.calendar, setting)
    first = start.astimezone(zone(name)).date()
    last = _nth_working_day(calendar, first, rule.days)
    off = _left_out(calendar, first, last)
    steps = (
        f"local date {first} in {name} is day 0",
        f"+ {rule.days} business days → {last} {rule.cutoff.isoformat()} in {name}"
        + (f"; not counted: {off}" if off else ""),
    )
    return Deadline(
        instant(last, rule.cutoff, zone(name)),
        steps,
        calendars=(_named(calendar),),
        assumed=assumed + unknown,
    )


def _business_hours(rule: BusinessHours, start: datetime, setting: Setting) -> Deadline:
    name, assumed = _zone_name(rule.tz, setting)
    where = zone(name)
    calendar, unknown = _calendar(rule.calendar, setting)
    left = timedelta(hours=rule.hours)
    day = start.astimezone(where).date()
    first: datetime | None = None
    while True:
        day = calendar.next_working(day)
        opens = max(instant(day, rule.opens, where), start)
        closes = instant(day, rule.closes, where)
        if opens < closes:
            first = first or opens
            if left <= closes - opens:
                break
            left -= closes - opens
        day += timedelta(days=1)
    due = opens + left
    steps = (
        f"counting from {z(first)}: open {rule.opens:%H:%M} to {rule.closes:%H:%M} in {name}",
        f"+ {rule.hours} business hours → {z(due)}",
    )
    return Deadline(due, steps, calendars=(_named(calendar),), assumed=assumed + unknown)


def _months(rule: Months, start: datetime, setting: Setting) -> Deadline:
    name, assumed = _zone_name(rule.tz, setting)
    where = zone(name)
    local = start.astimezone(where)
    index = local.year * 12 + local.month - 1 + rule.months
    year, month = divmod(index, 12)
    last_day = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
    day = date(year, month + 1, min(local.day, last_day))
    due = instant(day, local.time(), where)
    clamp = f" (the month has {last_day} days)" if day.day != local.day else ""
    step = f"+ {rule.months} months, same local time in {name} → {day}{clamp}"
    if not rule.eu_1182_71:
        return Deadline(due, (step,), assumed=assumed)
    calendar, unknown = _calendar(rule.calendar, setting)
    rolled = calendar.next_working(day)
    latest = instant(rolled, END_OF_DAY, where)
    why = f"latest arguable {z(latest)}: EU Reg. 1182/71 Art. 3(2)(c) and (4), end of {rolled}"
    return Deadline(
        due, (step, why), latest, calendars=(_named(calendar),), assumed=assumed + unknown
    )


def _choose(rule: EarliestOf | LatestOf, clock: str, setting: Setting) -> Deadline:
    earliest = isinstance(rule, EarliestOf)
    word = "earliest" if earliest else "latest"
    found: list[Deadline] = []
    notes: list[str] = []
    missing: MissingClockError | None = None
    for member in rule.members:
        try:
            one = _reckon(member.rule, member.clock or clock, setting)
        except MissingClockError as error:
            if not earliest:
                raise
            missing = error
            notes.append(f"{error.clock} is not known")
            continue
        other = setting.clocks.get(member.lapses_after) if member.lapses_after else None
        if other is not None and other > one.due_at:
            notes.append(f"{z(one.due_at)} had passed when {member.lapses_after} came: left out")
            continue
        found.append(one)
    if not found:
        raise missing or MissingClockError(clock)
    chosen = (min if earliest else max)(found, key=lambda one: one.due_at)
    words = [" ".join(one.steps) + f" → {z(one.due_at)}" for one in found]
    return replace(
        chosen,
        steps=(*words, *notes, f"{word} of {len(found)}"),
        latest_arguable=None,
        calendars=tuple(dict.fromkeys(c for one in found for c in one.calendars)),
        assumed=tuple(dict.fromkeys(a for one in found for a in one.assumed)),
    )


def _weekend_noon(rule: WeekendNoon, clock: str, setting: Setting) -> Deadline:
    found = _reckon(rule.rule, clock, setting)
    if exempt := rule.unless & setting.entity_classes:
        step = f"no move off weekends: not for {', '.join(sorted(exempt))}"
        return replace(found, steps=(*found.steps, step))
    name, assumed = _zone_name(rule.tz, setting)
    calendar, unknown = _calendar(rule.calendar, setting)
    day = found.due_at.astimezone(zone(name)).date()
    found = replace(
        found,
        calendars=tuple(dict.fromkeys((*found.calendars, _named(calendar)))),
        assumed=tuple(dict.fromkeys((*found.assumed, *assumed, *unknown))),
    )
    if (why := calendar.closed(day)) is None:
        return found
    next_day = calendar.next_working(day)
    step = f"{day} is {why} in {name} → noon of {next_day}"
    due = instant(next_day, time(12), zone(name))
    return replace(found, due_at=due, steps=(*found.steps, step), latest_arguable=None)


def _zone_name(tz: str, setting: Setting) -> tuple[str, tuple[str, ...]]:
    if tz != AUTHORITY:
        return tz, ()
    if setting.tz is not None:
        return setting.tz, ()
    return "UTC", ("the authority's time zone is not stated: UTC assumed",)


def _calendar(name: str, setting: Setting) -> tuple[Calendar, tuple[str, ...]]:
    if name != AUTHORITY:
        return setting.calendars(name), ()
    if setting.calendar is not None:
        return setting.calendars(setting.calendar), ()
    assumed = ("the authority's holidays are not stated: only weekends assumed",)
    return setting.calendars("weekends"), assumed


def _named(calendar: Calendar) -> str:
    return f"{calendar.id} {calendar.version}"


def _nth_working_day(calendar: Calendar, first: date, n: int) -> date:
    """Return the n-th working day after *first*."""
    day = first
    for _ in range(n):
        day = calendar.next_working(day + timedelta(days=1))
    return day


def _left_out(calendar: Calendar, first: date, last: date) -> str:
    """Return the named holidays between *first* and *last*, in words; not weekends."""
    days = (first + timedelta(days=n) for n in range(1, (last - first).days))
    return ", ".join(f"{day} {calendar.holidays[day]}" for day in days if day in calendar.holidays)
