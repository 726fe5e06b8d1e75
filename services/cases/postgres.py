"""The log in PostgreSQL: one call of `append` is one transaction under the head row's lock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.codec import decode
from services.cases.domain.events import Event
from services.cases.evidence.codec import EVIDENCE_TYPES, decode_evidence, encode_any
from services.cases.evidence.domain.events import EvidenceEvent
from services.cases.store import (
    Appended,
    CommandReusedError,
    EvidenceHistory,
    History,
    OverloadedError,
    Recorded,
    RecordedEvidence,
    VersionConflict,
)
from shared.ids import uuid7

__all__ = ["COLUMNS", "PostgresStore", "recorded"]

MAX_WAITING = 64
COLUMNS = "position, stream_id, version, event_id, type, schema, data, recorded_at"
PAGE = 500

_APPEND = "SELECT * FROM append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_FIND = (
    "SELECT digest, stream_id, first_version, last_version, last_position"
    " FROM commands WHERE command_id = $1"
)
_TYPES = (
    "SELECT type FROM events WHERE stream_id = $1 AND version BETWEEN $2 AND $3 ORDER BY version"
)
_READ = "SELECT version, type, schema, data FROM events WHERE stream_id = $1 ORDER BY version"
_AFTER = f"SELECT {COLUMNS} FROM events WHERE position > $1 ORDER BY position LIMIT $2"  # noqa: S608 - constants only
_STREAM = (
    f"SELECT {COLUMNS} FROM events WHERE stream_id = $1 AND version > $2"  # noqa: S608 - constants only
    " ORDER BY version LIMIT $3"
)
_NUMBER = (
    "INSERT INTO incident_numbers (year, last) VALUES ($1, 1)"
    " ON CONFLICT (year) DO UPDATE SET last = incident_numbers.last + 1 RETURNING last"
)

T = TypeVar("T")


def recorded(row: Any) -> Recorded | RecordedEvidence:
    """Return the event in a row of COLUMNS; its type says of which aggregate it is."""
    place = {
        name: row[name]
        for name in ("position", "stream_id", "version", "event_id", "type", "recorded_at")
    }
    stored = (row["type"], row["schema"], row["data"])
    if row["type"] in EVIDENCE_TYPES:
        return RecordedEvidence(**place, event=decode_evidence(*stored))
    return Recorded(**place, event=decode(*stored))


class PostgresStore:
    """The event store of production."""

    def __init__(self, engine: AsyncEngine, max_waiting: int = MAX_WAITING) -> None:
        self._engine = engine
        self._max_waiting = max_waiting
        self._waiting = 0

    @asynccontextmanager
    async def _driver(self) -> AsyncIterator[Any]:
        """Yield asyncpg's own connection, where each statement is its own transaction."""
        async with self._engine.connect() as connection:
            yield (await connection.get_raw_connection()).driver_connection

    async def _ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        async with self._driver() as driver:
            return await question(driver)

    async def read(self, stream_id: UUID) -> History:
        rows = await self._ask(lambda d: d.fetch(_READ, stream_id))
        if rows and rows[0]["type"] in EVIDENCE_TYPES:  # an id of another aggregate is no incident
            return History((), 0)
        events = tuple(decode(r["type"], r["schema"], r["data"]) for r in rows)
        return History(events, rows[-1]["version"] if rows else 0)

    async def read_evidence(self, stream_id: UUID) -> EvidenceHistory:
        rows = await self._ask(lambda d: d.fetch(_READ, stream_id))
        if rows and rows[0]["type"] not in EVIDENCE_TYPES:
            return EvidenceHistory((), 0)
        events = tuple(decode_evidence(r["type"], r["schema"], r["data"]) for r in rows)
        return EvidenceHistory(events, rows[-1]["version"] if rows else 0)

    async def find(self, command_id: UUID, digest: str) -> Appended | None:
        row = await self._ask(lambda d: d.fetchrow(_FIND, command_id))
        if row is None:
            return None
        if row["digest"] != digest:
            raise CommandReusedError(str(command_id))
        return Appended(
            stream_id=row["stream_id"],
            first_version=row["first_version"],
            last_version=row["last_version"],
            last_position=row["last_position"],
            replayed=True,
        )

    async def append(
        self,
        stream_id: UUID,
        events: Sequence[Event | EvidenceEvent],
        *,
        expected: int,
        command_id: UUID,
        digest: str,
    ) -> Appended:
        if self._waiting >= self._max_waiting:
            raise OverloadedError(f"{self._waiting} appends wait for the log")
        self._waiting += 1
        # A caller who goes away must not leave a COMMIT half asked (delivery reference §3.2).
        return await asyncio.shield(self._counted(stream_id, events, expected, command_id, digest))

    async def _counted(
        self,
        stream_id: UUID,
        events: Sequence[Event | EvidenceEvent],
        expected: int,
        command_id: UUID,
        digest: str,
    ) -> Appended:
        """Append; say in the port's words what the function refused."""
        try:
            return await self._append(stream_id, events, expected, command_id, digest)
        except asyncpg.PostgresError as error:
            if error.sqlstate == "TC001":
                raise VersionConflict(int(getattr(error, "detail", None) or 0)) from error
            if error.sqlstate == "TC002":
                raise CommandReusedError(str(command_id)) from error
            raise
        finally:
            self._waiting -= 1

    async def _append(
        self,
        stream_id: UUID,
        events: Sequence[Event | EvidenceEvent],
        expected: int,
        command_id: UUID,
        digest: str,
    ) -> Appended:
        encoded = [encode_any(event) for event in events]
        arguments = (
            stream_id,
            expected,
            command_id,
            digest,
            [uuid7() for _ in events],
            [x.type for x in encoded],
            [x.schema for x in encoded],
            [x.data for x in encoded],
            [event.actor.id for event in events],
            [event.at for event in events],
        )
        row = await self._ask(lambda d: d.fetchrow(_APPEND, *arguments))
        return Appended(
            stream_id=stream_id,
            first_version=row["first_version"],
            last_version=row["last_version"],
            last_position=row["last_position"],
            replayed=row["replayed"],
        )

    async def types(self, stream_id: UUID, first: int, last: int) -> tuple[str, ...]:
        rows = await self._ask(lambda d: d.fetch(_TYPES, stream_id, first, last))
        return tuple(row["type"] for row in rows)

    async def after(self, position: int, limit: int) -> Sequence[Recorded | RecordedEvidence]:
        rows = await self._ask(lambda d: d.fetch(_AFTER, position, limit))
        return [recorded(row) for row in rows]

    async def stream_after(
        self, stream_id: UUID, version: int, limit: int
    ) -> Sequence[Recorded | RecordedEvidence]:
        rows = await self._ask(lambda d: d.fetch(_STREAM, stream_id, version, limit))
        return [recorded(row) for row in rows]

    async def draw_number(self, year: int) -> int:
        number: int = await self._ask(lambda d: d.fetchval(_NUMBER, year))
        return number
