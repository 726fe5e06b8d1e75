"""Pure: working days, out of versioned files beside this module, never looked up live (§4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from importlib.resources import files

from shared.yaml_lines import LineError, fields, read

__all__ = [
    "Calendar", "CalendarRangeError", "UnknownCalendarError", "calendar_ids", "parse_calendar",
    "shipped_calendar",
]  # fmt: skip

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class UnknownCalendarError(Exception):
    """There is no calendar of that name."""


class CalendarRangeError(Exception):
    """The calendar does not know that year; a day must never pass for a working day unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Which days are working days somewhere.

    ``closures`` are (month, day) of every year, ``workdays`` weekend days that were swapped for a
    bridge day.
    """

    id: str
    version: str
    weekend: frozenset[int] = frozenset({5, 6})
    holidays: Mapping[date, str] = field(default_factory=dict, repr=False)
    closures: frozenset[tuple[int, int]] = frozenset()
    workdays: frozenset[date] = frozenset()
    first_year: int = 1
    last_year: int = 9998

    def closed(self, day: date) -> str | None:
        """Return why *day* is no working day; None if it is one.

        CalendarRangeError outside the years that the calendar knows.
        """
        if not self.first_year <= day.year <= self.last_year:
            raise CalendarRangeError(
                f"calendar {self.id} {self.version} knows {self.first_year} to {self.last_year},"
                f" not {day}"
            )
        if name := self.holidays.get(day):
            return name
        if day.weekday() in self.weekend and day not in self.workdays:
            return _DAYS[day.weekday()].capitalize()
        return "closure day" if (day.month, day.day) in self.closures else None

    def working(self, day: date) -> bool:
        """Return whether *day* is a working day."""
        return self.closed(day) is None

    def next_working(self, day: date) -> date:
        """Return *day* if it is a working day, else the first one after it."""
        while not self.working(day):
            day += timedelta(days=1)
        return day


def parse_calendar(text: str) -> Calendar:
    """Return the calendar in *text*; LineError with line and reason."""
    keys = (
        "id", "version", "what", "weekend", "first_year", "last_year", "closures", "workdays",
        "holidays",
    )  # fmt: skip
    top = fields(read(text), "calendar", keys)
    weekend = top.texts("weekend")
    for name, line in weekend:
        if name not in _DAYS:
            raise LineError(line, f"calendar: {name!r} is no day of the week")
    if len({name for name, _ in weekend}) > len(_DAYS) - 1:
        raise LineError(top.line_of("weekend"), "calendar: a week without a working day")
    node = top.table("holidays")
    named = fields(node, "holidays", tuple(_keys(node))) if node else None
    return Calendar(
        id=top.text("id"),
        version=top.text("version"),
        weekend=frozenset(_DAYS.index(name) for name, _ in weekend),
        holidays={_day(k, named.line_of(k)): named.text(k) for k in _keys(node)} if named else {},
        closures=frozenset(
            (day.month, day.day)
            for text, line in top.texts("closures")
            for day in (_day(f"2024-{text}", line),)
        ),
        workdays=frozenset(_day(text, line) for text, line in top.texts("workdays")),
        first_year=top.number_or_none("first_year", 1, 9998) or 1,
        last_year=top.number_or_none("last_year", 1, 9998) or 9998,
    )


def _keys(node: object) -> list[str]:
    return list(getattr(node, "entries", {}))


def _day(text: str, line: int) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise LineError(line, f"calendar: {text!r} is not a date (YYYY-MM-DD)") from None


def calendar_ids() -> frozenset[str]:
    """Return the names of the calendars that come with Tocsin; ``weekends`` knows no holidays."""
    folder = files("services.notify.obligations").joinpath("holidays")
    found = {entry.name.removesuffix(".yml") for entry in folder.iterdir()}
    return frozenset({name for name in found if not name.startswith("_")} | {"weekends"})


@cache
def shipped_calendar(name: str) -> Calendar:
    """Return the calendar of that name; UnknownCalendarError if none comes with Tocsin."""
    if name == "weekends":
        return Calendar(id="weekends", version="1")
    if name not in calendar_ids():
        raise UnknownCalendarError(f"there is no calendar {name!r}")
    folder = files("services.notify.obligations").joinpath("holidays")
    return parse_calendar(folder.joinpath(f"{name}.yml").read_text("utf-8"))
