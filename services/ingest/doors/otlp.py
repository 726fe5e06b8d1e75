"""OTLP/HTTP logs: protobuf and JSON (opentelemetry-proto, docs/specification.md).

The event is the record's body: a map becomes a JSON object, anything else text. What the record
says besides (severity, trace, attributes, scope, resource) stands in the envelope's fields, so
that nothing of it is lost. Protobuf is cut record by record (`wire.py`): an odd record goes to
quarantine with its bytes and its neighbours are taken.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from services.ingest.doors.exchange import Answer, Decoded, Door, Outcome, Refusal, Request
from services.ingest.doors.protobufs import Status
from services.ingest.doors.wire import parts
from services.ingest.framing import Item, UnframeableError, too_many

__all__ = ["Otlp"]

PROTOBUF = "application/x-protobuf"
# google.rpc.Code of an HTTP status.
_CODES = {400: 3, 401: 16, 403: 7, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}
_VALUES_AN_ITEM = 64  # commas of a JSON body that are plausible for one record

Fields = dict[str, Any]


class Otlp(Door):
    """What every OpenTelemetry SDK, the Collector and Fluent Bit speak."""

    name = "otlp"

    def decode(self, request: Request, body: bytes) -> Decoded:
        if _is_json(request, body):
            return Decoded(_from_json(body, self.bounds.max_items))
        return Decoded(_from_protobuf(body, self.bounds.max_items, self.bounds.max_event_bytes))

    def answer(self, request: Request, outcome: Outcome) -> Answer:
        # Quarantined records are kept, hence not "rejected": a partial success would say lost.
        if request.media_type == "application/json":
            return Answer(200, b"{}")
        return Answer(200, b"", PROTOBUF)

    def refuse(self, request: Request, refusal: Refusal, now: datetime) -> Answer:
        code = _CODES.get(refusal.status, 2)
        status = 503 if refusal.status == 408 else refusal.status  # 408 is not retried by OTLP
        if request.media_type == "application/json":
            return Answer(status, orjson.dumps({"code": code, "message": refusal.detail}))
        body: bytes = Status(code=code, message=refusal.detail).SerializeToString()
        return Answer(status, body, PROTOBUF)


def _is_json(request: Request, body: bytes) -> bool:
    if request.media_type == "application/json":
        return True
    # Lenient where the type is absent: a protobuf message never begins with a brace (tag 15, 3).
    return request.media_type != PROTOBUF and body[:1] == b"{"


# Protobuf --------------------------------------------------------------------------------------


def _from_protobuf(body: bytes, most: int, max_bytes: int) -> Iterator[Item]:
    count = 0
    for number, start, end in parts(body, 0, len(body)):
        if number == 1:
            for item in _resource_logs(body, start, end, count, max_bytes):
                count += 1
                if count > most:
                    raise too_many(most)
                yield item


def _resource_logs(body: bytes, start: int, end: int, index: int, max_bytes: int) -> Iterator[Item]:
    about: Fields = {}
    for number, begin, stop in parts(body, start, end):
        # Field numbers are written in order, so what all records share comes before them.
        if number == 1 and (resource := _message(Resource, body[begin:stop], max_bytes)):
            about = _attributes(resource.attributes)
        elif number == 2:
            fields = dict(about)
            for inner, at, until in parts(body, begin, stop):
                if inner == 1:
                    fields |= _scope(body[at:until], max_bytes)
                elif inner == 2:
                    yield _record(body[at:until], index, fields, max_bytes)
                    index += 1


def _scope(data: bytes, max_bytes: int) -> Fields:
    scope = _message(InstrumentationScope, data, max_bytes)
    if scope is None:
        return {}
    named = {"otel.scope.name": scope.name, "otel.scope.version": scope.version}
    return {k: v for k, v in named.items() if v} | _attributes(scope.attributes)


def _message(kind: Any, data: bytes, max_bytes: int) -> Any:
    """Return the message, or None when it is too large or broken: records stand without it."""
    if len(data) > max_bytes:
        return None
    try:
        return kind.FromString(data)
    except DecodeError:
        return None


def _record(data: bytes, index: int, about: Fields, max_bytes: int) -> Item:
    if len(data) > max_bytes:
        return Item(index, data, flaw="oversize")
    try:
        record = LogRecord.FromString(data)
    except DecodeError:
        return Item(index, data, flaw="unparseable")
    fields = dict(about)
    for pair in record.attributes:
        fields[pair.key] = _value(pair.value)
    if record.severity_text:
        fields["severity_text"] = record.severity_text
    if record.severity_number:
        fields["severity_number"] = record.severity_number
    if record.event_name:
        fields["event_name"] = record.event_name
    if record.trace_id:
        fields["trace_id"] = record.trace_id.hex()
    if record.span_id:
        fields["span_id"] = record.span_id.hex()
    time = record.time_unix_nano or record.observed_time_unix_nano or None
    body = _value(record.body) if record.HasField("body") else None
    return _item(index, body, fields, time)


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(v) for v in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)


def _attributes(pairs: Iterable[KeyValue]) -> Fields:
    return {pair.key: _value(pair.value) for pair in pairs}


def _item(index: int, body: object, fields: Fields, time: int | None) -> Item:
    """A map is the event itself; text is a line; a record without a body is its attributes."""
    if isinstance(body, dict):
        return Item(index, orjson.dumps(body), False, None, time, fields)
    if body is None or body == "":
        return Item(index, orjson.dumps(fields), False, None, time, None)
    text = body if isinstance(body, str) else orjson.dumps(body).decode()
    return Item(index, text.encode(), True, None, time, fields)


# JSON (hex trace ids, camelCase names, 64-bit numbers as text) -----------------------------------


class _Record(msgspec.Struct, rename="camel"):
    time_unix_nano: Any = None
    observed_time_unix_nano: Any = None
    severity_number: Any = None
    severity_text: Any = None
    body: Any = None
    attributes: Any = None
    trace_id: Any = None
    span_id: Any = None
    event_name: Any = None


class _Scope(msgspec.Struct):
    name: Any = None
    version: Any = None
    attributes: Any = None


class _ScopeLogs(msgspec.Struct, rename="camel"):
    scope: _Scope | None = None
    log_records: list[msgspec.Raw] | None = None


class _Resource(msgspec.Struct):
    attributes: Any = None


class _ResourceLogs(msgspec.Struct, rename="camel"):
    resource: _Resource | None = None
    scope_logs: list[_ScopeLogs] | None = None


class _Export(msgspec.Struct, rename="camel"):
    resource_logs: list[_ResourceLogs] | None = None


_decode_export = msgspec.json.Decoder(_Export).decode
_decode_record = msgspec.json.Decoder(_Record).decode


def _from_json(body: bytes, most: int) -> Iterator[Item]:
    if body.count(b",") > most * _VALUES_AN_ITEM:
        raise too_many(most)
    try:
        export = _decode_export(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnframeableError(f"no OTLP log export: {error}") from error
    count = 0
    for resource in export.resource_logs or ():
        about = _json_attributes(resource.resource.attributes) if resource.resource else {}
        for scope in resource.scope_logs or ():
            fields = dict(about)
            if scope.scope is not None:
                for name in ("name", "version"):
                    if value := getattr(scope.scope, name):
                        fields[f"otel.scope.{name}"] = value
                fields.update(_json_attributes(scope.scope.attributes))
            for raw in scope.log_records or ():
                yield _json_record(bytes(raw), count, fields)
                count += 1


def _json_record(data: bytes, index: int, about: Fields) -> Item:
    try:
        orjson.loads(data)  # stricter than msgspec: no half characters
        record = _decode_record(data)
        fields = dict(about)
        fields.update(_json_attributes(record.attributes))
        for name in ("severity_text", "severity_number", "event_name", "trace_id", "span_id"):
            if value := getattr(record, name):
                fields[name] = value
        time = int(record.time_unix_nano or record.observed_time_unix_nano or 0)
        body = None if record.body is None else _json_value(record.body)
        return _item(index, body, fields, time or None)
    except (msgspec.DecodeError, RecursionError, ValueError, TypeError, AttributeError):
        return Item(index, data, flaw="unparseable")


def _json_attributes(pairs: object) -> Fields:
    if not isinstance(pairs, list):
        return {}
    return {
        str(pair["key"]): _json_value(pair.get("value"))
        for pair in pairs
        if isinstance(pair, dict) and "key" in pair
    }


def _json_value(value: object) -> Any:
    if not isinstance(value, Mapping):
        return value
    match next(iter(value.items()), None):
        case None:
            return None
        case ("intValue", number):
            return int(number)
        case ("arrayValue", array):
            return [_json_value(v) for v in array.get("values") or ()]
        case ("kvlistValue", pairs):
            return _json_attributes(pairs.get("values"))
        case (_, plain):
            return plain
