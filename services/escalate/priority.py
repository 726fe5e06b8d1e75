"""Priority from functional impact, informational impact and recoverability (R24, §2.2): pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from services.escalate.conditions import (
    Condition,
    Floor,
    highest,
    level_of,
    parse_condition,
    parse_floors,
    parse_thresholds,
)
from services.escalate.file_spots import read_spot, read_text
from services.escalate.policy import MAX_POINTS, digest
from services.escalate.severity import Contribution, InputError

__all__ = [
    "CORE", "SHIPPED_PRIORITY", "PriorityPolicy", "PriorityResult", "assess_priority",
    "load_priority_policy", "parse_priority_policy",
]  # fmt: skip

PRIORITIES = ("P1", "P2", "P3", "P4", "P5")
CORE = ("functional", "informational", "recoverability")
SHIPPED_PRIORITY = Path(__file__).with_name("policies") / "priority-2026.11.0.yaml"


@dataclass(frozen=True, slots=True)
class PriorityPolicy:
    """One version of the matrix, as the rule that fills it."""

    version: str
    thresholds: tuple[tuple[str, int], ...]
    factors: Mapping[str, Mapping[str, int]]
    exempt: Condition
    exempt_level: str
    floors: tuple[Floor, ...]
    name: str = "priority"
    digest: str = field(init=False)

    def content(self) -> dict[str, Any]:
        """Return all that decides a result as plain data."""
        return {
            "policy": self.name,
            "version": self.version,
            "thresholds": dict(self.thresholds),
            "factors": {name: dict(points) for name, points in self.factors.items()},
            "exempt": {"when": self.exempt.content(), "level": self.exempt_level},
            "floors": {floor.id: floor.content() for floor in self.floors},
        }

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest(self.content()))


@dataclass(frozen=True, slots=True)
class PriorityResult:
    """A priority, the factors that counted, and one sentence that explains it."""

    priority: str
    points: int
    functional: str
    informational: str
    recoverability: str
    contributions: tuple[Contribution, ...]
    floors_applied: tuple[str, ...]
    reason: str
    policy: str
    version: str
    digest: str


def assess_priority(policy: PriorityPolicy, inputs: Mapping[str, Sequence[str]]) -> PriorityResult:
    """Return the priority; of several values of one factor the highest counts.

    InputError names a factor that is missing or unknown to the policy, or its unknown value.
    """
    for name in inputs:
        if name not in policy.factors:
            raise InputError(name, f"is no factor (they are {', '.join(policy.factors)})")
    values = {
        name: _highest_value(name, points, inputs.get(name, ()))
        for name, points in policy.factors.items()
        if name in CORE or name in inputs
    }
    contributions = tuple(
        Contribution(n, v, (p := policy.factors[n][v]), f"{n} {v.replace('_', ' ')}: {p}")
        for n, v in values.items()
    )
    total = sum(c.points for c in contributions)
    floors = [floor for floor in policy.floors if floor.when.holds(values)]
    sums = " + ".join(
        f"{c.criterion} {c.value.replace('_', ' ')} ({c.points})" for c in contributions
    )
    if policy.exempt.holds(values):
        level = policy.exempt_level
        reason = f"{policy.exempt.in_words()}, which is {level} whatever else holds."
    else:
        by_points = level_of(total, policy.thresholds)
        level = highest([by_points, *(f.at_least for f in floors)])
        reason = f"{sums} = {total} points, which is {by_points}"
        lifting = [f"{f.id}: {f.when.in_words()}" for f in floors if f.at_least < by_points]
        reason += f"; raised to {level} ({'; '.join(lifting)})." if lifting else "."
    return PriorityResult(
        priority=level,
        points=total,
        **{name: values[name] for name in CORE},
        contributions=contributions,
        floors_applied=tuple(floor.id for floor in floors),
        reason=reason[0].upper() + reason[1:],
        policy=policy.name,
        version=policy.version,
        digest=policy.digest,
    )


def _highest_value(name: str, points: Mapping[str, int], values: Sequence[str]) -> str:
    if not values:
        raise InputError(name, "is missing")
    for value in values:
        if value not in points:
            raise InputError(name, f"{value!r} is none of {', '.join(points)}")
    return max(values, key=lambda value: (points[value], value))


def load_priority_policy(path: Path = SHIPPED_PRIORITY) -> PriorityPolicy:
    """Return the policy in *path*; FileError names the line that is wrong and why."""
    return parse_priority_policy(read_text(path), path.name)


def parse_priority_policy(text: str, source: str = "policy") -> PriorityPolicy:
    """Return the policy in *text*; FileError names the line that is wrong and why."""
    keys = ("policy", "version", "thresholds", "factors", "exempt", "floors")
    top = read_spot(text, source).table(keys)
    top["policy"].one_of(("priority",))
    factors: dict[str, Mapping[str, int]] = {}
    for name, spot in top["factors"].entries().items():
        points = {value: p.whole(MAX_POINTS) for value, p in spot.entries().items()}
        if not points:
            raise spot.refusal("has no values")
        factors[name] = MappingProxyType(points)
    for name in CORE:
        if name not in factors:
            raise top["factors"].refusal(f"{name} is missing")
    exempt = top["exempt"].table(("when", "level"))
    # A further factor may be absent and then counts nothing (R24b).
    least = sum(min(points.values()) for name, points in factors.items() if name in CORE)
    totals = (least, sum(max(points.values()) for points in factors.values()))
    return PriorityPolicy(
        version=top["version"].text(),
        thresholds=parse_thresholds(top["thresholds"], PRIORITIES[:-1], MAX_POINTS, totals),
        factors=MappingProxyType(dict(sorted(factors.items(), key=_core_first))),
        exempt=parse_condition(exempt["when"], factors),
        exempt_level=exempt["level"].one_of(PRIORITIES),
        floors=parse_floors(top["floors"], factors, PRIORITIES),
    )


def _core_first(entry: tuple[str, object]) -> tuple[int, str]:
    name = entry[0]
    return (CORE.index(name) if name in CORE else len(CORE), name)
