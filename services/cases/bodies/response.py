"""Bodies after the verdict: scope, containment, root cause, recovery."""

from typing import Annotated

from pydantic import Field

from services.cases.bodies.base import Body, Name, Part, Text, Utc, Who
from services.cases.domain import commands as c
from services.cases.domain import vocabulary as v
from services.cases.domain.values import Criterion, Scope, Selector

TagKey = Annotated[str, Field(min_length=1, max_length=317)]  # prefix, slash and name
TagValue = Annotated[str, Field(max_length=256)]


class ScopeSelector(Part):
    """Levels and tags are AND."""

    region: Name | None = None
    datacenter: Name | None = None
    service: Name | None = None
    server_farm: Name | None = None
    server: Name | None = None
    tenant: Name | None = None
    tags: dict[TagKey, TagValue] = Field(default_factory=dict, max_length=50)


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


class TickedCriterion(Part):
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
