"""Files that hold records in a form of their own, into JSON documents, one by one as they are read.

EVTX, CSV, Zeek's TSV and journald's export format. Damage inside a file is told with its place.
"""

import base64
import csv
import io
import re
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson
from evtx import PyEvtxParser

from shared.errors import UserError

__all__ = [
    "FormatError", "UnfinishedError", "ZeekTable", "csv_names", "csv_record", "csv_records",
    "evtx_records", "journal_entry", "journal_records", "zeek_records",
]  # fmt: skip

MAX_LINE = 1 << 20
MAX_FIELD = 1 << 20
MAX_COLUMNS = 2000
MAX_EVTX = 4 << 30
SPOOLED = 64 << 20
_ZEEK_HEX = re.compile(r"\\x([0-9A-Fa-f]{2})")
_ZEEK_NUMBERS = {"count": int, "int": int, "port": int, "double": float, "time": float,
                 "interval": float}  # fmt: skip


class FormatError(UserError):
    """The file is not what it seems to be; the message says where."""


class UnfinishedError(FormatError):
    """The file ends in the middle of a record."""


def evtx_records(name: str, stream: "io.BufferedReader[Any]") -> Iterator[bytes]:
    """Yield the events of a Windows event log as JSON (``{"Event": …}``); what damage has cost is
    passed over, a file that is none is a FormatError. The parser jumps about in the file, so one
    that is compressed is laid out on disk first."""
    try:
        with tempfile.SpooledTemporaryFile(SPOOLED) as spool:
            size = 0
            while block := stream.read(1 << 20):
                size += len(block)
                if size > MAX_EVTX:
                    raise FormatError(f"{name}: holds more than {MAX_EVTX >> 30} GiB")
                spool.write(block)
            spool.seek(0)
            for entry in PyEvtxParser(spool).records_json():
                if isinstance(entry, dict):
                    yield orjson.dumps(orjson.loads(entry["data"]))
    except RuntimeError as error:
        raise FormatError(f"{name}: not EVTX from here on: {error}") from error


def csv_records(name: str, stream: "io.BufferedReader[Any]") -> Iterator[bytes]:
    """Yield each row as an object by the names of the first one; empty values are left out."""
    try:
        names, delimiter = csv_names(stream.readline(MAX_LINE))
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error
    rest = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
    rows = csv.reader(rest, delimiter=delimiter)
    try:
        for row in rows:
            if row:
                yield csv_record(names, row)
    except csv.Error as error:
        raise FormatError(f"{name}: line {rows.line_num}: {error}") from error
    finally:
        rest.detach()


def csv_names(first: bytes) -> tuple[list[str], str]:
    """Return the names that the *first* line gives to the columns, and what is between them."""
    csv.field_size_limit(MAX_FIELD)
    text = first.decode("utf-8-sig", "replace")
    delimiter = max(",;\t|", key=text.count)
    names = next(csv.reader([text], delimiter=delimiter), [])
    if not names or len(names) > MAX_COLUMNS:
        raise FormatError("the first line names no columns")
    return names, delimiter


def csv_record(names: list[str], row: list[str]) -> bytes:
    """Return *row* as a JSON object."""
    record: dict[str, Any] = {k: v for k, v in zip(names, row, strict=False) if v != ""}
    if len(row) > len(names):
        record["_more"] = row[len(names) :]
    return orjson.dumps(record)


def zeek_records(name: str, stream: "io.BufferedReader[Any]") -> Iterator[bytes]:
    """Yield the records of a Zeek log in TSV, typed as its header says, with ``_path``."""
    table = ZeekTable()
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1):
        try:
            record = table.read(line)
        except FormatError as error:
            raise FormatError(f"{name}: line {number}: {error}") from error
        if record is not None:
            yield record


class ZeekTable:
    """Zeek's TSV, line by line: what the lines of its header say holds for those that follow."""

    def __init__(self) -> None:
        self._separator, self._inner, self._unset, self._empty = "\t", ",", "-", "(empty)"
        self._names: list[str] = []
        self._types: list[str] = []
        self._path = ""

    def read(self, line: bytes) -> bytes | None:
        """Return the record of *line*, None for a line of the header; FormatError."""
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith("#"):
            self._header(text)
            return None
        if not text:
            return None
        values = text.split(self._separator)
        if not self._names or len(values) != len(self._names):
            raise FormatError(f"{len(values)} values, {len(self._names)} names")
        record: dict[str, Any] = {"_path": self._path} if self._path else {}
        kinds = self._types or ["string"] * len(self._names)
        for key, kind, value in zip(self._names, kinds, values, strict=False):
            if value != self._unset:
                record[key] = _zeek(value, kind, self._inner, self._empty)
        return orjson.dumps(record)

    def _header(self, text: str) -> None:
        if text.startswith("#separator "):
            self._separator = _unescaped(text[11:])
            return
        word, _, value = text[1:].partition(self._separator)
        match word:
            case "set_separator":
                self._inner = value
            case "empty_field":
                self._empty = value
            case "unset_field":
                self._unset = value
            case "path":
                self._path = value
            case "fields":
                self._names, self._types = value.split(self._separator), []
            case "types":
                self._types = value.split(self._separator)
            case _:
                pass


def _zeek(value: str, kind: str, inner: str, empty: str) -> Any:
    if kind.startswith(("set[", "vector[")):
        member = kind[kind.index("[") + 1 : -1]
        return (
            [] if value == empty else [_zeek(v, member, inner, empty) for v in value.split(inner)]
        )
    if kind == "bool":
        return value == "T"
    if kind in _ZEEK_NUMBERS:
        try:
            return _ZEEK_NUMBERS[kind](value)
        except ValueError:
            return value
    return "" if value == empty else _unescaped(value)


def _unescaped(value: str) -> str:
    return _ZEEK_HEX.sub(lambda found: chr(int(found[1], 16)), value)


def journal_records(name: str, stream: "io.BufferedReader[Any]") -> Iterator[bytes]:
    """Yield the entries of ``journalctl -o export``."""
    while True:
        try:
            record, _ = journal_entry(stream)
        except FormatError as error:
            raise FormatError(f"{name}: {error}") from error
        if record is None:
            return
        yield record


def journal_entry(stream: BinaryIO) -> tuple[bytes | None, bool]:
    """Return the next entry (systemd.io/JOURNAL_EXPORT_FORMATS), None at the end, and whether the
    empty line that ends it was there: a field given twice is a list, bytes that are no text are
    base64. UnfinishedError where the stream ends inside a field, FormatError for what is none."""
    record: dict[str, Any] = {}
    while line := stream.readline(MAX_LINE):
        if line == b"\n":
            if record:
                return orjson.dumps(record), True
            continue
        key, equals, value = line.rstrip(b"\n").partition(b"=")
        try:
            field = key.decode("ascii")
        except UnicodeDecodeError as error:
            raise FormatError("no field name") from error
        if not equals:
            size = int.from_bytes(stream.read(8), "little")
            if size > MAX_FIELD * 64:
                raise FormatError(f"a field {field[:64]!r} of {size} bytes")
            value = stream.read(size)
            if len(value) != size or stream.read(1) != b"\n":
                raise UnfinishedError(f"the file ends inside the field {field[:64]!r}")
        known, text = record.get(field), _text(value)
        if known is None:
            record[field] = text
        elif isinstance(known, list):
            known.append(text)
        else:
            record[field] = [known, text]
    return (orjson.dumps(record) if record else None), False


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
