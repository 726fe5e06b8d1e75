"""Conditions and floors of a policy: structured data, never evaluated text (§2.1)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.escalate.file_spots import Spot

__all__ = [
    "Condition",
    "Floor",
    "highest",
    "level_of",
    "parse_condition",
    "parse_floors",
    "parse_thresholds",
]


@dataclass(frozen=True, slots=True)
class Condition:
    """Every named field has one of the values listed for it."""

    fields: tuple[tuple[str, frozenset[str]], ...]

    def holds(self, values: Mapping[str, object]) -> bool:
        """Tell whether *values* meet it; a field that *values* lack never does."""
        return all(values.get(name) in allowed for name, allowed in self.fields)

    def in_words(self) -> str:
        """Return the condition as people read it."""
        return " and ".join(f"{name} is {' or '.join(sorted(v))}" for name, v in self.fields)

    def content(self) -> dict[str, list[str]]:
        """Return the condition as plain data."""
        return {name: sorted(allowed) for name, allowed in self.fields}


@dataclass(frozen=True, slots=True)
class Floor:
    """Where the condition holds, the level is at least this severe."""

    id: str
    when: Condition
    at_least: str

    def content(self) -> dict[str, object]:
        """Return the floor as plain data."""
        return {"when": self.when.content(), "at_least": self.at_least}


def parse_condition(spot: Spot, vocabulary: Mapping[str, Collection[str]]) -> Condition:
    """Return the condition at *spot*; FileError for a field or value outside *vocabulary*."""
    fields = []
    for name, allowed in spot.table((), tuple(vocabulary)).items():
        values = frozenset(s.one_of(vocabulary[name]) for s in allowed.texts())
        if not values:
            raise allowed.refusal("lists no value, so it would never hold")
        fields.append((name, values))
    if not fields:
        raise spot.refusal("names no field, so it would always hold")
    return Condition(tuple(sorted(fields)))


def parse_floors(
    spot: Spot, vocabulary: Mapping[str, Collection[str]], levels: Sequence[str]
) -> tuple[Floor, ...]:
    """Return the floors at *spot* in the order of their ids."""
    floors = []
    for name, entry in spot.entries().items():
        parts = entry.table(("when", "at_least"))
        condition = parse_condition(parts["when"], vocabulary)
        floors.append(Floor(name, condition, parts["at_least"].one_of(levels)))
    return tuple(sorted(floors, key=lambda floor: floor.id))


def parse_thresholds(
    spot: Spot, levels: Sequence[str], most: int, totals: tuple[int, int]
) -> tuple[tuple[str, int], ...]:
    """Return level and least points, from the most severe down to one that needs none.

    *totals* are the least and the most points that there can be: a level that no total reaches, or
    that every total is above, is refused.
    """
    table = spot.table(tuple(levels))
    found = tuple((level, table[level].whole(most)) for level in levels)
    for (_, above), (level, points) in pairwise(found):
        if points >= above:
            raise table[level].refusal(f"must be less than {above}, that of the level above")
    if found[-1][1] != 0:
        raise table[levels[-1]].refusal("must be 0, or some totals would have no level")
    least, greatest = totals
    for level, points in found:
        if points > greatest:
            raise table[level].refusal(f"cannot be reached: no total is above {greatest}")
    if found[-2][1] <= least:
        raise table[levels[-1]].refusal(f"cannot be reached: no total is below {least}")
    return found


def level_of(points: int, thresholds: Sequence[tuple[str, int]]) -> str:
    """Return the first level whose threshold *points* reach."""
    return next(level for level, least in thresholds if least <= points)


def highest(levels: Collection[str]) -> str:
    """Return the most severe of *levels*: SEV0 before SEV1, P1 before P2."""
    return min(levels)
