"""Rows of an inventory out of CSV, NDJSON or JSON, one after the other, each with its line.

Nothing is held in memory but the row at hand: a document may be larger than the file that
`inventory_file` reads whole. A row that cannot be read is yielded as its reason.

CSV is of one kind and has a header; several names in a cell are separated by ``|``. NDJSON is of
one kind, or says it in each row as ``kind``. JSON is a list of one kind, or a table of such lists.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from services.notify.inventory import KINDS, REFERENCES, Kind
from services.notify.inventory_tags import TAG_KEYS

__all__ = ["FORMATS", "MAX_ROW", "Format", "Given", "read_rows"]

Format = Literal["csv", "ndjson", "json"]
FORMATS: dict[str, Format] = {
    "text/csv": "csv",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json": "json",
}
"""Media type → what is in it."""

MAX_ROW = 1 << 20  # characters of one row
_CHUNK = 1 << 16
_SPACE = " \t\n\r"

_LISTS = frozenset({"data", "data_subject_regions", "capacities", "email", "alternate_email"})
_COLUMNS: dict[Kind, tuple[str, ...]] = {
    **{
        kind: (*(() if kind == "dependencies" else ("name",)), *references)
        for kind, references in REFERENCES.items()
    },
    "tenants": (
        "name", "display_name", "region", "data_subject_regions", "industry", "locale",
        "capacities", "email", "alternate_email", "webhook_url", "webhook_secret_ref", "contract",
    ),
    "placements": ("tenant", "server", "from", "to", "role", "data"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Given:
    """One row as it stands in the document; *row* is None where *why* says what is wrong.

    With neither it says that there is a list of its kind, though maybe an empty one.
    """

    line: int
    kind: Kind | None
    row: dict[str, Any] | None
    why: str = ""


def read_rows(stream: TextIO, form: Format, kind: Kind | None) -> Iterator[Given]:
    """Yield the rows of *stream*, all of one *kind* or, if that is None, as each one says.

    *stream* has to leave line ends as they are (``newline=""``).
    """
    try:
        if form == "csv":
            yield from _csv(stream, kind)
        elif form == "ndjson":
            yield from _ndjson(stream, kind)
        else:
            yield from _JsonText(stream).rows(kind)
    except UnicodeDecodeError:
        yield Given(0, kind, None, "the document is not UTF-8")


def _csv(stream: TextIO, kind: Kind | None) -> Iterator[Given]:
    if kind is None:
        yield Given(1, None, None, "CSV is of one kind; say which")
        return
    known = (*_COLUMNS[kind], *(() if kind == "dependencies" else TAG_KEYS))
    reader = csv.reader(stream, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not header or not set(header) <= set(known) or len(set(header)) < len(header):
            yield Given(1, kind, None, f"the header has to be of {', '.join(known)}")
            return
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                why = f"has {len(cells)} cells, the header {len(header)}"
                yield Given(reader.line_num, kind, None, why)
                continue
            row: dict[str, Any] = {k: v for k, v in zip(header, cells, strict=True) if v.strip()}
            yield _tabular(reader.line_num, kind, row)
    except csv.Error as error:
        yield Given(reader.line_num, kind, None, f"not CSV: {error}")


def _tabular(line: int, kind: Kind, row: dict[str, Any]) -> Given:
    """Return a row of cells as the nested one that it stands for."""
    for key in _LISTS & row.keys():
        row[key] = [name.strip() for name in row[key].split("|") if name.strip()]
    if kind != "tenants":
        return Given(line, kind, row)
    contacts: dict[str, Any] = {
        key: row.pop(key) for key in ("email", "alternate_email") if key in row
    }
    hook = {key: row.pop(f"webhook_{key}", None) for key in ("url", "secret_ref")}
    if any(hook.values()):
        contacts["webhook"] = {key: value for key, value in hook.items() if value}
    if contacts:
        row["contacts"] = contacts
    if "contract" in row:
        try:
            row["contract"] = json.loads(row["contract"])
        except (ValueError, RecursionError):
            return Given(line, kind, None, "contract is not JSON")
    return Given(line, kind, row)


def _ndjson(stream: TextIO, kind: Kind | None) -> Iterator[Given]:
    number = 0
    while text := stream.readline(MAX_ROW + 1):
        number += 1
        if len(text) > MAX_ROW:
            yield Given(number, kind, None, f"is longer than {MAX_ROW} characters")
            return
        if text.isspace():
            continue
        try:
            row = json.loads(text, object_pairs_hook=_once)
        except _TwiceError as error:
            yield Given(number, kind, None, str(error))
            continue
        except (ValueError, RecursionError):
            yield Given(number, kind, None, "not JSON")
            continue
        yield _of_kind(number, kind, row)


def _of_kind(line: int, kind: Kind | None, row: object) -> Given:
    if not isinstance(row, dict):
        return Given(line, kind, None, "not an object")
    if kind is None:
        kind = row.pop("kind", None)
        if kind not in KINDS:
            return Given(line, None, None, f"kind {kind!r} is none of {', '.join(KINDS)}")
    return Given(line, kind, row)


class _TwiceError(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in found if keys.count(key) > 1)
        raise _TwiceError(f"key {twice!r} stands twice")
    return found


class _BrokenError(Exception):
    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line, self.why = line, why


class _JsonText:
    """A JSON text read piece by piece: each item of its lists is decoded by itself."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text, self._at, self._line, self._ended = "", 0, 1, False
        self._decode = json.JSONDecoder(object_pairs_hook=_once).raw_decode

    def rows(self, kind: Kind | None) -> Iterator[Given]:
        """Yield the rows; after a place that is not JSON there are none."""
        try:
            if kind is not None:
                self._expect("[", f"a list of {kind} is expected")
                yield Given(self._line, kind, None)
                yield from self._items(kind)
            else:
                yield from self._table()
            self._end()
        except _BrokenError as error:
            yield Given(error.line, kind, None, error.why)

    def _end(self) -> None:
        if self._next():
            raise _BrokenError(self._line, "something follows the end")

    def _table(self) -> Iterator[Given]:
        self._expect("{", f"a table of {', '.join(KINDS)} is expected")
        seen: set[str] = set()
        while self._next() != "}":
            line, key = self._line, self._value()
            if key not in KINDS:
                raise _BrokenError(line, f"key {key!r} is none of {', '.join(KINDS)}")
            if key in seen:
                raise _BrokenError(line, f"key {key!r} stands twice")
            seen.add(key)
            self._expect(":", "a colon is expected")
            self._expect("[", f"{key} must be a list")
            yield Given(line, key, None)
            yield from self._items(key)
            if self._next() == ",":
                self._at += 1
        self._at += 1

    def _items(self, kind: Kind) -> Iterator[Given]:
        while (mark := self._next()) != "]":
            if not mark:
                raise _BrokenError(self._line, "the document ends inside of a list")
            line = self._line
            yield _of_kind(line, kind, self._value())
            if self._next() == ",":
                self._at += 1
            elif self._next() != "]":
                raise _BrokenError(self._line, "not JSON: a comma is missing")
        self._at += 1

    def _expect(self, mark: str, why: str) -> None:
        if self._next() != mark:
            raise _BrokenError(self._line, why)
        self._at += 1

    def _next(self) -> str:
        """Return the next mark that is no space, without going past it; nothing at the end."""
        while True:
            start = self._at
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            self._line += self._text.count("\n", start, self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read(_CHUNK):
                return ""

    def _value(self) -> Any:
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except _TwiceError as error:
                raise _BrokenError(self._line, str(error)) from None
            except RecursionError:
                raise _BrokenError(self._line, "not JSON: nested too deep") from None
            except json.JSONDecodeError as error:
                held = len(self._text) - self._at
                line = self._line + self._text.count("\n", self._at, error.pos)
                # Cut off, maybe: look again when there is twice as much.
                if held <= MAX_ROW and self._read(max(_CHUNK, held)):
                    continue
                raise _BrokenError(line, f"not JSON: {error.msg}") from None
            if end == len(self._text) and self._read(_CHUNK):
                continue  # a number may go on
            self._line += self._text.count("\n", self._at, end)
            self._at = end
            return value

    def _read(self, size: int) -> bool:
        if self._ended:
            return False
        more = self._stream.read(size)
        self._ended = not more
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)
