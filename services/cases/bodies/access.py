"""Bodies about who may know of an incident."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from services.cases.bodies.base import Body, Name, Text, Utc, Who
from services.cases.domain import commands as c


class RestrictAccess(Body):
    """From now on only its v-team, those granted, legal, executives and auditors see it."""

    COMMAND = c.RestrictAccess
    reason: Text

    def order(self, who: Who) -> c.RestrictAccess:
        return c.RestrictAccess(actor=who.actor, now=who.now, reason=self.reason)


class LiftRestriction(Body):
    """Every reader sees it again; all grants end."""

    COMMAND = c.LiftRestriction
    reason: Text

    def order(self, who: Who) -> c.LiftRestriction:
        return c.LiftRestriction(actor=who.actor, now=who.now, reason=self.reason)


class GrantAccess(Body):
    """Without ``until`` for as long as the incident is restricted."""

    COMMAND = c.GrantAccess
    person: Name
    reason: Text
    until: Utc | None = None

    def order(self, who: Who) -> c.GrantAccess:
        return c.GrantAccess(actor=who.actor, now=who.now, **self.model_dump())


class RevokeAccess(Body):
    """Ends a grant or a broken glass at once."""

    COMMAND = c.RevokeAccess
    person: Name
    reason: Text

    def order(self, who: Who) -> c.RevokeAccess:
        return c.RevokeAccess(actor=who.actor, now=who.now, **self.model_dump())


class BreakGlass(Body):
    """See a restricted incident without a grant; the reason and your name stay in its log."""

    COMMAND = c.BreakGlass
    reason: Annotated[str, Field(min_length=10, max_length=10_000)]
    minutes: int = Field(60, ge=1, le=480, description="how long you need it")

    def order(self, who: Who) -> c.BreakGlass:
        until = who.now + timedelta(minutes=self.minutes)
        return c.BreakGlass(actor=who.actor, now=who.now, reason=self.reason, until=until)
