"""An item into an envelope: the event verbatim, beside it who sent it, when, and its identity."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
import orjson

from services.ingest.framing import FEW, Item, TooManyError
from services.ingest.logsource import Probes, probes, said_by
from services.ingest.sources import Source
from services.ingest.watch.measure import Measure
from shared.clock import rfc3339
from shared.contracts.ingest import Logsource
from shared.ids import derived_id, uuid7_texts
from shared.lines.syslog import parse_line

__all__ = ["Enveloper", "Limits", "Rejected", "Sealed", "digest", "keyed_event_id"]

HEAD = 150  # bytes that id, time and logsource add to an envelope, or a few more

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

    def seal_lines(self, lines: Sequence[bytes], most_bytes: int = 1 << 40) -> list[Sealed] | None:
        """Return the envelopes of *lines*, each an object that opens FEW brackets at most; None if
        one is not, or takes more than a look: `seal_all` says what becomes of each.

        The hot path of the service: calls are few, and nothing is asked that most events answer
        alike.
        """
        size = sum(map(len, lines)) + len(lines) * (len(self._before_raw) + HEAD)
        if (
            self._key is not None
            or self._asks_all
            or self._max_depth < FEW
            or max(map(len, lines)) > self._max_bytes
            or size > most_bytes
        ):
            return None
        loads, before_raw, asks = orjson.loads, self._before_raw, self._asks_event
        sealed, times = [], []
        ids = uuid7_texts(len(lines))
        try:
            for index, (data, identity) in enumerate(zip(lines, ids, strict=True)):
                event = loads(data)
                shape = _shape(tuple(event))
                if shape.has_id:
                    return None
                time = _first_time(event, shape.times)
                if time is None:
                    head = f'{{"id":"{identity}",'
                else:
                    times.append(time)
                    head = f'{{"id":"{identity}","time":"{time}",'
                end = b"}"
                if asks and shape.probes and (said := said_by(event, shape.probes)):
                    end = said + end
                whole = b"".join((head.encode(), before_raw, data, end))
                sealed.append(Sealed(identity, whole, False, index))
        except Exception:  # noqa: BLE001 - whatever it is, the second look tells of which item
            return None
        if self._measure is not None:
            self._measure.see_times(len(sealed), times)
        return sealed

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
        for count, (item, spare) in enumerate(zip(items, ids, strict=False), 1):
            if count > most:
                raise TooManyError(f"a request holds at most {most} events")
            try:
                result = self._seal(item, spare)
            except Exception as error:  # noqa: BLE001 - one odd item must not refuse its neighbours
                result = Rejected(item, "unreadable", f"{type(error).__name__}: {error}")
            if type(result) is Sealed:
                sealed.append(result)
                size += len(result.data)
                if size > most_bytes:
                    raise TooManyError(f"the events of a request grow beyond {most_bytes} bytes")
            elif type(result) is Rejected:
                rejected.append(result)
        times, self._times = self._times, []
        if self._measure is not None:
            self._measure.see_times(len(sealed), times)
        return sealed, rejected

    def seal(self, item: Item) -> Sealed | Rejected:
        """Return the envelope of *item*, or why it cannot have one."""
        sealed, rejected = self.seal_all([item])
        return sealed[0] if sealed else rejected[0]

    def _seal(self, item: Item, spare: str) -> Sealed | Rejected:
        # Checks stand in order of what they cost.
        data = item.data
        if len(data) > self._max_bytes:
            return Rejected(item, "oversize", f"{len(data)} bytes; at most {self._max_bytes}")
        if item.flaw is not None:
            return Rejected(item, item.flaw, "the protocol's decoder cannot read it")
        if item.is_text and data[:1] != b"{":
            return self._seal_text(item, spare)
        # Counting brackets is exact enough for nearly every event and a hundred times cheaper.
        brackets = data.count(b"{") + data.count(b"[")
        if brackets > self._max_depth and _too_deep(data, self._max_depth):
            if item.is_text:
                return self._seal_text(item, spare)
            return Rejected(item, "too_deep", f"nested deeper than {self._max_depth}")
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            if item.is_text:  # a line that begins like JSON and is none
                return self._seal_text(item, spare)
            cause = "bad_encoding" if "UTF-8" in str(error) else "unparseable"
            return Rejected(item, cause, str(error))
        if type(event) is not dict:
            return Rejected(item, "not_an_object", f"an event is an object, not {_kind(event)}")
        shape, given = _shape(tuple(event)), None
        if item.key is not None or self._key is not None or shape.has_id:
            given = self._client_id(event, item)
        time = _read_time(item.time) if item.time else None
        if time is None:
            time = _first_time(event, shape.times)
        claimed = f'","time":"{time}",' if time else '",'
        head = f'{{"id":"{given or spare}{claimed}'
        said = said_by(event, shape.probes) if self._asks_event else None
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
        said = said_by(fields, _shape(tuple(fields)).probes) if self._asks_event else None
        raw += (said or b"") + b"}"
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


class _Shape(msgspec.Struct, frozen=True):
    """Where events with the same members say things of themselves."""

    times: list[str]
    probes: Probes
    has_id: bool


@lru_cache(maxsize=128)
def _shape(members: tuple[str, ...]) -> _Shape:
    # A sender's events have few shapes; one that has many gains nothing and takes little room.
    times = [name for name in _TIME_FIELDS if name in members]
    return _Shape(times, probes(members), "event_id" in members)


def _first_time(event: Mapping[str, Any], names: Iterable[str]) -> str | None:
    for name in names:
        if time := _read_time(event[name]):
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
            form = _FORMS.get(len(value))
            # What most shippers write needs no more than its end; that it is an instant at all has
            # to be seen all the same.
            if form is not None and value[_between] == form[0] and value[-1] == "Z":
                datetime.fromisoformat(value)
                return value[:-1] + form[1] if form[1] else value
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
