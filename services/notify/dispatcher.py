"""Reconciler: what is approved and due → its channel → the proof, recorded (§2.4, I8).

A crash between the remote's acceptance and our commit sends the same message again under the same
id: a receiver that knows ids sees it once, and a legal notice is never dropped. That window is
the one honest limit.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import Any, Literal, cast
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notify import incidents, ledger
from services.notify.bounce_book import record, settle
from services.notify.bounces import Bounce, expired, refusal
from services.notify.channel import Channel, DeliveryError, Proof
from services.notify.completion import complete_lists
from services.notify.correction_text import REASONS
from services.notify.ledger import Lease
from services.notify.met_by_notice import meet
from services.notify.obligations.book import ObligationBook
from services.notify.schedule import delay_after
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.base import Contract
from shared.contracts.notify import NotificationCorrectedV1, NotificationSentV1
from shared.db import is_transient
from shared.ids import derived_id, jitter
from shared.outbox import enqueue

__all__ = ["Dispatcher", "shown_recipient"]

log = structlog.get_logger()
_attempts = Counter("tocsin_notify_attempts_total", "Attempts to notify", ["channel", "outcome"])

_RECORD_DELAYS = (0.2, 1.0, 2.0)  # while the database is away
SEEN_THROUGH = 4.0  # seconds that a message on its way has when the service stops


class Dispatcher:
    """Sends one due notification at a time; run as many of it side by side as wanted."""

    def __init__(
        self,
        engine: AsyncEngine,
        channels: Mapping[str, Channel],
        clock: Clock,
        lease_seconds: float,
        book: ObligationBook,
        on_outgoing: Callable[[], None],
    ) -> None:
        self._engine, self._channels, self._clock = engine, channels, clock
        self._lease = timedelta(seconds=lease_seconds)
        self._book, self._on_outgoing = book, on_outgoing

    async def dispatch_once(self) -> int:
        """Send the notification that has been due for longest; return 0 when none is."""
        async with self._engine.begin() as connection:
            lease = await ledger.take(connection, self._clock(), self._lease)
        if lease is None:
            return 0
        await _see_through(self._attempt(lease))
        return 1

    async def _attempt(self, lease: Lease) -> None:
        try:
            outcome: Proof | DeliveryError = await self._channels[lease.channel].send(
                lease.notification
            )
        except DeliveryError as error:
            outcome = error
        except Exception as error:
            # A bug of ours is the tenant's loss unless it is treated like any other failure.
            log.exception("channel failed", notification=str(lease.notification.id))
            outcome = DeliveryError(f"{type(error).__name__}: {error}", retryable=True)
        if isinstance(outcome, Proof):
            proof = outcome
            await self._persist(lease, lambda: self._record_sent(lease, proof))
        else:
            failure = outcome
            await self._persist(lease, lambda: self._record_failed(lease, failure))

    async def _persist(self, lease: Lease, record: Callable[[], Awaitable[None]]) -> None:
        """Record the outcome, for as long as it is ours to record: what is not is sent again."""
        for delay in chain(_RECORD_DELAYS, repeat(_RECORD_DELAYS[-1])):
            try:
                await record()
            except Exception as error:
                end = self._clock() + timedelta(seconds=delay)
                if not is_transient(error) or end >= lease.until:
                    raise
            else:
                return
            await asyncio.sleep(delay)

    async def _record_sent(self, lease: Lease, proof: Proof) -> None:
        now = self._clock()
        async with self._engine.begin() as connection:
            incident = await incidents.lock(connection, lease.notification.incident_id)
            if await ledger.finish_sent(connection, lease, proof, now):
                done = await complete_lists(connection, lease.notification.incident_id, now)
                told: list[Contract] = [self._sent(lease, proof), *done]
                if lease.supersedes is not None:
                    told.append(_corrected(lease, lease.supersedes, now))
                else:
                    one = lease.notification
                    last = {one.tenant: f"{lease.channel} {one.id}"}
                    told += await meet(connection, one.incident_id, last, now)
                if done and incident is not None:  # the customers' own clocks start now
                    told += await self._book.evaluate(connection, incident, now)
                # Last: a message to the alternates keeps nothing open that is done.
                await record(connection, _refusals(lease, proof.refused), now, self._book)
                await enqueue(connection, [outgoing(c, source="notify") for c in told])
        _attempts.labels(lease.channel, "sent").inc()
        self._on_outgoing()

    def _sent(self, lease: Lease, proof: Proof) -> NotificationSentV1:
        notification = lease.notification
        at = self._clock()
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

    async def _record_failed(self, lease: Lease, error: DeliveryError) -> None:
        now = self._clock()
        wait = delay_after(lease.channel, lease.attempt) if error.retryable else None
        again = None
        if wait is not None:
            # Jitter may shorten our own schedule, never the time that the receiver asked for.
            seconds = max(jitter(wait.total_seconds()), error.retry_after or 0.0)
            again = now + timedelta(seconds=seconds)
        async with self._engine.begin() as connection:
            await incidents.lock(connection, lease.notification.incident_id)
            if await ledger.finish_failed(connection, lease, error, now, again):
                await record(connection, _lost(lease, error, final=again is None), now, self._book)
                if again is None:
                    await settle(connection, lease.notification.id, now, self._book)
        self._on_outgoing()
        _attempts.labels(lease.channel, "failed" if again is None else "retry").inc()
        log.warning(
            "not delivered",
            notification=str(lease.notification.id),
            channel=lease.channel,
            attempt=lease.attempt,
            answer=error.answer,
            again=again and again.isoformat(),
        )


def _refusals(lease: Lease, refused: Mapping[str, str]) -> list[Bounce]:
    return [refusal(lease.notification.id, to, reply) for to, reply in refused.items()]


def _lost(lease: Lease, error: DeliveryError, *, final: bool) -> list[Bounce]:
    """Return the recipients that this attempt was the last for."""
    found = _refusals(lease, error.refused)
    if lease.channel != "email" or not final:
        return found
    one = lease.notification
    known = {*one.accepted, *one.refused, *error.accepted, *error.refused}
    return found + [
        expired(one.id, to, error.recipients.get(to, error.answer))
        for to in one.recipients
        if to not in known
    ]


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


async def _see_through(work: Coroutine[Any, Any, None]) -> None:
    """Await *work*; when cancelled, let it end if it soon does: what is cut off is sent twice."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SEEN_THROUGH
        while not task.done() and (left := deadline - loop.time()) > 0:
            with contextlib.suppress(asyncio.CancelledError):  # whoever stops us says so again
                await asyncio.wait({task}, timeout=left)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
