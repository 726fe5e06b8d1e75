"""What the read side asks of PostgreSQL: views, and for auditors the log as it is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.views import Document

__all__ = ["Queries", "Row"]

_LIST = text("""
    SELECT opened_position, summary FROM incidents
    WHERE opened_position < :before
      AND (cast(:states AS text[]) IS NULL OR state = ANY(:states))
      AND (cast(:severities AS text[]) IS NULL OR severity = ANY(:severities))
    ORDER BY opened_position DESC LIMIT :limit
""")
_ONE = text("SELECT version, document FROM incidents WHERE incident_id = :id")
_TIMELINE = text("""
    SELECT version, entry FROM timeline
    WHERE incident_id = :id AND version > :after ORDER BY version LIMIT :limit
""")
_FEED = text("""
    SELECT position, entry FROM timeline
    WHERE position > :after AND (cast(:id AS uuid) IS NULL OR incident_id = :id)
    ORDER BY position LIMIT :limit
""")
_PROJECTED = text("SELECT position FROM projections WHERE name = 'incidents'")
_RAW = (
    "SELECT position, stream_id, version, event_id, type, schema, data, actor, occurred_at,"
    " recorded_at, command_id FROM events"
)
_LEAF = text("SELECT hash FROM leaves WHERE position = :position")
_LOG = text(f"{_RAW} WHERE position > :after ORDER BY position LIMIT :limit")
_STREAM = text(f"{_RAW} WHERE stream_id = :id AND version > :after ORDER BY version LIMIT :limit")

LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """A document with the number that orders it."""

    key: int
    document: Document


def _raw(row: Any) -> Document:
    """Return an event of the log as it is stored, its data not interpreted."""
    fields = dict(row._mapping)
    fields["data"] = orjson.loads(fields["data"])
    fields["incident_id"] = fields.pop("stream_id")
    return fields


class Queries:
    """Reads; never writes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def _rows(self, statement: Any, **values: Any) -> Sequence[Any]:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement, values)).all()

    async def incidents(
        self,
        *,
        states: Sequence[str] | None,
        severities: Sequence[str] | None,
        before: int | None,
        limit: int,
    ) -> list[Row]:
        """Return the newest incidents opened before a position."""
        rows = await self._rows(
            _LIST,
            states=list(states) if states else None,
            severities=list(severities) if severities else None,
            before=before or LAST,
            limit=limit,
        )
        return [Row(r.opened_position, orjson.loads(r.summary)) for r in rows]

    async def incident(self, incident_id: UUID) -> Document | None:
        """Return the incident in full, if it is known."""
        rows = await self._rows(_ONE, id=incident_id)
        document: Document | None = orjson.loads(rows[0].document) if rows else None
        return document

    async def timeline(self, incident_id: UUID, after: int, limit: int) -> list[Row]:
        """Return timeline entries of one incident beyond a version."""
        rows = await self._rows(_TIMELINE, id=incident_id, after=after, limit=limit)
        return [Row(r.version, orjson.loads(r.entry)) for r in rows]

    async def feed(self, after: int, incident_id: UUID | None, limit: int) -> list[Row]:
        """Return timeline entries of all incidents, or of one, beyond a position."""
        rows = await self._rows(_FEED, id=incident_id, after=after, limit=limit)
        return [Row(r.position, orjson.loads(r.entry)) for r in rows]

    async def projected(self) -> int:
        """Return the position that the views have reached."""
        return int((await self._rows(_PROJECTED))[0].position)

    async def log(self, after: int, limit: int) -> list[Document]:
        """Return events of the log beyond a position."""
        return [_raw(r) for r in await self._rows(_LOG, after=after, limit=limit)]

    async def leaf(self, position: int) -> bytes:
        """Return the leaf hash of the event at *position*; empty at position 0."""
        rows = await self._rows(_LEAF, position=position)
        return bytes(rows[0].hash) if rows else b""

    async def stream(self, incident_id: UUID, after: int, limit: int) -> list[Document]:
        """Return events of one incident beyond a version."""
        return [
            _raw(r) for r in await self._rows(_STREAM, id=incident_id, after=after, limit=limit)
        ]
