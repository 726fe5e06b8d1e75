"""What happened to an incident: facts in the past tense, each with who and when.

Stored for ever: a field is only ever added with a default; anything else is a new schema version
with an upcaster in `codec` and a golden fixture in tests/unit/cases/golden.
"""

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
    Severity,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    actor: Actor
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentOpened(_Fact):
    number: str
    title: str
    source_kind: str
    source_refs: tuple[str, ...] = ()
    reason: str = ""
    detected_at: datetime
    services: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


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
    functional: str
    informational: str
    recoverability: str
    reason: str = ""
    policy: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveritySet(_Fact):
    """The service team's severity, before escalation (R23); ``policy`` names what computed it."""

    level: Severity
    previous: Severity | None = None
    computed_level: Severity | None = None
    override_reason: str = ""
    inputs: Mapping[str, Any]
    policy: str = ""
    policy_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityChanged(_Fact):
    """The severity was reassessed after escalation (I4)."""

    level: Severity
    previous: Severity
    reason: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrioritySet(_Fact):
    priority: Priority
    functional: str
    informational: str
    recoverability: str
    computed_priority: Priority | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEscalated(_Fact):
    escalation_id: UUID
    owning_team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentDismissed(_Fact):
    """``stage`` is triage or investigation."""

    stage: str
    classification: Classification
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VTeamFormed(_Fact):
    members: tuple[Member, ...]
    lead: str
    channel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRecorded(_Fact):
    version: int
    summary: str
    potential_impact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorLinked(_Fact):
    indicator_id: UUID
    type: str
    value: str
    role: IndicatorRole
    attack_vector: str = "unknown"
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorAssessed(_Fact):
    indicator_id: UUID
    verdict: IndicatorVerdict
    confidence: int
    rationale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRecorded(_Fact):
    action_id: UUID
    kind: ActionKind
    text: str
    owner: str
    due: datetime | None = None
    provisional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionUpdated(_Fact):
    action_id: UUID
    status: ActionStatus
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentConfirmed(_Fact):
    """``aware_at`` starts the legal clocks (I5)."""

    aware_at: datetime
    rationale: str
    justification: str = ""
    indicator_ids: tuple[UUID, ...] = ()
    v_team: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeSet(_Fact):
    version: int
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityReassessmentRequested(_Fact):
    """The scope grew after confirmation, so the severity has to be looked at again (R32c)."""

    scope_version: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentContained(_Fact):
    criteria: tuple[Criterion, ...]
    residual: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCauseHypothesised(_Fact):
    cause: str
    method: str = ""
    vulnerability_refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCauseDetermined(_Fact):
    cause: str
    method: str = ""
    vulnerability_refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCauseAcceptedUnknown(_Fact):
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlanDrafted(_Fact):
    version: int
    steps: tuple[str, ...]
    last_known_good: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlanApproved(_Fact):
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEradicated(_Fact):
    verification: str
    business_impact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRecovered(_Fact):
    verification: str
    monitoring_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewStarted(_Fact):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentClosed(_Fact):
    """``checklist`` is what held at closing, code by code (I6)."""

    disposition: Classification
    note: str = ""
    checklist: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCustomersAffectedDeclared(_Fact):
    reason: str
    basis: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedCustomersIdentified(_Fact):
    list_id: UUID
    version: int
    inventory_version: str
    confirmed: int
    probable: int
    possible: int
    tenants: tuple[str, ...]


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
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRecorded(_Fact):
    """Another service did something about this incident; it changes nothing here."""

    fact_id: UUID
    kind: FactKind
    text: str
    data: Mapping[str, Any]


Event = (
    IncidentOpened
    | DetectionsAttached
    | SeverityProposed
    | PriorityProposed
    | SeveritySet
    | SeverityChanged
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
)
