"""Severity: a pure function of eight inputs and a policy, every point explained (§2.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.escalate.conditions import highest, level_of
from services.escalate.policy import MAX_TENANTS, UNKNOWN, Bands, Criterion, SeverityPolicy

__all__ = ["Contribution", "InputError", "SeverityResult", "Value", "assess"]

Value = str | int


class InputError(ValueError):
    """An input that the policy has no meaning for; ``field`` names it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


@dataclass(frozen=True, slots=True)
class Contribution:
    """Points that one criterion gave, and why."""

    criterion: str
    value: str
    points: int
    reason: str


@dataclass(frozen=True, slots=True)
class SeverityResult:
    """A level with all that explains it; ``inputs`` are complete, so that a replay is identical."""

    level: str
    points: int
    contributions: tuple[Contribution, ...]
    floors_applied: tuple[str, ...]
    unknown_inputs: tuple[str, ...]
    inputs: Mapping[str, Value]
    policy: str
    version: str
    digest: str


def assess(policy: SeverityPolicy, inputs: Mapping[str, Value]) -> SeverityResult:
    """Return the severity of *inputs*; a criterion that they lack is unknown (R23a-h).

    InputError names an input that is no criterion, or whose value the policy does not know.
    """
    for name in inputs:
        if name not in policy.criteria:
            raise InputError(name, f"is no criterion (they are {', '.join(policy.criteria)})")
    values = {name: inputs.get(name, UNKNOWN) for name in policy.criteria}
    contributions = tuple(
        _contribution(name, criterion, values[name]) for name, criterion in policy.criteria.items()
    )
    points = sum(c.points for c in contributions)
    floors = [floor for floor in policy.floors if floor.when.holds(values)]
    return SeverityResult(
        level=highest([level_of(points, policy.thresholds), *(f.at_least for f in floors)]),
        points=points,
        contributions=contributions,
        floors_applied=tuple(floor.id for floor in floors),
        unknown_inputs=tuple(name for name, value in values.items() if value == UNKNOWN),
        inputs=values,
        policy=policy.name,
        version=policy.version,
        digest=policy.digest,
    )


def _contribution(name: str, criterion: Criterion | Bands, value: Value) -> Contribution:
    label = name.replace("_", " ")
    if isinstance(criterion, Bands):
        if value == UNKNOWN:
            return _unknown(name, label, criterion.unknown)
        start, points = criterion.band(_number(name, value))
        reason = f"{value} {label}: {points} points from {start} on."
        return Contribution(name, str(value), points, reason)
    if not isinstance(value, str) or value not in criterion.points:
        known = ", ".join(criterion.points)
        raise InputError(name, f"{value!r} is none of {known}")
    points = criterion.points[value]
    if value == UNKNOWN:
        return _unknown(name, label, points)
    reason = f"{label} is {value.replace('_', ' ')}: {points} points.".capitalize()
    return Contribution(name, value, points, reason)


def _unknown(name: str, label: str, points: int) -> Contribution:
    reason = f"{label} is unknown and counts {points} points until it is known.".capitalize()
    return Contribution(name, UNKNOWN, points, reason)


def _number(name: str, value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TENANTS:
        raise InputError(name, f"must be a whole number from 0 to {MAX_TENANTS}, or unknown")
    return value
