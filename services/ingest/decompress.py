"""Bounded decompression of request bodies: a bomb ends as 413, not as memory."""

import io
import zlib

import cramjam
import zstandard

__all__ = ["BodyError", "TooLargeError", "UnknownEncodingError", "decompress", "unsnappy"]

CHUNK = 256 * 1024
_ROOM = 64 * 1024  # small bodies may exceed the ratio: "[" + 100 equal lines compresses that well
_SNAPPY_STREAM = b"\xff\x06\x00\x00sNaPpY"
_GZIP = zlib.MAX_WBITS | 16


class BodyError(Exception):
    """The body is not what its Content-Encoding says (400)."""


class TooLargeError(Exception):
    """The body exceeds a bound (413); the message names it."""


class UnknownEncodingError(Exception):
    """No such Content-Encoding here (415)."""


def decompress(body: bytes, encoding: str, *, max_bytes: int, max_ratio: int) -> bytes:
    """Return the decoded body, or raise what is wrong with it."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity", "none"}:
        return body
    limit = min(max_bytes, len(body) * max_ratio + _ROOM)
    match encoding:
        case "gzip" | "x-gzip":
            data = _gunzip(body, limit)
        case "deflate":
            data = _inflate(body, limit)
        case "zstd":
            data = _unzstd(body, limit)
        case "snappy" | "x-snappy-framed":
            data = unsnappy(body, limit)
        case _:
            raise UnknownEncodingError(f"Content-Encoding {encoding!r} is not understood here")
    if len(data) > limit:
        bound = f"{max_bytes} bytes" if limit == max_bytes else f"{max_ratio} times its size"
        raise TooLargeError(f"the body decompresses to more than {bound}")
    return data


def _gunzip(body: bytes, limit: int) -> bytes:
    """A gzip body may be several members one after the other (RFC 1952, §2.2)."""
    chunks, room, rest = [], limit + 1, body
    try:
        while rest and room > 0:
            engine = zlib.decompressobj(_GZIP)
            chunks.append(engine.decompress(rest, room))
            room -= len(chunks[-1])
            if not engine.eof and room > 0:
                raise BodyError("the gzip body ends too early")
            rest = engine.unused_data.lstrip(b"\0")  # some pad the end
    except zlib.error as error:
        raise BodyError(f"the body is not gzip: {error}") from error
    if not body:
        raise BodyError("the gzip body is empty")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _inflate(body: bytes, limit: int) -> bytes:
    # "deflate" means zlib by the RFC, and raw deflate by what some clients send.
    for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            engine = zlib.decompressobj(bits)
            data = engine.decompress(body, limit + 1)
        except zlib.error:
            continue
        if not engine.eof and len(data) <= limit:
            raise BodyError("the deflate body ends too early")
        return data
    raise BodyError("the body is not deflate")


def _unzstd(body: bytes, limit: int) -> bytes:
    chunks, size = [], 0
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
            io.BytesIO(body), read_across_frames=True
        ) as reader:
            while size <= limit and (chunk := reader.read(CHUNK)):
                chunks.append(chunk)
                size += len(chunk)
    except zstandard.ZstdError as error:
        raise BodyError(f"the body is not zstd: {error}") from error
    return b"".join(chunks)


def unsnappy(body: bytes, limit: int) -> bytes:
    """Return a snappy body, block or stream, decoded; its size is read before any is allocated."""
    try:
        if not body.startswith(_SNAPPY_STREAM):
            if cramjam.snappy.decompress_raw_len(body) > limit:
                raise TooLargeError(f"the body decompresses to more than {limit} bytes")
            return bytes(cramjam.snappy.decompress_raw(body))
        if _stream_size(body) > limit:
            raise TooLargeError(f"the body decompresses to more than {limit} bytes")
        return bytes(cramjam.snappy.decompress(body))
    except cramjam.DecompressionError as error:
        raise BodyError(f"the body is not snappy: {error}") from error


def _stream_size(body: bytes) -> int:
    """Return what the chunks of a snappy stream (framing_format.txt, §4) say they hold."""
    size = position = 0
    while position + 4 <= len(body):
        kind = body[position]
        length = int.from_bytes(body[position + 1 : position + 4], "little")
        start, position = position + 8, position + 4 + length
        if kind == 0x00:
            size += cramjam.snappy.decompress_raw_len(body[start : min(position, start + 16)])
        elif kind == 0x01:
            size += max(0, length - 4)
    return size
