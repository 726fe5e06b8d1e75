"""Decisions about who may know of an incident (§7): restrict, lift, grant, revoke, break glass."""

from collections.abc import Sequence

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.check import Check
from services.cases.domain.state import Incident


def restrict(incident: Incident, command: c.RestrictAccess, check: Check) -> Sequence[e.Event]:
    """Hide it from all but its v-team, those granted, legal, executives and auditors."""
    if incident.restricted:
        return check.already_so()
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [e.AccessRestricted(actor=check.actor, at=command.now, reason=command.reason)]


def lift(incident: Incident, command: c.LiftRestriction, check: Check) -> Sequence[e.Event]:
    """Let every reader see it again; grants and broken glass end with it."""
    if incident.restricted is False:
        return check.already_so()
    check.need(bool(incident.restricted), "not_restricted")
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [e.RestrictionLifted(actor=check.actor, at=command.now, reason=command.reason)]


def grant(incident: Incident, command: c.GrantAccess, check: Check) -> Sequence[e.Event]:
    """Let one more person see it, for good or until an instant."""
    if command.person in incident.cleared and incident.cleared[command.person] == command.until:
        return check.already_so()
    check.need(bool(incident.restricted), "not_restricted")
    check.need(bool(command.person.strip()), "text_missing", "a grant names a person")
    check.need(bool(command.reason.strip()), "reason_missing")
    check.need(command.until is None or command.until > command.now, "grant_ended")
    check.settle()
    return [
        e.AccessGranted(
            actor=check.actor,
            at=command.now,
            person=command.person,
            reason=command.reason,
            until=command.until,
        )
    ]


def revoke(incident: Incident, command: c.RevokeAccess, check: Check) -> Sequence[e.Event]:
    """Take a grant back, or broken glass; who is on the v-team sees it all the same."""
    if command.person in incident.revoked and command.person not in incident.cleared:
        return check.already_so()
    check.need(command.person in incident.cleared, "not_granted")
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [
        e.AccessRevoked(
            actor=check.actor, at=command.now, person=command.person, reason=command.reason
        )
    ]


def break_glass(incident: Incident, command: c.BreakGlass, check: Check) -> Sequence[e.Event]:
    """See it without having been let in: at once, for a while, and for all to see who did."""
    person = command.actor.id
    if person in incident.cleared:
        until = incident.cleared[person]
        if until is None or until >= command.until:
            return check.already_so()
    check.need(bool(incident.restricted), "not_restricted")
    check.need(bool(command.reason.strip()), "reason_missing")
    check.need(command.until > command.now, "grant_ended")
    check.settle()
    return [
        e.GlassBroken(actor=check.actor, at=command.now, reason=command.reason, until=command.until)
    ]
