"""Effectively once: the effect, its inbox row and its outgoing messages are one transaction.

Each service's schema holds ``inbox(consumer, event_id)`` and ``outbox``; `MESSAGING_SQL` makes them
in its first migration. Published rows stay for as long as their stream keeps messages, so a broker
that lost its data is filled again: its sequence numbers begin anew, which the relay notices.
"""

import json
import math
import time
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.bus import Bus
from shared.cloudevents import Outgoing

__all__ = ["MESSAGING_SQL", "MessageTooLargeError", "Relay", "enqueue", "first_time"]

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
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    stream_seq bigint
) WITH (fillfactor = 70);
CREATE INDEX outbox_waiting ON outbox (position) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;
"""

MAX_PAYLOAD = 1_000_000  # the server takes 1 MiB with its headers
PUBLISHING_SECONDS = 10.0  # the transaction must end before the session is taken for idle
LOOK_SECONDS = 30.0
KEPT = "8 days"  # a day more than the streams

log = structlog.get_logger()
_refilled = Counter("tocsin_outbox_refills_total", "Times a stream had lost its data", ["stream"])

_FIRST = text(
    "INSERT INTO inbox (consumer, event_id) VALUES (:consumer, :event_id) ON CONFLICT DO NOTHING"
)
_ENQUEUE = text(
    "INSERT INTO outbox (id, subject, headers, payload)"
    " VALUES (:id, :subject, :headers, :payload) ON CONFLICT (id) DO NOTHING"
)
# One relay at a time: two would take turns over parts of the outbox, and what follows on something
# would arrive before it.
_ALONE = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 0))")
_WAITING = text(
    "SELECT position, id, subject, headers, payload FROM outbox WHERE published_at IS NULL"
    " ORDER BY position LIMIT :n"
)
_PUBLISHED = text(
    "UPDATE outbox SET published_at = clock_timestamp(), stream_seq = :seq"
    " WHERE position = :position"
)
_NEWEST = text(
    "SELECT stream_seq FROM outbox WHERE published_at IS NOT NULL AND stream_seq IS NOT NULL"
    " ORDER BY published_at DESC LIMIT 1"
)
_AGAIN = text(
    "UPDATE outbox SET published_at = NULL, stream_seq = NULL WHERE published_at IS NOT NULL"
)
_PRUNE = text(f"DELETE FROM outbox WHERE published_at < now() - interval '{KEPT}'")  # noqa: S608


class MessageTooLargeError(Exception):
    """The broker would never take it; whoever made it has to make it smaller."""


async def first_time(connection: AsyncConnection, consumer: str, event_id: UUID) -> bool:
    """Mark *event_id* as handled by *consumer*; False if it already was (the caller then skips)."""
    done = await connection.execute(_FIRST, {"consumer": consumer, "event_id": event_id})
    return done.rowcount == 1


async def enqueue(connection: AsyncConnection, messages: Iterable[Outgoing]) -> None:
    """Write *messages* to the outbox, in order; a message with a known id is there already.

    Raises MessageTooLargeError, since such a message would hold up all behind it for ever.
    """
    rows = []
    for message in messages:
        if len(message.payload) > MAX_PAYLOAD:
            raise MessageTooLargeError(f"{message.subject}: {len(message.payload)} bytes")
        rows.append(
            {
                "id": UUID(message.id),
                "subject": message.subject,
                "headers": json.dumps(dict(message.headers)),
                "payload": message.payload,
            }
        )
    if rows:
        await connection.execute(_ENQUEUE, rows)


class Relay:
    """Publishes the outbox of one service to its stream."""

    def __init__(self, engine: AsyncEngine, bus: Bus, stream: str) -> None:
        self._engine, self._bus, self._stream = engine, bus, stream
        self._looked_at = -math.inf

    async def once(self, limit: int = 200) -> int:
        """Publish up to *limit* waiting messages in order; return how many it was.

        They are marked in a transaction that commits after the PubAcks, so a crash publishes again
        under the same id and never passes a message over. 0 while another instance is at it;
        BusUnavailableError leaves the rest waiting.
        """
        async with self._engine.begin() as connection:
            if not await connection.scalar(_ALONE, {"key": f"relay {self._stream}"}):
                return 0
            newest = await connection.scalar(_NEWEST) or 0
            rows = (await connection.execute(_WAITING, {"n": limit})).all()
            if not rows:
                await self._keep_house(connection, newest)
                return 0
            done = await self._publish(rows)
            await connection.execute(_PUBLISHED, done)
            fresh = [row["seq"] for row in done if row["seq"] is not None]
            if fresh and min(fresh) <= newest:
                await self._refill(connection)
        return len(done)

    async def _keep_house(self, connection: AsyncConnection, newest: int) -> None:
        """Now and then: forget what the stream has forgotten too, see that it has not lost more."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        if await self._bus.last_sequence(self._stream) < newest:
            await self._refill(connection)
        await connection.execute(_PRUNE)
        self._looked_at = time.monotonic()

    async def _refill(self, connection: AsyncConnection) -> None:
        # Numbers only rise, unless the stream was made anew: then it knows nothing of before.
        log.error("stream lost its data; publishing again", stream=self._stream)
        _refilled.labels(self._stream).inc()
        await connection.execute(_AGAIN)

    async def _publish(self, rows: Iterable[Any]) -> list[dict[str, int | None]]:
        done: list[dict[str, int | None]] = []
        begun = time.monotonic()
        for position, event_id, subject, headers, payload in rows:
            message = Outgoing(str(event_id), subject, bytes(payload), json.loads(headers))
            ack = await self._bus.publish(message, stream=self._stream)
            # A duplicate is what a crash left between a PubAck and our commit: its number is old.
            done.append({"position": position, "seq": None if ack.duplicate else ack.seq})
            if time.monotonic() - begun > PUBLISHING_SECONDS:
                break
        return done
