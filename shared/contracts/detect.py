"""What detect publishes."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Contract, Instant, Part

__all__ = [
    "DetectionRaisedV1", "Entity", "EvaluatedTotal", "EvaluationProgressedV1", "Level", "Purpose",
    "Reason", "ReplayRequestedV1", "SampleEvent",
]  # fmt: skip

Purpose = Literal["detect", "backtest"]
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
    confidence: int | None = Field(
        None, ge=0, le=100, description="how far the rule is to be trusted, verdicts included"
    )
    verdict_hint: Literal["suspicious", "malicious"] | None = None
    asset_tier: int | None = Field(None, ge=1, le=4, description="1 matters most; null: not said")
    event_count: int | None = Field(
        None, ge=0, description="events behind a correlation when it fired; not all have ids here"
    )
    replay: bool | None = Field(None, description="found when stored events were evaluated again")

    @property
    def about(self) -> str:
        return str(self.detection_id)


class EvaluatedTotal(Part):
    """How many events of a source have met the rules, since the first one ever."""

    source_id: str
    events: int = Field(ge=0)


class EvaluationProgressedV1(Contract):
    """What has been evaluated so far (R13a). Totals only grow, so the highest one is the truth."""

    SUBJECT: ClassVar[str] = "tocsin.v1.detect.evaluation.progressed"

    highest_seq: int = Field(ge=0, description="of EVENTS, among the blocks counted so far")
    totals: list[EvaluatedTotal] = Field(description="of the sources whose total has changed")


class ReplayRequestedV1(Contract):
    """Ingest is asked to send stored events through detect again."""

    SUBJECT: ClassVar[str] = "tocsin.v1.detect.replay.requested"

    replay_id: UUID
    purpose: Purpose
    from_time: Instant = Field(description="of the events, inclusive")
    to_time: Instant = Field(description="of the events, exclusive")
    query: str | None = Field(None, description="only events that this search finds")
    requested_by: str

    @property
    def about(self) -> str:
        return str(self.replay_id)
