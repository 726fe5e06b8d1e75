"""Loki's push API: JSON streams, or snappy-compressed protobuf; answered with 204.

A stream's labels and an entry's structured metadata stand in the envelope's fields, beside the
line. ``X-Scope-OrgID`` is not looked at: the tenant comes from the credential.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from services.ingest.decompress import unsnappy
from services.ingest.doors.exchange import Answer, Decoded, Door, Outcome, Refusal, Request
from services.ingest.doors.protobufs import Entry
from services.ingest.doors.wire import parts
from services.ingest.framing import Item, UnframeableError, too_many

__all__ = ["Loki", "read_labels"]

_LABEL = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_.:]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)', re.S)
_ESCAPE = re.compile(r"\\(.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_VALUES_AN_ITEM = 64


class _Stream(msgspec.Struct):
    stream: dict[str, Any] = msgspec.field(default_factory=dict)
    values: list[list[Any]] = msgspec.field(default_factory=list)


class _Push(msgspec.Struct):
    streams: list[_Stream]


_decode_push = msgspec.json.Decoder(_Push).decode


class Loki(Door):
    """What Alloy, Promtail, Fluent Bit and Docker's driver speak."""

    name = "loki"

    def encoding(self, request: Request) -> str:
        # Protobuf pushes are snappy whether or not they say so.
        return "" if _is_protobuf(request) else super().encoding(request)

    def decode(self, request: Request, body: bytes) -> Decoded:
        if not _is_protobuf(request):
            return Decoded(_from_json(body, self.bounds.max_items))
        limit = min(self.bounds.max_body_bytes, len(body) * self.bounds.max_ratio + 65536)
        return Decoded(_from_protobuf(unsnappy(body, limit), self.bounds.max_items))

    def answer(self, request: Request, outcome: Outcome) -> Answer:
        return Answer(204)

    def refuse(self, request: Request, refusal: Refusal, now: datetime) -> Answer:
        # Promtail retries 429 and 5xx only.
        status = 503 if refusal.status == 408 else refusal.status
        return Answer(status, refusal.detail.encode(), "text/plain; charset=utf-8")


def _is_protobuf(request: Request) -> bool:
    return request.media_type == "application/x-protobuf"


def _from_json(body: bytes, most: int) -> Iterator[Item]:
    if body.count(b",") > most * _VALUES_AN_ITEM:
        raise too_many(most)
    try:
        push = _decode_push(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnframeableError(f"no Loki push: {error}") from error
    count = 0
    for stream in push.streams:
        for entry in stream.values:
            yield _entry(entry, count, stream.stream)
            count += 1


def _entry(entry: list[Any], index: int, labels: dict[str, Any]) -> Item:
    match entry:
        case [stamp, str(line), *rest]:
            fields = labels | rest[0] if rest and isinstance(rest[0], dict) else labels
            try:
                time = int(stamp)
            except (ValueError, TypeError):
                time = None
            return Item(index, line.encode(), True, None, time, fields or None)
        case _:
            return Item(index, msgspec.json.encode(entry), flaw="unparseable")


def _from_protobuf(body: bytes, most: int) -> Iterator[Item]:
    count = 0
    for number, start, end in parts(body, 0, len(body)):
        if number != 1:
            continue
        labels: dict[str, str] = {}
        for inner, begin, stop in parts(body, start, end):
            if inner == 1:  # written before the entries, whose fields are numbered higher
                labels = read_labels(body[begin:stop].decode(errors="replace"))
            elif inner == 2:
                yield _protobuf_entry(body[begin:stop], count, labels)
                count += 1
                if count > most:
                    raise too_many(most)


def _protobuf_entry(data: bytes, index: int, labels: dict[str, str]) -> Item:
    try:
        entry = Entry.FromString(data)
    except DecodeError:
        return Item(index, data, flaw="unparseable")
    metadata = {pair.name: pair.value for pair in entry.structuredMetadata}
    stamp = entry.timestamp.seconds * 1_000_000_000 + entry.timestamp.nanos
    fields = labels | metadata or None
    return Item(index, entry.line.encode(), True, None, stamp or None, fields)


def read_labels(text: str) -> dict[str, str]:
    """Return the labels of ``{name="value", …}``; what does not read like one ends them."""
    inner = text.strip().removeprefix("{").removesuffix("}")
    labels, position = {}, 0
    while position < len(inner) and (match := _LABEL.match(inner, position)):
        labels[match[1]] = _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), match[2])
        position = match.end()
    return labels
