"""Decisions about related incidents (R31d) and recommended next steps (R31g)."""

from collections.abc import Sequence

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.check import Check
from services.cases.domain.investigation import need_provisional, need_services
from services.cases.domain.state import Incident
from services.cases.domain.vocabulary import ActionKind, Decision


def link(incident: Incident, command: c.LinkIncident, check: Check) -> Sequence[e.Event]:
    """Say how this one stands to another; what is one-way cannot hold both ways."""
    key = (command.other_id, command.relation)
    if key in incident.links:
        return check.already_so()
    other = command.other
    check.need(other.state is not None, "other_unknown")
    check.need(not other.itself, "other_is_itself")
    check.need(
        not (command.relation.is_one_way and command.relation in other.claims),
        "link_contradicted",
        f"the other one is {command.relation} this one already",
    )
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [
        e.IncidentLinked(
            actor=check.actor,
            at=command.now,
            other_id=command.other_id,
            relation=command.relation,
            reason=command.reason,
        )
    ]


def unlink(incident: Incident, command: c.UnlinkIncident, check: Check) -> Sequence[e.Event]:
    """Take a relation back; that it was held stays in the log."""
    key = (command.other_id, command.relation)
    if key in incident.unlinked and key not in incident.links:
        return check.already_so()
    check.need(key in incident.links, "link_unknown")
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [
        e.IncidentUnlinked(
            actor=check.actor,
            at=command.now,
            other_id=command.other_id,
            relation=command.relation,
            reason=command.reason,
        )
    ]


def add_recommendation(
    incident: Incident, command: c.AddRecommendation, check: Check
) -> Sequence[e.Event]:
    """Recommend a next step."""
    if command.recommendation_id in incident.recommendations:
        return check.already_so()
    check.need(bool(command.text.strip()), "text_missing", "a recommendation needs a text")
    check.settle()
    return [
        e.RecommendationAdded(
            actor=check.actor,
            at=command.now,
            recommendation_id=command.recommendation_id,
            text=command.text,
            priority=command.priority,
            origin=command.origin,
        )
    ]


def decide_recommendation(
    incident: Incident, command: c.DecideRecommendation, check: Check
) -> Sequence[e.Event]:
    """Accept a recommendation, which makes it an action, or reject it with a reason."""
    known = incident.recommendations.get(command.recommendation_id)
    if known and known.decision is command.decision:
        return check.already_so()
    accepted = command.decision is Decision.ACCEPTED
    protects = command.kind is ActionKind.PROTECTION
    services = command.services or (incident.services if protects else ())
    check.need(known is not None, "recommendation_unknown")
    check.need(known is None or known.decision is None, "recommendation_decided")
    check.need(accepted or bool(command.reason.strip()), "reason_missing")
    if accepted:
        need_provisional(incident, command.kind, provisional=False, check=check)
        need_services(command.kind, services, check=check)
    check.settle()
    decided = e.RecommendationDecided(
        actor=check.actor,
        at=command.now,
        recommendation_id=command.recommendation_id,
        decision=command.decision,
        reason=command.reason,
        action_id=command.action_id if accepted else None,
    )
    if not accepted or known is None:
        return [decided]
    action = e.ActionRecorded(
        actor=check.actor,
        at=command.now,
        action_id=command.action_id,
        kind=command.kind,
        text=known.text,
        owner=command.owner or command.actor.id,
        due=command.due,
        services=services,
    )
    return [decided, action]
