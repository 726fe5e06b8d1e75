"""A search, carried out: files grouped by what they have, one statement a group, newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.ingest.search.compile import (
    SOURCE_NAMES,
    Parameters,
    Schema,
    condition,
    relevant,
    value_of,
)
from services.ingest.search.language import And, Node, Not, Or, Text
from services.ingest.search.plan import Aggregation, Answer, Search
from services.ingest.search.skip import asks_for_words, rules_out
from services.ingest.store.layout import COLUMNS
from services.ingest.store.manifest import ListedFile
from services.ingest.store.parquet import WORDS_KEY

if TYPE_CHECKING:  # tens of megabytes, for the store's own processes alone
    import duckdb

__all__ = ["execute"]

WORTH_ASKING = 20_000  # rows of a file; fewer are read sooner than its footer
FIRST_ROWS = 1_000_000  # looked at before the next portion is four times as large
_SHOWN = [name for name in COLUMNS if name != "rest"]
_LATE = 1e308  # of a field without a number: behind all numbers

Get = Callable[[ListedFile], Path]


class _Statement:
    """Sub-queries over groups of files that share a schema, and their parameters."""

    def __init__(self, search: Search, files: Sequence[ListedFile], names: Sequence[str]) -> None:
        self.search, self.parameters = search, Parameters()
        self.groups: list[tuple[Schema, list[ListedFile], str]] = []
        fields = relevant(search.node, names)
        by_schema: dict[Schema, list[ListedFile]] = defaultdict(list)
        for file in files:
            by_schema[_common(file, fields)].append(file)
        for schema, members in by_schema.items():
            where = condition(search.node, schema, self.parameters)
            if where is not False:
                self.groups.append((schema, members, "true" if where is True else where))

    def union(self, get: Get, select: Callable[[Schema], str], more: str = "") -> str | None:
        """Return the sub-queries joined; None when no file can hold what is sought."""
        search, add = self.search, self.parameters.add
        window = f"time >= {add(search.start)} AND time < {add(search.end)}"
        if search.tenant is not None:
            window += f" AND tenant = {add(search.tenant)}"
        if search.event_id is not None:
            window += f" AND id = CAST({add(search.event_id)} AS UUID)"
        parts = []
        for schema, files, where in self.groups:
            paths = add([str(get(file)) for file in files])
            parts.append(
                f"SELECT {select(schema)} FROM read_parquet({paths}, hive_partitioning = false)"  # noqa: S608 - parameters only
                f" WHERE {window} AND {where}{more}"
            )
        return " UNION ALL ".join(parts) if parts else None


def _common(file: ListedFile, fields: set[str]) -> Schema:
    """Return what *file* has of *fields*."""

    def meant(path: str) -> bool:
        return any(path == name or path.endswith(f".{name}") for name in fields)

    paths = frozenset(path for path in file.paths if meant(path))
    others = None if file.others is None else frozenset(p for p in file.others if meant(p))
    return Schema(paths, others, file.source_id if SOURCE_NAMES & fields else None)


def execute(
    duck: duckdb.DuckDBPyConnection, search: Search, get: Get, go_on: Callable[[], None]
) -> Answer:
    """Return the answer of *search*. *go_on* raises when it is to stop between statements."""
    hits, following, looked_at = (
        _hits(duck, _from_cursor(search), get, go_on) if search.limit else ([], None, [])
    )
    figures = {}
    for name, aggregation in search.aggregations.items():
        go_on()
        figures[name] = _aggregate(duck, search, aggregation, get)
    touched = _with_words(duck, search, search.files, get) if search.aggregations else looked_at
    return Answer(
        hits,
        following,
        figures,
        len(touched),
        sum(f.rows for f in touched),
        sum(f.size for f in touched),
    )


def _with_words(
    duck: duckdb.DuckDBPyConnection, search: Search, files: Sequence[ListedFile], get: Get
) -> list[ListedFile]:
    """Return *files* without those whose footer rules out what is sought."""
    large = {str(get(f)): f for f in files if f.rows >= WORTH_ASKING}
    if not large or not asks_for_words(search.node):
        return list(files)
    named = duck.execute(
        "SELECT file_name, decode(value) FROM parquet_kv_metadata($files) WHERE key = encode($key)",
        {"files": list(large), "key": WORDS_KEY},
    ).fetchall()
    without = {large[path].path for path, words in named if rules_out(search.node, words)}
    return [f for f in files if f.path not in without]


def _from_cursor(search: Search) -> Search:
    """Return *search* without what its cursor has passed: those files are not opened again."""
    if search.after is None or search.sort.field is not None:
        return search
    at = datetime.fromisoformat(search.after[0])
    start, end = search.start, search.end
    if search.sort.descending:
        end = min(end, at + timedelta(microseconds=1))
    else:
        start = max(start, at)
    files = [f for f in search.files if f.max_time >= start and f.min_time < end]
    return replace(search, start=start, end=end, files=files)


def _portions(search: Search) -> Iterator[list[ListedFile]]:
    """Yield files in the order of their events, few at first: most searches end with those."""
    if search.sort.field is not None:
        yield list(search.files)
        return
    if search.sort.descending:
        ordered = sorted(search.files, key=lambda f: f.max_time, reverse=True)
    else:
        ordered = sorted(search.files, key=lambda f: f.min_time)
    portion: list[ListedFile] = []
    rows, enough = 0, FIRST_ROWS
    for file in ordered:
        portion.append(file)
        rows += file.rows
        if rows >= enough:
            yield portion
            portion, rows, enough = [], 0, enough * 4
    if portion:
        yield portion


def _hits(
    duck: duckdb.DuckDBPyConnection, search: Search, get: Get, go_on: Callable[[], None]
) -> tuple[list[dict[str, Any]], list[Any] | None, list[ListedFile]]:
    found: list[tuple[list[Any], dict[str, Any]]] = []
    looked_at: list[ListedFile] = []
    for portion in _portions(search):
        if len(found) > search.limit and _beyond(portion[0], found[search.limit][0], search):
            break
        go_on()
        worthy = _with_words(duck, search, portion, get)
        found = _merge(found, _page(duck, search, worthy, get), search)
        looked_at += worthy
    hits: list[dict[str, Any]] = []
    size = 0
    for _, hit in found[: search.limit]:
        size += len(hit["raw"])
        if hits and size > search.max_bytes:
            break
        hits.append(hit)
    more = len(found) > len(hits)
    return hits, found[len(hits) - 1][0] if more and hits else None, looked_at


def _beyond(file: ListedFile, key: list[Any], search: Search) -> bool:
    """Tell whether all of *file* comes after *key*: then so does what follows it."""
    at = datetime.fromisoformat(key[0])
    return file.max_time < at if search.sort.descending else file.min_time > at


def _merge(
    known: list[tuple[list[Any], dict[str, Any]]],
    more: list[tuple[list[Any], dict[str, Any]]],
    search: Search,
) -> list[tuple[list[Any], dict[str, Any]]]:
    # An event that its client sent twice has one id and one time: it is shown once.
    unique = {tuple(key): (key, hit) for key, hit in [*known, *more]}
    ordered = sorted(unique.values(), key=lambda item: item[0], reverse=search.sort.descending)
    return ordered[: search.limit + 1]


def _page(
    duck: duckdb.DuckDBPyConnection, search: Search, files: Sequence[ListedFile], get: Get
) -> list[tuple[list[Any], dict[str, Any]]]:
    """Return the first events of *files*.

    The event itself is by far the widest column: where the question is of fields alone, it is read
    only from the time in which those events lie, which is found first.
    """
    if not _asks_for_text(search.node):
        bounds = "min(time) AS first, max(time) AS last"
        found = _first(duck, search, files, get, bounds, lambda _: "time, id")
        if not found or found[0]["first"] is None:
            return []
        start, end = found[0]["first"], found[0]["last"] + timedelta(microseconds=1)
        search = replace(search, start=start, end=end)
        files = [f for f in files if f.max_time >= start and f.min_time < end]
    rows = _first(duck, search, files, get, "*", lambda _: ", ".join(_SHOWN))
    by_field = search.sort.field is not None
    return [(_key(row, by_field), {name: row[name] for name in _SHOWN}) for row in rows]


def _asks_for_text(node: Node) -> bool:
    """Tell whether the events themselves are read to answer *node*."""
    match node:
        case Text():
            return True
        case Not(item):
            return _asks_for_text(item)
        case And(items) | Or(items):
            return any(_asks_for_text(item) for item in items)
        case _:
            return False


def _first(
    duck: duckdb.DuckDBPyConnection,
    search: Search,
    files: Sequence[ListedFile],
    get: Get,
    outer: str,
    columns: Callable[[Schema], str],
) -> list[dict[str, Any]]:
    """Return *outer* of the first events in the order of *search*, one more than it wants."""
    by = search.sort.field
    statement = _Statement(search, files, [by] if by else [])
    add = statement.parameters.add
    order = "DESC" if search.sort.descending else "ASC"

    def select(schema: Schema) -> str:
        if by is None:
            return columns(schema)
        value = value_of(by, schema, statement.parameters)
        return (
            f"{columns(schema)}, coalesce({value}, '') AS key_text,"
            f" coalesce(TRY_CAST({value} AS DOUBLE), {_LATE!r}) AS key_number"
        )

    keys = ["time", "id"] if by is None else ["key_number", "key_text", "id"]
    union = statement.union(get, select)
    if union is None:
        return []
    where = ""
    if search.after is not None:
        sign = "<" if search.sort.descending else ">"
        kinds = ["TIMESTAMPTZ", "UUID"] if by is None else ["DOUBLE", "VARCHAR", "UUID"]
        bounds = [f"CAST({add(v)} AS {kind})" for v, kind in zip(search.after, kinds, strict=True)]
        where = f" WHERE ({', '.join(keys)}) {sign} ({', '.join(bounds)})"
    ordering = ", ".join(f"{key} {order}" for key in keys)
    query = f"SELECT * FROM ({union}){where} ORDER BY {ordering} LIMIT {search.limit + 1:d}"  # noqa: S608 - parameters only
    if outer != "*":
        query = f"SELECT {outer} FROM ({query})"  # noqa: S608 - ours
    cursor = duck.execute(query, statement.parameters.used_in(query))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _key(row: dict[str, Any], by_field: bool) -> list[Any]:
    identity = str(row["id"])
    if by_field:
        return [row["key_number"], row["key_text"], identity]
    return [row["time"].isoformat(timespec="microseconds"), identity]


def _aggregate(
    duck: duckdb.DuckDBPyConnection, search: Search, wanted: Aggregation, get: Get
) -> Any:
    files = _with_words(duck, search, search.files, get)
    statement = _Statement(search, files, [wanted.field] if wanted.field else [])
    parameters = statement.parameters

    def value(schema: Schema) -> str:
        return f"{value_of(wanted.field or '', schema, parameters)} AS v"

    def ask(select: Callable[[Schema], str], outer: str, tail: str = "") -> list[tuple[Any, ...]]:
        union = statement.union(get, select)
        if union is None:
            return []
        query = f"SELECT {outer} FROM ({union}) {tail}"  # noqa: S608 - parameters only
        return duck.execute(query, parameters.used_in(query)).fetchall()

    match wanted.kind:
        case "count":
            rows = ask(lambda _: "1 AS v", "count(*)")
            return {"count": rows[0][0] if rows else 0}
        case "terms":
            rows = ask(
                value,
                "v, count(*) AS n, sum(count(*)) OVER ()",
                f"WHERE v IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT {wanted.size:d}",
            )
            total = int(rows[0][2]) if rows else 0
            buckets = [{"value": v, "count": n} for v, n, _ in rows]
            return {"buckets": buckets, "others": total - sum(b["count"] for b in buckets)}
        case "histogram":
            width = parameters.add(wanted.seconds)
            rows = ask(
                lambda _: "time",
                f"epoch(time)::BIGINT // {width} * {width} AS bucket, count(*)",
                "GROUP BY bucket ORDER BY bucket",
            )
            return {"seconds": wanted.seconds, "buckets": _filled(rows, search, wanted.seconds)}
        case "distinct":
            rows = ask(value, "count(DISTINCT v)")
            return {"count": rows[0][0] if rows else 0}
        case _:
            return _statistics(ask, value, wanted)


def _filled(rows: Sequence[tuple[Any, ...]], search: Search, seconds: int) -> list[dict[str, Any]]:
    """Return a bucket for every interval of the window, also the empty ones."""
    counts = {int(at): int(n) for at, n in rows}
    first = int(search.start.timestamp()) // seconds * seconds
    return [
        {"from": at, "count": counts.get(at, 0)}
        for at in range(first, int(search.end.timestamp() - 1e-6) + 1, seconds)
    ]


def _statistics(
    ask: Callable[..., list[tuple[Any, ...]]],
    value: Callable[[Schema], str],
    wanted: Aggregation,
) -> dict[str, Any]:
    def number(schema: Schema) -> str:
        return f"TRY_CAST({value(schema).removesuffix(' AS v')} AS DOUBLE) AS v"

    points = [float(p) / 100 for p in wanted.percentiles]
    listed = ", ".join(repr(p) for p in points)
    quantiles = f", quantile_cont(v, [{listed}])" if points else ""
    rows = ask(number, f"count(v), min(v), max(v), avg(v), sum(v){quantiles}")
    if not rows:
        return {"count": 0}
    found = dict(zip(("count", "min", "max", "avg", "sum"), rows[0], strict=False))
    if points:
        given = rows[0][5] or [None] * len(points)
        found["percentiles"] = [
            {"percent": p, "value": v} for p, v in zip(wanted.percentiles, given, strict=True)
        ]
    return found
