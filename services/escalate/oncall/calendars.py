"""Schedules as iCalendar (RFC 5545): shifts out, overrides in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

from services.escalate.oncall.roster import Person
from services.escalate.oncall.rotation import Shift, instant
from shared.clock import rfc3339
from shared.ids import derived_id

__all__ = ["CalendarError", "Entry", "read_calendar", "write_calendar"]

MOST_EVENTS = 1000
LONGEST = timedelta(days=366)


class CalendarError(Exception):
    """The calendar cannot be taken; the message says which event and why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: *person* for [start, end). ``uid`` is the calendar's own."""

    uid: str
    person: str
    start: datetime
    end: datetime


def write_calendar(
    schedule: str, found: Sequence[Shift], people: Mapping[str, Person], now: datetime
) -> bytes:
    """Return the shifts as events in UTC; stretches with nobody are marked as such."""
    calendar = Calendar()
    calendar.add("prodid", "-//Tocsin//on call//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add("x-wr-calname", f"On call: {schedule}")
    for shift in found:
        event = Event()
        begins = rfc3339(shift.start)
        event.add("uid", f"{derived_id('shift', schedule, begins, shift.person)}@tocsin")
        event.add("dtstamp", now.astimezone(UTC))
        event.add("dtstart", shift.start.astimezone(UTC))
        event.add("dtend", shift.end.astimezone(UTC))
        if shift.person is None:
            event.add("summary", f"NOBODY on call: {schedule}")
            event.add("categories", ["GAP"])
        else:
            name = people[shift.person].name if shift.person in people else shift.person
            event.add("summary", f"{name} on call: {schedule}")
            event.add("description", f"By {shift.source}")
            event.add("x-tocsin-person", shift.person)
        calendar.add_component(event)
    written: bytes = calendar.to_ical()
    return written


def read_calendar(data: bytes, people: Mapping[str, Person], zone: ZoneInfo) -> list[Entry]:
    """Return the events of a calendar; CalendarError for the first that cannot be taken.

    Who is meant is said by X-TOCSIN-PERSON, an attendee's e-mail address, or a summary that is
    somebody's id or name. All-day events are days of *zone*. What repeats is refused, and what has
    no time zone: neither says when it is for certain.
    """
    try:
        calendar = Calendar.from_ical(data)
    except Exception as error:  # noqa: BLE001 - of several types, for what is no calendar
        raise CalendarError(f"not an iCalendar: {str(error)[:200]}") from None
    events = calendar.walk("VEVENT")
    if not events:
        raise CalendarError("there is no event in it")
    if len(events) > MOST_EVENTS:
        raise CalendarError(f"more than {MOST_EVENTS} events")
    by_mail = {
        contact.to.lower(): person.id
        for person in people.values()
        for contact in person.contacts
        if contact.channel == "email"
    }
    names = {person.name.lower(): person.id for person in people.values()}
    return [
        _entry(number, event, people, {**names, **by_mail}, zone)
        for number, event in enumerate(events, 1)
        if str(event.get("status", "")).upper() != "CANCELLED"
    ]


def _entry(
    number: int, event: Any, people: Mapping[str, Person], names: Mapping[str, str], zone: ZoneInfo
) -> Entry:
    where = f"event {number} ({str(event.get('summary', 'no summary'))[:60]})"
    if any(key in event for key in ("rrule", "rdate")):
        raise CalendarError(f"{where}: repeats; an override is for one time")
    start, end = (_when(event, key, where, zone) for key in ("dtstart", "dtend"))
    if not start < end <= start + LONGEST:
        raise CalendarError(f"{where}: must end after it begins, within a year")
    return Entry(str(event.get("uid", "")), _person(event, people, names, where), start, end)


def _when(event: Any, key: str, where: str, zone: ZoneInfo) -> datetime:
    if key not in event:
        raise CalendarError(f"{where}: has no {key.upper()}")
    try:
        value = event.decoded(key)
    except Exception as error:  # likewise
        raise CalendarError(f"{where}: {key.upper()} cannot be read") from error
    if not isinstance(value, datetime):
        return instant(datetime.combine(value, datetime.min.time()), zone)
    if value.tzinfo is None:
        raise CalendarError(f"{where}: {key.upper()} has no time zone")
    return value.astimezone(UTC)


def _person(event: Any, people: Mapping[str, Person], names: Mapping[str, str], where: str) -> str:
    told = event.get("x-tocsin-person")
    attendees = event.get("attendee", [])
    attendees = attendees if isinstance(attendees, list) else [attendees]
    mails = [str(attendee).lower().removeprefix("mailto:") for attendee in attendees]
    summary = str(event.get("summary", "")).partition(" on call")[0].strip()
    for candidate in [str(told) if told is not None else "", *mails, summary]:
        if candidate in people:
            return candidate
        if candidate.lower() in names:
            return names[candidate.lower()]
    raise CalendarError(f"{where}: names nobody of the directory")
