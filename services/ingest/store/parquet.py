"""Rows into a Parquet file, and Parquet files into one: zstd, sorted by time, with its checksum.

A merged file carries in its footer the words that stand in its events (runs of letters, folded):
a search for text that cannot be among them need not read it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from services.ingest.store.layout import COLUMNS, FIELD_PREFIX, MAX_PATHS, is_column_path
from services.ingest.store.rows import Row

if TYPE_CHECKING:  # tens of megabytes, for the store's own processes alone
    import duckdb

__all__ = ["WORDS_KEY", "FileFacts", "merge_files", "words_of", "write_rows"]

MAX_OTHERS = 500
WORDS_KEY = "tocsin-words"
WORD = 4  # letters at least
MAX_WORDS_BYTES = 1 << 20
BUFFER = 1 << 20  # bytes; with the usual 8 KiB writing takes three times as long
_WRITE = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3, ROW_GROUP_SIZE 122880)"
# RE2 holds two characters beyond ASCII equal to letters of it when case is ignored: U+017F (s) and
# U+212A (k).
_LETTERS = f"[a-zA-Z\u017f\u212a]{{{WORD},}}"
_WORDS = (
    "SELECT DISTINCT lower(translate(unnest(regexp_extract_all(raw, $letters)), '\u017f\u212a',"
    " 'sk')) FROM read_parquet($files, union_by_name = true)"
)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the manifest knows of a file. ``others``: paths in ``rest``; None: too many to name."""

    rows: int
    size: int
    raw_bytes: int
    sha256: str
    min_time: datetime
    max_time: datetime
    paths: Sequence[str]
    others: Sequence[str] | None


def write_rows(duck: duckdb.DuckDBPyConnection, rows: Sequence[Row], target: Path) -> FileFacts:
    """Write *rows* to *target*. A path becomes a column where one event in fifty has it."""
    seen = Counter(chain.from_iterable([row.record for row in rows]))
    enough = max(1, len(rows) // 50)
    columns = [
        name
        for name, count in sorted(seen.items(), key=lambda item: (-item[1], item[0]))
        if name not in COLUMNS and count >= enough and is_column_path(name[len(FIELD_PREFIX) :])
    ][:MAX_PATHS]
    aside = set(seen) - set(columns) - set(COLUMNS)
    others = {name[len(FIELD_PREFIX) :] for name in aside}
    source = target.with_suffix(".ndjson")
    with source.open("wb", BUFFER) as file:
        # Here nearly for nothing, since they nearly are; DuckDB keeps the order with one thread.
        for row in sorted(rows, key=attrgetter("time")):
            record, rest = row.record, row.rest
            for name in aside and aside & record.keys():
                rest.append((name[len(FIELD_PREFIX) :], record.pop(name)))
            if rest:
                record["rest"] = [{"k": k, "v": v} for k, v in rest]
                others.update(k for k, _ in rest)
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
    kinds = {**COLUMNS, **dict.fromkeys(columns, "VARCHAR")}
    try:
        # Names of columns passed is_column_path: no quote can be among them.
        described = ", ".join(f"'{name}': '{kind}'" for name, kind in kinds.items())
        duck.execute(
            f"COPY (SELECT * FROM read_json($source, columns = {{{described}}},"  # noqa: S608
            " format = 'newline_delimited', maximum_object_size = 16777216))"
            f" TO '{_literal(target)}' {_WRITE}",
            {"source": str(source)},
        )
    finally:
        source.unlink(missing_ok=True)
    return _facts(
        duck,
        target,
        sum(r.raw_bytes for r in rows),
        [name[len(FIELD_PREFIX) :] for name in columns],
        sorted(others),
    )


def merge_files(
    duck: duckdb.DuckDBPyConnection,
    files: Sequence[Path],
    target: Path,
    raw_bytes: int,
    paths: Sequence[str],
    others: Sequence[str] | None,
) -> FileFacts:
    """Write the rows of *files* to *target*; an event that its client named and sent twice, once.

    *paths* and *others* are those of all files together.
    """
    words = words_of(duck, files)
    write = _WRITE
    if words is not None:  # letters and blanks: nothing in it needs quoting
        write = f"{_WRITE[:-1]}, KV_METADATA {{'{WORDS_KEY}': '{words}'}})"
    kept = [f'"{name}"' for name in (*COLUMNS, *(FIELD_PREFIX + path for path in paths))]
    duck.execute(
        f"COPY (SELECT {', '.join(kept)} FROM read_parquet($files, union_by_name = true)"  # noqa: S608
        " QUALIFY substr(id::VARCHAR, 15, 1) <> '5'"
        " OR row_number() OVER (PARTITION BY id ORDER BY observed_time) = 1"
        f" ORDER BY time, id) TO '{_literal(target)}' {write}",
        {"files": [str(file) for file in files]},
    )
    return _facts(duck, target, raw_bytes, paths, others)


def words_of(duck: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> str | None:
    """Return the words of the events of *files*, blanks between them; None: too many to keep."""
    found = duck.execute(_WORDS, {"files": [str(f) for f in files], "letters": _LETTERS})
    words: list[str] = []
    size = 0
    while rows := found.fetchmany(10_000):
        for (word,) in rows:
            size += len(word) + 1
            words.append(word)
        if size > MAX_WORDS_BYTES:
            return None
    return " ".join(sorted(words))


def _literal(path: Path) -> str:
    return str(path).replace("'", "''")  # COPY takes no parameter for its target


def _facts(
    duck: duckdb.DuckDBPyConnection,
    target: Path,
    raw_bytes: int,
    paths: Sequence[str],
    others: Sequence[str] | None,
) -> FileFacts:
    query = "SELECT count(*), min(time), max(time) FROM read_parquet($file)"
    found = duck.execute(query, {"file": str(target)}).fetchone()
    assert found is not None  # noqa: S101 - an aggregate has one row
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileFacts(
        rows=found[0],
        size=target.stat().st_size,
        raw_bytes=raw_bytes,
        sha256=digest,
        min_time=found[1],
        max_time=found[2],
        paths=list(paths),
        others=None if others is None or len(others) > MAX_OTHERS else list(others),
    )
