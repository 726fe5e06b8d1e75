"""An answer to a page: it stops the chain, and says who may join the v-team (R11, P4)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.directory import Directory
from services.escalate.oncall.engagements import accept
from services.escalate.oncall.roster import MEMBER_KINDS
from services.escalate.pages import drop_pages
from services.escalate.sighting import printable
from shared.cloudevents import outgoing
from shared.contracts.escalate import PageAcknowledgedV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["Acknowledgement", "acknowledge", "use_link"]

_PAGE = text(
    "SELECT id, incident_id, team, person, reason, created_at, chain_id, acknowledged_at,"
    " acknowledged_by, link_used_at FROM pages WHERE id = :id"
)
# The chain first, then the page: the order in which everything locks them.
_LOCK = text(
    "SELECT id, engagement_id FROM page_chains"
    " WHERE id = (SELECT chain_id FROM pages WHERE id = :id) FOR UPDATE"
)
_ANSWER = text(
    "UPDATE pages SET acknowledged_at = :now, acknowledged_by = :by"
    " WHERE id = :id AND acknowledged_at IS NULL"
)
_STOP = text(
    "UPDATE page_chains SET ended = 'acknowledged', due_at = NULL, acknowledged_at = :now,"
    " acknowledged_by = :by WHERE id = :chain AND acknowledged_at IS NULL"
)
_USE = text("UPDATE pages SET link_used_at = :now WHERE id = :id AND link_used_at IS NULL")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Who answered a page and when; *fresh*: just now."""

    page_id: UUID
    incident_id: UUID
    team: str
    reason: str
    by: str
    at: datetime
    fresh: bool


async def acknowledge(
    connection: AsyncConnection, directory: Directory, page_id: UUID, by: str, now: datetime
) -> Acknowledgement | None:
    """Write down that *by* answers for *page_id*; None if there is no such page.

    Pages that wait to be sent for the same cause are dropped, later steps are not taken. A page
    that was answered before keeps its first answer.
    """
    chain = (await connection.execute(_LOCK, {"id": page_id})).one_or_none()
    page: Any = (await connection.execute(_PAGE, {"id": page_id})).one_or_none()
    if page is None:
        return None
    if page.acknowledged_at is not None:
        return _of(page, page.acknowledged_by, page.acknowledged_at, fresh=False)
    by = printable(by, 200)
    await connection.execute(_ANSWER, {"id": page_id, "now": now, "by": by})
    if chain is not None:
        await connection.execute(_STOP, {"chain": chain.id, "now": now, "by": by})
        await drop_pages(connection, [chain.id], now)
    answered = PageAcknowledgedV1(
        event_id=derived_id("page-acknowledged", page_id),
        occurred_at=now,
        page_id=page_id,
        incident_id=page.incident_id,
        team=page.team,
        person=by,
        acknowledged_at=now,
        seconds=max(0, int((now - page.created_at).total_seconds())),
        member_kind=MEMBER_KINDS.get(directory.kind_of(page.team), "subject_matter_expert"),
    )
    await enqueue(connection, [outgoing(answered, source="escalate")])
    if chain is not None and chain.engagement_id is not None:
        await accept(connection, chain.engagement_id, by, "acknowledged the page", now)
    return _of(page, by, now, fresh=True)


async def use_link(
    connection: AsyncConnection, directory: Directory, page_id: UUID, now: datetime
) -> Acknowledgement | None:
    """Acknowledge by a link, which works once; None if it was used, or the page is unknown."""
    await connection.execute(_LOCK, {"id": page_id})
    if (await connection.execute(_USE, {"id": page_id, "now": now})).rowcount == 0:
        return None
    page: Any = (await connection.execute(_PAGE, {"id": page_id})).one()
    return await acknowledge(connection, directory, page_id, page.person or page.team, now)


async def paged(connection: AsyncConnection, page_id: UUID) -> Any:
    """Return the page's row, or None."""
    return (await connection.execute(_PAGE, {"id": page_id})).one_or_none()


def _of(page: Any, by: str, at: datetime, *, fresh: bool) -> Acknowledgement:
    return Acknowledgement(page.id, page.incident_id, page.team, page.reason, by, at, fresh)
