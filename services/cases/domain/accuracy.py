"""How often an indicator was right (R27, R28, §3.6): counts, a cautious bound, and advice."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from uuid import UUID

__all__ = ["Advice", "Counts", "Group", "Measured", "advise", "grouped", "wilson_lower_bound"]

_Z = 1.959964  # two-sided 95 %
SUPPORTS_FROM = 0.70
WEAK_BELOW = 0.30
FEWEST_INDICATORS = 2


def wilson_lower_bound(true_positives: int, false_positives: int) -> float:
    """Return the lower end of Wilson's 95 % interval for the precision; 0 without evidence."""
    n = true_positives + false_positives
    if not n or not true_positives:
        return 0.0
    p, z2 = true_positives / n, _Z * _Z
    spread = _Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, (p + z2 / (2 * n) - spread) / (1 + z2 / n))


class Advice(StrEnum):
    """Advice, never a verdict: people confirm."""

    SUPPORTS = "supports"
    WEAK = "weak"
    INCONCLUSIVE = "inconclusive"

    @property
    def text(self) -> str:
        """Return it as a sentence."""
        return {
            Advice.SUPPORTS: "Indicators like these were nearly always right.",
            Advice.WEAK: "No record speaks for these indicators: check for a false positive.",
            Advice.INCONCLUSIVE: "The indicators' record does not say much either way.",
        }[self]


@dataclass(frozen=True, slots=True)
class Counts:
    """What came of an indicator: a benign positive is correct logic, but nothing malicious."""

    true_positives: int = 0
    benign_positives: int = 0
    false_positives: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.true_positives + other.true_positives,
            self.benign_positives + other.benign_positives,
            self.false_positives + other.false_positives,
        )

    @property
    def precision(self) -> float | None:
        n = self.true_positives + self.false_positives
        return self.true_positives / n if n else None

    @property
    def bound(self) -> float:
        return wilson_lower_bound(self.true_positives, self.false_positives)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An indicator in its attack-vector category, with its record."""

    indicator_id: UUID
    type: str
    value: str
    vector: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Group:
    """The indicators of one attack-vector category, the most reliable first."""

    vector: str
    indicators: tuple[Measured, ...]

    @property
    def counts(self) -> Counts:
        return sum((x.counts for x in self.indicators), Counts())

    @property
    def advice(self) -> Advice:
        return advise([self])


def grouped(indicators: Iterable[Measured]) -> tuple[Group, ...]:
    """Return the groups by descending bound, then by name: the same every time."""
    by_vector: dict[str, dict[UUID, Measured]] = {}
    for x in indicators:
        by_vector.setdefault(x.vector, {})[x.indicator_id] = x
    groups = [
        Group(
            vector,
            tuple(sorted(members.values(), key=lambda x: (-x.counts.bound, x.type, x.value))),
        )
        for vector, members in by_vector.items()
    ]
    return tuple(sorted(groups, key=lambda group: (-group.counts.bound, group.vector)))


def advise(groups: Sequence[Group]) -> Advice:
    """Return what the record of all *groups* together advises (§3.6)."""
    if any(
        group.counts.bound >= SUPPORTS_FROM and len(group.indicators) >= FEWEST_INDICATORS
        for group in groups
    ):
        return Advice.SUPPORTS
    if groups and all(group.counts.bound < WEAK_BELOW for group in groups):
        return Advice.WEAK
    return Advice.INCONCLUSIVE
