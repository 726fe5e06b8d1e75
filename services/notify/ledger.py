"""Leases of notifications and the ledger of attempts: who sends what, and what came of it."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.channel import DeliveryError, Notification, Proof

__all__ = ["Lease", "finish_failed", "finish_sent", "replay", "take", "try_again", "withdraw"]

# SKIP LOCKED: two instances never take the same row. A lease that ran out is taken anew, under a
# higher fence, so that the first holder, if it still lives, cannot write its outcome over ours.
_TAKE = text(
    """
    UPDATE notifications SET state = 'sending', fence = fence + 1, attempt = attempt + 1,
        lease_until = :until
    WHERE notification_id = (
        SELECT notification_id FROM notifications
        WHERE ((state = 'pending' AND next_attempt_at <= :now)
            OR (state = 'sending' AND lease_until <= :now))
          -- Legal holds an incident's communication as a whole (I8).
          AND incident_id NOT IN (SELECT incident_id FROM incidents WHERE held)
        ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING notification_id, incident_id, tenant, channel, recipients, content, created_at,
        accepted, fence, attempt, why, supersedes,
        ARRAY(SELECT b.recipient FROM bounces b WHERE b.action = 'failed'
              AND b.notification_id = notifications.notification_id
              AND b.round = notifications.round) AS refused
    """
)
_BEGIN = text(
    "INSERT INTO attempts (notification_id, fence, attempt, started_at)"
    " VALUES (:id, :fence, :attempt, :now)"
)
_END = text(
    "UPDATE attempts SET finished_at = :now, outcome = :outcome, answer = :answer,"
    " recipients = :recipients WHERE notification_id = :id AND fence = :fence"
)
_SENT = text(
    # A mail is sent again only after it came back: then it is now that the tenant is told.
    "UPDATE notifications SET state = 'sent', proof = :answer, sent_at ="
    " CASE channel WHEN 'webhook' THEN coalesce(sent_at, :now) ELSE :now END,"
    " last_error = NULL, lease_until = NULL WHERE notification_id = :id"
    " AND fence = :fence AND state = 'sending'"
)
_NOT_SENT = text(
    # A notice that was on its way when the verdict fell is not tried again.
    "UPDATE notifications SET state = CASE WHEN kind = 'notice' AND EXISTS (SELECT 1 FROM incidents"
    " i WHERE i.incident_id = notifications.incident_id AND i.state IN ('dismissed', 'retracted'))"
    " THEN 'withdrawn' ELSE :state END, next_attempt_at = :next, last_error = :answer,"
    " lease_until = NULL, accepted = :accepted"
    " WHERE notification_id = :id AND fence = :fence AND state = 'sending'"
)
# A new round: what was refused or came back is asked again; what was only deferred was accepted.
_AGAIN = text(
    "UPDATE notifications SET round = round + 1, attempt = 0, next_attempt_at = :now,"
    " accepted = CASE state WHEN 'bounced' THEN '{}' ELSE accepted END, state = 'pending',"
    " undeliverable_at = NULL"
    " WHERE notification_id = :id AND state IN ('failed', 'bounced')"
    " AND text_erased_at IS NULL"
    " RETURNING instead_of"
)
_HOPE = text("UPDATE notifications SET undeliverable_at = NULL WHERE notification_id = :id")

_REPLAY = text(
    "UPDATE notifications SET state = 'pending', attempt = 0, next_attempt_at = :now"
    " WHERE notification_id = :id AND state = 'sent' AND channel = 'webhook'"
    " AND text_erased_at IS NULL"
)
_WITHDRAW = text(
    "UPDATE notifications SET state = 'withdrawn' WHERE incident_id = :incident"
    " AND kind = 'notice' AND state IN ('pending', 'failed') AND sent_at IS NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to send one notification for a while; void once the row's fence is higher."""

    notification: Notification
    channel: str
    fence: int
    attempt: int
    until: datetime
    why: str | None = None
    supersedes: UUID | None = None


async def take(connection: AsyncConnection, now: datetime, length: timedelta) -> Lease | None:
    """Return a lease on one due notification, with its attempt begun in the ledger; or None."""
    until = now + length
    row = (await connection.execute(_TAKE, {"now": now, "until": until})).one_or_none()
    if row is None:
        return None
    await connection.execute(
        _BEGIN,
        {"id": row.notification_id, "fence": row.fence, "attempt": row.attempt, "now": now},
    )
    recipients, content = json.loads(row.recipients), json.loads(row.content)
    notification = Notification(
        id=row.notification_id,
        incident_id=row.incident_id,
        tenant=row.tenant,
        recipients=recipients["to"],
        secret_ref=recipients["secret_ref"],
        subject=content["subject"],
        text=content["text"],
        body=content["body"],
        created_at=row.created_at,
        accepted=json.loads(row.accepted),
        refused=frozenset(row.refused),
    )
    return Lease(
        notification=notification,
        channel=row.channel,
        fence=row.fence,
        attempt=row.attempt,
        until=until,
        why=row.why,
        supersedes=row.supersedes,
    )


async def finish_sent(
    connection: AsyncConnection, lease: Lease, proof: Proof, now: datetime
) -> bool:
    """Record that it was sent; False (and noted) when somebody else holds a newer lease."""
    values = _values(lease, proof.answer, now)
    done = await connection.execute(_SENT, values)
    ours = done.rowcount == 1
    outcome = "sent" if ours else "overtaken"
    await _end(connection, values, outcome, proof.recipients)
    return ours


async def finish_failed(
    connection: AsyncConnection,
    lease: Lease,
    error: DeliveryError,
    now: datetime,
    next_attempt_at: datetime | None,
) -> bool:
    """Record why it was not sent, and when it is tried again (None: not by itself)."""
    accepted = {**lease.notification.accepted, **error.accepted}
    values = _values(lease, error.answer, now)
    state = "failed" if next_attempt_at is None else "pending"
    done = await connection.execute(
        _NOT_SENT,
        {
            **values,
            "state": state,
            "next": next_attempt_at or now,
            "accepted": json.dumps(accepted),
        },
    )
    ours = done.rowcount == 1
    outcome = ("failed" if next_attempt_at is None else "retry") if ours else "overtaken"
    await _end(connection, values, outcome, error.recipients)
    return ours


async def try_again(connection: AsyncConnection, notification_id: UUID, now: datetime) -> bool:
    """Give what failed or came back a new schedule, under its same id; False if it has not."""
    values = {"id": notification_id, "now": now}
    again = (await connection.execute(_AGAIN, values)).one_or_none()
    if again is not None and again.instead_of is not None:
        await connection.execute(_HOPE, {"id": again.instead_of})
    return again is not None


async def replay(connection: AsyncConnection, notification_id: UUID, now: datetime) -> bool:
    """Post a webhook that was sent once more, under its same id; False if it is none such."""
    done = await connection.execute(_REPLAY, {"id": notification_id, "now": now})
    return done.rowcount == 1


async def withdraw(connection: AsyncConnection, incident_id: UUID) -> int:
    """Take back the notices of an incident that have not left; return how many."""
    return (await connection.execute(_WITHDRAW, {"incident": incident_id})).rowcount


def storable(answer: str) -> str:
    """Return what a remote answered as text that can be stored: no NUL, no half surrogates."""
    return answer.encode("utf-8", "replace").decode().replace("\x00", " ")


def _values(lease: Lease, answer: str, now: datetime) -> dict[str, Any]:
    words = storable(answer)
    return {"id": lease.notification.id, "fence": lease.fence, "answer": words, "now": now}


async def _end(
    connection: AsyncConnection, values: dict[str, Any], outcome: str, recipients: Any
) -> None:
    document = json.dumps(dict(recipients))
    await connection.execute(_END, {**values, "outcome": outcome, "recipients": document})
