"""What can be asked of an incident: orders, each with who gives it and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.cases.domain.values import Actor, Assessment, Criterion, Detection, Member, Scope
from services.cases.domain.vocabulary import (
    ActionKind,
    ActionStatus,
    Classification,
    FactKind,
    IndicatorRole,
    IndicatorVerdict,
    Priority,
    RootCauseStatus,
    Severity,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    actor: Actor
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIncident(_Order):
    number: str
    title: str
    source_kind: str
    source_refs: tuple[str, ...] = ()
    reason: str = ""
    detected_at: datetime
    services: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachDetections(_Order):
    """``count`` is the size of the whole group, also of detections that are not listed."""

    detections: tuple[Detection, ...]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeSeverity(_Order):
    assessment: Assessment


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposePriority(_Order):
    priority: Priority
    functional: str
    informational: str
    recoverability: str
    reason: str = ""
    policy: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSeverity(_Order):
    """``inputs`` are what the service team knows better than the proposal did."""

    level: Severity
    reason: str = ""
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPriority(_Order):
    """Factors that are None are those of the proposal."""

    priority: Priority
    functional: str | None = None
    informational: str | None = None
    recoverability: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalateIncident(_Order):
    escalation_id: UUID
    owning_team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissAtTriage(_Order):
    classification: Classification
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormVTeam(_Order):
    members: tuple[Member, ...]
    lead: str
    channel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSummary(_Order):
    summary: str
    potential_impact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddIndicator(_Order):
    type: str
    value: str
    role: IndicatorRole
    attack_vector: str = "unknown"
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessIndicator(_Order):
    indicator_id: UUID
    verdict: IndicatorVerdict
    confidence: int
    rationale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAction(_Order):
    action_id: UUID
    kind: ActionKind
    text: str
    owner: str
    due: datetime | None = None
    provisional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAction(_Order):
    action_id: UUID
    status: ActionStatus
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmIncident(_Order):
    """``aware_at`` None: aware since now, the instant of confirmation (I5)."""

    rationale: str
    justification: str = ""
    aware_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DismissAsFalsePositive(_Order):
    classification: Classification
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetScope(_Order):
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkContained(_Order):
    criteria: tuple[Criterion, ...]
    residual: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRootCause(_Order):
    status: RootCauseStatus
    cause: str
    method: str = ""
    vulnerability_refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRecoveryPlan(_Order):
    steps: tuple[str, ...]
    last_known_good: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveRecoveryPlan(_Order):
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkEradicated(_Order):
    """With ``business_impact`` it is an executive incident manager's to say (§7)."""

    verification: str
    business_impact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRecovered(_Order):
    verification: str
    monitoring_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReview(_Order):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseIncident(_Order):
    disposition: Classification = Classification.TRUE_POSITIVE
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareNoCustomersAffected(_Order):
    reason: str
    basis: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAffectedCustomers(_Order):
    list_id: UUID
    version: int
    inventory_version: str
    confirmed: int
    probable: int
    possible: int
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCustomersNotified(_Order):
    list_id: UUID
    version: int
    tenants: int
    sent: int
    completed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNote(_Order):
    note_id: UUID
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFact(_Order):
    fact_id: UUID
    kind: FactKind
    text: str
    data: Mapping[str, Any]


Command = (
    OpenIncident
    | AttachDetections
    | ProposeSeverity
    | ProposePriority
    | SetSeverity
    | SetPriority
    | EscalateIncident
    | DismissAtTriage
    | FormVTeam
    | RecordSummary
    | AddIndicator
    | AssessIndicator
    | RecordAction
    | UpdateAction
    | ConfirmIncident
    | DismissAsFalsePositive
    | SetScope
    | MarkContained
    | RecordRootCause
    | DraftRecoveryPlan
    | ApproveRecoveryPlan
    | MarkEradicated
    | MarkRecovered
    | StartReview
    | CloseIncident
    | DeclareNoCustomersAffected
    | RecordAffectedCustomers
    | RecordCustomersNotified
    | AddNote
    | RecordFact
)
