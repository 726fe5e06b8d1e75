"""The incident as decisions see it: one frozen record with a state and facts (R10, §3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from services.cases.domain import events as e
from services.cases.domain.values import Assessment, Member, Scope
from services.cases.domain.vocabulary import (
    ActionKind,
    ActionStatus,
    AttackVector,
    Classification,
    Clock,
    Decision,
    IndicatorRole,
    IndicatorVerdict,
    MemberKind,
    Relation,
    RootCauseStatus,
    Severity,
    Standing,
    State,
)

__all__ = ["MANDATORY_KINDS", "UNOPENED", "Action", "Incident", "Indicator", "Recommendation"]

MANDATORY_KINDS = (
    MemberKind.SECURITY_RESPONSE,
    MemberKind.SERVICE_TEAM,
    MemberKind.INCIDENT_COMMUNICATIONS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """An indicator of this incident and what the v-team last held it to say."""

    role: IndicatorRole
    attack_vector: AttackVector = AttackVector.UNKNOWN
    techniques: tuple[str, ...] = ()
    verdict: IndicatorVerdict | None = None
    confidence: int = 0
    rationale: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action of this incident."""

    kind: ActionKind
    provisional: bool
    status: ActionStatus = ActionStatus.OPEN
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """A recommended next step, and what was decided about it."""

    text: str
    decision: Decision | None = None


@dataclass(frozen=True, kw_only=True)  # no slots: see changed.replace
class Incident:
    """Everything that a decision or a public message needs to know."""

    state: State = State.UNOPENED
    number: str = ""
    title: str = ""
    source_kind: str = ""
    source_refs: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    detection_ids: frozenset[UUID] = frozenset()
    detection_count: int = 0
    rule_ids: tuple[str, ...] = ()

    proposal: Assessment | None = None
    proposed_priority: e.PriorityProposed | None = None
    severity: Severity | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    lowering: tuple[e.LoweringApproved, ...] = ()
    priority: e.PrioritySet | None = None

    escalation_id: UUID | None = None
    owning_team: str = ""
    members: tuple[Member, ...] = ()
    lead: str = ""
    left: frozenset[str] = frozenset()
    classification: Classification | None = None

    summary: str = ""
    potential_impact: str = ""
    summary_version: int = 0
    indicators: Mapping[UUID, Indicator] = field(default_factory=dict)
    actions: Mapping[UUID, Action] = field(default_factory=dict)

    clocks: Mapping[Clock, datetime] = field(default_factory=dict)
    corrected: frozenset[Clock] = frozenset()
    confirmed_at: datetime | None = None
    contained_at: datetime | None = None
    recovered_at: datetime | None = None
    review_id: UUID | None = None
    review_by: str = ""
    scope: Scope | None = None
    scope_version: int = 0

    root_cause: RootCauseStatus = RootCauseStatus.OPEN
    cause: str = ""
    plan: e.RecoveryPlanDrafted | None = None
    plan_approved: bool = False

    none_affected: bool = False
    affected_version: int = 0
    affected_tenants: int = 0
    notified_version: int = 0

    merged_into: UUID | None = None
    former: State = State.UNOPENED
    came_back: (
        e.IncidentReopened | e.IncidentUnmerged | e.ConfirmationRetracted | e.ContainmentLost | None
    ) = None
    split_off: frozenset[UUID] = frozenset()
    links: frozenset[tuple[UUID, Relation]] = frozenset()
    unlinked: frozenset[tuple[UUID, Relation]] = frozenset()
    recommendations: Mapping[UUID, Recommendation] = field(default_factory=dict)

    # None: never; False: it was, and is so no longer.
    restricted: bool | None = None
    cleared: Mapping[str, datetime | None] = field(default_factory=dict)
    revoked: frozenset[str] = frozenset()

    holds: tuple[str, ...] = ()
    """Legal holds in force, by name, in the order in which they were placed."""

    note_ids: frozenset[UUID] = frozenset()
    fact_ids: frozenset[UUID] = frozenset()
    obligations: Mapping[UUID, Standing] = field(default_factory=dict)

    @property
    def detected_at(self) -> datetime | None:
        return self.clocks.get(Clock.DETECTED)

    @property
    def occurred_at(self) -> datetime | None:
        return self.clocks.get(Clock.OCCURRED)

    @property
    def aware_at(self) -> datetime | None:
        """Return since when there is awareness: what legal clocks run from (I5)."""
        return self.clocks.get(Clock.AWARE)

    def missing_kinds(self) -> tuple[MemberKind, ...]:
        """Return the mandatory kinds of member that the v-team lacks now (R25b)."""
        present = {member.kind for member in self.members}
        return tuple(kind for kind in MANDATORY_KINDS if kind not in present)

    def is_member(self, person: str) -> bool:
        return any(member.person == person for member in self.members)

    def seen_by(self, person: str, now: datetime) -> bool:
        """Tell whether *person* may know of it: anybody, unless it is restricted (§7)."""
        if not self.restricted or self.is_member(person):
            return True
        return person in self.cleared and ((end := self.cleared[person]) is None or end > now)

    def supporting(self) -> tuple[UUID, ...]:
        """Return the indicators that are assessed as supporting (R26a)."""
        return tuple(
            key
            for key, indicator in self.indicators.items()
            if indicator.verdict is IndicatorVerdict.SUPPORTS
        )


UNOPENED = Incident()
