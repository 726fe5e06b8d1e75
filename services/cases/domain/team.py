"""Decisions about who is on the v-team (R25, I3)."""

from collections.abc import Sequence
from dataclasses import replace

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.check import Check
from services.cases.domain.state import Incident


def _need_lead(incident: Incident, check: Check) -> None:
    """The lead decides who is on it; whoever stands in for security response does, too."""
    check.need(
        not incident.is_member(incident.lead)  # nobody leads: then any of security response
        or check.actor.id == incident.lead
        or check.actor.acting_for is not None,
        "not_lead",
        f"{incident.lead} leads the v-team",
    )


def add_member(incident: Incident, command: c.AddVTeamMember, check: Check) -> Sequence[e.Event]:
    """Bring somebody in; a person may stand for several kinds."""
    member = command.member
    held = {(known.person, known.kind) for known in incident.members}
    if (member.person, member.kind) in held and (
        not command.leads or incident.lead == member.person
    ):
        return check.already_so()
    check.need(bool(member.person.strip()), "text_missing", "a member has a name")
    _need_lead(incident, check)
    check.settle()
    return [
        e.VTeamMemberAdded(actor=check.actor, at=command.now, member=member, leads=command.leads)
    ]


def remove_member(
    incident: Incident, command: c.RemoveVTeamMember, check: Check
) -> Sequence[e.Event]:
    """Let somebody go, even the last of a mandatory kind; but then no verdict is given (I3)."""
    if command.person in incident.left and not incident.is_member(command.person):
        return check.already_so()
    check.need(
        incident.is_member(command.person),
        "not_in_v_team",
        f"{command.person} is not on the v-team",
    )
    check.need(bool(command.reason.strip()), "reason_missing")
    _need_lead(incident, check)
    check.settle()
    leaving = [member for member in incident.members if member.person == command.person]
    staying = tuple(member for member in incident.members if member.person != command.person)
    happened: list[e.Event] = [
        e.VTeamMemberRemoved(
            actor=check.actor,
            at=command.now,
            person=member.person,
            kind=member.kind,
            reason=command.reason,
        )
        for member in leaving
    ]
    missing = replace(incident, members=staying).missing_kinds()
    if set(missing) - set(incident.missing_kinds()):
        happened.append(
            e.VTeamCompositionBroken(actor=check.actor, at=command.now, missing=missing)
        )
    return happened
