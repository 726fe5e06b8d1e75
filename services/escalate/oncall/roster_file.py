"""People, teams and schedules out of the directory's file, whole or not at all."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime, time, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

from services.escalate.file_spots import Spot
from services.escalate.oncall.roster import Contact, Person, Roster, Team
from services.escalate.oncall.rotation import DAYS, Layer, Schedule, Window, overlapping
from shared.zones import UnknownZoneError, zone

__all__ = ["CHANNELS", "parse_roster"]

CHANNELS = ("email", "webhook", "slack", "teams", "pagerduty", "apprise", "log")
KIND = re.compile(r"[a-z][a-z0-9_]{1,60}")
_TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
_CHAT_IDS = {
    "slack_user": (re.compile(r"[UW][A-Z0-9]{5,30}"), "member id of Slack, such as U012AB3CD"),
    "pagerduty_user": (re.compile(r"[A-Z0-9]{4,32}"), "id of a user of PagerDuty, such as PXPGF42"),
}
MOST_HOURS = 24 * 366


def parse_roster(people: Spot | None, schedules: Spot | None, teams: Spot | None) -> Roster:
    """Return the roster; FileError names the line that is wrong and why.

    Refused besides what cannot be read: names of people, schedules and channels that are not there,
    active hours that overlap, and layers that a later one hides for ever.
    """
    known = {name: _person(name, spot) for name, spot in _entries(people)}
    _need_one_each(people, known)
    plans = {name: _schedule(name, spot, known) for name, spot in _entries(schedules)}
    described = {name: _team(name, spot, known, plans) for name, spot in _entries(teams)}
    return Roster(
        people=MappingProxyType(known),
        teams=MappingProxyType(described),
        schedules=MappingProxyType(plans),
    )


def _entries(spot: Spot | None) -> Collection[tuple[str, Spot]]:
    return spot.entries().items() if spot is not None else ()


def _person(name: str, spot: Spot) -> Person:
    if not _ID.fullmatch(name):
        raise spot.refusal(f"{name!r} cannot be the subject of a token")
    parts = spot.table(
        ("contacts",),
        ("name", "competencies", "services", "regions", "languages", *_CHAT_IDS),
    )
    for key, (pattern, what) in _CHAT_IDS.items():
        if key in parts and not pattern.fullmatch(parts[key].text()):
            raise parts[key].refusal(f"is no {what}")
    return Person(
        id=name,
        name=parts["name"].text() if "name" in parts else name,
        contacts=_contacts(parts["contacts"]),
        competencies=frozenset(_names(parts, "competencies")),
        services=frozenset(_names(parts, "services")),
        regions=frozenset(_names(parts, "regions")),
        languages=_names(parts, "languages"),
        **{key: parts[key].text() for key in _CHAT_IDS if key in parts},
    )


def _need_one_each(people: Spot | None, known: Mapping[str, Person]) -> None:
    """Refuse two people with one id at Slack or PagerDuty: whose answer would it be?"""
    seen: dict[tuple[str, str], str] = {}
    for name, spot in _entries(people):
        for key in _CHAT_IDS:
            user = getattr(known[name], key)
            if user and (key, user) in seen:
                raise spot.refusal(f"{key} is that of {seen[key, user]} already")
            if user:
                seen[key, user] = name


def _contacts(spot: Spot) -> tuple[Contact, ...]:
    found: list[Contact] = []
    for entry in spot.items():
        parts = entry.table(("channel", "to"))
        contact = Contact(parts["channel"].one_of(CHANNELS), parts["to"].text())
        if contact.channel == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+", contact.to):
            raise parts["to"].refusal(f"{contact.to!r} is not an e-mail address")
        if contact.channel not in ("email", "log") and "://" in contact.to:
            raise parts["to"].refusal("is a URL; those are secrets: give its name in that file")
        if contact in found:
            raise entry.refusal("stands twice")
        found.append(contact)
    if not found:
        raise spot.refusal("names no way to reach them")
    return tuple(found)


def _team(name: str, spot: Spot, people: Collection[str], schedules: Collection[str]) -> Team:
    parts = spot.table(
        ("kind",),
        (
            "members", "primary", "secondary", "lead", "contacts", "services", "regions",
            "competencies",
        ),
    )  # fmt: skip
    kind = parts["kind"].text()
    if not KIND.fullmatch(kind):
        raise parts["kind"].refusal(f"{kind!r} is not a word of small letters, digits and _")
    if "secondary" in parts and "primary" not in parts:
        raise parts["secondary"].refusal("without a primary nobody would be asked first")
    return Team(
        name=name,
        kind=kind,
        members=_known(parts, "members", people, "person"),
        primary=_one(parts, "primary", schedules, "schedule"),
        secondary=_one(parts, "secondary", schedules, "schedule"),
        lead=_one(parts, "lead", people, "person"),
        contacts=_contacts(parts["contacts"]) if "contacts" in parts else (),
        services=frozenset(_names(parts, "services")),
        regions=frozenset(_names(parts, "regions")),
        competencies=frozenset(_names(parts, "competencies")),
    )


def _schedule(name: str, spot: Spot, people: Collection[str]) -> Schedule:
    listed = spot.table(("layers",))["layers"].items()
    if not listed:
        raise spot.refusal("has no layer, so nobody is ever on call")
    layers: list[tuple[Layer, Spot]] = []
    for entry in listed:
        layer = _layer(entry, people)
        if any(layer.name == other.name for other, _ in layers):
            raise entry.refusal(f"there is a layer {layer.name} already")
        for other, place in layers:
            if not layer.active and _begins(layer) <= _begins(other):
                raise place.refusal(f"is never reached: layer {layer.name} always wins over it")
        layers.append((layer, entry))
    return Schedule(name, tuple(layer for layer, _ in layers))


def _begins(layer: Layer) -> datetime:
    return layer.begins.replace(tzinfo=layer.zone)


def _layer(spot: Spot, people: Collection[str]) -> Layer:
    parts = spot.table(("name", "people", "zone", "start", "handover", "length"), ("active",))
    who = _known(parts, "people", people, "person")
    if not who:
        raise parts["people"].refusal("names nobody")
    windows = [_window(entry) for entry in parts["active"].items()] if "active" in parts else []
    if "active" in parts and not windows:
        raise parts["active"].refusal("names no hours, so the layer would never hold")
    if overlapping(windows):
        raise parts["active"].refusal("two of the active hours overlap")
    return Layer(
        name=parts["name"].text(),
        people=who,
        zone=_zone(parts["zone"]),
        begins=datetime.combine(_date(parts["start"]), time()) + _clock(parts["handover"]),
        length=_length(parts["length"]),
        active=tuple(windows),
    )


def _zone(spot: Spot) -> ZoneInfo:
    try:
        return zone(spot.text())
    except UnknownZoneError as error:
        raise spot.refusal(str(error)) from None


def _date(spot: Spot) -> datetime:
    text = spot.text()
    if len(text) != len("2026-01-05"):
        raise spot.refusal(f"{text!r} is not a date such as 2026-01-05")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise spot.refusal(f"{text!r} is not a date such as 2026-01-05") from None


def _clock(spot: Spot, latest: str = "23:59") -> timedelta:
    text = spot.text()
    found = _TIME.fullmatch(text)
    if found is None or text > latest:
        raise spot.refusal(f"{text!r} is not a time from 00:00 to {latest} (in quotes)")
    return timedelta(hours=int(found[1]), minutes=int(found[2]))


def _length(spot: Spot) -> timedelta:
    parts = spot.table((), ("weeks", "days", "hours"))
    if len(parts) != 1:
        raise spot.refusal("must be one of weeks, days and hours")
    ((unit, place),) = parts.items()
    length = timedelta(**{unit: place.whole(MOST_HOURS)})
    if not timedelta(hours=1) <= length <= timedelta(hours=MOST_HOURS):
        raise place.refusal("must be from an hour to a year")
    return length


def _window(spot: Spot) -> Window:
    parts = spot.table(("days", "from", "to"))
    days = [entry.one_of(DAYS) for entry in parts["days"].texts()]
    if not days or len(set(days)) != len(days):
        raise parts["days"].refusal("names no day, or one twice")
    start, end = _clock(parts["from"]), _clock(parts["to"], "24:00")
    if end <= start:
        end += timedelta(days=1)  # over midnight
    return Window(frozenset(map(DAYS.index, days)), start, end)


def _names(parts: Mapping[str, Spot], key: str) -> tuple[str, ...]:
    if key not in parts:
        return ()
    return tuple(dict.fromkeys(entry.text() for entry in parts[key].texts()))


def _known(
    parts: Mapping[str, Spot], key: str, known: Collection[str], what: str
) -> tuple[str, ...]:
    if key not in parts:
        return ()
    found: list[str] = []
    for entry in parts[key].texts():
        name = entry.text()
        if name not in known:
            raise entry.refusal(f"there is no {what} {name!r}")
        found.append(name)
    return tuple(found)


def _one(parts: Mapping[str, Spot], key: str, known: Collection[str], what: str) -> str | None:
    if key not in parts:
        return None
    name = parts[key].text()
    if name not in known:
        raise parts[key].refusal(f"there is no {what} {name!r}")
    return name
