"""What happened to an incident: facts in the past tense, each with who and when.

Stored for ever: a field is only ever added with a default; anything else is a new schema version
with an upcaster in `codec` and a golden fixture in tests/unit/cases/golden. A field of text says
what it may hold about people (`personal`): that decides under which keys it is sealed.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.cases.domain.personal import (
    FreeData,
    FreeText,
    Person,
    Plain,
    PlainData,
    PlainTable,
    Value,
)
from services.cases.domain.values import Actor, Assessment, Criterion, Detection, Member, Scope
from services.cases.domain.vocabulary import (
    ActionKind,
    ActionStatus,
    AttackVector,
    Classification,
    Clock,
    Decision,
    ErasureScope,
    FactKind,
    IndicatorRole,
    IndicatorVerdict,
    MemberKind,
    Priority,
    Relation,
    Severity,
    Standing,
    State,
    Visibility,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    actor: Actor
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentOpened(_Fact):
    number: Plain
    title: FreeText
    source_kind: Plain
    source_refs: tuple[FreeText, ...] = ()
    reason: FreeText = ""
    detected_at: datetime
    services: tuple[Plain, ...] = ()
    regions: tuple[Plain, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionsAttached(_Fact):
    detections: tuple[Detection, ...]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityProposed(_Fact):
    assessment: Assessment


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityProposed(_Fact):
    priority: Priority
    functional: Plain
    informational: Plain
    recoverability: Plain
    reason: FreeText = ""
    policy: Plain = ""
    version: Plain = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveritySet(_Fact):
    """The service team's severity, before escalation (R23); ``policy`` names what computed it."""

    level: Severity
    previous: Severity | None = None
    computed_level: Severity | None = None
    override_reason: FreeText = ""
    inputs: PlainData
    policy: Plain = ""
    policy_version: Plain = ""
    second_approver: Person = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityChanged(_Fact):
    """The severity was reassessed after escalation (I4)."""

    level: Severity
    previous: Severity
    reason: FreeText
    inputs: PlainData
    second_approver: Person = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoweringApproved(_Fact):
    """Somebody agrees that the severity goes below a floor; somebody else may now set it so."""

    level: Severity
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class PrioritySet(_Fact):
    priority: Priority
    functional: Plain
    informational: Plain
    recoverability: Plain
    computed_priority: Priority | None = None
    reason: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEscalated(_Fact):
    escalation_id: UUID
    owning_team: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentDismissed(_Fact):
    """``stage`` is triage or investigation."""

    stage: Plain
    classification: Classification
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class VTeamFormed(_Fact):
    members: tuple[Member, ...]
    lead: Person
    channel: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRecorded(_Fact):
    version: int
    summary: FreeText
    potential_impact: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorLinked(_Fact):
    indicator_id: UUID
    type: Plain
    value: Value
    role: IndicatorRole
    attack_vector: AttackVector = AttackVector.UNKNOWN
    source: FreeText = ""
    techniques: tuple[Plain, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorAssessed(_Fact):
    indicator_id: UUID
    verdict: IndicatorVerdict
    confidence: int
    rationale: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRecorded(_Fact):
    action_id: UUID
    kind: ActionKind
    text: FreeText
    owner: Person
    due: datetime | None = None
    provisional: bool = False
    services: tuple[Plain, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionUpdated(_Fact):
    action_id: UUID
    status: ActionStatus
    result: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentConfirmed(_Fact):
    """``aware_at`` starts the legal clocks (I5); ``policy`` is what had to be recorded (R29)."""

    aware_at: datetime
    rationale: FreeText
    justification: FreeText = ""
    indicator_ids: tuple[UUID, ...] = ()
    v_team: tuple[Member, ...] = ()
    policy: Plain = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeSet(_Fact):
    version: int
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityReassessmentRequested(_Fact):
    """The scope grew after confirmation, so the severity has to be looked at again (R32c)."""

    scope_version: int
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentContained(_Fact):
    criteria: tuple[Criterion, ...]
    residual: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCauseHypothesised(_Fact):
    cause: FreeText
    method: FreeText = ""
    vulnerability_refs: tuple[Plain, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCauseDetermined(_Fact):
    cause: FreeText
    method: FreeText = ""
    vulnerability_refs: tuple[Plain, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCauseAcceptedUnknown(_Fact):
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlanDrafted(_Fact):
    version: int
    steps: tuple[FreeText, ...]
    last_known_good: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlanApproved(_Fact):
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEradicated(_Fact):
    verification: FreeText
    business_impact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRecovered(_Fact):
    verification: FreeText
    monitoring_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewStarted(_Fact):
    """None: before reviews had a log of their own."""

    review_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentClosed(_Fact):
    """``checklist`` is what held at closing, code by code (I6)."""

    disposition: Classification
    note: FreeText = ""
    checklist: PlainTable


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCustomersAffectedDeclared(_Fact):
    reason: FreeText
    basis: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedCustomersIdentified(_Fact):
    list_id: UUID
    version: int
    inventory_version: Plain
    confirmed: int
    probable: int
    possible: int
    tenants: tuple[Plain, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomersNotified(_Fact):
    list_id: UUID
    version: int
    tenants: int
    sent: int
    completed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteAdded(_Fact):
    note_id: UUID
    text: FreeText
    visibility: Visibility = Visibility.TEAM


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRecorded(_Fact):
    """Another service did something about this incident.

    ``subject_id`` and ``standing`` are set when it is about an obligation: closing asks for them.
    """

    fact_id: UUID
    kind: FactKind
    text: FreeText
    data: FreeData
    subject_id: UUID | None = None
    standing: Standing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentMerged(_Fact):
    """It goes on as another one; nothing is moved, nothing deleted, and it can be undone."""

    target_id: UUID
    former: State
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentUnmerged(_Fact):
    """It is an incident of its own again, where it was before."""

    target_id: UUID
    state: State
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentSplit(_Fact):
    """Some of its detections are followed up as an incident of their own; they stay here too."""

    new_id: UUID
    title: FreeText
    detection_ids: tuple[UUID, ...]
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentReopened(_Fact):
    """Something new came to light; the clocks stay as they were (I5)."""

    former: State
    reason: FreeText
    new_information_ref: FreeText
    merged_into: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationRetracted(_Fact):
    """The verdict was wrong; what was owed has to be looked at again."""

    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentLost(_Fact):
    new_assets: tuple[Plain, ...] = ()
    indicator_ids: tuple[UUID, ...] = ()
    note: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VTeamMemberAdded(_Fact):
    member: Member
    leads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VTeamMemberRemoved(_Fact):
    person: Person
    kind: MemberKind
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class VTeamCompositionBroken(_Fact):
    """The last member of a mandatory kind has left: no verdict until there is one again (I3)."""

    missing: tuple[MemberKind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorClassified(_Fact):
    indicator_id: UUID
    attack_vector: AttackVector
    techniques: tuple[Plain, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationAdded(_Fact):
    recommendation_id: UUID
    text: FreeText
    priority: Priority
    origin: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationDecided(_Fact):
    """``action_id`` is what an accepted one became; its ActionRecorded follows."""

    recommendation_id: UUID
    decision: Decision
    reason: FreeText = ""
    action_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentLinked(_Fact):
    other_id: UUID
    relation: Relation
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentUnlinked(_Fact):
    other_id: UUID
    relation: Relation
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockRecorded(_Fact):
    """``basis`` is how the instant is known."""

    clock: Clock
    instant: datetime
    basis: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockCorrected(_Fact):
    """``supersedes`` stays readable: a deadline that was computed from it was not a mistake."""

    clock: Clock
    instant: datetime
    supersedes: datetime
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRestricted(_Fact):
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class RestrictionLifted(_Fact):
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessGranted(_Fact):
    person: Person
    reason: FreeText
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRevoked(_Fact):
    person: Person
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDataErased(_Fact):
    """A key was destroyed: what it sealed before this event can never be read again."""

    erasure_id: UUID
    scope: ErasureScope
    basis: Plain
    reference: Plain = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassBroken(_Fact):
    """Somebody looked who had not been let in; nobody is asked first, everybody can see it."""

    reason: FreeText
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalHoldPlaced(_Fact):
    """``hold`` is what legal calls it: a docket or matter number, never a person."""

    hold: Plain
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalHoldReleased(_Fact):
    hold: Plain
    reason: FreeText


Event = (
    IncidentOpened
    | DetectionsAttached
    | SeverityProposed
    | PriorityProposed
    | SeveritySet
    | SeverityChanged
    | LoweringApproved
    | PrioritySet
    | IncidentEscalated
    | IncidentDismissed
    | VTeamFormed
    | SummaryRecorded
    | IndicatorLinked
    | IndicatorAssessed
    | ActionRecorded
    | ActionUpdated
    | IncidentConfirmed
    | ScopeSet
    | SeverityReassessmentRequested
    | IncidentContained
    | RootCauseHypothesised
    | RootCauseDetermined
    | RootCauseAcceptedUnknown
    | RecoveryPlanDrafted
    | RecoveryPlanApproved
    | IncidentEradicated
    | IncidentRecovered
    | ReviewStarted
    | IncidentClosed
    | NoCustomersAffectedDeclared
    | AffectedCustomersIdentified
    | CustomersNotified
    | NoteAdded
    | FactRecorded
    | IncidentMerged
    | IncidentUnmerged
    | IncidentSplit
    | IncidentReopened
    | ConfirmationRetracted
    | ContainmentLost
    | VTeamMemberAdded
    | VTeamMemberRemoved
    | VTeamCompositionBroken
    | IndicatorClassified
    | RecommendationAdded
    | RecommendationDecided
    | IncidentLinked
    | IncidentUnlinked
    | ClockRecorded
    | ClockCorrected
    | AccessRestricted
    | RestrictionLifted
    | AccessGranted
    | AccessRevoked
    | GlassBroken
    | PersonalDataErased
    | LegalHoldPlaced
    | LegalHoldReleased
)
