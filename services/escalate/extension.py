"""Tells cases what joined a proposal, gathered: first soon, then ever more seldom."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.store import mark_told, telling_detections
from services.escalate.verbatim import fitted
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.escalate import ProposalExtendedV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["extend_one", "pause_after"]

LONGEST_PAUSE = timedelta(minutes=5)

_DUE = text(
    "SELECT id, incident_id, detections, risk, tellings FROM detection_groups"
    " WHERE proposed_at IS NOT NULL AND detections > told AND merged_into IS NULL"
    " AND tell_after <= :now ORDER BY tell_after LIMIT 1 FOR UPDATE SKIP LOCKED"
)
_TOLD = text(
    "UPDATE detection_groups SET told = :told, tellings = tellings + 1, tell_after = :after"
    " WHERE id = :id"
)


def pause_after(tellings: int, least: float) -> timedelta:
    """Return how long to gather after so many messages: doubled each time, at most 5 minutes.

    A host that is detected ten times a second would else fill its incident with nothing new. What a
    rule finds that the group had not met before is told at once all the same.
    """
    return min(timedelta(seconds=least * 2 ** min(tellings, 20)), LONGEST_PAUSE)


async def extend_one(engine: AsyncEngine, clock: Clock, least: float) -> int:
    """Write one message for the group that is due longest; return how many (0 or 1)."""
    async with engine.begin() as connection:
        now = clock()
        row = (await connection.execute(_DUE, {"now": now})).one_or_none()
        if row is None:
            return 0
        await _extend(connection, row, now, least)
    return 1


async def _extend(connection: AsyncConnection, row: Any, now: datetime, least: float) -> None:
    telling = (await telling_detections(connection, [row.id]))[row.id]
    extended = ProposalExtendedV1(
        event_id=derived_id("extension", row.id, row.detections),
        occurred_at=now,
        incident_id=UUID(str(row.incident_id)),
        detections=fitted(telling),
        detection_count=row.detections,
        risk_score=row.risk,
    )
    await enqueue(connection, [outgoing(extended, source="escalate")])
    await mark_told(connection, telling)
    after = now + pause_after(row.tellings, least)
    await connection.execute(_TOLD, {"id": row.id, "told": row.detections, "after": after})
