"""What detect publishes."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Contract, Instant, Part

__all__ = ["DetectionRaisedV1", "Entity", "Level", "Reason", "SampleEvent"]

Level = Literal["informational", "low", "medium", "high", "critical"]


class Entity(Part):
    """Whom or what a detection is about."""

    type: Literal["host", "user", "ip", "account", "service", "tenant"]
    value: str


class Reason(Part):
    """One leaf of the rule that made it fire: selection, field and the value it saw."""

    selection: str
    field: str | None = Field(None, description="null for a keyword, which looks at every value")
    operator: str
    pattern: str
    value: str = Field(description="as found in the event, at most 2 KiB")


class SampleEvent(Part):
    """An event behind the detection, with its original text (at most 16 KiB)."""

    id: UUID
    time: Instant | None = None
    raw: str
    truncated: bool = False


class DetectionRaisedV1(Contract):
    """A technique found something. ``event_id`` is derived from rule, version and event."""

    SUBJECT: ClassVar[str] = "tocsin.v1.detect.detection.raised"

    detection_id: UUID
    technique: Literal["rule", "correlation", "trend", "anomaly", "threat_intel"] = "rule"
    rule_id: str
    rule_version: str = Field(description="SHA-256 of the rule's content")
    title: str
    level: Level
    risk_score: int = Field(ge=0, le=100)
    attack_techniques: list[str] = Field(default_factory=list, description="ATT&CK ids")
    attack_tactics: list[str] = Field(default_factory=list)
    entities: list[Entity] = Field(default_factory=list)
    first_seen: Instant
    last_seen: Instant
    source_id: str
    tenant: str | None = None
    region: str | None = None
    datacenter: str | None = None
    service: str | None = None
    server: str | None = None
    reasons: list[Reason] = Field(default_factory=list)
    event_ids: list[UUID] = Field(default_factory=list)
    samples: list[SampleEvent] = Field(default_factory=list)

    @property
    def about(self) -> str:
        return str(self.detection_id)
