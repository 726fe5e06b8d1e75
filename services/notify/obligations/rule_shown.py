"""Pure: a rule as data, in the words of the regime files, and as a sentence for people."""

from datetime import time
from typing import Any, assert_never

from services.notify.obligations.conditions import AllOf, AnyOf, Part, judge
from services.notify.obligations.deadlines import (
    AUTHORITY,
    END_OF_DAY,
    BusinessDays,
    BusinessHours,
    CalendarDays,
    EarliestOf,
    ElapsedHours,
    LatestOf,
    Member,
    Months,
    Rule,
    WeekendNoon,
    WithoutUndueDelay,
    YearEndPlusDays,
)

__all__ = ["condition_words", "rule_json", "rule_sentence"]

_EU = "eu_1182_71"
_EU_WORDS = "EU Reg. 1182/71 may give more time; no alarm waits for it"


def rule_json(rule: Rule) -> dict[str, Any]:
    """Return *rule* as a regime file writes it; `parse_rule` reads it back to the same rule."""
    match rule:
        case ElapsedHours(hours, eu):
            return {"elapsed_hours": hours, **_arguable(eu)}
        case CalendarDays():
            terms: dict[str, Any] = {"days": rule.days, "tz": rule.tz}
            if rule.inclusive:
                terms["count"] = "inclusive"
            if rule.roll:
                terms["roll"] = "next_working_day"
            if rule.calendar != "weekends":
                terms["calendar"] = rule.calendar
            return {"calendar_days": terms, **_arguable(rule.eu_1182_71)}
        case BusinessDays():
            terms = {"days": rule.days, "tz": rule.tz, "calendar": rule.calendar}
            if rule.cutoff != END_OF_DAY:
                terms["cutoff"] = _clock_time(rule.cutoff)
            return {"business_days": terms}
        case BusinessHours():
            terms = {"hours": rule.hours, "tz": rule.tz, "calendar": rule.calendar}
            opening = {"open": _clock_time(rule.opens), "close": _clock_time(rule.closes)}
            return {"business_hours": {**terms, **opening}}
        case Months():
            terms = {"months": rule.months, "tz": rule.tz}
            if rule.calendar != "weekends":
                terms["calendar"] = rule.calendar
            return {"months": terms, **_arguable(rule.eu_1182_71)}
        case YearEndPlusDays(days=days, tz=tz):
            return {"year_end_plus_days": {"days": days, "tz": tz}}
        case WithoutUndueDelay(hours):
            return {"without_undue_delay": {"internal_target_hours": hours}}
        case EarliestOf(members):
            return {"earliest_of": [_member_json(member) for member in members]}
        case LatestOf(members):
            return {"latest_of": [_member_json(member) for member in members]}
        case WeekendNoon():
            moved = {"tz": rule.tz, "calendar": rule.calendar}
            unless = {"unless": sorted(rule.unless)} if rule.unless else {}
            adjust = {"weekend_noon_next_working_day": {**moved, **unless}}
            return {**rule_json(rule.rule), "adjust": adjust}
        case _:
            assert_never(rule)


def rule_sentence(rule: Rule, clock: str) -> str:
    """Return *rule* in one sentence; *clock* is what it runs from."""
    words = _words(rule, clock)
    return f"{words[0].upper()}{words[1:]}."


def condition_words(part: Part) -> str:
    """Return what *part* asks for, in words."""
    words = judge(part, {}).what
    return f"({words})" if isinstance(part, AllOf | AnyOf) else words


def _arguable(eu: bool) -> dict[str, str]:
    return {"latest_arguable": _EU} if eu else {}


def _clock_time(at: time) -> str:
    return at.isoformat(timespec="minutes" if at.second == 0 else "seconds")


def _member_json(member: Member) -> dict[str, Any]:
    named = {"clock": member.clock, "lapses_after": member.lapses_after}
    return {**{k: v for k, v in named.items() if v}, **rule_json(member.rule)}


def _words(rule: Rule, clock: str) -> str:
    start = _start(clock)
    match rule:
        case ElapsedHours(hours, eu):
            words = f"{_many(hours, 'hour')} after {start}, weekends and holidays included"
            return _with_eu(words, eu)
        case CalendarDays():
            inclusive = ", that day counted" if rule.inclusive else ""
            words = f"the end of the {_nth(rule.days)} calendar day{inclusive} after {start}"
            words += _where(rule.tz)
            if rule.roll:
                words += f", moved to the next working day{_calendar(rule.calendar)}"
            return _with_eu(words, rule.eu_1182_71)
        case BusinessDays():
            at = "the end" if rule.cutoff == END_OF_DAY else _clock_time(rule.cutoff)
            day = f"{at} of the {_nth(rule.days)} business day after {start}"
            return f"{day}{_where(rule.tz)}{_calendar(rule.calendar)}"
        case BusinessHours():
            opening = f"open {_clock_time(rule.opens)} to {_clock_time(rule.closes)}"
            counted = f"{_many(rule.hours, 'business hour')} after {start}, {opening}"
            return f"{counted}{_where(rule.tz)}{_calendar(rule.calendar)}"
        case Months():
            words = f"{_many(rule.months, 'month')} after {start}, at the same local time"
            words += f"{_where(rule.tz)}, on the month's last day where it is shorter"
            return _with_eu(words, rule.eu_1182_71)
        case YearEndPlusDays(days=days, tz=tz):
            return f"the end of day {days} after the end of the year of {start}{_where(tz)}"
        case WithoutUndueDelay(hours):
            target = _many(hours, "hour") if hours % 24 else _many(hours // 24, "day")
            return (
                f"without undue delay after {start}; {target} is the operator's own target, not law"
            )
        case EarliestOf(members) | LatestOf(members):
            which = "earlier" if isinstance(rule, EarliestOf) else "later"
            each = [_member_words(member, clock) for member in members]
            return f"the {which} of: {'; or '.join(each)}"
        case WeekendNoon():
            moved = "moved from a weekend or holiday to noon of the next working day"
            unless = ", ".join(name.replace("_", " ") for name in sorted(rule.unless))
            exempt = f", but not for {unless}" if unless else ""
            zone = f"{_where(rule.tz)}{_calendar(rule.calendar)}"
            return f"{_words(rule.rule, clock)}; {moved}{zone}{exempt}"
        case _:
            assert_never(rule)


def _member_words(member: Member, clock: str) -> str:
    words = _words(member.rule, member.clock or clock)
    if member.lapses_after is None:
        return words
    return f"{words}, unless {_start(member.lapses_after)} comes after that"


def _start(clock: str) -> str:
    phase = clock.removeprefix("submitted:")
    if phase != clock:
        return f"the submission of {phase}"
    return f"the instant {clock!r}"


def _many(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _nth(count: int) -> str:
    teen = 10 <= count % 100 <= 20
    return f"{count}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(count % 10, 'th')}"


def _where(tz: str) -> str:
    return " in the authority's time zone" if tz == AUTHORITY else f" in {tz}"


def _calendar(name: str) -> str:
    if name == "weekends":
        return " (only weekends are left out)"
    calendar = "the authority's calendar" if name == AUTHORITY else f"the calendar {name}"
    return f" ({calendar})"


def _with_eu(words: str, eu: bool) -> str:
    return f"{words}; {_EU_WORDS}" if eu else words
