"""What escalate publishes."""

from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Contract, Instant, Part
from shared.contracts.detect import DetectionRaisedV1, Entity

__all__ = [
    "Assessment", "Contribution", "EscalationRaisedV1", "Grouping", "IncidentProposedV1",
    "PriorityAssessment", "ProposalExtendedV1", "TeamPagedV1",
]  # fmt: skip

Severity = Literal["SEV0", "SEV1", "SEV2", "SEV3", "SEV4"]


class Contribution(Part):
    """Points that one criterion gave, and why."""

    criterion: str
    value: str
    points: int
    reason: str


class Assessment(Part):
    """A severity with everything that explains it (domain reference §2)."""

    level: Severity
    points: int
    contributions: list[Contribution]
    floors_applied: list[str] = Field(default_factory=list)
    unknown_inputs: list[str] = Field(default_factory=list)
    inputs: dict[str, Any]
    policy: str
    version: str
    digest: str


class PriorityAssessment(Part):
    """A priority from functional impact, informational impact and recoverability (§2.2)."""

    priority: Literal["P1", "P2", "P3", "P4", "P5"]
    functional: str
    informational: str
    recoverability: str
    reason: str
    policy: str
    version: str


class Grouping(Part):
    """Why these detections are one proposal."""

    entity: Entity
    window_start: Instant
    window_end: Instant
    explanation: str


class IncidentProposedV1(Contract):
    """Detections that belong together crossed the threshold: an incident should be opened."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.proposal.raised"

    incident_id: UUID
    title: str
    source_kind: Literal["rule", "customer_case", "employee_report"] = "rule"
    grouping: Grouping
    severity: Assessment
    priority: PriorityAssessment
    services: list[str] = Field(default_factory=list)
    regions: list[str] = Field(default_factory=list)
    detections: list[DetectionRaisedV1] = Field(description="verbatim, at most 20")
    detection_count: int = Field(ge=1, description="all of them, also those not listed")

    @property
    def about(self) -> str:
        return str(self.incident_id)


class ProposalExtendedV1(Contract):
    """More detections joined a proposal that is already an incident."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.proposal.extended"

    incident_id: UUID
    detections: list[DetectionRaisedV1]
    detection_count: int = Field(ge=1, description="of the whole group, after these")
    risk_score: int

    @property
    def about(self) -> str:
        return str(self.incident_id)


class EscalationRaisedV1(Contract):
    """The severity gate is passed: security response owns the escalation now (R08, R23)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.escalation.raised"

    escalation_id: UUID
    incident_id: UUID
    severity: Severity
    owning_team: str
    engaged_teams: list[str] = Field(default_factory=list)
    routing_rules: list[str] = Field(default_factory=list)

    @property
    def about(self) -> str:
        return str(self.incident_id)


class TeamPagedV1(Contract):
    """A team was paged (R11); delivery is on the page ledger of escalate."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.team.paged"

    page_id: UUID
    incident_id: UUID
    team: str
    channel: str
    reason: str

    @property
    def about(self) -> str:
        return str(self.incident_id)
