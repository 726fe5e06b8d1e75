"""Deadline rules and conditions as data: read whole, or refused with line and reason."""

from collections.abc import Callable, Iterable, Mapping
from datetime import time

from services.notify.obligations.calendars import calendar_ids
from services.notify.obligations.conditions import FACTS, AllOf, AnyOf, Fact, Part, Test
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
from shared.yaml_lines import Fields, LineError, Listing, Node, Scalar, Table, fields
from shared.zones import zone_names

__all__ = ["parse_calendar_name", "parse_parts", "parse_rule", "parse_zone"]

MOST_HOURS = 24 * 366
MOST_DAYS = 3660
_EU = "eu_1182_71"


def parse_rule(node: Node, what: str, clocks: Iterable[str]) -> Rule:
    """Return the rule in *node*; clocks that a member names have to be among *clocks*."""
    row = fields(node, f"{what}: rule", (*_KINDS, "latest_arguable", "adjust"))
    kinds = [kind for kind in _KINDS if row.has(kind)]
    if len(kinds) != 1:
        raise LineError(row.line, f"{what}: a rule is one of {', '.join(_KINDS)}")
    arguable = row.text_or_none("latest_arguable")
    if arguable not in {None, _EU}:
        raise LineError(row.line_of("latest_arguable"), f"{what}: the only reading is {_EU}")
    rule = _KINDS[kinds[0]](row, f"{what}: {kinds[0]}", arguable is not None, frozenset(clocks))
    return _adjusted(row, rule, what)


def _adjusted(row: Fields, rule: Rule, what: str) -> Rule:
    node = row.table("adjust")
    if node is None:
        return rule
    adjust = fields(node, f"{what}: adjust", ("weekend_noon_next_working_day",))
    inner = adjust.table("weekend_noon_next_working_day")
    if inner is None:
        raise LineError(adjust.line, f"{what}: adjust needs weekend_noon_next_working_day")
    given = fields(inner, f"{what}: adjust", ("tz", "calendar", "unless"))
    return WeekendNoon(
        rule=rule,
        tz=parse_zone(given, what),
        calendar=parse_calendar_name(given, what),
        unless=frozenset(text for text, _ in given.texts("unless")),
    )


def _elapsed_hours(row: Fields, what: str, eu: bool, _: frozenset[str]) -> Rule:
    return ElapsedHours(_number(row, "elapsed_hours", MOST_HOURS, what), eu)


def _calendar_days(row: Fields, what: str, eu: bool, _: frozenset[str]) -> Rule:
    given = _inner(row, "calendar_days", what, "days", "tz", "count", "roll", "calendar")
    count = given.text_or_none("count") or "exclusive"
    roll = given.text_or_none("roll") or "none"
    if count not in {"exclusive", "inclusive"}:
        raise LineError(given.line_of("count"), f"{what}: count is exclusive or inclusive")
    if roll not in {"none", "next_working_day"}:
        raise LineError(given.line_of("roll"), f"{what}: roll is none or next_working_day")
    return CalendarDays(
        days=_number(given, "days", MOST_DAYS, what),
        tz=parse_zone(given, what),
        inclusive=count == "inclusive",
        roll=roll == "next_working_day",
        calendar=parse_calendar_name(given, what) if given.has("calendar") else "weekends",
        eu_1182_71=eu,
    )


def _business_days(row: Fields, what: str, _: bool, __: frozenset[str]) -> Rule:
    given = _inner(row, "business_days", what, "days", "tz", "calendar", "cutoff")
    return BusinessDays(
        days=_number(given, "days", MOST_DAYS, what),
        tz=parse_zone(given, what),
        calendar=parse_calendar_name(given, what),
        cutoff=_time(given, "cutoff", END_OF_DAY, what),
    )


def _business_hours(row: Fields, what: str, _: bool, __: frozenset[str]) -> Rule:
    given = _inner(row, "business_hours", what, "hours", "tz", "calendar", "open", "close")
    opens, closes = _time(given, "open", time(9), what), _time(given, "close", time(17), what)
    if opens >= closes:
        raise LineError(given.line, f"{what}: opens at {opens} and closes at {closes}")
    return BusinessHours(
        hours=_number(given, "hours", MOST_HOURS, what),
        tz=parse_zone(given, what),
        calendar=parse_calendar_name(given, what),
        opens=opens,
        closes=closes,
    )


def _months(row: Fields, what: str, eu: bool, _: frozenset[str]) -> Rule:
    given = _inner(row, "months", what, "months", "tz", "calendar")
    return Months(
        months=_number(given, "months", 120, what),
        tz=parse_zone(given, what),
        calendar=parse_calendar_name(given, what) if given.has("calendar") else "weekends",
        eu_1182_71=eu,
    )


def _year_end(row: Fields, what: str, _: bool, __: frozenset[str]) -> Rule:
    given = _inner(row, "year_end_plus_days", what, "days", "tz")
    return YearEndPlusDays(days=_number(given, "days", MOST_DAYS, what), tz=parse_zone(given, what))


def _without_undue_delay(row: Fields, what: str, _: bool, __: frozenset[str]) -> Rule:
    keys = ("internal_target_hours", "internal_target_days")
    given = _inner(row, "without_undue_delay", what, *keys)
    if given.has(keys[1]):
        return WithoutUndueDelay(24 * _number(given, keys[1], MOST_DAYS, what))
    return WithoutUndueDelay(_number(given, keys[0], MOST_HOURS, what))


def _earliest_of(row: Fields, what: str, _: bool, clocks: frozenset[str]) -> Rule:
    return EarliestOf(_members(row, "earliest_of", what, clocks))


def _latest_of(row: Fields, what: str, _: bool, clocks: frozenset[str]) -> Rule:
    return LatestOf(_members(row, "latest_of", what, clocks))


def _members(row: Fields, kind: str, what: str, clocks: frozenset[str]) -> tuple[Member, ...]:
    found = []
    for node in row.items(kind):
        if not isinstance(node, Table):
            raise LineError(node.line, f"{what}: a member is a table")
        own = {key: value for key, value in node.entries.items() if key not in _OF_MEMBER}
        named = fields(
            Table({k: v for k, v in node.entries.items() if k in _OF_MEMBER}, node.line),
            what,
            _OF_MEMBER,
        )
        for key in _OF_MEMBER:
            if named.has(key) and named.text(key) not in clocks:
                raise LineError(named.line_of(key), f"{what}: clock {named.text(key)!r} is unknown")
        found.append(
            Member(
                parse_rule(Table(own, node.line), what, clocks),
                named.text_or_none("clock"),
                named.text_or_none("lapses_after"),
            )
        )
    if len(found) < 2:
        raise LineError(row.line_of(kind), f"{what} needs two members or more")
    return tuple(found)


_OF_MEMBER = ("clock", "lapses_after")
_KINDS: Mapping[str, Callable[[Fields, str, bool, frozenset[str]], Rule]] = {
    "elapsed_hours": _elapsed_hours,
    "calendar_days": _calendar_days,
    "business_days": _business_days,
    "business_hours": _business_hours,
    "months": _months,
    "year_end_plus_days": _year_end,
    "without_undue_delay": _without_undue_delay,
    "earliest_of": _earliest_of,
    "latest_of": _latest_of,
}


def parse_parts(node: Node | None, what: str) -> tuple[Part, ...]:
    """Return the conditions of *node*: a table of facts, or a list of such; all have to hold."""
    if node is None:
        return ()
    nodes = node.items if isinstance(node, Listing) else (node,)
    return tuple(part for one in nodes for part in _parts(one, what))


def _parts(node: Node, what: str) -> Iterable[Part]:
    if not isinstance(node, Table):
        raise LineError(node.line, f"{what}: a condition is a table of facts")
    for key, value in node.entries.items():
        if key in {"all", "any"} or key.startswith("at_least_"):
            parts = parse_parts(value, what)
            if key == "all":
                yield AllOf(parts)
                continue
            least = 1 if key == "any" else _least(key, value, what)
            if len(parts) < least:
                raise LineError(value.line, f"{what}: {key} of only {len(parts)}")
            yield AnyOf(parts, least)
        elif key not in FACTS:
            raise LineError(value.line, f"{what}: no fact is called {key!r}")
        else:
            yield _test(key, value, what)


def _least(key: str, value: Node, what: str) -> int:
    number = key.removeprefix("at_least_")
    if not number.isdecimal() or not 1 <= int(number) <= 99:
        raise LineError(value.line, f"{what}: {key!r} is not at_least_<number>")
    return int(number)


def _test(fact: str, value: Node, what: str) -> Test:
    kind = FACTS[fact]
    where = f"{what}: {fact}"
    if kind == "flag":
        if not isinstance(value, Scalar) or not isinstance(value.value, bool):
            raise LineError(value.line, f"{where} is true or false")
        return Test(fact, "is", value.value)
    if kind == "number":
        bounds = fields(value, where, ("at_least", "more_than"))
        for op in ("at_least", "more_than"):
            if bounds.has(op):
                number = bounds.number_or_none(op, 0, 10**12)
                return Test(fact, op, number if number is not None else 0)
        raise LineError(value.line, f"{where} needs at_least or more_than")
    names: Fact = frozenset(
        t for t, _ in Fields(Table({fact: value}, value.line), where).texts(fact)
    )
    return Test(fact, "overlaps", names)


def parse_zone(row: Fields, what: str) -> str:
    """Return the zone that *row* names, or `authority`."""
    name = row.text("tz")
    if name != AUTHORITY and name not in zone_names():
        raise LineError(row.line_of("tz"), f"{what}: there is no time zone {name!r}")
    return name


def parse_calendar_name(row: Fields, what: str) -> str:
    """Return the calendar that *row* names, or `authority`."""
    name = row.text("calendar")
    if name != AUTHORITY and name not in calendar_ids():
        raise LineError(row.line_of("calendar"), f"{what}: there is no calendar {name!r}")
    return name


def _inner(row: Fields, kind: str, what: str, *keys: str) -> Fields:
    node = row.table(kind)
    if node is None:
        raise LineError(row.line, f"{what} has no {kind}")
    return fields(node, what, keys)


def _number(row: Fields, key: str, most: int, what: str) -> int:
    number = row.number_or_none(key, 1, most)
    if number is None:
        raise LineError(row.line, f"{what} has no {key}")
    return number


def _time(row: Fields, key: str, default: time, what: str) -> time:
    text = row.text_or_none(key)
    if text is None:
        return default
    try:
        found = time.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise LineError(row.line_of(key), f"{what}: {key} {text!r} is no time of day")
    return found
