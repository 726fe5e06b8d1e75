"""The risk of an entity: what its detections weigh over days, each fading with a half-life. Pure.

A group sees the hours around a detection. Who stays under its threshold for weeks is seen here: the
risk accumulates over groups, and decays exponentially (half-life in `Rules`). As in a group, a rule
counts in full once and its repeats at a tenth, at most twice its weight, so that repetition alone
is no risk. Sums are independent of the order in which detections come.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

__all__ = ["Heat", "Standing", "explained", "observe", "risk_at"]

MOST_RULES = 100
_NONE = timedelta(0)
FADED = 0.5  # a rule that weighs less than this is forgotten


class Heat(NamedTuple):
    """What one rule adds: title, greatest weight, sum of weights as faded at ``at``, how often."""

    title: str
    top: int
    total: float
    at: datetime
    times: int

    def weight(self, at: datetime, half_life: timedelta) -> float:
        """Return what the rule weighs at an instant."""
        top = self.top
        weight = min(top + (self.total - top) / 10, 2 * top) if self.total > top else top
        return weight if at <= self.at else _faded(weight, at - self.at, half_life)


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is remembered of an entity. ``armed``: reaching the threshold proposes."""

    kind: str
    value: str
    tenant: str | None
    heats: Mapping[str, Heat] = field(default_factory=dict)
    armed: bool = True


def observe(
    standing: Standing, rule: str, title: str, weight: int, at: datetime, half_life: timedelta
) -> Standing:
    """Return *standing* after a detection of *rule* at *at*."""
    if weight == 0:
        return standing
    known = standing.heats.get(rule)
    if known is None:
        heat = Heat(title, weight, float(weight), at, 1)
    else:
        newest = max(known.at, at)
        total = _faded(known.total, newest - known.at, half_life)
        total += _faded(weight, newest - at, half_life)
        heat = Heat(title, max(known.top, weight), total, newest, known.times + 1)
    heats = {**standing.heats, rule: heat}
    if len(heats) > MOST_RULES:
        now = max(h.at for h in heats.values())
        least = min(heats, key=lambda name: (heats[name].weight(now, half_life), name))
        del heats[least]
    return Standing(standing.kind, standing.value, standing.tenant, heats, standing.armed)


def risk_at(standing: Standing, at: datetime, half_life: timedelta) -> int:
    """Return the risk at an instant, rounded down."""
    risk = 1e-6
    for heat in standing.heats.values():
        risk += heat.weight(at, half_life)
    return int(risk)


def explained(standing: Standing, at: datetime, half_life: timedelta) -> list[str]:
    """Return what each rule adds, the weightiest first."""
    weights = {rule: heat.weight(at, half_life) for rule, heat in standing.heats.items()}
    order = sorted(weights, key=lambda rule: (-weights[rule], rule))
    return [
        f"{standing.heats[rule].title} ×{standing.heats[rule].times}: {weights[rule]:.0f}"
        for rule in order
        if weights[rule] >= FADED
    ]


def _faded(weight: float, age: timedelta, half_life: timedelta) -> float:
    return weight if age <= _NONE else float(weight * 0.5 ** (age / half_life))
