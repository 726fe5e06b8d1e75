"""What of the detections found is told to others: risk, suppressions, throttling; all is recorded.

Whatever is withheld keeps its row and its count: nothing disappears, it only rings no bell (R26b).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.contracts.detect import DetectionRaisedV1, Level

__all__ = [
    "LIKELIHOOD_EVEN", "TIER_FACTORS", "Suppression", "Weighed", "group_key", "labels",
    "likelihood", "period_of", "weigh", "within_limit",
]  # fmt: skip

TIER_FACTORS: Mapping[int, float] = {1: 1.4, 2: 1.15, 3: 1.0, 4: 0.8}
LIKELIHOOD_EVEN = 0.5
_PRINCIPAL = ("user", "account", "host", "ip", "service", "tenant")
_MALICIOUS: frozenset[Level] = frozenset({"high", "critical"})


@dataclass(frozen=True, slots=True)
class Suppression:
    """Detections that nobody wants to hear of until it expires; every part given must fit."""

    id: UUID
    rule_id: str | None
    entity_type: str | None
    entity_value: str | None
    tenant: str | None

    def fits(self, detection: DetectionRaisedV1) -> bool:
        """Return whether *detection* is one of them."""
        if self.rule_id is not None and self.rule_id != detection.rule_id:
            return False
        if self.tenant is not None and self.tenant != detection.tenant:
            return False
        if self.entity_type is None:
            return True
        wanted = (self.entity_value or "").lower()
        return any(
            entity.type == self.entity_type and entity.value.lower() == wanted
            for entity in detection.entities
        )


@dataclass(frozen=True, slots=True)
class Weighed:
    """A detection with its final score, and what it was before the asset's tier."""

    detection: DetectionRaisedV1
    base_score: float


def likelihood(trust: float) -> float:
    """Return the factor of the likelihood that it is real: 1 for a rule nobody has judged yet.

    *trust* is the lower bound of the rule's precision, from 0 (0.6) to 1 (1.4).
    """
    return 0.6 + 0.8 * trust


def weigh(detection: DetectionRaisedV1, trust: float, tier: int | None) -> Weighed:
    """Return *detection* with risk = impact × likelihood × asset tier (R03), confidence and hint.

    Its score says the impact so far, its confidence what the rule's status says.
    """
    base = detection.risk_score * likelihood(trust)
    confidence = min(100, round((detection.confidence or 65) * likelihood(trust)))
    hint = "malicious" if detection.level in _MALICIOUS and confidence >= 70 else "suspicious"
    factor = TIER_FACTORS[tier] if tier is not None else 1.0
    changes: dict[str, Any] = {
        "risk_score": min(100, round(base * factor)),
        "confidence": confidence,
        "verdict_hint": hint,
        "asset_tier": tier,
    }
    return Weighed(detection.model_copy(update=changes), base)


def labels(detection: DetectionRaisedV1) -> list[str]:
    """Return the entities as `type:value`, folded, as they are looked up."""
    found = [f"{e.type}:{e.value.lower()}" for e in detection.entities]
    extra = (("service", detection.service), ("host", detection.server))
    found += [f"{kind}:{value.lower()}" for kind, value in extra if value]
    # Neither can stand in a text of PostgreSQL's arrays as they are sent.
    return list(dict.fromkeys(label.replace("\x00", "").replace("\x1f", " ") for label in found))


def group_key(detection: DetectionRaisedV1) -> str:
    """Return what detections of one rule about one principal have in common."""
    by_type = {entity.type: entity.value for entity in reversed(detection.entities)}
    for kind in _PRINCIPAL:
        if kind in by_type:
            return f"{detection.rule_id}|{kind}:{by_type[kind].lower()}"[:512].replace("\x00", "")
    return f"{detection.rule_id}|source:{detection.source_id}"[:512]


def within_limit(keys: Sequence[str], seen: Mapping[str, int], limit: int) -> list[bool]:
    """Return which of *keys* are still told; *seen* counts each key, these ones included."""
    ahead = {key: seen[key] - keys.count(key) for key in set(keys)}
    told = []
    for key in keys:
        ahead[key] += 1
        told.append(ahead[key] <= limit)
    return told


def period_of(now: datetime) -> datetime:
    """Return the hour that throttling counts in."""
    return now.replace(minute=0, second=0, microsecond=0)
