"""What an event itself says of the log it comes from, by a table (`logsources.yml`). Pure.

It stands beside what the source was registered with, for search; routing is detect's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson
import yaml

__all__ = ["MEMBER", "said_by"]

MEMBER = "observed_logsource"  # of the envelope
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class _Entry:
    when: tuple[tuple[tuple[str, ...], frozenset[str]], ...]
    logsource: tuple[tuple[str, str], ...]
    service_of: tuple[str, ...] | None


@cache
def _table() -> dict[str, tuple[_Entry, ...]]:
    """Return mark → entries, in the order of the file."""
    found: dict[str, tuple[_Entry, ...]] = {}
    for row in yaml.safe_load((_HERE / "logsources.yml").read_text("utf-8")):
        when = tuple((tuple(path.split(".")), frozenset(v)) for path, v in row["when"].items())
        service_of = tuple(row["service_of"].split(".")) if "service_of" in row else None
        entry = _Entry(when, tuple(row["logsource"].items()), service_of)
        found[row["mark"]] = (*found.get(row["mark"], ()), entry)
    return found


@cache
def _marks() -> frozenset[str]:
    return frozenset(_table())


@cache
def _channels() -> Mapping[str, str]:
    table: dict[str, str] = yaml.safe_load((_HERE / "channels.yml").read_text("utf-8"))
    return {channel.lower(): service for channel, service in table.items()}


def said_by(event: Mapping[str, Any]) -> bytes | None:
    """Return the logsource that *event* says, as the JSON of an envelope's member; None if none."""
    if _marks().isdisjoint(event):  # most plain events, and the hot path of ingest
        return None
    for mark, entries in _table().items():
        if mark in event:
            for entry in entries:
                if _holds(entry, event):
                    said = _read(event, entry.service_of) if entry.service_of else None
                    return _encoded(entry.logsource, said if isinstance(said, str) else None)
    return None


def _holds(entry: _Entry, event: Mapping[str, Any]) -> bool:
    for path, accepted in entry.when:
        value = _read(event, path)
        if value is None or (accepted and value not in accepted):
            return False
    return True


def _read(event: Mapping[str, Any], path: tuple[str, ...]) -> str | int | float | bool | None:
    value: Any = event
    for name in path:
        if type(value) is not dict:
            return None
        value = value.get(name)
    return value if isinstance(value, str | int | float | bool) else ("" if value else None)


@lru_cache(maxsize=1024)
def _encoded(logsource: tuple[tuple[str, str], ...], channel: str | None) -> bytes:
    known = dict(logsource)
    if channel is not None and (service := _channels().get(channel.lower())):
        known["service"] = service
    return f',"{MEMBER}":'.encode() + orjson.dumps(known)
