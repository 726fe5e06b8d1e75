"""Tactic progression: the stages of an attack that a group has shown, in the order of event time.

An attacker pauses between stages for longer than between two steps of one, so a detection of a
later stage belongs to what it continues over a longer gap than one that repeats. Pure.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from services.escalate.stage import STAGES

__all__ = ["Span", "Spans", "advance", "continues", "merged", "path"]

Span = tuple[datetime, datetime]
"""First and last event time at which a stage was seen."""
Spans = Mapping[str, Span]


def merged(one: Spans, other: Spans) -> Spans:
    """Return the stages of both."""
    found = one
    for stage, (first, last) in other.items():
        start, end = one.get(stage, (first, last))
        if stage not in one or first < start or last > end:
            found = {**found, stage: (min(first, start), max(last, end))}
    return found


def continues(earlier: Spans, later: Spans, within: timedelta) -> bool:
    """Tell whether something in *later* is of a later stage than something *within* before it."""
    return any(
        STAGES.index(before) < STAGES.index(after)
        and timedelta(0) <= later[after][0] - earlier[before][1] <= within
        for before in earlier
        for after in later
    )


def path(spans: Spans) -> list[str]:
    """Return the stages in the order in which they were first seen."""
    return sorted(spans, key=lambda stage: (spans[stage][0], STAGES.index(stage)))


def advance(spans: Spans) -> int:
    """Return by how many steps the activity advanced: of the longest run of stages in order."""
    if len(spans) < 2:
        return 0
    return max(_longest([STAGES.index(stage) for stage in path(spans)]) - 1, 0)


def _longest(order: Iterable[int]) -> int:
    best: dict[int, int] = {}
    for stage in order:
        best[stage] = 1 + max((run for s, run in best.items() if s < stage), default=0)
    return max(best.values(), default=0)
