"""Leases of notifications and the ledger of attempts: who sends what, and what came of it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.channel import DeliveryError, Notification, Proof

__all__ = ["Lease", "Outcome", "finish", "replay", "storable", "take", "try_again", "withdraw"]

# SKIP LOCKED: two instances never take the same row. A lease that ran out is taken anew, under a
# higher fence, so that the first holder, if it still lives, cannot write its outcome over ours.
_TAKE = text(
    """
    WITH due AS (
        SELECT notification_id FROM notifications
        WHERE ((state = 'pending' AND next_attempt_at <= :now)
            OR (state = 'sending' AND lease_until <= :now))
          -- Legal holds an incident's communication as a whole (I8).
          AND incident_id NOT IN (SELECT incident_id FROM incidents WHERE held)
          AND channel = ANY(:channels)
        ORDER BY next_attempt_at LIMIT :n FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE notifications SET state = 'sending', fence = fence + 1, attempt = attempt + 1,
            lease_until = :until
        FROM due WHERE notifications.notification_id = due.notification_id
        RETURNING notifications.*
    ), begun AS (
        INSERT INTO attempts (notification_id, fence, attempt, started_at)
        SELECT notification_id, fence, attempt, :now FROM taken
    )
    SELECT notification_id, incident_id, tenant, channel, recipients, content, created_at,
        accepted, fence, attempt, why, supersedes,
        round > 0 OR instead_of IS NOT NULL AS again,
        ARRAY(SELECT b.recipient FROM bounces b WHERE b.action = 'failed'
              AND b.notification_id = taken.notification_id AND b.round = taken.round) AS refused
    FROM taken ORDER BY next_attempt_at, notification_id
    """
)
# An outcome that was written and is written again (the commit's answer was lost) stays as it is.
_END = text(
    """
    UPDATE attempts a SET finished_at = :now, outcome = o.outcome, answer = o.answer,
        recipients = o.recipients
    FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[]), CAST(:outcomes AS text[]),
        CAST(:answers AS text[]), CAST(:recipients AS text[]))
        AS o (id, fence, outcome, answer, recipients)
    WHERE a.notification_id = o.id AND a.fence = o.fence AND a.finished_at IS NULL
    """
)
_SENT = text(
    """
    UPDATE notifications n SET state = 'sent', proof = o.answer, last_error = NULL,
        lease_until = NULL,
        -- A mail is sent again only after it came back: then it is now that the tenant is told.
        sent_at = CASE channel WHEN 'webhook' THEN coalesce(sent_at, :now) ELSE :now END
    FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[]), CAST(:answers AS text[]))
        AS o (id, fence, answer)
    WHERE n.notification_id = o.id AND n.fence = o.fence AND n.state = 'sending'
    RETURNING n.notification_id, n.fence
    """
)
_NOT_SENT = text(
    """
    UPDATE notifications n SET next_attempt_at = o.next, last_error = o.answer, lease_until = NULL,
        accepted = o.accepted, attempt = n.attempt - o.spared,
        -- A notice that was on its way when the verdict fell is not tried again.
        state = CASE WHEN n.kind = 'notice' AND EXISTS (SELECT 1 FROM incidents i
            WHERE i.incident_id = n.incident_id AND i.state IN ('dismissed', 'retracted'))
            THEN 'withdrawn' ELSE o.state END
    FROM unnest(CAST(:ids AS uuid[]), CAST(:fences AS bigint[]), CAST(:answers AS text[]),
        CAST(:states AS text[]), CAST(:nexts AS timestamptz[]), CAST(:accepted AS text[]),
        CAST(:spared AS integer[])) AS o (id, fence, answer, state, next, accepted, spared)
    WHERE n.notification_id = o.id AND n.fence = o.fence AND n.state = 'sending'
    RETURNING n.notification_id, n.fence
    """
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
    begun: datetime
    until: datetime
    why: str | None = None
    supersedes: UUID | None = None
    again: bool = False
    """After a message that did not reach the tenant: tried anew, or to its alternates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt; a failed one is repeated after ``wait`` (None: not by itself)."""

    lease: Lease
    answer: Proof | DeliveryError
    wait: timedelta | None = None

    @property
    def id(self) -> UUID:
        return self.lease.notification.id

    @property
    def key(self) -> tuple[UUID, int]:
        """Return what tells it from the outcomes of other attempts, of the same message too."""
        return self.id, self.lease.fence


async def take(
    connection: AsyncConnection,
    now: datetime,
    length: timedelta,
    *,
    channels: Collection[str],
    most: int,
) -> list[Lease]:
    """Return leases on up to *most* due notifications, their attempts begun in the ledger."""
    values = {"now": now, "until": now + length, "channels": list(channels), "n": most}
    rows = (await connection.execute(_TAKE, values)).all()
    return [_lease(row, now, now + length) for row in rows]


def _lease(row: Any, now: datetime, until: datetime) -> Lease:
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
        begun=now,
        until=until,
        why=row.why,
        supersedes=row.supersedes,
        again=row.again,
    )


async def finish(
    connection: AsyncConnection, outcomes: Sequence[Outcome], now: datetime
) -> set[tuple[UUID, int]]:
    """Record *outcomes*; return the keys of those whose message nobody holds a newer lease on.

    Of the others it is noted that they were overtaken.
    """
    sent = [one for one in outcomes if isinstance(one.answer, Proof)]
    failed = [one for one in outcomes if isinstance(one.answer, DeliveryError)]
    ours: set[tuple[UUID, int]] = set()
    if sent:
        rows = await connection.execute(_SENT, {**_columns(sent), "now": now})
        ours |= {(row.notification_id, row.fence) for row in rows}
    if failed:
        rows = await connection.execute(_NOT_SENT, {**_columns(failed), **_later(failed, now)})
        ours |= {(row.notification_id, row.fence) for row in rows}
    await connection.execute(
        _END,
        {
            **_columns(outcomes),
            "now": now,
            "outcomes": [_word(one) if one.key in ours else "overtaken" for one in outcomes],
            "recipients": [json.dumps(dict(one.answer.recipients)) for one in outcomes],
        },
    )
    return ours


def _columns(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "ids": [one.id for one in outcomes],
        "fences": [one.lease.fence for one in outcomes],
        "answers": [storable(one.answer.answer) for one in outcomes],
    }


def _later(failed: Sequence[Outcome], now: datetime) -> dict[str, Any]:
    accepted, spared = [], []
    for one in failed:
        error = one.answer
        if isinstance(error, DeliveryError):
            reached = {**one.lease.notification.accepted, **error.accepted}
            accepted.append(json.dumps(reached))
            spared.append(int(error.relay_down))
    return {
        "states": ["failed" if one.wait is None else "pending" for one in failed],
        "nexts": [now + (one.wait or timedelta()) for one in failed],
        "accepted": accepted,
        "spared": spared,
    }


def _word(one: Outcome) -> str:
    if isinstance(one.answer, Proof):
        return "sent"
    return "failed" if one.wait is None else "retry"


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
