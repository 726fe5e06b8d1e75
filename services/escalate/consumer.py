"""Messages in: each has its effect once, and is acknowledged after the commit of it."""

from collections import Counter
from collections.abc import Callable, Sequence

import prometheus_client
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.assembly import await_v_team
from services.escalate.erasure import erase
from services.escalate.gate import (
    heard_scope,
    heard_severity,
    on_escalated,
    on_opened,
    on_severity_set,
    widen,
)
from services.escalate.known import SCOPE, note_fact, note_industries, note_over
from services.escalate.once import once, transaction
from services.escalate.pages import end_chains
from services.escalate.proposal import Policies
from services.escalate.reassessment import names_of, note_set, on_scope, on_tenants
from services.escalate.silence import keep_gate
from services.escalate.store import close_group, seen_first
from services.escalate.support.follow import follow
from services.escalate.triage import triage
from shared.clock import Clock
from shared.consume import Delivery
from shared.contracts.cases import (
    EvidenceRecordedV1,
    IncidentClosedV1,
    IncidentDismissedV1,
    IncidentErasedV1,
    IncidentEscalatedV1,
    IncidentEvent,
    IncidentMergedV1,
    IncidentOpenedV1,
    IncidentReopenedV1,
    IncidentUnmergedV1,
    IncidentUpdatedV1,
    ScopeSetV1,
    SeveritySetV1,
    VTeamFormedV1,
)
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.notify import AffectedCustomersIdentifiedV1

__all__ = [
    "CASES_CONSUMER", "DETECTIONS_CONSUMER", "NOTIFICATIONS_CONSUMER", "CasesHandler",
    "CustomersHandler", "DetectionHandler",
]  # fmt: skip

DETECTIONS_CONSUMER = "escalate-detections"
CASES_CONSUMER = "escalate-cases"
NOTIFICATIONS_CONSUMER = "escalate-notifications"

# On an item of evidence, or on all of an incident.
HOLD_PLACED: dict[str, tuple[type[EvidenceRecordedV1 | IncidentUpdatedV1], str]] = {
    EvidenceRecordedV1.SUBJECT: (EvidenceRecordedV1, "EvidenceLegalHoldPlaced"),
    IncidentUpdatedV1.SUBJECT: (IncidentUpdatedV1, "LegalHoldPlaced"),
}

_detections = prometheus_client.Counter(
    "tocsin_escalate_detections_total", "Detections grouped", ["level"]
)
_UNDERSTOOD: dict[str, type[IncidentEvent]] = {
    contract.SUBJECT: contract
    for contract in (
        IncidentOpenedV1,
        SeveritySetV1,
        IncidentEscalatedV1,
        IncidentDismissedV1,
        IncidentErasedV1,
        IncidentClosedV1,
        IncidentReopenedV1,
        ScopeSetV1,
        IncidentMergedV1,
        IncidentUnmergedV1,
        VTeamFormedV1,
    )
}


class DetectionHandler:
    """Groups what detect raises (P1)."""

    def __init__(
        self,
        engine: AsyncEngine,
        policies: Callable[[], Policies],
        channel: str,
        clock: Clock,
        on_proposed: Callable[[], None],
        on_extended: Callable[[], None],
    ) -> None:
        self._engine, self._policies, self._channel = engine, policies, channel
        self._clock, self._on_proposed, self._on_extended = clock, on_proposed, on_extended

    async def __call__(self, deliveries: Sequence[Delivery]) -> None:
        """Handle messages in one transaction; one that is delivered again has no second effect."""
        # By the detection's own id: told twice under two event ids it is still one detection.
        found = {
            detection.detection_id: (detection, delivery.data)
            for delivery in deliveries
            if delivery.subject == DetectionRaisedV1.SUBJECT
            for detection in (DetectionRaisedV1.from_json(delivery.data),)
        }
        if not found:
            return
        async with transaction(self._engine) as connection:
            fresh = await seen_first(connection, DETECTIONS_CONSUMER, found)
            new = {identity: pair for identity, pair in found.items() if identity in fresh}
            if not new:
                return
            done = await triage(connection, new, self._policies(), self._channel, self._clock())
        for level, count in Counter(detection.level for detection, _ in new.values()).items():
            _detections.labels(level).inc(count)
        if done.verdicts:
            self._on_proposed()
        if done.grown:
            self._on_extended()


class CasesHandler:
    """Follows incidents: their severity opens the gate, their end closes their group (P2, P3)."""

    def __init__(
        self,
        engine: AsyncEngine,
        policies: Callable[[], Policies],
        channel: str,
        clock: Clock,
        on_outgoing: Callable[[], None],
    ) -> None:
        self._engine, self._policies, self._channel = engine, policies, channel
        self._clock, self._on_outgoing = clock, on_outgoing

    async def __call__(self, delivery: Delivery) -> None:
        """Handle one message; subjects that mean nothing to the gate are passed over."""
        contract = _UNDERSTOOD.get(delivery.subject)
        if contract is None:
            if delivery.subject in HOLD_PLACED:
                kind, name = HOLD_PLACED[delivery.subject]
                event_ = kind.from_json(delivery.data)
                if event_.event == name:
                    await self._on_hold(event_)
            return
        event = contract.from_json(delivery.data)
        async with once(self._engine, CASES_CONSUMER, event) as connection:
            if connection is None:
                return
            await self._apply(connection, event)
        self._on_outgoing()

    async def _on_hold(self, event: EvidenceRecordedV1 | IncidentUpdatedV1) -> None:
        """A legal hold engages legal (RT9); it stays known, since another one may be on."""
        async with once(self._engine, CASES_CONSUMER, event) as connection:
            if connection is None:
                return
            if await note_fact(connection, event.incident_id, "legal_hold", True):
                await widen(
                    connection, event.incident_id, self._policies(), self._channel, self._clock()
                )
        self._on_outgoing()

    async def _apply(self, connection: AsyncConnection, event: IncidentEvent) -> None:
        now, policies = self._clock(), self._policies()
        incident, channel = event.incident_id, self._channel
        await follow(connection, event, now)
        await keep_gate(connection, event, now)
        await await_v_team(connection, event, now)
        match event:
            case IncidentOpenedV1():
                await on_opened(connection, event)
            case SeveritySetV1():
                if await heard_severity(connection, event):
                    await note_set(connection, event, policies)
                    await on_severity_set(connection, event, policies, channel, now)
            case ScopeSetV1():
                if await heard_scope(connection, event):
                    await on_scope(connection, event, policies, now)
                    await note_fact(connection, incident, SCOPE, names_of(event.scope))
                    await widen(connection, incident, policies, channel, now)
            case IncidentEscalatedV1():
                await on_escalated(connection, event, policies, channel, now)
            case IncidentDismissedV1() | IncidentClosedV1():
                await close_group(connection, incident, now)
                await note_over(connection, incident, over=True)
                await end_chains(connection, incident, "incident over", now)
            case IncidentErasedV1():
                await erase(connection, event, now)
            case VTeamFormedV1():
                pass  # it was only waited for
            case IncidentReopenedV1():  # its group stays closed: what comes now is new
                await note_over(connection, incident, over=False)
            case IncidentMergedV1():
                await note_over(connection, incident, over=True)
            case IncidentUnmergedV1():
                await note_over(connection, incident, over=False)
            case _:
                raise AssertionError(f"{event.SUBJECT} is in _UNDERSTOOD without a case")


class CustomersHandler:
    """Follows whom an incident affects: how many is a criterion of its severity (§2.1), of which
    industries one of routing (RT8)."""

    def __init__(
        self,
        engine: AsyncEngine,
        policies: Callable[[], Policies],
        channel: str,
        clock: Clock,
        on_outgoing: Callable[[], None],
    ) -> None:
        self._engine, self._policies, self._channel = engine, policies, channel
        self._clock, self._on_outgoing = clock, on_outgoing

    async def __call__(self, delivery: Delivery) -> None:
        """Handle one message; one that is delivered again has no second effect."""
        if delivery.subject != AffectedCustomersIdentifiedV1.SUBJECT:
            return
        event = AffectedCustomersIdentifiedV1.from_json(delivery.data)
        async with once(self._engine, NOTIFICATIONS_CONSUMER, event) as connection:
            if connection is None:
                return
            now, policies = self._clock(), self._policies()
            await on_tenants(connection, event, policies, now)
            industries = policies.directory.industries_of(event.tenants)
            if await note_industries(connection, event.incident_id, industries):
                await widen(connection, event.incident_id, policies, self._channel, now)
        self._on_outgoing()
