"""What escalate publishes."""

from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Contract, Instant, Part
from shared.contracts.detect import DetectionRaisedV1, Entity

__all__ = [
    "Assessment", "Contribution", "CoverageGapFoundV1", "EngagementEvent", "EscalationRaisedV1",
    "Grouping", "IncidentProposedV1", "PageAcknowledgedV1", "PolicyChangedV1", "PriorityAssessment",
    "ProposalExtendedV1", "SMEEngagementAcceptedV1", "SMEEngagementDeclinedV1",
    "SMEEngagementReleasedV1", "SMEEngagementRequestedV1", "SeverityChosenV1", "SeverityProposedV1",
    "SupportCaseAcknowledgedV1", "SupportCaseLinkedV1", "SupportCaseOpenedV1",
    "SupportCaseTriagedV1", "TeamPagedV1", "TriageDecidedV1", "TriageDecision",
]  # fmt: skip

Severity = Literal["SEV0", "SEV1", "SEV2", "SEV3", "SEV4"]
TriageDecision = Literal["suppressed", "suppression_ended", "snoozed", "woken"]


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
    digest: str | None = None


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
    reported_as: str | None = Field(
        None, description="where it comes from, if `source_kind` has no word for it (R07)"
    )

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


class SeverityProposedV1(Contract):
    """The facts of an incident changed, and with them what its severity computes to (R32c)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.severity.proposed"

    incident_id: UUID
    cause: Literal["detections", "scope", "tenants"]
    reason: str
    previous: Severity | None = None
    severity: Assessment

    @property
    def about(self) -> str:
        return str(self.incident_id)


class SeverityChosenV1(Contract):
    """Somebody who was paged for the severity of an incident chose it by the link in the page.

    Whether the incident permits it is for cases to decide, as with every command.
    """

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.severity.chosen"

    incident_id: UUID
    page_id: UUID
    level: Severity
    proposed: Severity | None = Field(None, description="what the policy computed to, if anything")
    reason: str = ""
    person: str
    team: str
    role: Literal["service_team", "duty_manager"] = Field(
        description="what the team stands for; a duty manager acts for the service team (R23)"
    )

    @property
    def about(self) -> str:
        return str(self.incident_id)


class PolicyChangedV1(Contract):
    """A version of a policy was proposed, approved (it is in force now) or rejected (§2.1)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.policy.changed"

    policy: str
    version: str
    digest: str = Field(description="SHA-256 of the content, as results name it")
    change: Literal["proposed", "approved", "rejected"]
    author: str
    decided_by: str | None = None
    reason: str

    @property
    def about(self) -> str:
        return self.policy


class TriageDecidedV1(Contract):
    """Somebody suppressed detections, let a group rest, or ended that (R05)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.triage.decided"

    subject_id: UUID = Field(description="the suppression, or the group")
    decision: TriageDecision
    decided_by: str
    reason: str
    until: Instant | None = None
    matching: dict[str, str] = Field(
        default_factory=dict, description="of a suppression: what a detection has to agree with"
    )

    @property
    def about(self) -> str:
        return str(self.subject_id)


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


class PageAcknowledgedV1(Contract):
    """Somebody who was paged has answered (R11); who answers is a candidate for the v-team (P4)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.escalation.page_acknowledged"

    page_id: UUID
    incident_id: UUID
    team: str
    person: str
    acknowledged_at: Instant
    seconds: int = Field(ge=0, description="from the page to the acknowledgement")
    member_kind: str | None = Field(
        None, description="kind of v-team membership that the team stands for (R25b)"
    )

    @property
    def about(self) -> str:
        return str(self.incident_id)


class EngagementEvent(Contract):
    """What every message of an engagement of subject-matter experts carries (R21)."""

    engagement_id: UUID
    incident_id: UUID
    team: str
    team_kind: str = Field(description="threat_intelligence, legal, … or any other kind (R22)")
    person: str | None = None
    reason: str = ""

    @property
    def about(self) -> str:
        return str(self.incident_id)


class SMEEngagementRequestedV1(EngagementEvent):
    """Experts are wanted; ``routing_rules`` says which rules of §6 asked for them."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.engagement.requested"

    required: bool = False
    routing_rules: list[str] = Field(default_factory=list)


class SMEEngagementAcceptedV1(EngagementEvent):
    """They come."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.engagement.accepted"


class SMEEngagementDeclinedV1(EngagementEvent):
    """They do not come; ``reason`` says why."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.engagement.declined"


class SMEEngagementReleasedV1(EngagementEvent):
    """They are no longer needed."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.engagement.released"


class CoverageGapFoundV1(Contract):
    """Nobody competent is or will be on call (R06), or nobody answered a page to its last step."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.coverage.gap_found"

    what: Literal["component", "service", "kind", "team", "page"]
    name: str = Field(description="of the component, service, kind or team")
    why: str
    starts_at: Instant
    ends_at: Instant | None = None
    incident_id: UUID | None = None

    @property
    def about(self) -> str | None:
        return str(self.incident_id) if self.incident_id else None


class SupportCaseLinkedV1(Contract):
    """A customer's support case belongs to this incident (R15c); its statement is verbatim."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.support_case.linked"

    case_id: UUID
    incident_id: UUID
    reference: str = Field(description="what the customer calls it")
    tenant: str
    statement: str = Field("", max_length=20_000, description="as the customer wrote it")
    observed_at: Instant | None = None

    @property
    def about(self) -> str:
        return str(self.incident_id)


class SupportCaseEvent(Contract):
    """What every message of a support case carries; no content of the case."""

    case_id: UUID
    reference: str = Field(description="what the customer calls it")
    source_kind: str = Field(description="customer_case, employee_report, partner, … (R07)")
    tenant: str | None = None

    @property
    def about(self) -> str:
        return str(self.case_id)


class SupportCaseOpenedV1(SupportCaseEvent):
    """Somebody reported something; it is assigned to incident communications at once (R15b)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.support_case.opened"

    team: str
    assignee: str | None = Field(None, description="who is on call there; null: nobody is known")
    acknowledge_by: Instant


class SupportCaseAcknowledgedV1(SupportCaseEvent):
    """Incident communications has it."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.support_case.acknowledged"

    person: str
    seconds: int = Field(ge=0, description="from the opening to the acknowledgement")


class SupportCaseTriagedV1(SupportCaseEvent):
    """Triage came to a verdict; when it escalates, to every team that routing names (R15c)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.escalate.support_case.triaged"

    outcome: Literal["escalate", "customer_realm", "not_security", "need_info"]
    person: str
    incident_id: UUID | None = None
    teams: list[str] = Field(default_factory=list)
    routing_rules: list[str] = Field(default_factory=list)
