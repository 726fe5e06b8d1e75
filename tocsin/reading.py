"""Files of logs into chunks that the ingest door takes: bounded memory, events verbatim.

The form is found by looking: gzip or zstd by magic number, EVTX, Zeek and journald
export by how they begin, CSV by its name, JSON by its first byte (lines, an array, CloudTrail's
`Records`, or documents one after another), text lines otherwise.
"""

import codecs
import gzip
import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import zstandard

from shared.errors import UserError
from tocsin.formats import csv_records, evtx_records, journal_records, zeek_records

__all__ = ["TABLES", "Chunk", "ReadingError", "chunks", "open_log"]

CHUNK_ITEMS = 500
CHUNK_BYTES = 1 << 20
MAX_LINE = 1 << 20
MAX_DOCUMENT = 64 << 20
_LOOK = 1 << 16
_SPACE = " \t\r\n,"
_CLOUDTRAIL = re.compile(rb'\{\s*"Records"\s*:\s*\[')
TABLES = (".csv", ".tsv")


class ReadingError(UserError):
    """The file cannot be read; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Items to be sent in one request: lines, or one JSON array where *is_array*.

    `start` counts them from the beginning of the file.
    """

    start: int
    count: int
    body: bytes
    is_text: bool
    is_array: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """An opened file: the bytes as they lie on disk, and the stream of what they mean."""

    name: str
    size: int | None
    disk: BinaryIO
    stream: "io.BufferedReader[Any]"

    @property
    def position(self) -> int:
        """Return how far the disk was read: true progress for compressed files too."""
        return self.disk.tell() if self.size is not None else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.disk.close()


def open_log(path: Path) -> Log:
    """Open *path* (``-`` is standard input), decompressing it; ReadingError when it cannot be."""
    try:
        is_stdin = str(path) == "-"
        disk = sys.stdin.buffer if is_stdin else path.open("rb")
        size = None if is_stdin else path.stat().st_size
        buffered = io.BufferedReader(disk, _LOOK)  # type: ignore[type-var]  # any reader will do
        magic = buffered.peek(4)[:4]
    except OSError as error:
        raise ReadingError(f"{path}: {error.strerror or error}") from error
    return Log(str(path), size, disk, _decoded(buffered, magic))


def _decoded(stream: "io.BufferedReader[Any]", magic: bytes) -> "io.BufferedReader[Any]":
    if magic[:2] == b"\x1f\x8b":
        return io.BufferedReader(gzip.GzipFile(fileobj=stream), _LOOK)
    if magic == b"\x28\xb5\x2f\xfd":
        reader: Any = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
        return io.BufferedReader(reader, _LOOK)
    return stream


def chunks(log: Log, longest: int | None = None) -> Iterator[Chunk]:
    """Yield the items of *log* in chunks; ReadingError where the file ends in the middle of one.

    Lines longer than MAX_LINE come in pieces, each an item; with *longest*, lines longer than that
    are cut there and each stays one item, so that numbers are those of lines.
    """
    try:
        head = log.stream.peek(_LOOK).removeprefix(b"\xef\xbb\xbf").lstrip()
        if (records := _records(log, head)) is not None:
            yield from _gathered(records)
        elif records_array := _CLOUDTRAIL.match(head):
            yield from _documents(log, inside_array=True, skip=records_array.end())
        elif head[:1] == b"[":
            yield from _documents(log, inside_array=True)
        elif head[:1] != b"{":
            yield from _lines(log, longest, is_text=True)
        elif _has_whole_lines(head):
            yield from _lines(log, longest, is_text=False)
        else:
            yield from _documents(log, inside_array=False)
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise ReadingError(f"{log.name}: {error}") from error


def _records(log: Log, head: bytes) -> Iterator[bytes] | None:
    """Return the records of a file that has a form of its own, None for JSON and lines of text."""
    if head.startswith(b"ElfFile\0"):
        return evtx_records(log.name, log.stream)
    if head.startswith(b"#separator "):
        return zeek_records(log.name, log.stream)
    if head.startswith(b"__CURSOR="):
        return journal_records(log.name, log.stream)
    suffixes = Path(log.name.lower()).suffixes
    if any(suffix in TABLES for suffix in suffixes[-2:]):
        return csv_records(log.name, log.stream)
    return None


def _gathered(records: Iterator[bytes]) -> Iterator[Chunk]:
    start, items, size = 0, list[bytes](), 0
    for number, record in enumerate(records, 1):
        items.append(record)
        size += len(record)
        if len(items) >= CHUNK_ITEMS or size >= CHUNK_BYTES:
            yield _array(start, items)
            start, items, size = number, [], 0
    if items:
        yield _array(start, items)


def _array(start: int, items: list[bytes]) -> Chunk:
    return Chunk(start, len(items), b"[" + b",".join(items) + b"]", False, is_array=True)


def _has_whole_lines(head: bytes) -> bool:
    """Tell JSON lines from documents laid out in some other way: a line that is a whole document.

    Not only the first one is looked at, since that one may be broken.
    """
    complete = head.split(b"\n")[:-1][:20]
    return any(line[:1] == b"{" and _is_document(line) for line in complete)


def _is_document(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(log: Log, longest: int | None, *, is_text: bool) -> Iterator[Chunk]:
    start, lines, size = 0, [], 0
    number = 0
    while line := log.stream.readline(longest or MAX_LINE):
        if longest and len(line) == longest:
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = log.stream.readline(MAX_LINE)
        lines.append(line.rstrip(b"\r\n"))
        size += len(line)
        number += 1
        if len(lines) >= CHUNK_ITEMS or size >= CHUNK_BYTES:
            yield Chunk(start, len(lines), b"\n".join(lines), is_text)
            start, lines, size = number, [], 0
    if lines:
        yield Chunk(start, len(lines), b"\n".join(lines), is_text)


def _documents(log: Log, *, inside_array: bool, skip: int = 1) -> Iterator[Chunk]:
    """Documents one after another, or the elements of one array, read as they come."""
    decoder = json.JSONDecoder()
    decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode

    def more(wanted: int) -> str:
        data = log.stream.read(wanted)
        return decode(data, final=not data)

    text = more(_LOOK).lstrip()
    if inside_array:
        text = text[skip:]  # what opens the array is ASCII
    start, items, size, number = 0, [], 0, 0
    ended = False
    while True:
        text = text.lstrip(_SPACE)
        if inside_array and text.startswith("]"):
            ended = True
            break
        try:
            _, end = decoder.raw_decode(text)
        except (ValueError, RecursionError) as error:
            fresh = more(max(_LOOK, len(text))) if len(text) < MAX_DOCUMENT else ""
            if fresh:
                text += fresh
                continue
            if not text and not inside_array:
                break
            raise ReadingError(f"{log.name}: item {number + 1} is no JSON document") from error
        items.append(text[:end].encode("utf-8", "surrogateescape"))
        size += end
        number += 1
        text = text[end:]
        if len(items) >= CHUNK_ITEMS or size >= CHUNK_BYTES:
            yield _array(start, items)
            start, items, size = number, [], 0
    if items:
        yield _array(start, items)
    if inside_array and not ended:
        raise ReadingError(f"{log.name}: the JSON array does not end")
