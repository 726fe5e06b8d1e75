"""Protobuf's wire format, walked without building objects: where the nested messages lie.

Parsing a hostile body of 64 MiB whole would make millions of objects before anything can be
counted. So the outer levels are walked here, counted and cut, and only one record at a time is
given to protobuf's parser. Source: the encoding guide of Protocol Buffers.
"""

from collections.abc import Iterator

from services.ingest.framing import UnframeableError

__all__ = ["parts"]


def parts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, end) of each length-delimited field in ``data[start:end]``.

    Fields of other wire types are skipped. UnframeableError when the bytes are no message.
    """
    position = start
    while position < end:
        tag = data[position]
        position += 1
        if tag & 0x80:
            tag, position = _varint(data, position - 1, end)
        kind = tag & 7
        if kind == 2:
            size = data[position] if position < end else 0x80
            position += 1
            if size & 0x80:
                size, position = _varint(data, position - 1, end)
            if size > end - position:
                raise UnframeableError(f"the protobuf message ends early at byte {position}")
            yield tag >> 3, position, position + size
            position += size
        elif kind == 0:
            _, position = _varint(data, position, end)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
            if position > end:
                raise UnframeableError(f"the protobuf message ends early at byte {end}")
        else:
            raise UnframeableError(f"no protobuf message: wire type {kind} at byte {position}")


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
    raise UnframeableError(f"no protobuf message: a number does not end at byte {position}")
