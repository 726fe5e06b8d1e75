"""What can be asked of an incident: orders, each with who gives it and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.cases.domain.values import (
    ALONE,
    NO_POLICY,
    NOBODY,
    Actor,
    Assessment,
    Counterpart,
    Criterion,
    Detection,
    Member,
    Policy,
    Scope,
    Surroundings,
)
from services.cases.domain.vocabulary import (
    ActionKind,
    ActionStatus,
    AttackVector,
    Classification,
    Clock,
    Decision,
    FactKind,
    IndicatorRole,
    IndicatorVerdict,
    Priority,
    Relation,
    RootCauseStatus,
    Severity,
    Standing,
    Visibility,
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
    reason: str = ""  # what changed since the proposal before


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
    """``inputs`` are what the service team knows better than the proposal did.

    ``second_approver``: whose `ApproveLowering` this goes by; empty: anybody's who gave one.
    """

    level: Severity
    reason: str = ""
    inputs: Mapping[str, Any]
    second_approver: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveLowering(_Order):
    """The second person's word that the severity may go below a floor of the policy (I4)."""

    level: Severity
    reason: str


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
    attack_vector: AttackVector = AttackVector.UNKNOWN
    source: str = ""
    techniques: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessIndicator(_Order):
    indicator_id: UUID
    verdict: IndicatorVerdict
    confidence: int
    rationale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAction(_Order):
    """``services`` are what a protective action protects (R32b)."""

    action_id: UUID
    kind: ActionKind
    text: str
    owner: str
    due: datetime | None = None
    provisional: bool = False
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAction(_Order):
    action_id: UUID
    status: ActionStatus
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmIncident(_Order):
    """``aware_at`` None: aware since now, unless the clock runs already (I5).

    ``policy`` is the case-management policy in force (R29).
    """

    rationale: str
    justification: str = ""
    aware_at: datetime | None = None
    policy: Policy = NO_POLICY


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
    """``review_id`` is the review that begins with it."""

    review_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseIncident(_Order):
    """``around`` is what the shell read of evidence and review; without it nothing is known."""

    disposition: Classification = Classification.TRUE_POSITIVE
    note: str = ""
    around: Surroundings = ALONE


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
    visibility: Visibility = Visibility.TEAM


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFact(_Order):
    fact_id: UUID
    kind: FactKind
    text: str
    data: Mapping[str, Any]
    subject_id: UUID | None = None
    standing: Standing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeInto(_Order):
    """``target`` is what the shell read of the incident named ``target_id``."""

    target_id: UUID
    reason: str
    target: Counterpart = NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmergeIncident(_Order):
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitIncident(_Order):
    """Detections that turn out to be an incident of their own, which gets the id ``new_id``."""

    new_id: UUID
    title: str
    detection_ids: tuple[UUID, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenIncident(_Order):
    """``new_information_ref`` says where what is new can be read."""

    reason: str
    new_information_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetractConfirmation(_Order):
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContainmentLoss(_Order):
    """Something new was reached, or a known indicator was seen again."""

    new_assets: tuple[str, ...] = ()
    indicator_ids: tuple[UUID, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddVTeamMember(_Order):
    """With ``leads`` the newcomer takes over the lead."""

    member: Member
    leads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveVTeamMember(_Order):
    person: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyIndicator(_Order):
    """Put an indicator into the attack-vector category where it belongs (R28)."""

    indicator_id: UUID
    attack_vector: AttackVector
    techniques: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRecommendation(_Order):
    recommendation_id: UUID
    text: str
    priority: Priority = Priority.P3
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideRecommendation(_Order):
    """Accepted, it becomes the action ``action_id`` of this kind, owner and date.

    A protective one without ``services`` protects those of the incident.
    """

    recommendation_id: UUID
    decision: Decision
    reason: str = ""
    action_id: UUID
    kind: ActionKind = ActionKind.PROTECTION
    owner: str = ""
    due: datetime | None = None
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkIncident(_Order):
    """``other`` is what the shell read of the incident named ``other_id``."""

    other_id: UUID
    relation: Relation
    reason: str
    other: Counterpart = NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkIncident(_Order):
    other_id: UUID
    relation: Relation
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordClock(_Order):
    clock: Clock
    instant: datetime
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectClock(_Order):
    clock: Clock
    instant: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictAccess(_Order):
    """Hide the incident from all who need not know of it (§7)."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftRestriction(_Order):
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantAccess(_Order):
    person: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeAccess(_Order):
    person: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass(_Order):
    """See a restricted incident without having been let in."""

    reason: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceLegalHold(_Order):
    """Nothing of the incident or of its evidence may be erased, disposed of or given away."""

    hold: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLegalHold(_Order):
    hold: str
    reason: str


Command = (
    OpenIncident
    | AttachDetections
    | ProposeSeverity
    | ProposePriority
    | SetSeverity
    | ApproveLowering
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
    | MergeInto
    | UnmergeIncident
    | SplitIncident
    | ReopenIncident
    | RetractConfirmation
    | ReportContainmentLoss
    | AddVTeamMember
    | RemoveVTeamMember
    | ClassifyIndicator
    | AddRecommendation
    | DecideRecommendation
    | LinkIncident
    | UnlinkIncident
    | RecordClock
    | CorrectClock
    | RestrictAccess
    | LiftRestriction
    | GrantAccess
    | RevokeAccess
    | BreakGlass
    | PlaceLegalHold
    | ReleaseLegalHold
)
