"""Proposals and pages as readers see them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.store import telling_detections
from services.escalate.verbatim import fitted
from shared.clock import rfc3339

__all__ = ["page_of_pages", "page_of_proposals", "proposal"]

MOST_LISTED = 500
_COLUMNS = (
    "id, incident_id, proposed_at, proposal, detections, risk, first_seen, last_seen, closed_at"
)
_PROPOSALS = text(
    f"SELECT {_COLUMNS} FROM detection_groups WHERE proposed_at IS NOT NULL"  # noqa: S608 - our own names
    " AND (CAST(:at AS timestamptz) IS NULL OR (proposed_at, incident_id) < (:at, :id))"
    " ORDER BY proposed_at DESC, incident_id DESC LIMIT :n"
)
_PROPOSAL = text(f"SELECT {_COLUMNS} FROM detection_groups WHERE incident_id = :id")  # noqa: S608 - same
_LISTED = text(
    "SELECT id, rule_id, title, level, first_seen, last_seen FROM detections WHERE group_id IN"
    " (SELECT id FROM detection_groups WHERE id = :group OR merged_into = :group)"
    " ORDER BY first_seen, id LIMIT :n"
)
_PAGES = text(
    "SELECT id, incident_id, team, channel, reason, created_at, attempts, last_error, sent_at,"
    " chain_id, turn, person, due_at, dropped_at, acknowledged_at, acknowledged_by"
    " FROM pages WHERE (CAST(:incident AS uuid) IS NULL OR incident_id = :incident)"
    " AND (CAST(:at AS timestamptz) IS NULL OR (created_at, id) < (:at, :id))"
    " ORDER BY created_at DESC, id DESC LIMIT :n"
)

Before = tuple[datetime, UUID] | None


async def page_of_proposals(
    engine: AsyncEngine, limit: int, before: Before
) -> list[tuple[datetime, UUID, dict[str, Any]]]:
    """Return proposals, newest first, older than *before*."""
    at, identity = before or (None, None)
    async with engine.connect() as connection:
        rows = await connection.execute(_PROPOSALS, {"at": at, "id": identity, "n": limit})
        return [(row.proposed_at, row.incident_id, _summary(row)) for row in rows]


async def proposal(engine: AsyncEngine, incident_id: UUID) -> dict[str, Any] | None:
    """Return one proposal with its detections, or None.

    ``detections`` are the most telling ones verbatim, ``listed`` the first 500 in brief; the counts
    are of all.
    """
    async with engine.connect() as connection:
        row = (await connection.execute(_PROPOSAL, {"id": incident_id})).one_or_none()
        return None if row is None else {**_summary(row), **await _contents(connection, row.id)}


async def _contents(connection: AsyncConnection, group_id: UUID) -> dict[str, Any]:
    telling = (await telling_detections(connection, [group_id], again=True))[group_id]
    listed = await connection.execute(_LISTED, {"group": group_id, "n": MOST_LISTED})
    return {
        "detections": [d.model_dump(mode="json", exclude_none=True) for d in fitted(telling)],
        "listed": [
            {
                "detection_id": str(row.id),
                "rule_id": row.rule_id,
                "title": row.title,
                "level": row.level,
                "first_seen": rfc3339(row.first_seen),
                "last_seen": rfc3339(row.last_seen),
            }
            for row in listed
        ],
    }


async def page_of_pages(
    engine: AsyncEngine, limit: int, before: Before, incident_id: UUID | None
) -> list[tuple[datetime, UUID, dict[str, Any]]]:
    """Return pages, newest first, older than *before*."""
    at, identity = before or (None, None)
    values = {"at": at, "id": identity, "n": limit, "incident": incident_id}
    async with engine.connect() as connection:
        rows = await connection.execute(_PAGES, values)
        return [
            (
                row.created_at,
                row.id,
                {
                    "page_id": str(row.id),
                    "incident_id": str(row.incident_id),
                    "team": row.team,
                    "channel": row.channel,
                    "reason": row.reason,
                    "person": row.person,
                    "chain_id": str(row.chain_id) if row.chain_id else None,
                    "turn": row.turn,
                    "status": _status(row),
                    "created_at": rfc3339(row.created_at),
                    "sent_at": rfc3339(row.sent_at) if row.sent_at else None,
                    "attempts": row.attempts,
                    "last_error": row.last_error,
                    "acknowledged_at": rfc3339(row.acknowledged_at)
                    if row.acknowledged_at
                    else None,
                    "acknowledged_by": row.acknowledged_by,
                    "seconds_to_acknowledge": int(
                        (row.acknowledged_at - row.created_at).total_seconds()
                    )
                    if row.acknowledged_at
                    else None,
                },
            )
            for row in rows
        ]


def _status(row: Any) -> str:
    if row.acknowledged_at:
        return "acknowledged"
    if row.sent_at:
        return "sent"
    return "dropped" if row.dropped_at else "pending"


def _summary(row: Any) -> dict[str, Any]:
    proposed = orjson.loads(row.proposal)
    at_proposal = proposed.pop("detection_count")
    for name in ("event_id", "occurred_at"):
        proposed.pop(name)
    return {
        **proposed,
        "proposed_at": rfc3339(row.proposed_at),
        "detection_count": row.detections,
        "detection_count_at_proposal": at_proposal,
        "risk_score": row.risk,
        "first_seen": rfc3339(row.first_seen),
        "last_seen": rfc3339(row.last_seen),
        "closed_at": rfc3339(row.closed_at) if row.closed_at else None,
    }
