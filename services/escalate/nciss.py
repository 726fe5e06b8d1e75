"""NCISS: CISA's published score of an incident from 0 to 100, beside our severity (§2.3). Pure.

``score = 100 × (Σ w·v − Σ w·min) / (Σ w·max − Σ w·min)``, clamped; weights, values and levels are
data. It counts in hundredths, in whole numbers, so it is the same everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from services.escalate.conditions import level_of
from services.escalate.file_spots import read_spot, read_text
from services.escalate.policy import digest
from services.escalate.severity import Contribution, InputError

__all__ = [
    "CATEGORIES", "SHIPPED_NCISS", "Category", "NcissPolicy", "NcissResult", "load_nciss_policy",
    "parse_nciss_policy", "score",
]  # fmt: skip

SHIPPED_NCISS = Path(__file__).with_name("policies") / "nciss-2026.11.0.yaml"
CATEGORIES = (
    "functional_impact", "observed_activity", "location_of_observed_activity",
    "actor_characterization", "information_impact", "recoverability", "cross_sector_dependency",
    "potential_impact",
)  # fmt: skip
_MOST = 100


@dataclass(frozen=True, slots=True)
class Category:
    """One of the eight: its weight, and a number from 0 to 100 for each value."""

    weight: int
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class NcissPolicy:
    """One version of weights, values and levels."""

    version: str
    levels: tuple[tuple[str, int], ...]
    categories: Mapping[str, Category]
    name: str = "nciss"
    digest: str = field(init=False)

    def content(self) -> dict[str, Any]:
        """Return all that decides a result as plain data."""
        return {
            "policy": self.name,
            "version": self.version,
            "levels": dict(self.levels),
            "categories": {
                name: {"weight": c.weight, "values": dict(c.values)}
                for name, c in self.categories.items()
            },
        }

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest(self.content()))


@dataclass(frozen=True, slots=True)
class NcissResult:
    """A score in hundredths with what each category adds; ``unknown_inputs`` took their least."""

    score: float
    level: str
    weighted_sum: int
    contributions: tuple[Contribution, ...]
    unknown_inputs: tuple[str, ...]
    policy: str
    version: str
    digest: str


def score(policy: NcissPolicy, inputs: Mapping[str, str]) -> NcissResult:
    """Return the score of *inputs*; a category that they lack counts as ``unknown`` or its least.

    InputError names an input that is no category, or a value that the policy does not know.
    """
    for name in inputs:
        if name not in policy.categories:
            raise InputError(name, f"is no category (they are {', '.join(policy.categories)})")
    contributions, unknown = [], []
    for name, category in policy.categories.items():
        value = inputs.get(name)
        if value is None:
            unknown.append(name)
            least = min(category.values, key=lambda v: (category.values[v], v))
            value = "unknown" if "unknown" in category.values else least
        if value not in category.values:
            raise InputError(name, f"{value!r} is none of {', '.join(category.values)}")
        number = category.values[value]
        points = category.weight * number
        reason = f"{name.replace('_', ' ')} {value.replace('_', ' ')}: {category.weight} × {number}"
        contributions.append(Contribution(name, value, points, reason))
    total = sum(c.points for c in contributions)
    low = sum(c.weight * min(c.values.values()) for c in policy.categories.values())
    high = sum(c.weight * max(c.values.values()) for c in policy.categories.values())
    hundredths = (20_000 * (total - low) + (high - low)) // (2 * (high - low))  # rounded half up
    hundredths = min(max(hundredths, 0), 100 * _MOST)
    return NcissResult(
        score=hundredths / 100,
        level=level_of(hundredths, [(level, 100 * least) for level, least in policy.levels]),
        weighted_sum=total,
        contributions=tuple(contributions),
        unknown_inputs=tuple(unknown),
        policy=policy.name,
        version=policy.version,
        digest=policy.digest,
    )


def load_nciss_policy(path: Path = SHIPPED_NCISS) -> NcissPolicy:
    """Return the policy in *path*; FileError names the line that is wrong and why."""
    return parse_nciss_policy(read_text(path), path.name)


def parse_nciss_policy(text: str, source: str = "policy") -> NcissPolicy:
    """Return the policy in *text*; FileError names the line that is wrong and why."""
    top = read_spot(text, source).table(("policy", "version", "levels", "categories"))
    top["policy"].one_of(("nciss",))
    levels: list[tuple[str, int]] = []
    for name, spot in top["levels"].entries().items():
        least = spot.whole(_MOST)
        if levels and least >= levels[-1][1]:
            raise spot.refusal(f"must be less than {levels[-1][1]}, that of the level above")
        levels.append((name, least))
    if not levels or levels[-1][1] != 0:
        raise top["levels"].refusal("must end with a level from 0, or some scores have none")
    categories = {}
    for name, spot in top["categories"].table(CATEGORIES).items():
        parts = spot.table(("weight", "values"))
        values = {value: s.whole(_MOST) for value, s in parts["values"].entries().items()}
        if len(set(values.values())) < 2 or parts["weight"].whole(_MOST) == 0:
            raise spot.refusal("needs a weight and at least two different values, or adds nothing")
        categories[name] = Category(parts["weight"].whole(_MOST), MappingProxyType(values))
    ordered = {name: categories[name] for name in CATEGORIES}
    return NcissPolicy(top["version"].text(), tuple(levels), MappingProxyType(ordered))
