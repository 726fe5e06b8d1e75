"""What a search asks for, and the answer it gets: plain values that travel between processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.ingest.search.language import Node
from services.ingest.store.manifest import ListedFile

__all__ = ["Aggregation", "Answer", "Search", "Sort"]


@dataclass(frozen=True, slots=True)
class Sort:
    """By the time of the events, or by the value of a field; the id decides among equals."""

    field: str | None = None
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Aggregation:
    """``kind``: count, terms, histogram, stats or distinct."""

    kind: str
    field: str | None = None
    size: int = 10
    seconds: int = 3600
    percentiles: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """One search over *files*, of which none but these is looked at."""

    node: Node
    start: datetime
    end: datetime
    files: Sequence[ListedFile]
    tenant: str | None = None
    event_id: str | None = None
    limit: int = 100
    max_bytes: int = 8 << 20
    sort: Sort = field(default_factory=Sort)
    after: Sequence[Any] | None = None
    aggregations: Mapping[str, Aggregation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of the store by column, whether there are more, and the figures that were asked for."""

    hits: Sequence[Mapping[str, Any]]
    next_after: Sequence[Any] | None
    aggregations: Mapping[str, Any]
    files: int
    rows: int
    bytes: int
    damaged: int = 0  # files that were left out, since they are not what they were
