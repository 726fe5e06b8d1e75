"""Overrides of schedules: recorded with who and why, cancelled but never removed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.oncall.rotation import Override
from shared.clock import rfc3339

__all__ = ["NewOverride", "add_override", "cancel_override", "listed", "overrides"]

_COLUMNS = (
    "id, schedule, person, starts_at, ends_at, reason, created_by, created_at, cancelled_by,"
    " cancelled_at"
)
_ADD = text(
    "INSERT INTO oncall_overrides (id, schedule, person, starts_at, ends_at, reason, created_by,"
    " created_at) VALUES (:id, :schedule, :person, :start, :end, :reason, :by, :now)"
    " ON CONFLICT (id) DO NOTHING"
)
_CANCEL = text(
    "UPDATE oncall_overrides SET cancelled_by = :by, cancelled_at = :now"
    " WHERE id = :id AND cancelled_at IS NULL"
)
_IN_FORCE = text(
    "SELECT id, schedule, person, starts_at, ends_at FROM oncall_overrides"
    " WHERE cancelled_at IS NULL AND ends_at > :since ORDER BY created_at, id"
)
_LISTED = text(
    f"SELECT {_COLUMNS} FROM oncall_overrides"  # noqa: S608 - our own names
    " WHERE ends_at > :since OR created_at > :since ORDER BY starts_at, id LIMIT 1000"
)


@dataclass(frozen=True, slots=True)
class NewOverride:
    """An override that somebody wants."""

    id: UUID
    schedule: str
    person: str
    start: datetime
    end: datetime
    reason: str


async def add_override(
    connection: AsyncConnection, wanted: NewOverride, by: str, now: datetime
) -> bool:
    """Record *wanted*; False if one of that id is recorded already."""
    row = {
        "id": wanted.id,
        "schedule": wanted.schedule,
        "person": wanted.person,
        "start": wanted.start,
        "end": wanted.end,
        "reason": wanted.reason,
        "by": by,
        "now": now,
    }
    return (await connection.execute(_ADD, row)).rowcount == 1


async def cancel_override(
    connection: AsyncConnection, override_id: UUID, by: str, now: datetime
) -> bool:
    """Cancel one; False if there is none in force."""
    row = {"id": override_id, "by": by, "now": now}
    return (await connection.execute(_CANCEL, row)).rowcount == 1


async def overrides(connection: AsyncConnection, since: datetime) -> Mapping[str, list[Override]]:
    """Return by schedule what is in force after *since*; the one recorded last comes last."""
    found: dict[str, list[Override]] = {}
    for row in await connection.execute(_IN_FORCE, {"since": since}):
        override = Override(row.id, row.person, row.starts_at, row.ends_at)
        found.setdefault(row.schedule, []).append(override)
    return found


async def listed(connection: AsyncConnection, since: datetime) -> list[dict[str, Any]]:
    """Return overrides, also cancelled ones, that end or were made after *since*."""
    return [
        {
            "override_id": str(row.id),
            "schedule": row.schedule,
            "person": row.person,
            "from": rfc3339(row.starts_at),
            "to": rfc3339(row.ends_at),
            "reason": row.reason,
            "created_by": row.created_by,
            "created_at": rfc3339(row.created_at),
            "cancelled_by": row.cancelled_by,
            "cancelled_at": rfc3339(row.cancelled_at) if row.cancelled_at else None,
        }
        for row in await connection.execute(_LISTED, {"since": since})
    ]
