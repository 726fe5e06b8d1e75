"""Bodies about who is on the v-team, and about what is recommended to it."""

from uuid import UUID

from pydantic import Field

from services.cases.bodies.base import Body, Name, Text, Utc, Who
from services.cases.bodies.investigation import TeamMember
from services.cases.domain import commands as c
from services.cases.domain import vocabulary as v
from services.cases.domain.values import Member
from shared.ids import derived_id


class AddVTeamMember(TeamMember, Body):
    """With ``leads`` the newcomer takes over the lead."""

    COMMAND = c.AddVTeamMember
    leads: bool = False

    def order(self, who: Who) -> c.AddVTeamMember:
        member = Member(person=self.person, kind=self.kind, function=self.function)
        return c.AddVTeamMember(actor=who.actor, now=who.now, member=member, leads=self.leads)


class RemoveVTeamMember(Body):
    """Without a member of each mandatory kind there is no verdict until one is added."""

    COMMAND = c.RemoveVTeamMember
    person: Name
    reason: Text

    def order(self, who: Who) -> c.RemoveVTeamMember:
        return c.RemoveVTeamMember(actor=who.actor, now=who.now, **self.model_dump())


class AddRecommendation(Body):
    """``origin`` is a person or a playbook."""

    COMMAND = c.AddRecommendation
    text: Text
    priority: v.Priority = v.Priority.P3
    origin: str = Field("", max_length=200)

    def order(self, who: Who) -> c.AddRecommendation:
        return c.AddRecommendation(
            actor=who.actor,
            now=who.now,
            recommendation_id=derived_id("recommendation", who.command_id),
            **self.model_dump(),
        )


class DecideRecommendation(Body):
    """Accepted, it becomes an action of this kind, for this owner; rejecting needs a reason."""

    COMMAND = c.DecideRecommendation
    recommendation_id: UUID
    decision: v.Decision
    reason: Text = ""
    kind: v.ActionKind = v.ActionKind.PROTECTION
    owner: str = Field("", max_length=200, description="yourself, if not given")
    due: Utc | None = None
    services: list[Name] = Field(
        default_factory=list, max_length=200, description="the incident's, if it protects"
    )

    def order(self, who: Who) -> c.DecideRecommendation:
        return c.DecideRecommendation(
            actor=who.actor,
            now=who.now,
            action_id=derived_id("action", who.command_id),
            services=tuple(self.services),
            **self.model_dump(exclude={"services"}),
        )
