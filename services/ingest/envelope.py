"""An item into an envelope: the event verbatim, beside it who sent it, when, and its identity."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from services.ingest.framing import Item
from services.ingest.sources import Source
from services.ingest.syslog import parse_line
from shared.clock import rfc3339
from shared.contracts.ingest import Logsource
from shared.ids import derived_id, uuid7

__all__ = ["Enveloper", "Limits", "Rejected", "Sealed", "digest", "keyed_event_id"]

# Where shippers put the time of an event; the first that can be read wins.
_TIME_FIELDS = (
    "@timestamp", "time", "timestamp", "eventTime", "TimeCreated", "UtcTime", "EventTime", "ts",
    "event_time", "createdDateTime", "published",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one event."""

    max_bytes: int
    max_depth: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope, encoded, with what the block's header needs to know of it."""

    id: UUID
    data: bytes
    has_client_id: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why an item goes to quarantine; nothing of it is lost."""

    item: Item
    cause: str
    detail: str


class Enveloper:
    """Wraps the items of one request: same source, same moment, same routing hint."""

    def __init__(
        self,
        source: Source,
        hint: Logsource | None,
        now: datetime,
        limits: Limits,
        client_key: str | None = None,
    ) -> None:
        self._source, self._now, self._limits, self._key = source, now, limits, client_key
        logsource = hint if hint and hint.model_dump(exclude_none=True) else source.logsource
        common = {
            "source_id": source.id,
            "tenant": source.tenant,
            "region": source.region,
            "datacenter": source.datacenter,
            "service": source.service,
            "server": source.server,
            "logsource": logsource.model_dump(exclude_none=True),
            "observed_time": rfc3339(now),
        }
        present = {name: value for name, value in common.items() if value is not None}
        self._common = orjson.dumps(present)[1:-1]

    def seal(self, item: Item) -> Sealed | Rejected:
        """Return the envelope of *item*, or why it cannot have one."""
        try:
            return self._seal(item)
        except Exception as error:  # noqa: BLE001 - one odd item must not refuse its neighbours
            return Rejected(item, "unreadable", f"{type(error).__name__}: {error}")

    def _seal(self, item: Item) -> Sealed | Rejected:
        if len(item.data) > self._limits.max_bytes:
            detail = f"{len(item.data)} bytes; at most {self._limits.max_bytes}"
            return Rejected(item, "oversize", detail)
        if item.is_text:
            return self._seal_text(item)
        if _too_deep(item.data, self._limits.max_depth):
            return Rejected(item, "too_deep", f"nested deeper than {self._limits.max_depth}")
        try:
            event = orjson.loads(item.data)
        except orjson.JSONDecodeError as error:
            cause = "bad_encoding" if "UTF-8" in str(error) else "unparseable"
            return Rejected(item, cause, str(error))
        if not isinstance(event, dict):
            return Rejected(item, "not_an_object", f"an event is an object, not {_kind(event)}")
        given = self._client_id(event, item)
        return self._sealed(given, _event_time(event), b',"raw":' + item.data)

    def _seal_text(self, item: Item) -> Sealed | Rejected:
        try:
            line = item.data.decode()
        except UnicodeDecodeError as error:
            return Rejected(item, "bad_encoding", f"not UTF-8 at byte {error.start}")
        fields = parse_line(line, self._now)
        time = fields.get("time")
        body = b',"raw":' + orjson.dumps(line) + b',"fields":' + orjson.dumps(fields)
        given = self._client_id({}, item)
        return self._sealed(given, time if isinstance(time, str) else None, body)

    def _client_id(self, event: Mapping[str, Any], item: Item) -> UUID | None:
        """Return the identity that the client gave: an event_id, or the request's key."""
        own = event.get("event_id")
        if isinstance(own, str) and len(own) == 36 and own.count("-") == 4:
            return derived_id("event", self._source.tenant, self._source.id, own)
        if self._key is not None:
            return keyed_event_id(self._source, self._key, item)
        return None

    def _sealed(self, given: UUID | None, time: str | None, body: bytes) -> Sealed:
        identity = given or uuid7()
        claimed = f'"time":"{time}",' if time else ""
        head = f'{{"id":"{identity}",{claimed}'.encode()
        return Sealed(identity, head + self._common + body + b"}", given is not None)


def keyed_event_id(source: Source, key: str, item: Item) -> UUID:
    """Return the id of *item* in a request that carries *key*.

    Its bytes are part of it: a key that a careless client uses twice must not make different events
    the same one.
    """
    return derived_id("event", source.tenant, source.id, key, item.index, digest(item.data))


def digest(data: bytes) -> str:
    """Return the SHA-256 of *data* in hex."""
    return hashlib.sha256(data).hexdigest()


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", int: "a number", float: "a number"}
    return names.get(type(value), "null" if value is None else "a boolean")


def _too_deep(data: bytes, limit: int) -> bool:
    # Counting brackets is exact enough for nearly every event and a hundred times cheaper.
    if data.count(b"{") + data.count(b"[") <= limit:
        return False
    depth = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x7B, 0x5B):
            depth += 1
            if depth > limit:
                return True
        elif byte in (0x7D, 0x5D):
            depth -= 1
    return False


def _event_time(event: Mapping[str, Any]) -> str | None:
    for name in _TIME_FIELDS:
        if name in event and (time := _read_time(event[name])):
            return time
    return None


def _read_time(value: object) -> str | None:
    """Return an instant as RFC 3339, from ISO 8601 text (UTC when it names no offset) or epoch."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value.strip().replace(",", "."))
            return rfc3339(time if time.tzinfo else time.replace(tzinfo=UTC))
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if value > 1e11 else value  # milliseconds since 1973 on
            return rfc3339(datetime.fromtimestamp(seconds, UTC)) if seconds > 1e8 else None
    except (ValueError, OverflowError, OSError):
        return None
    return None
