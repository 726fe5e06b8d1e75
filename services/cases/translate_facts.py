"""Pure: what escalate and notify did about an incident, as facts for its log (R11, R21, I6)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from services.cases.domain import commands as c
from services.cases.domain.values import SYSTEM
from services.cases.domain.vocabulary import FactKind, Standing
from shared.clock import rfc3339
from shared.contracts.base import Contract
from shared.contracts.escalate import (
    EngagementEvent,
    PageAcknowledgedV1,
    SMEEngagementAcceptedV1,
    SMEEngagementDeclinedV1,
    SMEEngagementReleasedV1,
    SMEEngagementRequestedV1,
    SupportCaseLinkedV1,
)
from shared.contracts.notify import (
    NotificationCorrectedV1,
    NotificationSentV1,
    NotificationUndeliverableV1,
    ObligationDecidedV1,
    ObligationEvent,
    ObligationIdentifiedV1,
    ObligationMetV1,
    ObligationOverdueV1,
    ObligationReopenedV1,
    ObligationWaivedV1,
)

__all__ = ["Found", "fact", "fact_of_escalate", "fact_of_notify"]

Found = tuple[UUID, UUID, c.RecordFact]
"""The message's id, the incident, and what is to be recorded of it."""

_ENGAGEMENTS: Mapping[str, tuple[type[EngagementEvent], str]] = {
    contract.SUBJECT: (contract, contract.SUBJECT.rpartition(".")[2])
    for contract in (
        SMEEngagementRequestedV1,
        SMEEngagementAcceptedV1,
        SMEEngagementDeclinedV1,
        SMEEngagementReleasedV1,
    )
}


def fact(
    kind: FactKind,
    fact_id: UUID,
    text: str,
    data: dict[str, Any],
    now: datetime,
    about: tuple[UUID, Standing] | None = None,
) -> c.RecordFact:
    """Return the command that records a fact; *about* an obligation, with where it now stands."""
    return c.RecordFact(
        actor=SYSTEM,
        now=now,
        fact_id=fact_id,
        kind=kind,
        text=text,
        data=data,
        subject_id=about[0] if about else None,
        standing=about[1] if about else None,
    )


def fact_of_escalate(subject: str, data: bytes, now: datetime) -> Found | None:
    """Return the fact that a message of ESCALATIONS tells; None if it tells none.

    ContractError when the bytes are not what the subject promises.
    """
    if subject in _ENGAGEMENTS:
        contract, status = _ENGAGEMENTS[subject]
        return _engagement(contract.from_json(data), status, now)
    match subject:
        case PageAcknowledgedV1.SUBJECT:
            page = PageAcknowledgedV1.from_json(data)
            text = f"{page.person} of {page.team} acknowledged the page after {page.seconds} s."
            return _found(page, page.incident_id, FactKind.PAGE_ACKNOWLEDGED, text, now)
        case SupportCaseLinkedV1.SUBJECT:
            case_ = SupportCaseLinkedV1.from_json(data)
            whose = f" of tenant {case_.tenant}" if case_.tenant else ""
            text = f"Support case {case_.reference}{whose} belongs to it."
            return _found(case_, case_.incident_id, FactKind.SUPPORT_CASE_LINKED, text, now)
        case _:
            return None


def fact_of_notify(subject: str, data: bytes, now: datetime) -> Found | None:
    """Return the fact that a message of NOTIFICATIONS tells; None if it tells none.

    ContractError when the bytes are not what the subject promises.
    """
    match subject:
        case ObligationIdentifiedV1.SUBJECT:
            return _identified(ObligationIdentifiedV1.from_json(data), now)
        case ObligationDecidedV1.SUBJECT:
            decided = ObligationDecidedV1.from_json(data)
            required = decided.decision == "required"
            is_ = "is required" if required else "is not required"
            text = f"{_name(decided)} {is_}, {decided.decided_by} decided: {decided.reason}."
            standing = Standing.TRIGGERED if required else Standing.NOT_REQUIRED
            return _obligation(decided, FactKind.OBLIGATION_DECIDED, standing, text, now)
        case ObligationMetV1.SUBJECT:
            met = ObligationMetV1.from_json(data)
            late = f", late: {met.late_reason}" if met.late_reason else ""
            reference = f" ({met.reference})" if met.reference else ""
            text = f"{_name(met)} was met at {rfc3339(met.met_at)}{reference}{late}."
            return _obligation(met, FactKind.OBLIGATION_MET, Standing.MET, text, now)
        case ObligationWaivedV1.SUBJECT:
            waived = ObligationWaivedV1.from_json(data)
            own = waived.approver == waived.owner
            text = f"{_name(waived)} was waived by {waived.approver}: {waived.reason}."
            if own:  # the approver is never the owner (I6), whoever says so
                text += " It stays open: owner and approver are one person."
            standing = Standing.TRIGGERED if own else Standing.WAIVED
            return _obligation(waived, FactKind.OBLIGATION_WAIVED, standing, text, now)
        case ObligationOverdueV1.SUBJECT:
            overdue = ObligationOverdueV1.from_json(data)
            text = f"{_name(overdue)} was due at {rfc3339(overdue.due_at)} and is not met."
            return _obligation(overdue, FactKind.OBLIGATION_OVERDUE, Standing.OVERDUE, text, now)
        case ObligationReopenedV1.SUBJECT:
            again = ObligationReopenedV1.from_json(data)
            text = (
                f"{_name(again)} is not met after all: {again.reason}."
                f" It had counted as met at {rfc3339(again.met_at)}."
            )
            return _obligation(again, FactKind.OBLIGATION_REOPENED, _owed_again(again), text, now)
        case NotificationSentV1.SUBJECT:
            return _sent(NotificationSentV1.from_json(data), now)
        case NotificationCorrectedV1.SUBJECT:
            corrected = NotificationCorrectedV1.from_json(data)
            text = f"The notice to tenant {corrected.tenant} was corrected: {corrected.reason}."
            kind = FactKind.NOTIFICATION_CORRECTED
            return _found(corrected, corrected.incident_id, kind, text, now)
        case NotificationUndeliverableV1.SUBJECT:
            missed = NotificationUndeliverableV1.from_json(data)
            text = f"Tenant {missed.tenant} could not be notified by {missed.channel}."
            kind = FactKind.NOTIFICATION_UNDELIVERABLE
            return _found(missed, missed.incident_id, kind, text, now)
        case _:
            return None


def _plain(message: Contract) -> dict[str, Any]:
    return message.model_dump(mode="json", exclude={"event_id", "occurred_at", "incident_id"})


def _found(
    message: Contract,
    incident_id: UUID,
    kind: FactKind,
    text: str,
    now: datetime,
    about: tuple[UUID, Standing] | None = None,
) -> Found:
    record = fact(kind, message.event_id, text, _plain(message), now, about)
    return message.event_id, incident_id, record


def _engagement(told: EngagementEvent, status: str, now: datetime) -> Found:
    who = told.person or told.team
    why = f": {told.reason}" if told.reason else ""
    text = f"{who} ({told.team_kind}): engagement {status}{why}."
    event_id, incident_id, record = _found(
        told, told.incident_id, FactKind.SME_ENGAGEMENT, text, now
    )
    with_status = fact(record.kind, event_id, text, {**record.data, "status": status}, now)
    return event_id, incident_id, with_status


def _name(owed: ObligationEvent | ObligationIdentifiedV1) -> str:
    whom = f"{owed.recipient} ({owed.tenant})" if owed.tenant else owed.recipient
    return f"{owed.regime} ({owed.phase}) to {whom}"


def _obligation(
    told: ObligationEvent, kind: FactKind, standing: Standing, text: str, now: datetime
) -> Found:
    return _found(told, told.incident_id, kind, text, now, (told.obligation_id, standing))


def _identified(owed: ObligationIdentifiedV1, now: datetime) -> Found:
    whom = f"{owed.recipient} ({owed.tenant})" if owed.tenant else owed.recipient
    text = f"{owed.regime} ({owed.phase}) owes {whom} a notice by {rfc3339(owed.due_at)}."
    # The message's id, not the obligation's: a revised deadline is a fact of its own.
    about = (owed.obligation_id, Standing(owed.state))
    return _found(owed, owed.incident_id, FactKind.OBLIGATION_IDENTIFIED, text, now, about)


def _owed_again(told: ObligationReopenedV1) -> Standing:
    if told.state in {Standing.NOT_REQUIRED, Standing.UNDECIDED}:
        return Standing(told.state)
    return Standing.OVERDUE if told.due_at <= told.occurred_at else Standing.TRIGGERED


def _sent(sent: NotificationSentV1, now: datetime) -> Found:
    # Who received it stays on notify's ledger: the log holds no contact's address (I10).
    text = f"Tenant {sent.tenant} was notified by {sent.channel} (attempt {sent.attempt})."
    data = {
        "notification_id": str(sent.notification_id),
        "tenant": sent.tenant,
        "channel": sent.channel,
        "attempt": sent.attempt,
        "sent_at": rfc3339(sent.sent_at),
    }
    record = fact(FactKind.NOTIFICATION_SENT, sent.notification_id, text, data, now)
    return sent.event_id, sent.incident_id, record
