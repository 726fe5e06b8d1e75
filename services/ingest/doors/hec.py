"""Splunk's HTTP Event Collector: ``/event``, ``/raw``, health and acknowledgement.

An event object carries its metadata (host, source, sourcetype, index, fields) beside ``event``;
the event is kept verbatim, the metadata stand in the envelope's fields. Objects follow one another
without any separator. What is no event goes to quarantine: a refusal would drop the whole batch.

An ``ackId`` is a receipt that is handed out only after everything is on disk. It proves itself, so
any replica confirms it, also after a restart.
"""

import hashlib
import hmac
import itertools
from datetime import datetime
from typing import Any

import msgspec
import orjson

from services.ingest.doors.exchange import (
    Answer,
    Bounds,
    Decoded,
    Door,
    Outcome,
    Refusal,
    Request,
    json_answer,
)
from services.ingest.framing import Item, UnframeableError, frame_json, frame_text
from services.ingest.keys import ApiKey, key_from_header
from services.ingest.sources import Source

__all__ = ["Hec", "Receipts", "acknowledge", "health"]

_LABELS = ("host", "source", "sourcetype", "index")
MAX_CHANNEL = 256
MAX_ACKS = 10_000


class _Event(msgspec.Struct):
    event: msgspec.Raw = msgspec.Raw(b"")
    time: Any = None
    host: Any = None
    source: Any = None
    sourcetype: Any = None
    index: Any = None
    fields: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


class Receipts:
    """Acknowledgement ids: 29 bits that count and 24 bits that prove them, in a JSON-safe 53."""

    def __init__(self, secret: str, start: int) -> None:
        self._secret = hashlib.sha256(b"hec-ack:" + secret.encode()).digest()
        self._numbers = itertools.count(start)

    def issue(self, source_id: str, channel: str) -> int:
        """Return the receipt of one durable request."""
        number = next(self._numbers) & 0x1FFF_FFFF
        return number << 24 | self._proof(number, source_id, channel)

    def holds(self, ack_id: int, source_id: str, channel: str) -> bool:
        """Tell whether *ack_id* was issued to this source on this channel, by any process."""
        number, proof = ack_id >> 24, ack_id & 0xFF_FFFF
        return 0 <= number <= 0x1FFF_FFFF and proof == self._proof(number, source_id, channel)

    def _proof(self, number: int, source_id: str, channel: str) -> int:
        message = f"{number}\x1f{source_id}\x1f{channel}".encode()
        return int.from_bytes(hmac.digest(self._secret, message, hashlib.sha256)[:3], "big")


class Hec(Door):
    """What Splunk forwarders, the OpenTelemetry distribution, Vector and SC4S speak."""

    name = "hec"

    def __init__(self, bounds: Bounds, receipts: Receipts) -> None:
        super().__init__(bounds)
        self.receipts = receipts

    def key(self, request: Request) -> ApiKey | None:
        if header := request.headers.get("authorization"):
            return key_from_header(header)
        return ApiKey.parse(request.query.get("token", ""))

    def decode(self, request: Request, body: bytes) -> Decoded:
        if not body.strip():
            raise _hec(400, 5, "No data")
        if "/raw" in request.path:
            return Decoded(_raw(request, body, self.bounds.max_items))
        try:
            items = frame_json(body, self.bounds.max_items)
        except UnframeableError as error:
            raise _hec(400, 6, f"Invalid data format: {error}") from error
        return Decoded([_event(item) for item in items])

    def answer(self, request: Request, outcome: Outcome) -> Answer:
        body: dict[str, object] = {"text": "Success", "code": 0}
        if channel := channel_of(request):
            body["ackId"] = self.receipts.issue(outcome.source_id, channel)
        return json_answer(200, body)

    def refuse(self, request: Request, refusal: Refusal, now: datetime) -> Answer:
        code, text = _CODES.get(refusal.code, (8, refusal.detail))
        if isinstance(refusal, _HecRefusal):
            code, text = refusal.number, refusal.detail
        body: dict[str, object] = {"text": text, "code": code}
        if code == 6:
            body["invalid-event-number"] = 0
        # A full house is 503 to Splunk's clients, and a token that opens nothing 403.
        status = {"key_invalid": 403, "rate_limited": 503}.get(refusal.code, refusal.status)
        return json_answer(status, body)


# Refusal of ours → number and text of Splunk's.
_CODES = {
    "key_missing": (2, "Token is required"),
    "key_invalid": (4, "Invalid token"),
    "unframeable": (6, "Invalid data format"),
    "busy": (9, "Server is busy"),
    "rate_limited": (9, "Server is busy"),
    "broker_unavailable": (9, "Server is busy"),
    "database_unavailable": (9, "Server is busy"),
    "storage_full": (9, "Server is busy"),
}


class _HecRefusal(Refusal):
    """A refusal with a number of Splunk's own."""

    number: int


def _hec(status: int, number: int, text: str) -> Refusal:
    refusal = _HecRefusal(status, f"hec_{number}", text)
    refusal.number = number
    return refusal


def channel_of(request: Request) -> str:
    """Return the channel that a client names to ask for receipts, or ""."""
    header = request.headers.get("x-splunk-request-channel")
    return (header or request.query.get("channel", ""))[:MAX_CHANNEL]


def health(_: Request, __: Source | None, ___: bytes) -> Answer:
    """Return what load balancers and Vector look for before they send."""
    return json_answer(200, {"text": "HEC is healthy", "code": 17})


def acknowledge(hec: Hec, request: Request, source: Source | None, body: bytes) -> Answer:
    """Return for each id asked whether it is a receipt of ours, hence durable."""
    if not (channel := channel_of(request)):
        raise _hec(400, 10, "Data channel is missing")
    try:
        asked = orjson.loads(body)["acks"]
    except (ValueError, KeyError, TypeError):
        raise _hec(400, 6, "Invalid data format") from None
    if not isinstance(asked, list) or len(asked) > MAX_ACKS:
        raise _hec(400, 6, "Invalid data format")
    name = source.id if source else ""
    return json_answer(
        200,
        {
            "acks": {
                str(number): hec.receipts.holds(number, name, channel)
                for number in asked
                if type(number) is int
            }
        },
    )


def _raw(request: Request, body: bytes, most: int) -> list[Item]:
    fields = {name: request.query[name] for name in _LABELS if name in request.query} or None
    time = _time(request.query.get("time"))
    return [
        Item(item.index, item.data, True, None, time, fields) for item in frame_text(body, most)
    ]


def _event(item: Item) -> Item:
    """Return the event in one object; what is none stays as it came, for quarantine to see."""
    try:
        found = _decode_event(item.data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Item(item.index, item.data, flaw="unparseable")
    index = item.index
    fields = dict(found.fields) if isinstance(found.fields, dict) else {}
    for name in _LABELS:
        if (value := getattr(found, name)) is not None:
            fields[name] = value
    time = _time(found.time)
    event = bytes(found.event) or b"null"
    if event[:1] in b"{[":
        return Item(index, event, False, None, time, fields or None)
    text = _text(event) if event[:1] == b'"' else event.decode().removeprefix("null")
    if not text.strip():
        return Item(index, item.data, flaw="no_event")
    return Item(index, text.encode(), True, None, time, fields or None)


def _text(event: bytes) -> str:
    try:
        return str(orjson.loads(event))
    except orjson.JSONDecodeError:
        return ""


def _time(value: object) -> str | float | None:
    """Splunk takes epoch seconds as a number or as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value if isinstance(value, int | float) else None
