"""The page ledger: every page is a row before it is sent (R11)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.sighting import printable
from shared.ids import derived_id

__all__ = ["Page", "due_page", "mark_failed", "mark_sent", "order_page"]

_ORDER = text(
    "INSERT INTO pages (id, incident_id, team, channel, reason, created_at, next_attempt_at)"
    " VALUES (:id, :incident, :team, :channel, :reason, :now, :now) ON CONFLICT (id) DO NOTHING"
)
_DUE = text(
    "SELECT id, incident_id, team, channel, reason, attempts FROM pages"
    " WHERE sent_at IS NULL AND next_attempt_at <= :now"
    " ORDER BY next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED"
)
_SENT = text(
    "UPDATE pages SET sent_at = :now, attempts = attempts + 1, last_error = NULL WHERE id = :id"
)
_FAILED = text(
    "UPDATE pages SET attempts = attempts + 1, next_attempt_at = :next, last_error = :error"
    " WHERE id = :id"
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page to a team. ``id`` is what a receiver recognises a repeat by."""

    id: UUID
    incident_id: UUID
    team: str
    channel: str
    reason: str
    attempts: int = 0


async def order_page(
    connection: AsyncConnection,
    cause: UUID,
    incident_id: UUID,
    team: str,
    channel: str,
    reason: str,
    now: datetime,
) -> None:
    """Put a page on the ledger; for one *cause* a team is paged once, however often asked."""
    row = {
        "id": derived_id("page", cause, team),
        "incident": incident_id,
        "team": team,
        "channel": channel,
        "reason": printable(reason, 500),
        "now": now,
    }
    await connection.execute(_ORDER, row)


async def due_page(connection: AsyncConnection, now: datetime) -> Page | None:
    """Return a page that is due, locked for this transaction; None if there is none."""
    row = (await connection.execute(_DUE, {"now": now})).one_or_none()
    return Page(*row) if row else None


async def mark_sent(connection: AsyncConnection, page: Page, now: datetime) -> None:
    """Write down that the channel took *page*."""
    await connection.execute(_SENT, {"id": page.id, "now": now})


async def mark_failed(
    connection: AsyncConnection, page: Page, error: str, retry_at: datetime
) -> None:
    """Write down that the channel did not take *page*, and when to try again."""
    row = {"id": page.id, "error": printable(error, 500), "next": retry_at}
    await connection.execute(_FAILED, row)
