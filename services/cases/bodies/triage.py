"""Bodies up to the escalation or the dismissal at triage."""

from typing import Literal

from pydantic import Field

from services.cases.bodies.base import Body, Name, Part, Text, Utc, Who
from services.cases.domain import commands as c
from services.cases.domain import vocabulary as v
from shared.ids import derived_id

Fact = str | int | bool | None
SourceKind = Literal[
    "customer_case", "employee_report", "partner", "external_researcher", "law_enforcement"
]
# The vocabulary of §2.2.
Functional = Literal["none", "low", "medium", "high"]
Informational = Literal["none", "privacy_breach", "proprietary_breach", "integrity_loss"]
Recoverability = Literal["regular", "supplemented", "extended", "not_recoverable"]


class Open(Part):
    """An incident that somebody opens by hand; ``reason`` says why."""

    title: Name
    reason: Text = Field(min_length=1)
    source_kind: SourceKind = "employee_report"
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
    second_approver: str = Field(
        "", max_length=200, description="below a floor: whose approve-lowering it goes by"
    )

    def order(self, who: Who) -> c.SetSeverity:
        return c.SetSeverity(
            actor=who.actor,
            now=who.now,
            level=self.level,
            reason=self.reason,
            inputs=self.inputs,
            second_approver=self.second_approver,
        )


class ApproveLowering(Body):
    """Agree, as the second person, that the severity goes below a floor of the policy."""

    COMMAND = c.ApproveLowering
    level: v.Severity
    reason: Text

    def order(self, who: Who) -> c.ApproveLowering:
        return c.ApproveLowering(actor=who.actor, now=who.now, level=self.level, reason=self.reason)


class SetPriority(Body):
    """Factors that are not given are those of the proposal."""

    COMMAND = c.SetPriority
    priority: v.Priority
    functional: Functional | None = None
    informational: Informational | None = None
    recoverability: Recoverability | None = None
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
