"""The notice of an incident as somebody wrote it: versions, each with its author."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["WrittenNotice", "newest_notice", "write_notice"]

_NEWEST = text(
    "SELECT version, author, fields, written_at FROM notices WHERE incident_id = :incident"
    " ORDER BY version DESC LIMIT 1"
)
_WRITE = text(
    "INSERT INTO notices (incident_id, version, author, fields, written_at)"
    " VALUES (:incident, :version, :author, :fields, :at)"
)


@dataclass(frozen=True, slots=True)
class WrittenNotice:
    """Fields that replace the facts and the standing text; those not written are absent."""

    version: int
    author: str
    fields: Mapping[str, str]
    written_at: datetime


async def newest_notice(connection: AsyncConnection, incident_id: UUID) -> WrittenNotice | None:
    """Return what was written last for the incident, or None."""
    row = (await connection.execute(_NEWEST, {"incident": incident_id})).one_or_none()
    if row is None:
        return None
    return WrittenNotice(row.version, row.author, json.loads(row.fields), row.written_at)


async def write_notice(
    connection: AsyncConnection,
    incident_id: UUID,
    author: str,
    fields: Mapping[str, str],
    at: datetime,
) -> WrittenNotice:
    """Write the next version, unless the newest says the same. The caller holds the lock."""
    last = await newest_notice(connection, incident_id)
    if last is not None and last.author == author and last.fields == fields:
        return last
    notice = WrittenNotice(last.version + 1 if last else 1, author, fields, at)
    await connection.execute(
        _WRITE,
        {
            "incident": incident_id,
            "version": notice.version,
            "author": author,
            "fields": json.dumps(dict(fields)),
            "at": at,
        },
    )
    return notice
