"""Decisions about affected customers, the review and the end (R34, I6)."""

from collections.abc import Sequence

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.check import Check
from services.cases.domain.duties import DUTIES
from services.cases.domain.state import Incident
from services.cases.domain.vocabulary import Role, Severity, State

_EXECUTIVE = (Severity.SEV0, Severity.SEV1)


def declare_no_customers_affected(
    incident: Incident, command: c.DeclareNoCustomersAffected, check: Check
) -> Sequence[e.Event]:
    """Decide, with a reason, that nobody was affected: a result like any other (R34)."""
    if incident.none_affected:
        return check.already_so()
    check.need(
        not incident.affected_tenants,
        "customers_affected",
        f"list version {incident.affected_version} names {incident.affected_tenants} tenants",
    )
    check.need(bool(command.reason.strip()), "reason_missing")
    check.settle()
    return [
        e.NoCustomersAffectedDeclared(
            actor=check.actor, at=command.now, reason=command.reason, basis=command.basis
        )
    ]


def record_affected_customers(
    incident: Incident, command: c.RecordAffectedCustomers, check: Check
) -> Sequence[e.Event]:
    """Keep the newest version of the list that notify resolved; an older one is old news."""
    if incident.affected_version >= command.version:
        return check.already_so()
    check.settle()
    return [
        e.AffectedCustomersIdentified(
            actor=check.actor,
            at=command.now,
            list_id=command.list_id,
            version=command.version,
            inventory_version=command.inventory_version,
            confirmed=command.confirmed,
            probable=command.probable,
            possible=command.possible,
            tenants=command.tenants,
        )
    ]


def record_customers_notified(
    incident: Incident, command: c.RecordCustomersNotified, check: Check
) -> Sequence[e.Event]:
    """Keep that every tenant of a list version has been sent its notice."""
    if incident.notified_version >= command.version:
        return check.already_so()
    check.settle()
    return [
        e.CustomersNotified(
            actor=check.actor,
            at=command.now,
            list_id=command.list_id,
            version=command.version,
            tenants=command.tenants,
            sent=command.sent,
            completed_at=command.completed_at,
        )
    ]


def start_review(incident: Incident, command: c.StartReview, check: Check) -> Sequence[e.Event]:
    """Begin the post-incident review."""
    if incident.state is State.IN_REVIEW:
        return check.already_so()
    check.settle()
    return [e.ReviewStarted(actor=check.actor, at=command.now, review_id=command.review_id)]


def close(incident: Incident, command: c.CloseIncident, check: Check) -> Sequence[e.Event]:
    """End it once every duty is done (I6), here and beside it; SEV0/1 by an executive."""
    if incident.state is State.CLOSED and incident.classification is command.disposition:
        return check.already_so()
    check.need_role(
        incident.severity not in _EXECUTIVE or command.actor.has(Role.EXECUTIVE_INCIDENT_MANAGER),
        f"closing {incident.severity} needs executive_incident_manager",
    )
    for duty in DUTIES:
        for code, detail in duty.open(incident, command.around):
            check.need(False, code, detail)
    check.settle()
    return [
        e.IncidentClosed(
            actor=check.actor,
            at=command.now,
            disposition=command.disposition,
            note=command.note,
            checklist={duty.name: duty.told(incident, command.around) for duty in DUTIES},
        )
    ]


def add_note(incident: Incident, command: c.AddNote, check: Check) -> Sequence[e.Event]:
    """Add a note to the timeline."""
    if command.note_id in incident.note_ids:
        return check.already_so()
    check.need(bool(command.text.strip()), "text_missing", "a note needs a text")
    check.settle()
    return [
        e.NoteAdded(
            actor=check.actor,
            at=command.now,
            note_id=command.note_id,
            text=command.text,
            visibility=command.visibility,
        )
    ]


def record_fact(incident: Incident, command: c.RecordFact, check: Check) -> Sequence[e.Event]:
    """Add to the timeline what another service did."""
    if command.fact_id in incident.fact_ids:
        return check.already_so()
    check.settle()
    return [
        e.FactRecorded(
            actor=check.actor,
            at=command.now,
            fact_id=command.fact_id,
            kind=command.kind,
            text=command.text,
            data=command.data,
            subject_id=command.subject_id,
            standing=command.standing,
        )
    ]
