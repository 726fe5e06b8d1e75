"""Amazon Data Firehose's HTTP endpoint delivery (CloudTrail, GuardDuty, VPC flow logs, WAF).

Every answer echoes ``requestId``. It is stable over retries, so it is the identity of its records.
A record holds one event, lines, concatenated JSON, or a gzipped bundle of CloudWatch Logs.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import orjson

from services.ingest.decompress import BodyError, TooLargeError, decompress
from services.ingest.doors.exchange import Answer, Decoded, Door, Outcome, Refusal, Request
from services.ingest.framing import (
    Item,
    UnframeableError,
    frame_json,
    frame_text,
    too_many,
)
from services.ingest.keys import ApiKey, key_from_header

__all__ = ["Firehose"]

MAX_ID = 256


class _Delivery(msgspec.Struct, rename="camel"):
    records: list[Any]
    request_id: Any = None
    timestamp: Any = None


_decode_delivery = msgspec.json.Decoder(_Delivery).decode


@dataclass(slots=True)
class _Room:
    """What may still be unpacked of one delivery."""

    size: int
    most: int


class Firehose(Door):
    """Amazon Data Firehose."""

    name = "firehose"

    def key(self, request: Request) -> ApiKey | None:
        access = request.headers.get("x-amz-firehose-access-key")
        if access is not None:
            return ApiKey.parse(access.strip())
        return key_from_header(request.headers.get("authorization", ""))

    def decode(self, request: Request, body: bytes) -> Decoded:
        try:
            delivery = _decode_delivery(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise UnframeableError(f"no Firehose delivery: {error}") from error
        if len(delivery.records) > self.bounds.max_items:
            raise too_many(self.bounds.max_items)
        identity = _request_id(request) or str(delivery.request_id or "")[:MAX_ID]
        room = _Room(self.bounds.max_body_bytes, self.bounds.max_items)
        return Decoded(_items(delivery, identity, _common(request), room, self.bounds.max_ratio))

    def answer(self, request: Request, outcome: Outcome) -> Answer:
        return _answer(request, 200, outcome.now, None)

    def refuse(self, request: Request, refusal: Refusal, now: datetime) -> Answer:
        return _answer(request, refusal.status, now, refusal.detail)


def _request_id(request: Request) -> str:
    return request.headers.get("x-amz-firehose-request-id", "")[:MAX_ID]


def _answer(request: Request, status: int, now: datetime, error: str | None) -> Answer:
    milliseconds = int(now.timestamp() * 1000)
    body: dict[str, Any] = {"requestId": _request_id(request), "timestamp": milliseconds}
    if error is not None:
        body["errorMessage"] = error
    return Answer(status, orjson.dumps(body))


def _common(request: Request) -> dict[str, Any]:
    """Return the attributes that an operator gave the delivery stream."""
    try:
        header = orjson.loads(request.headers.get("x-amz-firehose-common-attributes", "{}"))
        found = header.get("commonAttributes", {})
    except (ValueError, AttributeError):
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _items(
    delivery: _Delivery, identity: str, common: Mapping[str, Any], room: _Room, max_ratio: int
) -> Iterator[Item]:
    index = 0
    for number, record in enumerate(delivery.records):
        place = f"firehose\x1f{identity}\x1f{number}" if identity else None
        for item in _record(record, room, max_ratio):
            key = None if place is None else f"{place}\x1f{item.index}"
            fields = {**common, **(item.fields or {})} or None
            yield Item(index, item.data, item.is_text, key, item.time, fields, item.flaw)
            index += 1


def _record(record: object, room: _Room, max_ratio: int) -> list[Item]:
    data = record.get("data") if isinstance(record, dict) else None
    if not isinstance(data, str):
        return [Item(0, orjson.dumps(record), flaw="unparseable")]
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return [Item(0, data.encode(), flaw="bad_encoding")]
    if content[:2] == b"\x1f\x8b":
        try:
            plain = decompress(content, "gzip", max_bytes=room.size, max_ratio=max_ratio)
        except (BodyError, TooLargeError):
            return [Item(0, content, flaw="bad_encoding")]
        room.size -= len(plain)
        content = plain
        if content[:1] == b"{" and (bundle := _cloudwatch(content)) is not None:
            return bundle
    if content.lstrip()[:1] in b"{[":
        try:
            return frame_json(content, room.most)
        except UnframeableError:
            pass
    return frame_text(content, room.most)


def _cloudwatch(content: bytes) -> list[Item] | None:
    """Return the events of a CloudWatch Logs subscription, or None when it is something else."""
    try:
        bundle = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    kind = bundle.get("messageType")
    if kind == "CONTROL_MESSAGE":  # "is anybody there?": no event
        return []
    events = bundle.get("logEvents")
    if kind != "DATA_MESSAGE" or not isinstance(events, list):
        return None
    fields = {
        f"cloudwatch.{name}": bundle[name]
        for name in ("owner", "logGroup", "logStream")
        if name in bundle
    }
    items = []
    for index, event in enumerate(events):
        message = event.get("message") if isinstance(event, dict) else None
        if not isinstance(message, str):
            items.append(Item(index, orjson.dumps(event), flaw="unparseable"))
            continue
        stamp = event.get("timestamp")
        time = stamp if isinstance(stamp, int | float) else None
        items.append(Item(index, message.encode(), True, None, time, fields))
    return items
