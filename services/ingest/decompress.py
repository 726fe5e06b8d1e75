"""Bounded decompression of request bodies: a bomb ends as 413, not as memory."""

import gzip
import io
import zlib

import zstandard

__all__ = ["BodyError", "TooLargeError", "UnknownEncodingError", "decompress"]

CHUNK = 256 * 1024
_ROOM = 64 * 1024  # small bodies may exceed the ratio: "[" + 100 equal lines compresses that well


class BodyError(Exception):
    """The body is not what its Content-Encoding says (400)."""


class TooLargeError(Exception):
    """The body exceeds a bound (413); the message names it."""


class UnknownEncodingError(Exception):
    """No such Content-Encoding here (415)."""


def _reader(body: bytes, encoding: str) -> gzip.GzipFile | zstandard.ZstdDecompressionReader:
    stream = io.BytesIO(body)
    if encoding in {"gzip", "x-gzip"}:
        return gzip.GzipFile(fileobj=stream)
    if encoding == "zstd":
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
            stream, read_across_frames=True
        )
    raise UnknownEncodingError(f"Content-Encoding {encoding!r} is not understood here")


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


def decompress(body: bytes, encoding: str, *, max_bytes: int, max_ratio: int) -> bytes:
    """Return the decoded body, or raise what is wrong with it."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return body
    limit = min(max_bytes, len(body) * max_ratio + _ROOM)
    if encoding == "deflate":
        data = _inflate(body, limit)
    else:
        chunks, size = [], 0
        try:
            with _reader(body, encoding) as reader:
                while chunk := reader.read(CHUNK):
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > limit:
                        break
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            raise BodyError(f"the body is not {encoding}: {error}") from error
        data = b"".join(chunks)
    if len(data) > limit:
        bound = f"{max_bytes} bytes" if limit == max_bytes else f"{max_ratio} times its size"
        raise TooLargeError(f"the body decompresses to more than {bound}")
    return data
