"""`tocsin search`: events as a table, as JSON lines, as a histogram, or as an extract in a file."""

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
from rich.console import Console
from rich.table import Table

from tocsin.service_client import RefusedError, checked

__all__ = ["Question", "export", "show_events", "show_histogram"]

PAGE = 500
BAR = 40


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for and in which time."""

    query: str
    last: str | None = None
    start: str | None = None
    end: str | None = None
    sort: str = "-time"

    def body(self) -> dict[str, Any]:
        """Return the request; the service says what is wrong with it."""
        given = {"query": self.query, "sort": self.sort, "last": self.last,
                 "from": self.start, "to": self.end}  # fmt: skip
        return {name: value for name, value in given.items() if value is not None}


def pages(client: httpx.Client, question: Question, limit: int | None) -> Iterator[dict[str, Any]]:
    """Yield events, page after page, *limit* of them or all."""
    left = limit
    cursor: str | None = None
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        body = {**question.body(), "limit": size}
        if cursor:
            body = {"query": question.query, "sort": question.sort, "limit": size, "cursor": cursor}
        page = checked(client.post("/v1/search", json=body))
        yield from page["hits"]
        left = None if left is None else left - len(page["hits"])
        cursor = page["next_cursor"]
        if cursor is None:
            return


def show_events(
    client: httpx.Client, question: Question, limit: int | None, *, as_json: bool, console: Console
) -> int:
    """Print events; return how many. As JSON each is one line on standard output."""
    events = pages(client, question, limit)
    count = 0
    if as_json:
        for count, event in enumerate(events, 1):  # noqa: B007 - the last one is the number
            sys.stdout.write(orjson.dumps(event).decode() + "\n")
        return count
    table = Table(box=None, pad_edge=False, expand=True)
    for title in ("time", "source", "event"):
        table.add_column(title, no_wrap=title != "event", overflow="fold")
    for count, event in enumerate(events, 1):  # noqa: B007 - the last one is the number
        table.add_row(event["time"], event["source_id"], _printable(event["raw"]))
    if count:
        console.print(table, markup=False)
    console.print(f"{count} events")
    return count


def _printable(raw: str) -> str:
    """Return *raw* without what a terminal would obey: logs are written by attackers too."""
    return "".join(c if c.isprintable() else "�" for c in raw[:2000])


def show_histogram(
    client: httpx.Client, question: Question, *, as_json: bool, console: Console
) -> None:
    """Print how many events fall into each interval of the time looked at."""
    figures = {"over_time": {"kind": "histogram"}, "all": {"kind": "count"}}
    body = {**question.body(), "limit": 0, "aggregations": figures}
    found = checked(client.post("/v1/search", json=body))["aggregations"]
    buckets: list[Mapping[str, Any]] = found["over_time"]["buckets"]
    if as_json:
        sys.stdout.write(orjson.dumps(found).decode() + "\n")
        return
    most = max((bucket["count"] for bucket in buckets), default=0) or 1
    for bucket in buckets:
        bar = "█" * round(bucket["count"] / most * BAR)
        console.print(f"{bucket['from'][:19]}Z {bucket['count']:>10,} {bar}")
    console.print(f"{found['all']['count']:,} events")


def export(client: httpx.Client, question: Question, limit: int | None, target: Path) -> str:
    """Write an extract to *target*, whole or not at all; return a sentence with its SHA-256."""
    body = question.body() | ({} if limit is None else {"limit": limit})
    part = target.with_name(f".{target.name}.part")
    digest = hashlib.sha256()
    try:
        with client.stream("POST", "/v1/search/extract", json=body) as answer:
            if not answer.is_success:
                answer.read()
                checked(answer)
            with part.open("wb") as file:
                for piece in answer.iter_bytes():
                    digest.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        if digest.hexdigest() != answer.headers["tocsin-sha256"]:
            raise RefusedError("what arrived is not what was sent (SHA-256); try again")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    short = "" if answer.headers["tocsin-complete"] == "true" else " (NOT all: a limit was reached)"
    return f"{answer.headers['tocsin-events']} events{short}, sha256 {digest.hexdigest()}"
