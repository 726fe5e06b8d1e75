"""What an event itself says of the log it comes from, by a table (`logsources.yml`). Pure.

It stands beside what the source was registered with, for search; routing is detect's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson
import yaml

__all__ = ["MEMBER", "Probes", "probes", "said_by"]

MEMBER = "observed_logsource"  # of the envelope
_HERE = Path(__file__).parent

_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    accepted: frozenset[str]
    when: tuple[tuple[_Path, frozenset[str]], ...]
    logsource: tuple[tuple[str, str], ...]
    service_of: _Path | None


Probes = tuple[tuple[_Path, list[_Entry]], ...]


@cache
def _table() -> dict[str, list[tuple[_Path, list[_Entry]]]]:
    """Return mark → what is looked at first → entries, all in the order of the file."""
    found: dict[str, dict[_Path, list[_Entry]]] = {}
    for row in yaml.safe_load((_HERE / "logsources.yml").read_text("utf-8")):
        when = [(tuple(path.split(".")), frozenset(v)) for path, v in row["when"].items()]
        (first, accepted), *more = when
        service_of = tuple(row["service_of"].split(".")) if "service_of" in row else None
        entry = _Entry(accepted, tuple(more), tuple(row["logsource"].items()), service_of)
        found.setdefault(row["mark"], {}).setdefault(first, []).append(entry)
    return {mark: list(entries.items()) for mark, entries in found.items()}


@cache
def _marks() -> frozenset[str]:
    return frozenset(_table())


@cache
def _channels() -> Mapping[str, str]:
    table: dict[str, str] = yaml.safe_load((_HERE / "channels.yml").read_text("utf-8"))
    return {channel.lower(): service for channel, service in table.items()}


def probes(members: Collection[str]) -> Probes:
    """Return where an event with these members may say its logsource, in order; mostly nowhere."""
    found = _marks().intersection(members)
    return tuple([probe for mark, of in _table().items() if mark in found for probe in of])


def said_by(event: Mapping[str, Any], where: Probes) -> bytes | None:
    """Return the logsource that *event* says, as the JSON of an envelope's member; None if none.

    *where* are the `probes` of its members.
    """
    for first, entries in where:
        value = _read(event, first)
        if value is None:
            continue
        for entry in entries:
            if (not entry.accepted or value in entry.accepted) and _holds(entry.when, event):
                said = _read(event, entry.service_of) if entry.service_of else None
                return _encoded(entry.logsource, said if isinstance(said, str) else None)
    return None


def _holds(when: tuple[tuple[_Path, frozenset[str]], ...], event: Mapping[str, Any]) -> bool:
    for path, accepted in when:
        value = _read(event, path)
        if value is None or (accepted and value not in accepted):
            return False
    return True


def _read(event: Mapping[str, Any], path: _Path) -> str | int | float | bool | None:
    value: Any = event
    for name in path:
        if type(value) is not dict:
            return None
        value = value.get(name)
        if value is None:
            return None
    if type(value) is dict or type(value) is list:
        return "" if value else None
    scalar: str | int | float | bool = value
    return scalar


@lru_cache(maxsize=1024)
def _encoded(logsource: tuple[tuple[str, str], ...], channel: str | None) -> bytes:
    known = dict(logsource)
    if channel is not None and (service := _channels().get(channel.lower())):
        known["service"] = service
    return f',"{MEMBER}":'.encode() + orjson.dumps(known)
