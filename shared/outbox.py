"""Effectively once: the effect, its inbox row and its outgoing messages are one transaction.

Each service's schema holds ``inbox(consumer, event_id)`` and ``outbox(id, subject, headers,
payload)``; `MESSAGING_SQL` makes them in its first migration.
"""

import json
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.bus import Bus
from shared.cloudevents import Outgoing

__all__ = ["MESSAGING_SQL", "enqueue", "first_time", "relay_once"]

MESSAGING_SQL = """
CREATE TABLE inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE TABLE outbox (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    subject text NOT NULL,
    headers text NOT NULL,
    payload bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
"""

_FIRST = text(
    "INSERT INTO inbox (consumer, event_id) VALUES (:consumer, :event_id) ON CONFLICT DO NOTHING"
)
_ENQUEUE = text(
    "INSERT INTO outbox (id, subject, headers, payload)"
    " VALUES (:id, :subject, :headers, :payload) ON CONFLICT (id) DO NOTHING"
)
_TAKE = text(
    "DELETE FROM outbox WHERE position IN"
    " (SELECT position FROM outbox ORDER BY position LIMIT :n FOR UPDATE SKIP LOCKED)"
    " RETURNING position, id, subject, headers, payload"
)


async def first_time(connection: AsyncConnection, consumer: str, event_id: UUID) -> bool:
    """Mark *event_id* as handled by *consumer*; False if it already was (the caller then skips)."""
    done = await connection.execute(_FIRST, {"consumer": consumer, "event_id": event_id})
    return done.rowcount == 1


async def enqueue(connection: AsyncConnection, messages: Iterable[Outgoing]) -> None:
    """Write *messages* to the outbox, in order; a message with a known id is there already."""
    rows = [
        {
            "id": UUID(message.id),
            "subject": message.subject,
            "headers": json.dumps(dict(message.headers)),
            "payload": message.payload,
        }
        for message in messages
    ]
    if rows:
        await connection.execute(_ENQUEUE, rows)


async def relay_once(engine: AsyncEngine, bus: Bus, stream: str, limit: int = 200) -> int:
    """Publish up to *limit* waiting messages in order; return how many.

    The rows are deleted in a transaction that commits after the PubAcks, so a crash publishes again
    under the same id and never passes a row over. BusUnavailableError leaves them all waiting.
    """
    async with engine.begin() as connection:
        rows = sorted((await connection.execute(_TAKE, {"n": limit})).all())
        for _, event_id, subject, headers, payload in rows:
            message = Outgoing(str(event_id), subject, bytes(payload), json.loads(headers))
            await bus.publish(message, stream=stream)
    return len(rows)
