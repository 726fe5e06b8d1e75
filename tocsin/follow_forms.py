"""Records of a growing file that have a form of their own: which of what was read are whole. Pure.

The same bytes behind the same header give the same records, so that a portion that is sent again
is recognised. What is damaged becomes a JSON string: ingest keeps it in quarantine, with its text,
and what follows goes on.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from tocsin.formats import (
    FormatError,
    UnfinishedError,
    ZeekTable,
    csv_names,
    csv_record,
    journal_entry,
)
from tocsin.reading import CHUNK_ITEMS, TABLES, ReadingError

__all__ = ["Cut", "cut", "form_of"]

_GZIP, _ZSTD, _EVTX = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"ElfFile\0"


@dataclass(frozen=True, slots=True)
class Cut:
    """Whole records from the beginning of what was read: *size* bytes of it.

    *header* is where, in it, a header begins that holds for what follows; None: as before.
    """

    size: int
    records: list[bytes]
    header: int | None = None


def form_of(path: Path, head: bytes) -> str | None:
    """Return the form of the file that begins with *head*: csv, zeek, journal, or None for lines.

    ReadingError for what cannot be followed.
    """
    if head.startswith(_EVTX):
        raise ReadingError(
            f"{path}: an EVTX file cannot be followed: Windows writes its chunks again in place."
            " Forward the channel (Winlogbeat, Windows Event Forwarding), or send copies of the"
            " file without --follow"
        )
    if head.startswith((_GZIP, _ZSTD)):
        raise ReadingError(f"{path}: a compressed file does not grow by records; send it whole")
    if head.startswith(b"#separator "):
        return "zeek"
    if head.startswith(b"__CURSOR="):
        return "journal"
    return "csv" if any(s in TABLES for s in Path(path.name.lower()).suffixes[-2:]) else None


def cut(form: str, data: bytes, header: bytes, *, first: bool, last: bool) -> Cut | None:
    """Return the whole records at the beginning of *data*, None where there is none yet.

    *header* is what the file says before them (its first line, Zeek's lines); *first*: *data*
    begins with it. With *last* nothing more will come, and what is not whole is taken as it is.
    """
    match form:
        case "csv":
            found = _csv(data, header, first=first, last=last)
        case "zeek":
            found = _zeek(data, header, first=first, last=last)
        case _:
            found = _journal(data, last=last)
    return found if found is not None and found.records else None


def _lines(data: bytes, *, last: bool) -> list[bytes]:
    """Return the lines of *data* with their ends; without *last*, whole ones only."""
    pieces = data.split(b"\n")
    lines = [piece + b"\n" for piece in pieces[:-1]]
    return [*lines, pieces[-1]] if last and pieces[-1] else lines


def _damaged(data: bytes) -> bytes:
    return orjson.dumps(data.decode("utf-8", "replace").rstrip("\r\n"))


def _csv(data: bytes, header: bytes, *, first: bool, last: bool) -> Cut | None:
    lines = _lines(data, last=last)
    if not header.endswith(b"\n") and not last:
        return None
    try:
        names, delimiter = csv_names(header)
    except FormatError:  # a table without names: its lines are kept as they are
        return Cut(sum(map(len, lines)), [_damaged(line) for line in lines[:CHUNK_ITEMS]])
    taken = 1 if first else 0
    ended = False

    def fed() -> Iterator[str]:
        nonlocal taken, ended
        while taken < len(lines):
            taken += 1
            yield lines[taken - 1].decode("utf-8", "replace")
        ended = True

    rows = csv.reader(fed(), delimiter=delimiter)
    records: list[bytes] = []
    whole = taken
    while len(records) < CHUNK_ITEMS:
        begun = taken
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error:
            records.append(_damaged(b"".join(lines[begun:taken])))
            whole = taken
            continue
        if ended and not last:  # it wanted more: a quoted value that goes on
            break
        whole = taken
        if row:
            records.append(csv_record(names, row))
    return Cut(sum(len(line) for line in lines[:whole]), records)


def _zeek(data: bytes, header: bytes, *, first: bool, last: bool) -> Cut | None:
    table = ZeekTable()
    for line in [] if first else header.splitlines(keepends=True):
        table.read(line)
    records: list[bytes] = []
    size = whole = 0
    begins = None
    for line in _lines(data, last=last):
        if line.startswith(b"#separator "):
            begins = size
        size += len(line)
        try:
            record = table.read(line)
        except FormatError:
            record = _damaged(line)
        if record is not None:
            records.append(record)
            whole = size
            if len(records) == CHUNK_ITEMS:
                break
    # A header behind the last record belongs to the records that follow: it is read again then.
    return Cut(whole, records, begins if begins is not None and begins < whole else None)


def _journal(data: bytes, *, last: bool) -> Cut | None:
    stream = io.BytesIO(data)
    records: list[bytes] = []
    whole = 0
    while len(records) < CHUNK_ITEMS:
        try:
            record, ended = journal_entry(stream)
        except UnfinishedError:
            if last:
                records.append(_damaged(data[whole:]))
                whole = len(data)
            break
        except FormatError:
            end = data.find(b"\n\n", whole)
            if end < 0 and not last:
                break
            end = len(data) if end < 0 else end + 2
            records.append(_damaged(data[whole:end]))
            whole = end
            stream.seek(whole)
            continue
        if record is None or not (ended or last):
            break
        records.append(record)
        whole = stream.tell()
    return Cut(whole, records)
