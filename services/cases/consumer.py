"""What escalate and notify tell becomes commands of the system, once for each message."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.cases.domain import commands as c
from services.cases.domain.errors import NotAllowed
from services.cases.domain.values import SYSTEM, Assessment, Contribution, Detection, Entity
from services.cases.domain.vocabulary import FactKind, Priority, Severity
from services.cases.handle import UnknownIncidentError, handle
from services.cases.numbers import next_number
from services.cases.store import EventStore, OverloadedError, VersionConflict
from shared.bus import Delivery, TransientError
from shared.clock import Clock, rfc3339
from shared.contracts.base import Contract
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.escalate import Assessment as ProposedAssessment
from shared.contracts.escalate import (
    EscalationRaisedV1,
    IncidentProposedV1,
    PriorityAssessment,
    ProposalExtendedV1,
    TeamPagedV1,
)
from shared.contracts.notify import (
    AffectedCustomersIdentifiedV1,
    CustomersNotifiedV1,
    NotificationSentV1,
    ObligationIdentifiedV1,
)
from shared.db import is_transient
from shared.ids import derived_id

__all__ = ["Consumer"]

log = structlog.get_logger()
_refused = Counter(
    "tocsin_cases_messages_refused_total",
    "Messages whose command a rule refused",
    ["subject", "code"],
)


class Consumer:
    """Handles the messages of both consumers; *noticed* is called after each commit."""

    def __init__(
        self, store: EventStore, clock: Clock, noticed: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._clock = clock
        self._noticed = noticed

    async def on_escalations(self, delivery: Delivery) -> None:
        """Handle a message of ESCALATIONS; subjects that mean nothing here are passed over."""
        match delivery.subject:
            case IncidentProposedV1.SUBJECT:
                await self._guarded(self._proposed(delivery))
            case ProposalExtendedV1.SUBJECT:
                extended = ProposalExtendedV1.from_json(delivery.data)
                command = c.AttachDetections(
                    actor=SYSTEM,
                    now=self._clock(),
                    detections=_detections(extended.detections, delivery.data),
                    count=extended.detection_count,
                )
                await self._guarded(self._do(extended, extended.incident_id, [command]))
            case EscalationRaisedV1.SUBJECT:
                raised = EscalationRaisedV1.from_json(delivery.data)
                escalate = c.EscalateIncident(
                    actor=SYSTEM,
                    now=self._clock(),
                    escalation_id=raised.escalation_id,
                    owning_team=raised.owning_team,
                )
                await self._guarded(self._do(raised, raised.incident_id, [escalate]))
            case TeamPagedV1.SUBJECT:
                paged = TeamPagedV1.from_json(delivery.data)
                fact = self._fact(
                    FactKind.TEAM_PAGED,
                    paged.page_id,
                    f"{paged.team} was paged by {paged.channel}: {paged.reason}.",
                    {"team": paged.team, "channel": paged.channel, "reason": paged.reason},
                )
                await self._guarded(self._do(paged, paged.incident_id, [fact]))
            case _:
                pass  # a message for others on a shared stream

    async def on_notifications(self, delivery: Delivery) -> None:
        """Handle a message of NOTIFICATIONS; subjects that mean nothing here are passed over."""
        match delivery.subject:
            case AffectedCustomersIdentifiedV1.SUBJECT:
                affected = AffectedCustomersIdentifiedV1.from_json(delivery.data)
                record = c.RecordAffectedCustomers(
                    actor=SYSTEM,
                    now=self._clock(),
                    list_id=affected.list_id,
                    version=affected.version,
                    inventory_version=affected.inventory_version,
                    confirmed=affected.confirmed,
                    probable=affected.probable,
                    possible=affected.possible,
                    tenants=tuple(affected.tenants),
                )
                await self._guarded(self._do(affected, affected.incident_id, [record]))
            case ObligationIdentifiedV1.SUBJECT:
                owed = ObligationIdentifiedV1.from_json(delivery.data)
                await self._guarded(self._do(owed, owed.incident_id, [self._obligation(owed)]))
            case NotificationSentV1.SUBJECT:
                sent = NotificationSentV1.from_json(delivery.data)
                await self._guarded(self._do(sent, sent.incident_id, [self._sent(sent)]))
            case CustomersNotifiedV1.SUBJECT:
                notified = CustomersNotifiedV1.from_json(delivery.data)
                complete = c.RecordCustomersNotified(
                    actor=SYSTEM,
                    now=self._clock(),
                    list_id=notified.list_id,
                    version=notified.version,
                    tenants=notified.tenants,
                    sent=notified.sent,
                    completed_at=notified.completed_at,
                )
                await self._guarded(self._do(notified, notified.incident_id, [complete]))
            case _:
                pass

    async def _proposed(self, delivery: Delivery) -> None:
        proposed = IncidentProposedV1.from_json(delivery.data)
        now = self._clock()
        detected = min((d.first_seen for d in proposed.detections), default=proposed.occurred_at)
        commands: list[c.Command] = [
            c.OpenIncident(
                actor=SYSTEM,
                now=now,
                number=await next_number(self._store, now),
                title=proposed.title,
                source_kind=proposed.source_kind,
                source_refs=(f"proposal:{proposed.event_id}",),
                reason=proposed.grouping.explanation,
                detected_at=detected,
                services=tuple(proposed.services),
                regions=tuple(proposed.regions),
            ),
            c.AttachDetections(
                actor=SYSTEM,
                now=now,
                detections=_detections(proposed.detections, delivery.data),
                count=proposed.detection_count,
            ),
            c.ProposeSeverity(actor=SYSTEM, now=now, assessment=_assessment(proposed.severity)),
            _priority(proposed.priority, now),
        ]
        await self._do(proposed, proposed.incident_id, commands, opens=True)

    def _fact(self, kind: FactKind, fact_id: UUID, text: str, data: dict[str, Any]) -> c.RecordFact:
        return c.RecordFact(
            actor=SYSTEM, now=self._clock(), fact_id=fact_id, kind=kind, text=text, data=data
        )

    def _obligation(self, owed: ObligationIdentifiedV1) -> c.RecordFact:
        whom = f"{owed.recipient} ({owed.tenant})" if owed.tenant else owed.recipient
        data = owed.model_dump(mode="json", exclude={"event_id", "occurred_at", "incident_id"})
        return self._fact(
            FactKind.OBLIGATION_IDENTIFIED,
            owed.obligation_id,
            f"{owed.regime} ({owed.phase}) owes {whom} a notice by {rfc3339(owed.due_at)}.",
            data,
        )

    def _sent(self, sent: NotificationSentV1) -> c.RecordFact:
        # Who received it stays on notify's ledger: the log holds no contact's address (I10).
        return self._fact(
            FactKind.NOTIFICATION_SENT,
            sent.notification_id,
            f"Tenant {sent.tenant} was notified by {sent.channel} (attempt {sent.attempt}).",
            {
                "tenant": sent.tenant,
                "channel": sent.channel,
                "attempt": sent.attempt,
                "sent_at": rfc3339(sent.sent_at),
            },
        )

    async def _do(
        self,
        message: Contract,
        incident_id: UUID,
        commands: Sequence[c.Command],
        *,
        opens: bool = False,
    ) -> None:
        """Do *commands*; a refusal is an outcome that is written down, never a reason to loop."""
        try:
            done = await handle(
                self._store,
                incident_id,
                commands,
                command_id=derived_id("command", message.event_id),
                digest=hashlib.sha256(f"{message.SUBJECT} {message.event_id}".encode()).hexdigest(),
                opens=opens,
                noticed=self._noticed,
            )
        except NotAllowed as refusal:
            _refused.labels(message.SUBJECT, refusal.code).inc()
            log.warning(
                "message refused by a rule",
                subject=message.SUBJECT,
                event_id=str(message.event_id),
                incident_id=str(incident_id),
                unmet=[u.code for u in refusal.unmet],
            )
        except UnknownIncidentError:
            _refused.labels(message.SUBJECT, "unknown_incident").inc()
            log.warning(
                "message about an unknown incident",
                subject=message.SUBJECT,
                event_id=str(message.event_id),
                incident_id=str(incident_id),
            )
        else:
            log.info(
                "message applied",
                subject=message.SUBJECT,
                incident_id=str(incident_id),
                events=len(done.events),
                replayed=done.replayed,
            )

    @staticmethod
    async def _guarded(work: Awaitable[None]) -> None:
        """Await *work*; TransientError when the world failed rather than the message."""
        try:
            await work
        except (VersionConflict, OverloadedError) as error:
            raise TransientError(str(error)) from error
        except Exception as error:
            if is_transient(error):
                raise TransientError(str(error)) from error
            raise


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
        contributions=tuple(
            Contribution(criterion=x.criterion, value=x.value, points=x.points, reason=x.reason)
            for x in proposed.contributions
        ),
        floors_applied=tuple(proposed.floors_applied),
        unknown_inputs=tuple(proposed.unknown_inputs),
        inputs=proposed.inputs,
        policy=proposed.policy,
        version=proposed.version,
        digest=proposed.digest,
    )


def _priority(proposed: PriorityAssessment, now: Any) -> c.ProposePriority:
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
