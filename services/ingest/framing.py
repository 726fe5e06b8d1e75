"""A body into items: JSON lines, a JSON array, concatenated JSON, or text lines.

Framing never decides whether an item is any good; it only finds where it begins and ends.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

__all__ = ["Item", "UnframeableError", "frame_json", "frame_text"]

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])


class UnframeableError(Exception):
    """It cannot even be told where items begin and end (400)."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its index in the request, its bytes, and what they are."""

    index: int
    data: bytes
    is_text: bool = False


def frame_text(body: bytes) -> Iterator[Item]:
    """Yield the non-empty lines of a text body."""
    lines = body.removeprefix(_BOM).split(b"\n")
    for index, line in enumerate(lines):
        stripped = line.rstrip(b"\r")
        if stripped.strip():
            yield Item(index, stripped, is_text=True)


def frame_json(body: bytes) -> Iterator[Item]:
    """Yield the items of a JSON body, whichever of the three forms it has.

    An array is one document. Where every line looks like an object, lines; else documents one
    after another, however they are laid out; and where that fails, lines of which some are broken
    (a broken line must not spoil the others). UnframeableError when none of these fits.
    """
    body = body.removeprefix(_BOM).strip(_SPACE)
    if not body:
        return iter(())
    if body[:1] == b"[":
        return _array(body)
    if body[:1] != b"{":
        raise UnframeableError("the body is neither a JSON object nor an array of them")
    lines = list(_lines(body))
    if len(lines) > 1 and all(line.data[0] == 0x7B and line.data[-1] == 0x7D for line in lines):
        return iter(lines)
    try:
        return iter(_documents(body, inside_array=False))
    except UnframeableError:
        if len(lines) > 1:
            return iter(lines)
        raise


def _array(body: bytes) -> Iterator[Item]:
    try:
        items = _raw_list.decode(body)
    except (msgspec.DecodeError, RecursionError):
        # It refuses the array for one odd element (half a surrogate pair, say): walk them instead.
        return iter(_documents(body, inside_array=True))
    return (Item(index, bytes(raw)) for index, raw in enumerate(items))


def _lines(body: bytes) -> Iterator[Item]:
    for index, line in enumerate(body.split(b"\n")):
        stripped = line.strip(_SPACE)
        if stripped:
            yield Item(index, stripped)


def _documents(body: bytes, *, inside_array: bool) -> list[Item]:
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
        try:
            _, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise UnframeableError(f"the JSON documents end at character {position}") from error
        items.append(Item(len(items), text[position:end].encode()))
        position = end
