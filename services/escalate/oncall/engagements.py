"""Subject-matter experts: requested, accepted, declined, released, each with its reason (R21)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.pages import Asks, drop_pages, order_page
from services.escalate.routing import Engaged
from services.escalate.sighting import printable
from shared.clock import rfc3339
from shared.cloudevents import outgoing
from shared.contracts.escalate import (
    EngagementEvent,
    SMEEngagementAcceptedV1,
    SMEEngagementDeclinedV1,
    SMEEngagementReleasedV1,
    SMEEngagementRequestedV1,
)
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["MOVES", "accept", "decline", "engagements_of", "read", "release", "request"]

_COLUMNS = (
    "id, incident_id, team, team_kind, required, routing_rules, status, person, reason,"
    " requested_by, requested_at, changed_at"
)
_REQUEST = text(
    "INSERT INTO engagements (id, incident_id, team, team_kind, required, routing_rules, status,"
    " reason, requested_by, requested_at, changed_at) VALUES (:id, :incident, :team, :kind,"
    " :required, :rules, 'requested', :reason, :by, :now, :now) ON CONFLICT (id) DO NOTHING"
)
_READ = text(f"SELECT {_COLUMNS} FROM engagements WHERE id = :id")  # noqa: S608 - our own names
_OF = text(
    f"SELECT {_COLUMNS} FROM engagements WHERE incident_id = :incident"  # noqa: S608 - same
    " ORDER BY requested_at, id"
)
_MOVE = text(
    "UPDATE engagements SET status = :status, person = COALESCE(:person, person),"  # noqa: S608 - ours
    " reason = :reason, changed_at = :now WHERE id = :id AND status = ANY(:from)"
    f" RETURNING {_COLUMNS}"
)
_STOP = text(
    "UPDATE page_chains SET due_at = NULL, ended = coalesce(ended, :why),"
    " settled_at = CASE WHEN :settles THEN coalesce(settled_at, :now) ELSE settled_at END"
    " WHERE engagement_id = :id"
)
_CHAINS = text("SELECT id FROM page_chains WHERE engagement_id = :id")
# What may follow on what: who declined can still come, who was released is asked anew.
MOVES = {
    "accepted": ("requested", "declined"),
    "declined": ("requested", "accepted"),
    "released": ("requested", "accepted", "declined"),
}
_TOLD: dict[str, type[EngagementEvent]] = {
    "accepted": SMEEngagementAcceptedV1,
    "declined": SMEEngagementDeclinedV1,
    "released": SMEEngagementReleasedV1,
}


async def request(
    connection: AsyncConnection,
    incident_id: UUID,
    wanted: Engaged,
    reason: str,
    by: str,
    channel: str,
    now: datetime,
    *,
    severity: str | None = None,
    asks: Asks = "",
    again: Sequence[object] = (),
) -> UUID:
    """Ask a team for its expertise and page it; once for an incident (and *again*)."""
    causes = (incident_id, wanted.team, *again)  # a converted support case derives the same
    identity = derived_id("engagement", *causes)
    row = {
        "id": identity,
        "incident": incident_id,
        "team": wanted.team,
        "kind": wanted.kind,
        "required": wanted.required,
        "rules": list(wanted.rules),
        "reason": printable(reason, 500),
        "by": by,
        "now": now,
    }
    if (await connection.execute(_REQUEST, row)).rowcount == 0:
        return identity
    told = SMEEngagementRequestedV1(
        event_id=derived_id("engagement-requested", *causes),
        occurred_at=now,
        engagement_id=identity,
        incident_id=incident_id,
        team=wanted.team,
        team_kind=wanted.kind,
        reason=printable(reason, 500),
        required=wanted.required,
        routing_rules=list(wanted.rules),
    )
    await enqueue(connection, [outgoing(told, source="escalate")])
    await order_page(
        connection,
        identity,
        incident_id,
        wanted.team,
        channel,
        reason,
        now,
        severity=severity,
        people=wanted.people,
        engagement_id=identity,
        asks=asks,
    )
    return identity


async def accept(
    connection: AsyncConnection, engagement_id: UUID, by: str, reason: str, now: datetime
) -> bool:
    """They come; False if they had come already, or are no longer wanted."""
    return await _move(connection, engagement_id, "accepted", by, reason, now)


async def decline(
    connection: AsyncConnection, engagement_id: UUID, by: str, reason: str, now: datetime
) -> bool:
    """They do not come: who was paged need not answer any more."""
    return await _move(connection, engagement_id, "declined", by, reason, now)


async def release(
    connection: AsyncConnection, engagement_id: UUID, by: str, reason: str, now: datetime
) -> bool:
    """They are no longer needed."""
    return await _move(connection, engagement_id, "released", by, reason, now)


async def _move(
    connection: AsyncConnection,
    engagement_id: UUID,
    status: str,
    by: str,
    reason: str,
    now: datetime,
) -> bool:
    row = {
        "id": engagement_id,
        "status": status,
        "person": by if status != "released" else None,
        "reason": printable(reason, 500),
        "now": now,
        "from": list(MOVES[status]),
    }
    moved: Any = (await connection.execute(_MOVE, row)).one_or_none()
    if moved is None:
        return False
    stop = {"id": engagement_id, "why": status, "settles": status != "accepted", "now": now}
    await connection.execute(_STOP, stop)
    chains = (await connection.execute(_CHAINS, {"id": engagement_id})).scalars().all()
    await drop_pages(connection, chains, now)
    told = _TOLD[status](
        event_id=derived_id(f"engagement-{status}", engagement_id, rfc3339(now)),
        occurred_at=now,
        engagement_id=engagement_id,
        incident_id=moved.incident_id,
        team=moved.team,
        team_kind=moved.team_kind,
        person=by,
        reason=moved.reason,
    )
    await enqueue(connection, [outgoing(told, source="escalate")])
    return True


async def read(connection: AsyncConnection, engagement_id: UUID) -> dict[str, Any] | None:
    """Return one engagement, or None."""
    row = (await connection.execute(_READ, {"id": engagement_id})).one_or_none()
    return None if row is None else _shown(row)


async def engagements_of(
    connection: AsyncConnection, incident_id: UUID
) -> Sequence[dict[str, Any]]:
    """Return the engagements of an incident, oldest first."""
    return [_shown(row) for row in await connection.execute(_OF, {"incident": incident_id})]


def _shown(row: Any) -> dict[str, Any]:
    return {
        "engagement_id": str(row.id),
        "incident_id": str(row.incident_id),
        "team": row.team,
        "team_kind": row.team_kind,
        "required": row.required,
        "routing_rules": list(row.routing_rules),
        "status": row.status,
        "person": row.person,
        "reason": row.reason,
        "requested_by": row.requested_by,
        "requested_at": rfc3339(row.requested_at),
        "changed_at": rfc3339(row.changed_at),
    }
