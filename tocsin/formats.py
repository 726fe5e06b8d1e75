"""Files that hold records in a form of their own, into JSON documents, one by one as they are read.

EVTX, CSV, Zeek's TSV and journald's export format. Damage inside a file is told with its place.
"""

import base64
import csv
import io
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import orjson
from evtx import PyEvtxParser

from shared.errors import UserError

__all__ = ["FormatError", "csv_records", "evtx_records", "journal_records", "zeek_records"]

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
    csv.field_size_limit(MAX_FIELD)
    first = stream.readline(MAX_LINE).decode("utf-8-sig", "replace")
    delimiter = max(",;\t|", key=first.count)
    names = next(csv.reader([first], delimiter=delimiter), [])
    if not names or len(names) > MAX_COLUMNS:
        raise FormatError(f"{name}: the first line names no columns")
    rest = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
    try:
        yield from _rows(name, csv.reader(rest, delimiter=delimiter), names)
    finally:
        rest.detach()


def _rows(name: str, rows: Any, names: list[str]) -> Iterator[bytes]:
    try:
        for row in rows:
            if row:
                pairs = zip(names, row, strict=False)
                record = {key: value for key, value in pairs if value != ""}
                if len(row) > len(names):
                    record["_more"] = row[len(names) :]
                yield orjson.dumps(record)
    except csv.Error as error:
        raise FormatError(f"{name}: line {rows.line_num}: {error}") from error


def zeek_records(name: str, stream: "io.BufferedReader[Any]") -> Iterator[bytes]:
    """Yield the records of a Zeek log in TSV, typed as its header says, with ``_path``."""
    separator, inner, unset, empty = "\t", ",", "-", "(empty)"
    names: list[str] = []
    types: list[str] = []
    path = ""
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1):
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith("#separator "):
            separator = _unescaped(text[11:])
        elif text.startswith("#"):
            word, _, value = text[1:].partition(separator)
            match word:
                case "set_separator":
                    inner = value
                case "empty_field":
                    empty = value
                case "unset_field":
                    unset = value
                case "path":
                    path = value
                case "fields":
                    names = value.split(separator)
                case "types":
                    types = value.split(separator)
                case _:
                    pass
        elif text:
            values = text.split(separator)
            if not names or len(values) != len(names):
                raise FormatError(
                    f"{name}: line {number}: {len(values)} values, {len(names)} names"
                )
            record: dict[str, Any] = {"_path": path} if path else {}
            kinds = types or ["string"] * len(names)
            for key, kind, value in zip(names, kinds, values, strict=True):
                if value != unset:
                    record[key] = _zeek(value, kind, inner, empty)
            yield orjson.dumps(record)


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
    """Yield the entries of ``journalctl -o export`` (systemd.io/JOURNAL_EXPORT_FORMATS): a field
    given twice is a list, bytes that are no text are base64."""
    record: dict[str, Any] = {}
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1):
        if line == b"\n":
            if record:
                yield orjson.dumps(record)
            record = {}
            continue
        key, equals, value = line.rstrip(b"\n").partition(b"=")
        if not equals:
            size = int.from_bytes(stream.read(8), "little")
            if size > MAX_FIELD * 64:
                raise FormatError(f"{name}: line {number}: a field of {size} bytes")
            value = stream.read(size)
            if len(value) != size or stream.read(1) != b"\n":
                raise FormatError(f"{name}: line {number}: the file ends inside a field")
        try:
            field, text = key.decode("ascii"), _text(value)
        except UnicodeDecodeError as error:
            raise FormatError(f"{name}: line {number}: no field name") from error
        known = record.get(field)
        if known is None:
            record[field] = text
        elif isinstance(known, list):
            known.append(text)
        else:
            record[field] = [known, text]
    if record:
        yield orjson.dumps(record)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
