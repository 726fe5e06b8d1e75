"""What a compiled correlation rule is (Sigma correlation specification 2.1.0): immutable data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.detect.rules.model import Level, Node, Status

__all__ = ["METRICS", "Condition", "Correlation", "Missing", "Refire", "Type"]

SECOND = 1_000_000
"""Instants and spans of the engine are whole microseconds."""


class Type(StrEnum):
    """What is held against the condition; the median is Tocsin's extension."""

    EVENT_COUNT = "event_count"
    VALUE_COUNT = "value_count"
    TEMPORAL = "temporal"
    TEMPORAL_ORDERED = "temporal_ordered"
    VALUE_SUM = "value_sum"
    VALUE_AVG = "value_avg"
    VALUE_PERCENTILE = "value_percentile"
    VALUE_MEDIAN = "value_median"


METRICS = frozenset(
    {Type.VALUE_SUM, Type.VALUE_AVG, Type.VALUE_PERCENTILE, Type.VALUE_MEDIAN}
)  # of numbers; `value_percentile` without `percentile` is the exception, see Condition


class Refire(StrEnum):
    """How often one group may fire: `once` a window, or at `every` event while it holds."""

    ONCE = "once"
    EVERY = "every"


class Missing(StrEnum):
    """What an event without a group-by field is: not counted, or of a group of its own."""

    DROP = "drop"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Condition:
    """Bounds that must all hold, of the number of the type.

    *fields* are what `value_…` types look at. *percentile* (extension): the number is that
    percentile of the values, by nearest rank. `value_percentile` without it takes the
    specification's example by its words: it holds for a value whose share of all values of the
    window, in percent, is within the bounds.
    """

    bounds: tuple[tuple[str, int | float], ...]
    fields: tuple[str, ...] = ()
    percentile: float | None = None

    def holds(self, number: float) -> bool:
        """Return whether *number* is within all bounds."""
        return all(_HOLDS[order](number, bound) for order, bound in self.bounds)

    @property
    def rising(self) -> bool:
        """Return whether it goes on to hold for every larger number, once it holds."""
        return all(order in ("gt", "gte") for order, _ in self.bounds)

    @property
    def shown(self) -> str:
        """Return it as people write it."""
        return " and ".join(f"{order} {bound}" for order, bound in self.bounds)


_HOLDS = {
    "gt": lambda number, bound: number > bound,
    "gte": lambda number, bound: number >= bound,
    "lt": lambda number, bound: number < bound,
    "lte": lambda number, bound: number <= bound,
    "eq": lambda number, bound: number == bound,
    "neq": lambda number, bound: number != bound,
}


@dataclass(frozen=True, slots=True, eq=False)
class Correlation:
    """A correlation rule as written; `plan` resolves its *rules* to what they name.

    *condition* is None for a temporal type that wants all its rules; *expression* is the extended
    condition of a temporal type, a tree over the names in *rules*, written as *words*. *version* is
    the SHA-256 of its own canonical content.
    """

    id: str
    title: str
    type: Type
    rules: tuple[str, ...]
    group_by: tuple[str, ...]
    timespan: int
    version: str
    condition: Condition | None = None
    expression: Node | None = None
    words: str = ""
    aliases: Mapping[str, Mapping[str, str]] | None = None
    generate: bool = False
    refire: Refire = Refire.ONCE
    missing: Missing = Missing.DROP
    level: Level | None = None
    name: str | None = None
    status: Status | None = None
    description: str = ""
    author: str = ""
    tags: Sequence[str] = ()
    references: Sequence[str] = ()
    falsepositives: Sequence[str] = ()
    path: str = ""
    line: int = 1
