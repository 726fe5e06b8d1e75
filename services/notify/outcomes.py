"""What came of attempts, recorded, with all that follows from it: many in one transaction."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notify import incidents, ledger
from services.notify.bounce_book import record, settle
from services.notify.bounces import Bounce, expired, refusal
from services.notify.channel import DeliveryError, Proof
from services.notify.completion import complete_lists
from services.notify.correction_text import REASONS
from services.notify.incidents import Incident
from services.notify.ledger import Lease, Outcome
from services.notify.met_by_notice import meet
from services.notify.obligations.book import ObligationBook
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.base import Contract
from shared.contracts.notify import NotificationCorrectedV1, NotificationSentV1
from shared.db import is_transient
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["Outcomes", "shown_recipient"]

_Errors = dict[tuple[UUID, int], Exception | None]


class Outcomes:
    """Writes outcomes to the ledger, a transaction for those of an incident."""

    def __init__(self, engine: AsyncEngine, clock: Clock, book: ObligationBook) -> None:
        self._engine, self._clock, self._book = engine, clock, book

    async def write(self, outcomes: Sequence[Outcome]) -> list[Exception | None]:
        """Record *outcomes*; return of each None, or the error for which it could not be."""
        of: dict[UUID, list[Outcome]] = defaultdict(list)
        for one in outcomes:
            of[one.lease.notification.incident_id].append(one)
        errors: _Errors = {}
        for incident_id, ones in of.items():
            errors |= await self._write(incident_id, ones)
        return [errors[one.key] for one in outcomes]

    async def _write(self, incident_id: UUID, outcomes: Sequence[Outcome]) -> _Errors:
        try:
            async with self._engine.begin() as connection:
                incident = await incidents.lock(connection, incident_id)
                await self._record(connection, incident, outcomes)
        except Exception as error:  # noqa: BLE001 - it is handed to those who wait
            if len(outcomes) == 1 or is_transient(error):
                return {one.key: error for one in outcomes}
        else:
            return {one.key: None for one in outcomes}
        # One of them cannot be recorded at all; the others must not suffer for it.
        found: _Errors = {}
        for one in outcomes:
            found |= await self._write(incident_id, [one])
        return found

    async def _record(
        self, connection: AsyncConnection, incident: Incident | None, outcomes: Sequence[Outcome]
    ) -> None:
        now = self._clock()
        ours = await ledger.finish(connection, outcomes, now)
        mine = [one for one in outcomes if one.key in ours]
        sent = [(one.lease, one.answer) for one in mine if isinstance(one.answer, Proof)]
        if sent:
            told = await self._told(connection, incident, sent, now)
            await enqueue(connection, [outgoing(c, source="notify") for c in told])
        # Last: a message to the alternates keeps nothing open that is done.
        for one in mine:
            await record(connection, _lost(one), now, self._book)
            if isinstance(one.answer, DeliveryError) and one.wait is None:
                await settle(connection, one.id, now, self._book)

    async def _told(
        self,
        connection: AsyncConnection,
        incident: Incident | None,
        sent: Sequence[tuple[Lease, Proof]],
        now: datetime,
    ) -> list[Contract]:
        """Return what others learn of messages that were taken, and of what that completes."""
        incident_id = sent[0][0].notification.incident_id
        told: list[Contract] = [_sent(lease, proof, now) for lease, proof in sent]
        done = await complete_lists(connection, incident_id, now)
        told += done
        last: dict[str, str] = {}
        for lease, _ in sent:
            one = lease.notification
            if lease.supersedes is not None:
                told.append(_corrected(lease, lease.supersedes, now))
            else:
                last[one.tenant] = f"{lease.channel} {one.id}"
        told += await meet(connection, incident_id, last, now)
        if incident is None:
            return told
        # The customers' own clocks start now.
        if done:
            return told + await self._book.evaluate(connection, incident, now)
        for tenant in sorted({le.notification.tenant for le, _ in sent if le.again}):
            told += await self._book.evaluate(connection, incident, now, tenant)
        return told


def _sent(lease: Lease, proof: Proof, at: datetime) -> NotificationSentV1:
    notification = lease.notification
    lost = {*notification.refused, *proof.refused}
    reached = [to for to in notification.recipients if to not in lost]
    return NotificationSentV1(
        event_id=derived_id("notification-sent", notification.id),
        occurred_at=at,
        notification_id=notification.id,
        incident_id=notification.incident_id,
        tenant=notification.tenant,
        channel=cast(Literal["email", "webhook"], lease.channel),
        recipient=", ".join(map(shown_recipient, reached)),
        attempt=lease.attempt,
        sent_at=at,
        proof=ledger.storable(proof.answer),
    )


def _lost(one: Outcome) -> list[Bounce]:
    """Return the recipients that this attempt was the last for."""
    lease, answer = one.lease, one.answer
    found = _refusals(lease, answer.refused)
    if isinstance(answer, Proof) or lease.channel != "email" or one.wait is not None:
        return found
    notification = lease.notification
    known = {
        *notification.accepted,
        *notification.refused,
        *answer.accepted,
        *answer.refused,
    }
    return found + [
        expired(notification.id, to, answer.recipients.get(to, answer.answer))
        for to in notification.recipients
        if to not in known
    ]


def _refusals(lease: Lease, refused: Mapping[str, str]) -> list[Bounce]:
    return [refusal(lease.notification.id, to, reply) for to, reply in refused.items()]


def _corrected(lease: Lease, supersedes: UUID, at: datetime) -> NotificationCorrectedV1:
    notification = lease.notification
    return NotificationCorrectedV1(
        event_id=derived_id("notification-corrected", notification.id),
        occurred_at=at,
        notification_id=notification.id,
        supersedes=supersedes,
        incident_id=notification.incident_id,
        tenant=notification.tenant,
        reason=REASONS[lease.why or "content"],
        sent_at=at,
    )


def shown_recipient(recipient: str) -> str:
    """Return *recipient* as it may be told to others: of a URL only where it leads.

    Some endpoints carry their key in the path.
    """
    scheme, separator, rest = recipient.partition("://")
    return f"{scheme}://{rest.split('/')[0].split('?')[0]}" if separator else recipient
