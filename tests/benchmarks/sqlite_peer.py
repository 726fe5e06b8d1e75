"""A peer of test_peers.py: pySigma -> SQLite in batches, as Zircolite does it, as a process.

    python sqlite_peer.py <folder of rules> … -- <file of JSON lines> <events a batch>

prints one JSON object. It imports nothing of ours, and runs in an environment that has pySigma.
As Zircolite: rules go through the pipelines for Sysmon and for Windows log sources, events of a
batch are columns of one table without case, with an index of the event ids; every rule that asks
for a channel and an event id of the batch is one query over it, and each row found is read. Time is
CPU time of this one process, decoding included, conversion of the rules apart.
"""

import gc
import json
import re
import sqlite3
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple


def main() -> None:
    split = sys.argv.index("--")
    folders, (events, batch) = sys.argv[1:split], sys.argv[split + 1 :]
    begun = time.process_time()
    queries, refused = convert(folders)
    converting = time.process_time() - begun
    gc.collect()
    gc.freeze()
    lines = Path(events).read_bytes().splitlines()
    begun = time.process_time()
    matches = failed = 0
    for start in range(0, len(lines), int(batch)):
        found, broken = scan(lines[start : start + int(batch)], queries)
        matches, failed = matches + found, max(failed, broken)
    spent = time.process_time() - begun
    answer = {
        "rules": len(queries), "refused": refused, "failed": failed, "converting": converting,
        "events": len(lines), "matches": matches, "micros": spent / len(lines) * 1e6,
    }  # fmt: skip
    print(json.dumps(answer))


class Query(NamedTuple):
    """One rule's SQL, its columns, and the channels and event ids it needs (empty: any)."""

    sql: str
    fields: list[str]
    channels: set[str]
    numbers: set[str]


def asked(rule: dict[str, Any]) -> tuple[list[str], set[str], set[str]]:
    return (
        rule["required_fields"],
        {str(channel).lower() for channel in rule["channel"]},
        {str(number) for number in rule["eventid"]},
    )


def convert(folders: list[str]) -> tuple[list[Query], int]:
    """Return the rules as queries, and how many rules gave none."""
    from sigma.backends.sqlite import sqliteBackend  # type: ignore[import-not-found]
    from sigma.collection import SigmaCollection  # type: ignore[import-not-found]
    from sigma.pipelines.sysmon import sysmon_pipeline  # type: ignore[import-not-found]
    from sigma.pipelines.windows import (  # type: ignore[import-not-found]
        windows_logsource_pipeline,
    )

    backend = sqliteBackend(sysmon_pipeline() + windows_logsource_pipeline())
    queries: list[Query] = []
    refused = 0
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.yml")):
            text = path.read_text("utf-8")
            if not re.search(r"^\s+product:\s*windows", text, re.MULTILINE):
                continue
            try:
                rules = SigmaCollection.from_yaml(text)
                for rule in json.loads(backend.convert(rules, "zircolite")):
                    queries += [Query(query, *asked(rule)) for query in rule["rule"]]
            except Exception:  # noqa: BLE001 - whatever it cannot take is counted
                refused += 1
    return queries, refused


def scan(lines: list[bytes], queries: list[Query]) -> tuple[int, int]:
    """Return the matches in one batch, and how many queries SQLite refused."""
    events = [json.loads(line) for line in lines]
    columns: dict[str, str] = {}
    for event in events:
        for name in event:
            columns.setdefault(name.lower(), name)
    for query in queries:
        for name in query.fields:
            columns.setdefault(name.lower(), name)
    database = sqlite3.connect(":memory:")
    database.create_function("REGEXP", 2, search, deterministic=True)
    database.execute("PRAGMA synchronous = OFF")
    named = ", ".join(f"{quoted(name)} TEXT COLLATE NOCASE" for name in columns.values())
    database.execute(f"CREATE TABLE logs (row_id INTEGER PRIMARY KEY, {named})")
    places = {name: at for at, name in enumerate(columns)}
    rows = []
    for event in events:
        row: list[Any] = [None] * len(columns)
        for name, value in event.items():
            row[places[name.lower()]] = (
                value if value is None or isinstance(value, str | int) else json.dumps(value)
            )
        rows.append(row)
    holes = ", ".join("?" * len(columns))
    database.executemany(f"INSERT INTO logs VALUES (NULL, {holes})", rows)  # noqa: S608
    database.execute('CREATE INDEX idx_eventid ON logs ("EventID")')
    channels = {str(event.get("Channel", "")).lower() for event in events}
    numbers = {str(event.get("EventID", "")) for event in events}
    matches = failed = 0
    for query in queries:
        if (query.channels and not query.channels & channels) or (
            query.numbers and not query.numbers & numbers
        ):
            continue
        try:
            matches += len(database.execute(query.sql).fetchall())
        except sqlite3.Error:
            failed += 1
    database.close()
    return matches, failed


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@cache
def pattern(text: str) -> "re.Pattern[str]":
    return re.compile(text)


def search(text: str, value: object) -> bool:
    return value is not None and pattern(text).search(str(value)) is not None


if __name__ == "__main__":
    main()
