"""The bodies of the verbs: their documented shapes, each with the command that it gives."""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.cases.domain import commands as c
from services.cases.domain import vocabulary as v
from services.cases.domain.values import Actor, Criterion, Member, Scope, Selector
from shared.contracts.base import Instant
from shared.ids import derived_id

__all__ = ["VERBS", "Body", "Open", "Who"]

Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=10_000)]
Fact = str | int | bool | None
Utc = Annotated[Instant, AfterValidator(lambda instant: instant.astimezone(UTC))]


@dataclass(frozen=True, slots=True)
class Who:
    """Who gives the command, when, and under which id."""

    actor: Actor
    now: datetime
    command_id: UUID


class Body(BaseModel):
    """A request body; `order` returns the command. ``COMMAND`` decides the route's roles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    COMMAND: ClassVar[type[c.Command]]

    @abstractmethod
    def order(self, who: Who) -> c.Command: ...


class Open(BaseModel):
    """An incident that somebody opens by hand; ``reason`` says why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Name
    reason: Text = Field(min_length=1)
    source_kind: str = Field(
        "employee_report",
        max_length=64,
        description="customer_case, employee_report, partner, external_researcher, law_enforcement",
    )
    source_refs: list[Name] = Field(default_factory=list, max_length=50)
    detected_at: Utc | None = Field(None, description="now, if not given")
    services: list[Name] = Field(default_factory=list, max_length=200)
    regions: list[Name] = Field(default_factory=list, max_length=200)

    def order(self, who: Who, number: str) -> c.OpenIncident:
        return c.OpenIncident(
            actor=who.actor,
            now=who.now,
            number=number,
            title=self.title,
            source_kind=self.source_kind,
            source_refs=tuple(self.source_refs),
            reason=self.reason,
            detected_at=self.detected_at or who.now,
            services=tuple(self.services),
            regions=tuple(self.regions),
        )


class SetSeverity(Body):
    """``reason`` is needed to differ from the proposal, and for any change after escalation."""

    COMMAND = c.SetSeverity
    level: v.Severity
    reason: Text = ""
    inputs: dict[Name, Fact] = Field(
        default_factory=dict, max_length=64, description="criteria known better than proposed"
    )

    def order(self, who: Who) -> c.SetSeverity:
        return c.SetSeverity(
            actor=who.actor, now=who.now, level=self.level, reason=self.reason, inputs=self.inputs
        )


class SetPriority(Body):
    """Factors that are not given are those of the proposal."""

    COMMAND = c.SetPriority
    priority: v.Priority
    functional: Name | None = None
    informational: Name | None = None
    recoverability: Name | None = None
    reason: Text = ""

    def order(self, who: Who) -> c.SetPriority:
        return c.SetPriority(actor=who.actor, now=who.now, **self.model_dump())


class Escalate(Body):
    """Hand over to the security response team that owns the escalation."""

    COMMAND = c.EscalateIncident
    owning_team: Name

    def order(self, who: Who) -> c.EscalateIncident:
        return c.EscalateIncident(
            actor=who.actor,
            now=who.now,
            escalation_id=derived_id("escalation", who.command_id),
            owning_team=self.owning_team,
        )


class DismissAtTriage(Body):
    """It is harmless, says the service team."""

    COMMAND = c.DismissAtTriage
    classification: v.Classification
    reason: Text

    def order(self, who: Who) -> c.DismissAtTriage:
        return c.DismissAtTriage(
            actor=who.actor, now=who.now, classification=self.classification, reason=self.reason
        )


class TeamMember(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    person: Name
    kind: v.MemberKind
    function: Annotated[str, Field(max_length=200)] = ""


class FormVTeam(Body):
    """Security response, service team and incident communications have to be among them."""

    COMMAND = c.FormVTeam
    members: list[TeamMember] = Field(max_length=100)
    lead: Name
    channel: Annotated[str, Field(max_length=200)] = ""

    def order(self, who: Who) -> c.FormVTeam:
        return c.FormVTeam(
            actor=who.actor,
            now=who.now,
            members=tuple(Member(**member.model_dump()) for member in self.members),
            lead=self.lead,
            channel=self.channel,
        )


class RecordSummary(Body):
    """At most 2,000 characters each."""

    COMMAND = c.RecordSummary
    summary: Text
    potential_impact: Text

    def order(self, who: Who) -> c.RecordSummary:
        return c.RecordSummary(
            actor=who.actor,
            now=who.now,
            summary=self.summary,
            potential_impact=self.potential_impact,
        )


class AddIndicator(Body):
    """Something by which the attack can be recognised."""

    COMMAND = c.AddIndicator
    type: Name
    value: Annotated[str, Field(min_length=1, max_length=2048)]
    role: v.IndicatorRole = v.IndicatorRole.FOUND_LATER
    attack_vector: Annotated[str, Field(max_length=64)] = "unknown"
    source: Annotated[str, Field(max_length=500)] = ""

    def order(self, who: Who) -> c.AddIndicator:
        return c.AddIndicator(actor=who.actor, now=who.now, **self.model_dump())


class AssessIndicator(Body):
    """What an indicator says about this incident, and how surely (0–100)."""

    COMMAND = c.AssessIndicator
    indicator_id: UUID
    verdict: v.IndicatorVerdict
    confidence: int = Field(ge=0, le=100)
    rationale: Text

    def order(self, who: Who) -> c.AssessIndicator:
        return c.AssessIndicator(actor=who.actor, now=who.now, **self.model_dump())


class RecordAction(Body):
    """Before confirmation containment, eradication and recovery have to be provisional."""

    COMMAND = c.RecordAction
    kind: v.ActionKind
    text: Text
    owner: Name
    due: Utc | None = None
    provisional: bool = False
    action_id: UUID | None = Field(None, description="chosen by the server if not given")

    def order(self, who: Who) -> c.RecordAction:
        return c.RecordAction(
            actor=who.actor,
            now=who.now,
            action_id=self.action_id or derived_id("action", who.command_id),
            kind=self.kind,
            text=self.text,
            owner=self.owner,
            due=self.due,
            provisional=self.provisional,
        )


class UpdateAction(Body):
    """``result`` is needed to cancel, roll back or keep."""

    COMMAND = c.UpdateAction
    action_id: UUID
    status: v.ActionStatus
    result: Text = ""

    def order(self, who: Who) -> c.UpdateAction:
        return c.UpdateAction(actor=who.actor, now=who.now, **self.model_dump())


class Confirm(Body):
    """``justification`` replaces a supporting indicator; ``aware_at`` may be earlier than now."""

    COMMAND = c.ConfirmIncident
    rationale: Text
    justification: Text = ""
    aware_at: Utc | None = None

    def order(self, who: Who) -> c.ConfirmIncident:
        return c.ConfirmIncident(actor=who.actor, now=who.now, **self.model_dump())


class Dismiss(Body):
    """It is no incident, says the v-team."""

    COMMAND = c.DismissAsFalsePositive
    classification: v.Classification
    reason: Text

    def order(self, who: Who) -> c.DismissAsFalsePositive:
        return c.DismissAsFalsePositive(
            actor=who.actor, now=who.now, classification=self.classification, reason=self.reason
        )


class ScopeSelector(BaseModel):
    """Levels are AND."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Name | None = None
    datacenter: Name | None = None
    service: Name | None = None
    server_farm: Name | None = None
    server: Name | None = None
    tenant: Name | None = None


class SetScope(Body):
    """Selectors are OR; a scope that includes nothing is malformed, never everyone (§5, A10)."""

    COMMAND = c.SetScope
    include: list[ScopeSelector] = Field(min_length=1, max_length=500)
    exclude: list[ScopeSelector] = Field(default_factory=list, max_length=500)
    window_from: Utc | None = None
    window_to: Utc | None = None
    follow_dependencies: v.FollowDependencies = v.FollowDependencies.NONE

    def order(self, who: Who) -> c.SetScope:
        scope = Scope(
            include=tuple(Selector(**s.model_dump()) for s in self.include),
            exclude=tuple(Selector(**s.model_dump()) for s in self.exclude),
            window_from=self.window_from,
            window_to=self.window_to,
            follow_dependencies=self.follow_dependencies,
        )
        return c.SetScope(actor=who.actor, now=who.now, scope=scope)


class TickedCriterion(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Name
    met: bool


class Contain(Body):
    """Every criterion has to be met."""

    COMMAND = c.MarkContained
    criteria: list[TickedCriterion] = Field(max_length=100)
    residual: Text = ""

    def order(self, who: Who) -> c.MarkContained:
        return c.MarkContained(
            actor=who.actor,
            now=who.now,
            criteria=tuple(Criterion(text=x.text, met=x.met) for x in self.criteria),
            residual=self.residual,
        )


class RecordRootCause(Body):
    """A hypothesis, the cause, or that it stays unknown."""

    COMMAND = c.RecordRootCause
    status: v.RootCauseStatus
    cause: Text
    method: Text = ""
    vulnerability_refs: list[Name] = Field(default_factory=list, max_length=100)

    def order(self, who: Who) -> c.RecordRootCause:
        return c.RecordRootCause(
            actor=who.actor,
            now=who.now,
            status=self.status,
            cause=self.cause,
            method=self.method,
            vulnerability_refs=tuple(self.vulnerability_refs),
        )


class DraftRecoveryPlan(Body):
    """The next version of the plan."""

    COMMAND = c.DraftRecoveryPlan
    steps: list[Text] = Field(max_length=200)
    last_known_good: Text = ""

    def order(self, who: Who) -> c.DraftRecoveryPlan:
        return c.DraftRecoveryPlan(
            actor=who.actor,
            now=who.now,
            steps=tuple(self.steps),
            last_known_good=self.last_known_good,
        )


class ApproveRecoveryPlan(Body):
    """By somebody who did not write it."""

    COMMAND = c.ApproveRecoveryPlan
    version: int = Field(ge=1, le=1_000_000)

    def order(self, who: Who) -> c.ApproveRecoveryPlan:
        return c.ApproveRecoveryPlan(actor=who.actor, now=who.now, version=self.version)


class Eradicate(Body):
    """``business_impact`` needs an executive incident manager."""

    COMMAND = c.MarkEradicated
    verification: Text
    business_impact: bool = False

    def order(self, who: Who) -> c.MarkEradicated:
        return c.MarkEradicated(
            actor=who.actor,
            now=who.now,
            verification=self.verification,
            business_impact=self.business_impact,
        )


class Recover(Body):
    """The approved plan is executed; heightened monitoring lasts until an instant to come."""

    COMMAND = c.MarkRecovered
    verification: Text
    monitoring_until: Utc

    def order(self, who: Who) -> c.MarkRecovered:
        return c.MarkRecovered(
            actor=who.actor,
            now=who.now,
            verification=self.verification,
            monitoring_until=self.monitoring_until,
        )


class StartReview(Body):
    """Nothing more to say."""

    COMMAND = c.StartReview

    def order(self, who: Who) -> c.StartReview:
        return c.StartReview(actor=who.actor, now=who.now)


class Close(Body):
    """SEV0 and SEV1 need an executive incident manager."""

    COMMAND = c.CloseIncident
    disposition: v.Classification = v.Classification.TRUE_POSITIVE
    note: Text = ""

    def order(self, who: Who) -> c.CloseIncident:
        return c.CloseIncident(
            actor=who.actor, now=who.now, disposition=self.disposition, note=self.note
        )


class DeclareNoCustomersAffected(Body):
    """A result like any other, with its reason."""

    COMMAND = c.DeclareNoCustomersAffected
    reason: Text
    basis: Text = ""

    def order(self, who: Who) -> c.DeclareNoCustomersAffected:
        return c.DeclareNoCustomersAffected(
            actor=who.actor, now=who.now, reason=self.reason, basis=self.basis
        )


class AddNote(Body):
    """Free text for the timeline."""

    COMMAND = c.AddNote
    text: Text

    def order(self, who: Who) -> c.AddNote:
        note_id = derived_id("note", who.command_id)
        return c.AddNote(actor=who.actor, now=who.now, note_id=note_id, text=self.text)


VERBS: tuple[type[Body], ...] = (
    SetSeverity,
    SetPriority,
    Escalate,
    DismissAtTriage,
    FormVTeam,
    RecordSummary,
    AddIndicator,
    AssessIndicator,
    RecordAction,
    UpdateAction,
    Confirm,
    Dismiss,
    SetScope,
    Contain,
    RecordRootCause,
    DraftRecoveryPlan,
    ApproveRecoveryPlan,
    Eradicate,
    Recover,
    StartReview,
    Close,
    DeclareNoCustomersAffected,
    AddNote,
)
