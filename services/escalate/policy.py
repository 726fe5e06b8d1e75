"""The severity policy: loaded, checked to the last key, frozen, named by the digest of its content.

Two versions may be loaded side by side; a result names the one that gave it (§2.1).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from services.escalate.conditions import Floor, parse_floors, parse_thresholds
from services.escalate.file_spots import Spot, read_spot, read_text

__all__ = [
    "CRITERIA", "LEVELS", "SHIPPED_SEVERITY", "UNKNOWN", "Bands", "Criterion", "SeverityPolicy",
    "digest", "load_severity_policy", "parse_severity_policy",
]  # fmt: skip

LEVELS = ("SEV0", "SEV1", "SEV2", "SEV3", "SEV4")
UNKNOWN = "unknown"
TENANTS = "affected_tenants"
CRITERIA = (
    "privacy", "impact", "scope", TENANTS, "region", "service", "details", "industry_regulation",
)  # fmt: skip
MAX_POINTS = 1000
MAX_TENANTS = 1_000_000_000
SHIPPED_SEVERITY = Path(__file__).with_name("policies") / "severity-2026.11.0.yaml"


@dataclass(frozen=True, slots=True)
class Criterion:
    """Points of each value, ``unknown`` included."""

    points: Mapping[str, int]

    def knows(self, value: object) -> bool:
        """Tell whether *value* is one of them."""
        return isinstance(value, str) and value in self.points

    def content(self) -> dict[str, Any]:
        """Return the criterion as plain data."""
        return dict(self.points)


@dataclass(frozen=True, slots=True)
class Bands:
    """Points by number: of the last band that begins at or below it."""

    bands: tuple[tuple[int, int], ...]
    unknown: int

    def knows(self, value: object) -> bool:
        """Tell whether *value* is a number of tenants, or unknown."""
        if isinstance(value, bool) or not isinstance(value, int):
            return value == UNKNOWN
        return 0 <= value <= MAX_TENANTS

    def band(self, number: int) -> tuple[int, int]:
        """Return where the band of *number* begins, and its points."""
        return [band for band in self.bands if band[0] <= number][-1]

    def content(self) -> dict[str, Any]:
        """Return the criterion as plain data."""
        return {"bands": [list(band) for band in self.bands], UNKNOWN: self.unknown}


@dataclass(frozen=True, slots=True)
class SeverityPolicy:
    """One version of the policy."""

    version: str
    thresholds: tuple[tuple[str, int], ...]
    criteria: Mapping[str, Criterion | Bands]
    floors: tuple[Floor, ...]
    name: str = "severity"
    digest: str = field(init=False)

    def content(self) -> dict[str, Any]:
        """Return all that decides a result as plain data: what `digest` is the SHA-256 of."""
        return {
            "policy": self.name,
            "version": self.version,
            "thresholds": dict(self.thresholds),
            "criteria": {name: c.content() for name, c in self.criteria.items()},
            "floors": {floor.id: floor.content() for floor in self.floors},
        }

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest(self.content()))


def digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of *content* in canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def load_severity_policy(path: Path = SHIPPED_SEVERITY) -> SeverityPolicy:
    """Return the policy in *path*; FileError names the line that is wrong and why."""
    return parse_severity_policy(read_text(path), path.name)


def parse_severity_policy(text: str, source: str = "policy") -> SeverityPolicy:
    """Return the policy in *text*; FileError names the line that is wrong and why."""
    top = read_spot(text, source).table(("policy", "version", "thresholds", "criteria", "floors"))
    top["policy"].one_of(("severity",))
    table = top["criteria"].table(CRITERIA)
    criteria = {
        name: _bands(table[name]) if name == TENANTS else _criterion(table[name])
        for name in CRITERIA
    }
    vocabulary = {name: tuple(c.points) for name, c in criteria.items() if isinstance(c, Criterion)}
    return SeverityPolicy(
        version=top["version"].text(),
        thresholds=parse_thresholds(top["thresholds"], LEVELS, MAX_POINTS, _totals(criteria)),
        criteria=MappingProxyType(criteria),
        floors=parse_floors(top["floors"], vocabulary, LEVELS),
    )


def _totals(criteria: Mapping[str, Criterion | Bands]) -> tuple[int, int]:
    """Return the least and the most points that there can be."""
    points = [
        list(c.points.values()) if isinstance(c, Criterion) else [p for _, p in c.bands]
        for c in criteria.values()
    ]
    return sum(map(min, points)), sum(map(max, points))


def _criterion(spot: Spot) -> Criterion:
    points = {name: value.whole(MAX_POINTS) for name, value in spot.entries().items()}
    known = [value for name, value in points.items() if name != UNKNOWN]
    if UNKNOWN not in points or not known:
        raise spot.refusal(f"needs {UNKNOWN} and at least one known value")
    _refuse_rewarded_ignorance(spot.entries()[UNKNOWN], points[UNKNOWN], min(known))
    return Criterion(MappingProxyType(points))


def _bands(spot: Spot) -> Bands:
    table = spot.table(("bands", UNKNOWN))
    bands: list[tuple[int, int]] = []
    for entry in table["bands"].items():
        pair = entry.items()
        if len(pair) != 2:
            raise entry.refusal("must be [from this many, points]")
        start, points = pair[0].whole(MAX_TENANTS), pair[1].whole(MAX_POINTS)
        if bands and (start <= bands[-1][0] or points < bands[-1][1]):
            raise entry.refusal("must begin above the band before it and give no fewer points")
        bands.append((start, points))
    if not bands or bands[0][0] != 0:
        raise table["bands"].refusal("must begin with a band from 0")
    unknown = table[UNKNOWN].whole(MAX_POINTS)
    _refuse_rewarded_ignorance(table[UNKNOWN], unknown, bands[0][1])
    return Bands(tuple(bands), unknown)


def _refuse_rewarded_ignorance(spot: Spot, unknown: int, least: int) -> None:
    if unknown < least:  # §2.1: unknown never scores below none
        raise spot.refusal(f"must be at least {least}, the points of the least known value")
