"""A search as a client writes it: bounds, defaults, cursor. Pure but for the clock it is given."""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.ingest.search.language import Node, QueryError, parse
from services.ingest.search.plan import Aggregation, Sort
from shared.clock import rfc3339
from shared.contracts.base import Instant
from shared.problems import ProblemError

__all__ = ["AggregationRequest", "Prepared", "SearchRequest", "cursor_of", "prepare", "span"]

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
DEFAULT_SPAN = "24h"
MAX_BUCKETS = 2000
MAX_LIMIT = 1000


def span(text: str) -> timedelta:
    """Return the length that ``15m``, ``24h`` or ``7d`` means; ValueError."""
    if not (found := _SPAN.fullmatch(text)):
        raise ValueError(f"{text!r} is no length of time such as 15m, 24h or 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


class AggregationRequest(BaseModel):
    """One figure about all events found, not only those on the page."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["count", "terms", "histogram", "stats", "distinct"]
    field: str | None = Field(None, min_length=1, max_length=256, description="at any depth")
    size: int = Field(10, ge=1, le=1000, description="of terms: how many values")
    interval: str | None = Field(None, description="of a histogram: 1m, 1h, 1d …; default: fitting")
    percentiles: list[float] = Field(default_factory=list, max_length=20)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind in {"terms", "stats", "distinct"} and self.field is None:
            raise ValueError(f"{self.kind} needs a field")
        if any(not 0 <= p <= 100 for p in self.percentiles):
            raise ValueError("a percentile lies between 0 and 100")
        if self.interval is not None and span(self.interval) < timedelta(seconds=1):
            raise ValueError("an interval is at least a second")
        return self


class SearchRequest(BaseModel):
    """What to look for, in which time, and what to make of it."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    query: str = Field("", max_length=8192, description="docs/search.md; empty: every event")
    start: Instant | None = Field(None, alias="from", description="inclusive; default: 24 h ago")
    end: Instant | None = Field(None, alias="to", description="exclusive; default: now")
    last: str | None = Field(None, description="instead of from and to: 15m, 24h, 7d")
    limit: int = Field(100, ge=0, le=MAX_LIMIT, description="events on a page")
    sort: str = Field("-time", max_length=257, description="time, a field; - first: descending")
    cursor: str | None = Field(None, max_length=4096, description="next_cursor of the page before")
    aggregations: dict[str, AggregationRequest] = Field(default_factory=dict, max_length=10)
    search_id: UUID | None = Field(None, description="of your choice: DELETE /v1/search/{id}")

    @model_validator(mode="after")
    def _one_window(self) -> Self:
        if self.last is not None:
            span(self.last)
            if self.start is not None or self.end is not None:
                raise ValueError("either last, or from and to")
        return self


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that can be carried out."""

    node: Node
    start: datetime
    end: datetime
    sort: Sort
    after: Sequence[Any] | None
    aggregations: dict[str, Aggregation]
    digest: str


def prepare(request: SearchRequest, now: datetime) -> Prepared:
    """Return *request* with every default filled in; ProblemError 422 says what is wrong where."""
    node = parsed(request.query)
    order = Sort(
        None if request.sort.lstrip("-") in {"time", ""} else request.sort.removeprefix("-"),
        request.sort.startswith("-"),
    )
    digest = hashlib.sha256(orjson.dumps([request.query, request.sort])).hexdigest()[:16]
    after = None
    if request.cursor is not None:
        start, end, after = _read_cursor(request.cursor, digest, order)
    else:
        # Events come in while one pages: an end in the past keeps the pages fitting together.
        end = request.end or now + timedelta(seconds=1)
        start = request.start or end - span(request.last or DEFAULT_SPAN)
    if start >= end:
        raise ProblemError(422, "malformed", "The time window ends before it begins.")
    figures = {
        name: Aggregation(
            wanted.kind, wanted.field, wanted.size, _interval(wanted, start, end),
            tuple(wanted.percentiles),
        )
        for name, wanted in request.aggregations.items()
    }  # fmt: skip
    return Prepared(node, start, end, order, after, figures, digest)


def parsed(query: str) -> Node:
    """Return the tree of *query*; ProblemError 422 with position and what was expected there."""
    try:
        return parse(query)
    except QueryError as error:
        raise ProblemError(
            422,
            "query_malformed",
            f"{error.message[:1].upper()}{error.message[1:]} (at character {error.position + 1}).",
            position=error.position,
            expected=error.expected,
        ) from error


def _interval(wanted: AggregationRequest, start: datetime, end: datetime) -> int:
    whole = (end - start).total_seconds()
    if wanted.interval is None:
        choices = (1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 12 * 3600, 86400, 7 * 86400)
        return next((s for s in choices if whole / s <= 60), 30 * 86400)
    seconds = int(span(wanted.interval).total_seconds())
    if wanted.kind == "histogram" and whole / seconds > MAX_BUCKETS:
        raise ProblemError(
            422,
            "malformed",
            f"A histogram has at most {MAX_BUCKETS} buckets, not {whole / seconds:.0f}.",
        )
    return seconds


def cursor_of(prepared: Prepared, after: Sequence[Any] | None) -> str | None:
    """Return the cursor that goes on behind *after*."""
    if after is None:
        return None
    told = [rfc3339(prepared.start), rfc3339(prepared.end), prepared.digest, list(after)]
    return base64.urlsafe_b64encode(orjson.dumps(told)).decode()


def _read_cursor(cursor: str, digest: str, order: Sort) -> tuple[datetime, datetime, list[Any]]:
    try:
        told = orjson.loads(base64.urlsafe_b64decode(cursor))
        start, end, belongs, after = told
        window = datetime.fromisoformat(start), datetime.fromisoformat(end)
        if order.field is None:
            datetime.fromisoformat(after[0])
            UUID(after[1])
        else:
            float(after[0])
            UUID(after[2])
    except (ValueError, TypeError, IndexError, binascii.Error) as error:
        raise ProblemError(422, "malformed", "The cursor is not one of ours.") from error
    if belongs != digest:
        raise ProblemError(422, "malformed", "The cursor belongs to another query or order.")
    return *window, after
