"""Pure: what escalate and notify tell, as commands of the system, or of whoever answered a page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.cases.domain import commands as c
from services.cases.domain.values import SYSTEM, Actor, Assessment, Contribution, Detection, Entity
from services.cases.domain.vocabulary import FactKind, Priority, Severity
from services.cases.translate_facts import fact, fact_of_escalate, fact_of_notify
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.escalate import Assessment as ProposedAssessment
from shared.contracts.escalate import (
    EscalationRaisedV1,
    IncidentProposedV1,
    PriorityAssessment,
    ProposalExtendedV1,
    SeverityChosenV1,
    SeverityProposedV1,
    TeamPagedV1,
)
from shared.contracts.notify import AffectedCustomersIdentifiedV1, CustomersNotifiedV1

__all__ = ["Told", "from_escalations", "from_notifications"]


@dataclass(frozen=True, slots=True)
class Told:
    """What one message asks for; ``opens``: the incident need not exist yet."""

    event_id: UUID
    incident_id: UUID
    commands: Sequence[c.Command]
    opens: bool = False


def from_escalations(subject: str, data: bytes, now: datetime) -> Told | None:
    """Return what a message of ESCALATIONS asks for; None if it is not for cases.

    ContractError when the bytes are not what the subject promises.
    """
    match subject:
        case IncidentProposedV1.SUBJECT:
            return _proposed(IncidentProposedV1.from_json(data), data, now)
        case ProposalExtendedV1.SUBJECT:
            extended = ProposalExtendedV1.from_json(data)
            attach = c.AttachDetections(
                actor=SYSTEM,
                now=now,
                detections=_detections(extended.detections, data),
                count=extended.detection_count,
            )
            return Told(extended.event_id, extended.incident_id, [attach])
        case SeverityProposedV1.SUBJECT:
            anew = SeverityProposedV1.from_json(data)
            propose = c.ProposeSeverity(
                actor=SYSTEM, now=now, assessment=_assessment(anew.severity), reason=anew.reason
            )
            return Told(anew.event_id, anew.incident_id, [propose])
        case SeverityChosenV1.SUBJECT:
            chosen = SeverityChosenV1.from_json(data)
            given = c.SetSeverity(
                actor=Actor(id=chosen.person, roles=(chosen.role,)),
                now=now,
                level=Severity(chosen.level),
                reason=chosen.reason,
                inputs={},
            )
            return Told(chosen.event_id, chosen.incident_id, [given])
        case EscalationRaisedV1.SUBJECT:
            raised = EscalationRaisedV1.from_json(data)
            escalate = c.EscalateIncident(
                actor=SYSTEM,
                now=now,
                escalation_id=raised.escalation_id,
                owning_team=raised.owning_team,
            )
            return Told(raised.event_id, raised.incident_id, [escalate])
        case TeamPagedV1.SUBJECT:
            paged = TeamPagedV1.from_json(data)
            text = f"{paged.team} was paged by {paged.channel}: {paged.reason}."
            facts = {
                "page_id": str(paged.page_id),
                "team": paged.team,
                "channel": paged.channel,
                "reason": paged.reason,
            }
            page = fact(FactKind.TEAM_PAGED, paged.page_id, text, facts, now)
            return Told(paged.event_id, paged.incident_id, [page])
        case _:
            return _told(fact_of_escalate(subject, data, now))


def from_notifications(subject: str, data: bytes, now: datetime) -> Told | None:
    """Return what a message of NOTIFICATIONS asks for; None if it is not for cases.

    ContractError when the bytes are not what the subject promises.
    """
    match subject:
        case AffectedCustomersIdentifiedV1.SUBJECT:
            affected = AffectedCustomersIdentifiedV1.from_json(data)
            record = c.RecordAffectedCustomers(
                actor=SYSTEM,
                now=now,
                list_id=affected.list_id,
                version=affected.version,
                inventory_version=affected.inventory_version,
                confirmed=affected.confirmed,
                probable=affected.probable,
                possible=affected.possible,
                tenants=tuple(affected.tenants),
            )
            return Told(affected.event_id, affected.incident_id, [record])
        case CustomersNotifiedV1.SUBJECT:
            notified = CustomersNotifiedV1.from_json(data)
            complete = c.RecordCustomersNotified(
                actor=SYSTEM,
                now=now,
                list_id=notified.list_id,
                version=notified.version,
                tenants=notified.tenants,
                sent=notified.sent,
                completed_at=notified.completed_at,
            )
            return Told(notified.event_id, notified.incident_id, [complete])
        case _:
            return _told(fact_of_notify(subject, data, now))


def _told(found: tuple[UUID, UUID, c.RecordFact] | None) -> Told | None:
    if found is None:
        return None
    event_id, incident_id, record = found
    return Told(event_id, incident_id, [record])


def _proposed(proposed: IncidentProposedV1, data: bytes, now: datetime) -> Told:
    commands: list[c.Command] = [
        c.OpenIncident(
            actor=SYSTEM,
            now=now,
            number="",  # drawn by the consumer
            title=proposed.title,
            source_kind=proposed.reported_as or proposed.source_kind,
            source_refs=(f"proposal:{proposed.event_id}",),
            reason=proposed.grouping.explanation,
            detected_at=min(
                (d.first_seen for d in proposed.detections), default=proposed.occurred_at
            ),
            services=tuple(proposed.services),
            regions=tuple(proposed.regions),
        ),
        c.AttachDetections(
            actor=SYSTEM,
            now=now,
            detections=_detections(proposed.detections, data),
            count=proposed.detection_count,
        ),
        c.ProposeSeverity(actor=SYSTEM, now=now, assessment=_assessment(proposed.severity)),
        _priority(proposed.priority, now),
    ]
    return Told(proposed.event_id, proposed.incident_id, commands, opens=True)


def _detections(detections: Sequence[DetectionRaisedV1], data: bytes) -> tuple[Detection, ...]:
    """Return *detections*, each with its part of the message *data* verbatim (R29)."""
    verbatim = json.loads(data)["detections"]
    return tuple(
        Detection(
            detection_id=d.detection_id,
            rule_id=d.rule_id,
            entities=tuple(Entity(type=x.type, value=x.value) for x in d.entities),
            content=content,
        )
        for d, content in zip(detections, verbatim, strict=True)
    )


def _assessment(proposed: ProposedAssessment) -> Assessment:
    return Assessment(
        level=Severity(proposed.level),
        points=proposed.points,
        contributions=tuple(Contribution(**x.model_dump()) for x in proposed.contributions),
        floors_applied=tuple(proposed.floors_applied),
        unknown_inputs=tuple(proposed.unknown_inputs),
        inputs=proposed.inputs,
        policy=proposed.policy,
        version=proposed.version,
        digest=proposed.digest,
    )


def _priority(proposed: PriorityAssessment, now: datetime) -> c.ProposePriority:
    return c.ProposePriority(
        actor=SYSTEM,
        now=now,
        priority=Priority(proposed.priority),
        functional=proposed.functional,
        informational=proposed.informational,
        recoverability=proposed.recoverability,
        reason=proposed.reason,
        policy=proposed.policy,
        version=proposed.version,
    )
