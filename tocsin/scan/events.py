"""A part of a file into events; what cannot be read is counted and named, and the rest goes on."""

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from evtx import PyEvtxParser
from zstandard import ZstdError

from services.detect.rules.match import Event
from services.detect.rules.model import LogSource
from services.detect.shapes.shapes import shaped
from shared.errors import UserError
from shared.lines.syslog import parse_line
from tocsin.reading import open_log
from tocsin.scan.work import Work

__all__ = ["Unreadable", "events_of", "time_of"]

MAX_EVTX = 4 << 30
_TIMES = (
    "@timestamp", "UtcTime", "TimeCreated_SystemTime", "TimeCreated", "eventTime", "EventTime",
    "time", "timestamp", "createdDateTime", "published", "event_time", "requestReceivedTimestamp",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that holds no event."""

    record: int
    why: str


Found = tuple[int, Event] | Unreadable


def events_of(work: Work, hint: LogSource, now: datetime) -> Iterator[Found]:
    """Yield (record, event) for each event of *work*; *hint* is what its user says it is."""
    match work.form:
        case "evtx":
            yield from _evtx(work.file, hint)
        case "documents":
            try:
                documents = orjson.loads(work.body)
            except orjson.JSONDecodeError as error:
                yield Unreadable(work.start, f"not JSON: {error}")
                return
            for record, document in enumerate(documents, work.start):
                yield from _document(record, document, None, hint)
        case "lines":
            for record, line in enumerate(work.body.split(b"\n"), work.start):
                if line.strip():
                    yield from _line(record, line, hint)
        case _:
            for record, line in enumerate(work.body.split(b"\n"), work.start):
                if line.strip():
                    fields = parse_line(line.decode("utf-8", "replace"), now)
                    # Text without a word about its origin is what Unix hosts write.
                    event = shaped(fields, hint)
                    unknown = event.logsource == LogSource()
                    yield record, Event(event.fields, LogSource("linux")) if unknown else event


def time_of(fields: Any) -> str | None:
    """Return when the event happened, as written there; None where it does not say."""
    for name in _TIMES:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value[:64]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    return None


def _line(record: int, line: bytes, hint: LogSource) -> Iterator[Found]:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        yield Unreadable(record, f"not JSON: {error}")
        return
    yield from _document(record, document, line, hint)


def _document(record: int, document: Any, text: bytes | None, hint: LogSource) -> Iterator[Found]:
    if not isinstance(document, dict):
        yield Unreadable(record, "an event is a JSON object")
        return
    records = document.get("Records")
    if isinstance(records, list) and len(document) == 1:  # as CloudTrail delivers
        for index, inner in enumerate(records):
            yield from _document(index, inner, None, hint)
        return
    yield record, shaped(document, hint, text)


def _evtx(path: str, hint: LogSource) -> Iterator[Found]:
    record = 0
    try:
        with _opened(path) as file:
            for record, entry in enumerate(PyEvtxParser(file).records_json()):
                if isinstance(entry, dict):
                    yield from _document(record, orjson.loads(entry["data"]), None, hint)
                else:  # a record, or a chunk of them, that the file's damage has cost
                    yield Unreadable(record, str(entry))
    except (RuntimeError, OSError, EOFError, ZstdError, UserError) as error:
        yield Unreadable(record, f"not EVTX from here on: {error}")


def _opened(path: str) -> BinaryIO:
    """Return the file, or what it holds where it is compressed."""
    with Path(path).open("rb") as file:
        if file.read(8) == b"ElfFile\0":
            return Path(path).open("rb")
    spool: BinaryIO = tempfile.SpooledTemporaryFile(64 << 20)  # type: ignore[assignment]  # noqa: SIM115 - returned open
    with open_log(Path(path)) as log:
        size = 0
        while block := log.stream.read(1 << 20):
            size += len(block)
            if size > MAX_EVTX:
                raise OSError(f"holds more than {MAX_EVTX >> 30} GiB")
            spool.write(block)
    spool.seek(0, io.SEEK_SET)
    return spool
