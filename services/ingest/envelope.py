"""An item into an envelope: the event verbatim, beside it who sent it, when, and its identity."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
import orjson

from services.ingest.framing import FEW, Item, TooManyError
from services.ingest.logsource import said_by
from services.ingest.sources import Source
from services.ingest.watch.measure import Measure
from shared.clock import rfc3339
from shared.contracts.ingest import Logsource
from shared.ids import derived_id, uuid7_texts
from shared.lines.syslog import parse_line

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


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """An envelope, encoded, with what the block's header and the answer need to know of it."""

    id: str
    data: bytes
    has_client_id: bool
    index: int = 0


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
        measure: Measure | None = None,
    ) -> None:
        self._measure = measure
        self._asks_all = measure is not None and measure.requirement is not None
        self._times: list[str] = []
        self._source, self._now, self._key = source, now, client_key
        self._max_bytes, self._max_depth = limits.max_bytes, limits.max_depth
        labels, is_said = _labels(source, hint)
        # What a source was registered with, or a request says, goes before what an event says.
        self._asks_event = not is_said
        self._before_raw = b"".join((labels, rfc3339(now).encode(), b'","raw":'))

    def seal_all(
        self, items: Iterable[Item], most: int = 1 << 30, most_bytes: int = 1 << 40
    ) -> tuple[list[Sealed], list[Rejected]]:
        """Return the envelopes of *items* and, apart, those that cannot have one.

        TooManyError beyond *most* items, or *most_bytes* of envelopes: labels that a protocol
        states once for thousands of events stand in every envelope.
        """
        sealed: list[Sealed] = []
        rejected: list[Rejected] = []
        size = 0
        ids = uuid7_texts(len(items)) if isinstance(items, list) else _ids()
        seal = self._seal
        for count, (item, spare) in enumerate(zip(items, ids, strict=False), 1):
            if count > most:
                raise TooManyError(f"a request holds at most {most} events")
            try:
                result = seal(item, spare)
            except Exception as error:  # noqa: BLE001 - one odd item must not refuse its neighbours
                result = Rejected(item, "unreadable", f"{type(error).__name__}: {error}")
            if type(result) is Sealed:
                sealed.append(result)
                size += len(result.data)
                if size > most_bytes:
                    raise TooManyError(f"the events of a request grow beyond {most_bytes} bytes")
            elif type(result) is Rejected:
                rejected.append(result)
        if self._measure is not None:
            self._measure.see_times(len(sealed), self._times)
        return sealed, rejected

    def seal(self, item: Item) -> Sealed | Rejected:
        """Return the envelope of *item*, or why it cannot have one."""
        sealed, rejected = self.seal_all([item])
        return sealed[0] if sealed else rejected[0]

    def _seal(self, item: Item, spare: str) -> Sealed | Rejected:
        # The hot path of the service: checks stand in order of what they cost, calls are few.
        data = item.data
        if len(data) > self._max_bytes:
            return Rejected(item, "oversize", f"{len(data)} bytes; at most {self._max_bytes}")
        if item.flaw is not None:
            return Rejected(item, item.flaw, "the protocol's decoder cannot read it")
        if item.is_text and data[:1] != b"{":
            return self._seal_text(item, spare)
        # Counting brackets is exact enough for nearly every event and a hundred times cheaper.
        depth = self._max_depth
        if (
            not (item.shallow and depth >= FEW)
            and data.count(b"{") + data.count(b"[") > depth
            and _too_deep(data, depth)
        ):
            if item.is_text:
                return self._seal_text(item, spare)
            return Rejected(item, "too_deep", f"nested deeper than {depth}")
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            if item.is_text:  # a line that begins like JSON and is none
                return self._seal_text(item, spare)
            cause = "bad_encoding" if "UTF-8" in str(error) else "unparseable"
            return Rejected(item, cause, str(error))
        if type(event) is not dict:
            return Rejected(item, "not_an_object", f"an event is an object, not {_kind(event)}")
        given = None
        if item.key is not None or self._key is not None or "event_id" in event:
            given = self._client_id(event, item)
        time = _read_time(item.time) if item.time else None
        if time is None:
            time = _event_time(event)
        if time is None:
            head = f'{{"id":"{given or spare}",'
        else:
            head = f'{{"id":"{given or spare}","time":"{time}",'
        said = said_by(event) if self._asks_event else None
        end = b"}" if said is None else said + b"}"
        fields = item.fields
        if fields:
            beside = orjson.dumps(fields)
            if len(beside) > self._max_bytes:
                return Rejected(item, "oversize", f"{len(beside)} bytes beside the event")
            end = b',"fields":' + beside + end
        if time is not None:
            self._times.append(time)
        if self._asks_all:
            self._look_into(event, fields)
        whole = b"".join((head.encode(), self._before_raw, data, end))
        return Sealed(given or spare, whole, given is not None, item.index)

    def _seal_text(self, item: Item, spare: str) -> Sealed | Rejected:
        try:
            line = item.data.decode()
        except UnicodeDecodeError as error:
            return Rejected(item, "bad_encoding", f"not UTF-8 at byte {error.start}")
        fields = {**(item.fields or {}), **parse_line(line, self._now)}
        claimed = (item.time and _read_time(item.time)) or fields.get("time")
        time = f'"time":"{claimed}",' if isinstance(claimed, str) else ""
        given = self._client_id({}, item)
        head = f'{{"id":"{given or spare}",{time}'.encode()
        beside = orjson.dumps(fields)
        if len(beside) > 3 * self._max_bytes:
            return Rejected(item, "oversize", f"{len(beside)} bytes beside the event")
        if isinstance(claimed, str) and (moment := _read_time(claimed)) is not None:
            self._times.append(moment)
        if self._asks_all:
            self._look_into(fields, None)
        raw = orjson.dumps(line) + b',"fields":' + beside
        raw += ((said_by(fields) if self._asks_event else None) or b"") + b"}"
        return Sealed(given or spare, head + self._before_raw + raw, given is not None, item.index)

    def _look_into(self, event: Mapping[str, Any], beside: Mapping[str, Any] | None) -> None:
        if self._measure is not None:
            self._measure.look_into(event, beside)

    def _client_id(self, event: Mapping[str, Any], item: Item) -> str | None:
        """Return the identity that the client gave: the protocol's, the event's, the request's."""
        if item.key is not None:
            return str(derived_id("event", self._source.tenant, self._source.id, item.key))
        own = event.get("event_id")
        if type(own) is str and len(own) == 36 and own.count("-") == 4:
            return str(derived_id("event", self._source.tenant, self._source.id, own))
        if self._key is not None:
            return str(keyed_event_id(self._source, self._key, item))
        return None


def _is_said(logsource: Logsource | None) -> bool:
    return bool(logsource and logsource.model_dump(exclude_none=True))


@lru_cache(maxsize=4096)
def _labels(source: Source, hint: Logsource | None) -> tuple[bytes, bool]:
    """Return what all events of *source* have in common, as the inside of a JSON object up to the
    value of ``observed_time``; and whether source or request say which log they are of."""
    logsource = hint if hint and _is_said(hint) else source.logsource
    common = {
        "source_id": source.id,
        "tenant": source.tenant,
        "region": source.region,
        "datacenter": source.datacenter,
        "service": source.service,
        "server": source.server,
        "logsource": logsource.model_dump(exclude_none=True),
    }
    members = orjson.dumps({k: v for k, v in common.items() if v is not None})[1:-1]
    return members + b',"observed_time":"', _is_said(logsource)


def _ids() -> Iterator[str]:
    """Yield new ids, drawn in growing bundles: one is cheap for one, and many for many."""
    bundle = 1
    while True:
        yield from uuid7_texts(bundle)
        bundle = min(512, bundle * 8)


def keyed_event_id(source: Source, key: str, item: Item) -> UUID:
    """Return the id of *item* in a request that carries *key*.

    Its bytes are part of it: a key that a careless client uses twice must not make different events
    the same one.
    """
    causes = (source.tenant, source.id, key, item.index, digest(item.data))
    return derived_id("event", *causes)


def digest(data: bytes) -> str:
    """Return the SHA-256 of *data* in hex."""
    return hashlib.sha256(data).hexdigest()


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", int: "a number", float: "a number"}
    return names.get(type(value), "null" if value is None else "a boolean")


def _too_deep(data: bytes, limit: int) -> bool:
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


# Length of "YYYY-MM-DDTHH:MM:SS[.fff[fff]]Z" → what stands between its digits, and what makes it
# microseconds.
_FORMS = {20: ("--T::Z", ".000000Z"), 24: ("--T::.", "000Z"), 27: ("--T::.", "")}
_between = slice(4, 20, 3)


def _read_time(value: object) -> str | None:
    """Return an instant as RFC 3339, from ISO 8601 text (UTC when it names no offset) or epoch in
    seconds, milliseconds, microseconds or nanoseconds, which their size tells apart."""
    try:
        if isinstance(value, str):
            size = len(value)
            # What most shippers write needs no more than its end; that it is an instant at all has
            # to be seen all the same.
            if size in _FORMS and value[-1] == "Z":
                between, end = _FORMS[size]
                if value[_between] == between:
                    datetime.fromisoformat(value)
                    return value[:-1] + end if end else value
            time = datetime.fromisoformat(value.strip().replace(",", "."))
            return rfc3339(time if time.tzinfo else time.replace(tzinfo=UTC))
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value
            for _ in range(3):  # milliseconds since 1973 on, and so forth
                if seconds > 1e11:
                    seconds = seconds / 1000
            return rfc3339(datetime.fromtimestamp(seconds, UTC)) if seconds > 1e8 else None
    except (ValueError, OverflowError, OSError):
        return None
    return None
