"""A body into items: JSON lines, a JSON array, concatenated JSON, or text lines.

Framing never decides whether an item is any good; it only finds where it begins and ends.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

__all__ = [
    "FEW", "Item", "TooManyError", "UnframeableError", "frame_json", "frame_text", "json_lines",
    "too_many",
]  # fmt: skip

FEW = 32

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
# As many commas as this, and an array is walked instead of decoded at once: a value a comma would
# take a gigabyte for a body of 64 MiB.
_MANY = 500_000
_BETWEEN = re.compile(rb"\}[ \t\r\n]*\{")
_NO_OPENERS = bytes(set(range(256)) - set(b"{[\n"))
_MANY_OPENERS = re.compile(rb"[{\[]{%d}" % (FEW + 1))
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])


class UnframeableError(Exception):
    """It cannot even be told where items begin and end (400)."""


class TooManyError(Exception):
    """The body holds more than a request may (413); the message names the bound."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """One item: its index in the request, its bytes, and what the protocol says of it.

    *key* is the identity that the client gave it, *time* the instant that the protocol claims
    (RFC 3339 text, or epoch in seconds to nanoseconds), *fields* what stands beside the event, and
    *flaw* why the protocol's own decoder could not read it (then it goes to quarantine)."""

    index: int
    data: bytes
    is_text: bool = False
    key: str | None = None
    time: str | float | None = None
    fields: Mapping[str, Any] | None = None
    flaw: str | None = None


def frame_text(body: bytes, most: int = 1 << 30) -> list[Item]:
    """Return the non-empty lines of a text body; TooManyError beyond *most*."""
    if body.count(b"\n") > 2 * most:
        raise too_many(most)
    items = []
    for index, line in enumerate(body.removeprefix(_BOM).split(b"\n")):
        stripped = line.rstrip(b"\r")
        if stripped and not stripped.isspace():
            items.append(Item(index, stripped, True))
    return _at_most(items, most)


def json_lines(body: bytes, most: int = 1 << 30) -> list[bytes] | None:
    """Return the lines of a body whose every line looks like one JSON object, flat enough to open
    FEW brackets at most; None for any other. What nearly every shipper sends, cheaply.

    Where each is a JSON object indeed, `frame_json` says the same. Where one is not, only that
    knows: a line may be several documents. TooManyError beyond *most* lines.
    """
    body = body.removeprefix(_BOM).strip(_SPACE)
    lines = body.split(b"\n", most)
    for line in lines:
        if not line or line[0] != 0x7B or line[-1] != 0x7D:
            return None
    if _MANY_OPENERS.search(body.translate(None, _NO_OPENERS)):
        return None
    if len(lines) > most:
        raise too_many(most)
    return lines


def frame_json(body: bytes, most: int = 1 << 30) -> list[Item]:
    """Return the items of a JSON body, whichever of the three forms it has.

    An array is one document. Where every line looks like an object, lines; else documents one
    after another, however they are laid out; and where that fails, lines of which some are broken
    (a broken line must not spoil the others). UnframeableError when none of these fits,
    TooManyError beyond *most* items.
    """
    body = body.removeprefix(_BOM).strip(_SPACE)
    if not body:
        return []
    if body[:1] == b"[":
        return _array(body, most)
    if body[:1] != b"{":
        raise UnframeableError("the body is neither a JSON object nor an array of them")
    lines = body.split(b"\n") if body.count(b"\n") <= 2 * most else []
    if len(lines) > 1 and b"}{" not in body:
        items = [Item(n, line) for n, line in enumerate(lines) if line[:1] + line[-1:] == b"{}"]
        if len(items) == len(lines):  # what nearly every shipper sends
            return _at_most(items, most)
    stripped = [Item(n, s) for n, line in enumerate(lines) if (s := line.strip(_SPACE))]
    if (
        len(stripped) > 1
        and b"}{" not in body
        and all(i.data[0] == 0x7B and i.data[-1] == 0x7D for i in stripped)
    ):
        return _at_most(stripped, most)
    if (objects := _objects(body, most)) is not None:
        return _at_most(objects, most)
    try:
        return _documents(body, most, inside_array=False)
    except UnframeableError:
        if len(stripped) > 1:
            return _at_most(stripped, most)
        raise


def too_many(most: int) -> TooManyError:
    return TooManyError(f"a request holds at most {most} events")


def _at_most(items: list[Item], most: int) -> list[Item]:
    if len(items) > most:
        raise too_many(most)
    return items


def _array(body: bytes, most: int) -> list[Item]:
    if body.count(b",") > _MANY:
        return _documents(body, most, inside_array=True)
    try:
        items = _raw_list.decode(body)
    except (msgspec.DecodeError, RecursionError):
        # It refuses the array for one odd element (half a surrogate pair, say): walk them instead.
        return _documents(body, most, inside_array=True)
    return _at_most([Item(index, bytes(raw)) for index, raw in enumerate(items)], most)


def _objects(body: bytes, most: int) -> list[Item] | None:
    """Return the objects that stand one after another, or None when the cheap way does not do.

    Cut wherever a brace closes and another opens. Where that was inside of a text, the halves are
    no JSON; where every piece is an object, there is no other way to read the body.
    """
    pieces = _BETWEEN.split(body, most)
    if len(pieces) > most:  # the walk below says whether it is really that many
        return None
    last = len(pieces) - 1
    items = []
    for index, piece in enumerate(pieces):
        data = (b"{" if index else b"") + piece + (b"}" if index < last else b"")
        try:
            orjson.loads(data)
        except orjson.JSONDecodeError:
            return None
        items.append(Item(index, data))
    return items


def _documents(body: bytes, most: int, *, inside_array: bool) -> list[Item]:
    """Return documents one after another, or the elements of an array."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UnframeableError(f"the body is not UTF-8 at byte {error.start}") from error
    if inside_array:
        if not text.endswith("]"):
            raise UnframeableError("the JSON array does not end")
        text = text[1:-1]
    items: list[Item] = []
    position, decoder = 0, json.JSONDecoder()
    while True:
        while position < len(text) and text[position] in " \t\r\n,":
            position += 1
        if position == len(text):
            return items
        if len(items) == most:
            raise too_many(most)
        try:
            _, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise UnframeableError(f"the JSON documents end at character {position}") from error
        items.append(Item(len(items), text[position:end].encode()))
        position = end
