"""Files of support cases, kept under the digest of their content; a name never becomes a path."""

import hashlib
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.sighting import printable

__all__ = ["MAX_BYTES", "content", "display_name", "keep"]

MAX_BYTES = 5 << 20

_KEEP = text(
    "INSERT INTO attachments (digest, content) VALUES (:digest, :content) ON CONFLICT DO NOTHING"
)
_CONTENT = text(
    "SELECT a.content FROM attachments a WHERE a.digest = :digest AND EXISTS (SELECT 1 FROM"
    " support_case_events e WHERE e.case_id = :case AND e.kind = 'attached'"
    " AND e.data::jsonb ->> 'digest' = a.digest)"
)


def display_name(given: str) -> str:
    """Return the last part of *given* as people may read it: no separator, quote or control."""
    last = given.replace("\\", "/").rpartition("/")[2]
    return "".join("_" if c in '"<>:|?*%;' else c for c in printable(last, 120)) or "attachment"


async def keep(connection: AsyncConnection, data: bytes) -> str:
    """Store *data*; return its SHA-256."""
    digest = hashlib.sha256(data).hexdigest()
    await connection.execute(_KEEP, {"digest": digest, "content": data})
    return digest


async def content(connection: AsyncConnection, case_id: UUID, digest: str) -> bytes | None:
    """Return the file of that digest if this case has it."""
    found: bytes | None = await connection.scalar(_CONTENT, {"digest": digest, "case": case_id})
    return found
