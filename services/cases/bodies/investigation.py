"""Bodies of the v-team up to its verdict."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.cases.bodies.base import Body, Name, Part, Text, Utc, Who
from services.cases.domain import commands as c
from services.cases.domain import vocabulary as v
from services.cases.domain.values import Member
from shared.ids import derived_id

Technique = Annotated[
    str, Field(pattern=r"^T[0-9]{4}(\.[0-9]{3})?$", description="a MITRE ATT&CK id")
]


class TeamMember(Part):
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
    attack_vector: v.AttackVector = v.AttackVector.UNKNOWN
    source: Annotated[str, Field(max_length=500)] = ""
    techniques: list[Technique] = Field(default_factory=list, max_length=50)

    def order(self, who: Who) -> c.AddIndicator:
        fields = self.model_dump(exclude={"techniques"})
        return c.AddIndicator(
            actor=who.actor, now=who.now, techniques=tuple(self.techniques), **fields
        )


class ClassifyIndicator(Body):
    """Put an indicator into another attack-vector category, with ATT&CK ids if known."""

    COMMAND = c.ClassifyIndicator
    indicator_id: UUID
    attack_vector: v.AttackVector
    techniques: list[Technique] = Field(default_factory=list, max_length=50)

    def order(self, who: Who) -> c.ClassifyIndicator:
        return c.ClassifyIndicator(
            actor=who.actor,
            now=who.now,
            indicator_id=self.indicator_id,
            attack_vector=self.attack_vector,
            techniques=tuple(self.techniques),
        )


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
    services: list[Name] = Field(
        default_factory=list, max_length=200, description="what a protective action protects"
    )
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
            services=tuple(self.services),
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
