"""An envelope into a row: what the store's columns hold, and the leaves of the event by path. Pure.

Paths are written with dots and in small letters (``event.system.eventid``); list elements share the
path of their list. Values are text as JSON writes them; null is no value.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from services.ingest.logsource import MEMBER
from services.ingest.store.layout import FIELD_PREFIX

__all__ = ["Row", "decode", "envelope_of", "leaves"]

MAX_LEAVES = 1000  # of one event; raw has all of them
MAX_VALUE = 4096
MAX_NAMES = 10_000


class _Logsource(msgspec.Struct):
    product: str | None = None
    category: str | None = None
    service: str | None = None


class _Known(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    observed_time: str
    source_id: str
    raw: msgspec.Raw
    time: str | None = None
    tenant: str | None = None
    region: str | None = None
    datacenter: str | None = None
    service: str | None = None
    server: str | None = None
    logsource: _Logsource | None = None
    observed_logsource: dict[str, str] | None = None
    fields: msgspec.Raw = msgspec.Raw()


_KNOWN = frozenset(_Known.__struct_fields__)
_many = msgspec.json.Decoder(list[_Known])
_loose = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_one = msgspec.json.Decoder(_Known)
_NO_LOGSOURCE = _Logsource()
_names: dict[str, dict[str, str]] = {}  # path → key → column: the same few thousand, over and over


class Row(msgspec.Struct, frozen=True, gc=False):
    """One event on its way into a file.

    *record* holds the fixed columns and, under ``f.<path>``, the leaves; *rest* those leaves that
    came a second time under their path.
    """

    source_id: str
    time: str
    record: dict[str, Any]
    rest: list[tuple[str, str]]
    raw_bytes: int


def decode(body: bytes) -> list[Row]:
    """Return the rows of a block's decompressed *body*; msgspec.DecodeError if it is no block."""
    try:
        return [_row(known, None) for known in _many.decode(body)]
    except msgspec.ValidationError:
        # A newer ingest may put more into an envelope than this program knows: it is kept.
        return [_with_extra(members) for members in _loose.decode(body)]


def _with_extra(members: dict[str, msgspec.Raw]) -> Row:
    extra = {k: msgspec.json.decode(v) for k, v in members.items() if k not in _KNOWN}
    known = {k: v for k, v in members.items() if k in _KNOWN}
    return _row(_one.decode(msgspec.json.encode(known)), orjson.dumps(extra).decode())


def _row(known: _Known, extra: str | None) -> Row:
    raw = bytes(known.raw)
    event = orjson.loads(raw)
    is_text = isinstance(event, str)
    logsource = known.logsource or _NO_LOGSOURCE
    fields = bytes(known.fields).decode() or None
    time = known.time or known.observed_time
    record = {
        "id": known.id,
        "time": time,
        "observed_time": known.observed_time,
        "claimed": known.time is not None,
        "source_id": known.source_id,
        "tenant": known.tenant,
        "region": known.region,
        "datacenter": known.datacenter,
        "service": known.service,
        "server": known.server,
        "product": logsource.product,
        "category": logsource.category,
        "logsource_service": logsource.service,
        "is_text": is_text,
        "raw": event if is_text else raw.decode(),
        "fields": fields,
        "extra": extra,
    }
    rest: list[tuple[str, str]] = []
    if known.observed_logsource is not None:
        # Told apart from what was registered (a replay must not make it more than it is), and
        # found under the same names.
        leaves("", {"logsource": known.observed_logsource}, record, rest)
        if extra is None:
            record["extra"] = _observed(tuple(known.observed_logsource.items()))
        else:
            more = orjson.loads(extra) | {MEMBER: known.observed_logsource}
            record["extra"] = orjson.dumps(more).decode()
    if not is_text:
        leaves("", event, record, rest)
    if fields is not None:
        leaves("", orjson.loads(fields), record, rest)
    return Row(known.source_id, time, record, rest, len(raw))


@lru_cache(maxsize=1024)
def _observed(logsource: tuple[tuple[str, str], ...]) -> str:
    return orjson.dumps({MEMBER: dict(logsource)}).decode()


def leaves(path: str, value: Any, record: dict[str, Any], rest: list[tuple[str, str]]) -> None:
    """Put the leaves of the object *value* into *record*, or into *rest* where one is there."""
    names = _names.get(path)
    if names is None:
        if len(_names) >= MAX_NAMES:
            _names.clear()
        names = _names[path] = {}
    for key, member in value.items():
        name = names.get(key)
        if name is None:
            if len(names) >= MAX_NAMES:
                names.clear()
            name = names[key] = f"{path or FIELD_PREFIX[:-1]}.{key.lower()}"
        kind = type(member)
        if kind is str:
            text = member if len(member) <= MAX_VALUE else member[:MAX_VALUE]
        elif kind is dict:
            leaves(name, member, record, rest)
            continue
        elif kind is list:
            _elements(name, member, rest)
            continue
        elif member is None:
            continue
        else:
            text = _text(member)
        full = len(record) >= MAX_LEAVES
        held = record.get(name) if full else record.setdefault(name, text)
        if held is not text and held != text and len(rest) < MAX_LEAVES:
            rest.append((name[len(FIELD_PREFIX) :], text))


def _elements(name: str, members: list[Any], rest: list[tuple[str, str]]) -> None:
    """Put every leaf under a list into *rest*: its path has many values."""
    for member in members:
        if len(rest) >= MAX_LEAVES:
            return
        if isinstance(member, list):
            _elements(name, member, rest)
        elif isinstance(member, dict):
            inner: dict[str, Any] = {}
            leaves(name, member, inner, rest)
            rest += [(path[len(FIELD_PREFIX) :], text) for path, text in inner.items()]
        elif member is not None:
            rest.append((name[len(FIELD_PREFIX) :], _text(member)))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value[:MAX_VALUE]
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def envelope_of(columns: Mapping[str, Any]) -> bytes:
    """Return the envelope that *columns* of the store were made of, its event verbatim."""
    return b"{" + b",".join(_members(columns)) + b"}"


def _members(columns: Mapping[str, Any]) -> Iterator[bytes]:
    yield b'"id":' + orjson.dumps(str(columns["id"]))
    if columns["claimed"]:
        yield b'"time":' + orjson.dumps(_instant(columns["time"]))
    for name in ("source_id", "tenant", "region", "datacenter", "service", "server"):
        if columns[name] is not None:
            yield f'"{name}":'.encode() + orjson.dumps(columns[name])
    logsource = {
        "product": columns["product"],
        "category": columns["category"],
        "service": columns["logsource_service"],
    }
    yield b'"logsource":' + orjson.dumps({k: v for k, v in logsource.items() if v is not None})
    yield b'"observed_time":' + orjson.dumps(_instant(columns["observed_time"]))
    raw = columns["raw"]
    yield b'"raw":' + (orjson.dumps(raw) if columns["is_text"] else raw.encode())
    if columns["fields"] is not None:
        yield b'"fields":' + columns["fields"].encode()
    if columns["extra"] is not None:
        yield columns["extra"].encode()[1:-1]


def _instant(value: object) -> str:
    from shared.clock import rfc3339

    return rfc3339(value) if isinstance(value, datetime) else str(value)
