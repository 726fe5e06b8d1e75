"""How much a group of detections weighs: each rule in full once, its repeats at a tenth.

A rule's total is capped at twice its weight, so that repetition alone lifts a low rule (20) to the
default threshold of 40 with its 11th detection, and an informational one (5) never. All sums are of
integers and independent of the order in which detections come.
"""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["WEIGHTS", "Tally", "risk_of"]

WEIGHTS: Mapping[str, int] = {
    "informational": 5, "low": 20, "medium": 45, "high": 70, "critical": 95,
}  # fmt: skip
MOST = 100


class Tally(NamedTuple):
    """What one rule found in a group: how often, its greatest weight, the sum of all weights.

    What is suppressed counts, and weighs nothing. (A tuple: there are many, read for every group.)
    """

    title: str
    times: int
    top: int
    total: int
    suppressed: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """Return both together."""
        title = min((-self.top, self.title), (-other.top, other.title))[1]
        return Tally(
            title,
            self.times + other.times,
            max(self.top, other.top),
            self.total + other.total,
            self.suppressed + other.suppressed,
        )

    @property
    def risk(self) -> int:
        """Return what the rule adds to the group's risk."""
        if self.times == 1:
            return self.top
        return min(self.top + (self.total - self.top) // 10, 2 * self.top, MOST)


def risk_of(tallies: Mapping[str, Tally]) -> int:
    """Return the risk of a group."""
    return sum(tally.risk for tally in tallies.values())
