"""CloudEvents 1.0 over HTTP: binary, structured and batch mode, and the webhook handshake.

The event is the data; the attributes stand in the envelope's fields as ``ce.<name>``. ``source``
and ``id`` are its identity (CloudEvents §3.1.1). Azure Event Grid's own schema is understood too,
with its validation event.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec
import orjson

from services.ingest.doors.exchange import (
    Answer,
    Decoded,
    Door,
    Outcome,
    Refusal,
    Request,
    json_answer,
)
from services.ingest.framing import Item, UnframeableError, frame_json
from services.ingest.keys import ApiKey, key_from_header
from services.ingest.sources import Source

__all__ = ["CloudEvents", "allow_webhook"]

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
REQUIRED = ("id", "source", "type", "specversion")


class _Structured(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"")


_decode_data = msgspec.json.Decoder(_Structured).decode


class CloudEvents(Door):
    """What Event Grid, Knative, Eventarc and EventBridge's pipes speak."""

    name = "cloudevents"

    def key(self, request: Request) -> ApiKey | None:
        if header := request.headers.get("authorization"):
            return key_from_header(header)
        # Webhooks may carry their secret in the URL (HTTP 1.1 Web Hooks for Event Delivery, §3.2).
        name = "access_token" if "access_token" in request.query else "token"
        return ApiKey.parse(request.query.get(name, ""))

    def decode(self, request: Request, body: bytes) -> Decoded:
        kind = request.media_type
        if kind == STRUCTURED:
            return Decoded([_structured(Item(0, body))])
        if kind == BATCH:
            if body.strip()[:1] != b"[":
                raise UnframeableError("a batch of CloudEvents is a JSON array")
            return Decoded([_structured(i) for i in frame_json(body, self.bounds.max_items)])
        if kind.startswith("application/cloudevents"):
            raise Refusal(415, "unknown_format", f"{kind} is not understood here, JSON is.")
        if event_type := request.headers.get("aeg-event-type"):
            return _event_grid(event_type, frame_json(body, self.bounds.max_items))
        return Decoded([_binary(request, body)])

    def answer(self, request: Request, outcome: Outcome) -> Answer:
        return json_answer(
            202,
            {
                "accepted": outcome.accepted,
                "duplicates": len(outcome.known),
                "quarantined": outcome.quarantined,
                "request_id": request.id,
            },
        )


def allow_webhook(request: Request, _: Source | None, __: bytes) -> Answer:
    """Return the consent that a webhook sender asks for; it opens nothing without a key.

    The handshake "does not aim to establish an authentication or authorization context" (HTTP 1.1
    Web Hooks for Event Delivery, §4), so it carries no credential.
    """
    origin = request.headers.get("webhook-request-origin", "")
    if not origin or len(origin) > 255 or not origin.isprintable():
        raise Refusal(400, "unframeable", "The handshake names its WebHook-Request-Origin.")
    rate = b"*"  # no limit in advance: back-pressure is 429 and 503 with Retry-After
    return Answer(
        200,
        headers=(
            (b"allow", b"POST, OPTIONS"),
            (b"webhook-allowed-origin", origin.encode("latin-1")),
            (b"webhook-allowed-rate", rate),
        ),
    )


def _binary(request: Request, body: bytes) -> Item:
    attributes = {
        name[3:]: unquote(value) for name, value in request.headers.items() if name[:3] == "ce-"
    }
    if missing := [name for name in REQUIRED if not attributes.get(name)]:
        raise Refusal(400, "unframeable", f"The CloudEvent has no ce-{missing[0]}.")
    kind = request.media_type
    is_json = kind in ("", "application/json") or kind.endswith("+json")
    return _item(0, attributes, body, is_text=not is_json)


def _structured(item: Item) -> Item:
    try:
        event = orjson.loads(item.data)
        raw = _decode_data(item.data).data
    except (ValueError, RecursionError, msgspec.DecodeError):
        return Item(item.index, item.data, flaw="unparseable")
    if not isinstance(event, dict) or not all(isinstance(event.get(n), str) for n in REQUIRED):
        return Item(item.index, item.data, flaw="no_cloudevent")
    attributes = {k: v for k, v in event.items() if k not in ("data", "data_base64")}
    if "data_base64" in event:
        try:
            data = base64.b64decode(str(event["data_base64"]), validate=True)
        except (binascii.Error, ValueError):
            return Item(item.index, item.data, flaw="bad_encoding")
        return _item(item.index, attributes, data, is_text=True)
    if isinstance(event.get("data"), str):
        return _item(item.index, attributes, event["data"].encode(), is_text=True)
    return _item(item.index, attributes, bytes(raw), is_text=False)


def _item(index: int, attributes: Mapping[str, Any], data: bytes, *, is_text: bool) -> Item:
    fields = {f"ce.{name}": value for name, value in attributes.items()}
    key = f"{attributes['source']}\x1f{attributes['id']}"
    time = attributes.get("time")
    claimed = time if isinstance(time, str) else None
    if not data.strip() or data.strip() == b"null":  # an event may be all attributes
        return Item(index, orjson.dumps(fields), False, key, claimed)
    if is_text:
        try:
            data.decode()
        except UnicodeDecodeError:  # bytes of a kind unknown here stay what they are, as base64
            encoded = base64.b64encode(data)
            return Item(index, encoded, True, key, claimed, fields | {"ce.encoding": "base64"})
    return Item(index, data, is_text, key, claimed, fields)


def _event_grid(event_type: str, items: list[Item]) -> Decoded:
    """Azure Event Grid's own schema, and its echo of a validation code."""
    found: list[Item] = []
    for item in items:
        try:
            event = orjson.loads(item.data)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict):
            found.append(Item(item.index, item.data, flaw="unparseable"))
            continue
        data = event.get("data")
        if event_type == "SubscriptionValidation" and isinstance(data, dict):
            code = str(data.get("validationCode", ""))
            return Decoded((), answer=json_answer(200, {"validationResponse": code}))
        identity = event.get("id")
        key = f"{event.get('topic')}\x1f{identity}" if isinstance(identity, str) else None
        found.append(Item(item.index, item.data, False, key, event.get("eventTime")))
    return Decoded(found)
