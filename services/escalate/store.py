"""Groups and their detections in PostgreSQL; every function works in its caller's transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.group_codec import from_row, to_state
from services.escalate.grouping import Group
from services.escalate.sighting import Sighting
from services.escalate.verbatim import most_telling
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.escalate import IncidentProposedV1

__all__ = [
    "close_group", "lock_key", "mark_told", "open_groups", "record_detection", "record_proposal",
    "save_group", "telling_detections",
]  # fmt: skip

_COLUMNS = "id, key, first_seen, last_seen, detections, state, proposed_at"
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_OPEN = text(
    f"SELECT {_COLUMNS} FROM detection_groups WHERE key = :key AND merged_into IS NULL"  # noqa: S608 - our own names
    " AND closed_at IS NULL AND last_seen >= :since AND first_seen <= :until"
    " ORDER BY id FOR UPDATE"
)
_SAVE = text(
    "INSERT INTO detection_groups AS g (id, key, first_seen, last_seen, detections, risk, state)"
    " VALUES (:id, :key, :first, :last, :count, :risk, :state) ON CONFLICT (id) DO UPDATE SET"
    " first_seen = EXCLUDED.first_seen, last_seen = EXCLUDED.last_seen,"
    " detections = EXCLUDED.detections, risk = EXCLUDED.risk, state = EXCLUDED.state,"
    " tell_after = CASE WHEN :urgent THEN LEAST(g.tell_after, :now) ELSE g.tell_after END"
)
_MERGE = text(
    "UPDATE detection_groups SET merged_into = :target"
    " WHERE id = ANY(:absorbed) OR merged_into = ANY(:absorbed)"
)
_DETECTION = text(
    "INSERT INTO detections"
    " (id, group_id, rule_id, title, level, first_seen, last_seen, received_at, body)"
    " VALUES (:id, :group, :rule, :title, :level, :first, :last, :now, :body)"
)
_KEPT = text(
    "SELECT id AS detection_id, rule_id, level, first_seen FROM detections"
    " WHERE body IS NOT NULL AND (:again OR NOT told) AND group_id IN"
    " (SELECT id FROM detection_groups WHERE id = :group OR merged_into = :group)"
)
_BODIES = text("SELECT id, body FROM detections WHERE id = ANY(:ids)")
_PROPOSED = text(
    "UPDATE detection_groups SET incident_id = :incident, proposed_at = :now, proposal = :body,"
    " told = detections, tell_after = :now WHERE id = :id"
)
_TOLD = text("UPDATE detections SET told = true WHERE id = ANY(:ids)")
_CLOSE = text(
    "UPDATE detection_groups SET closed_at = :now WHERE incident_id = :incident"
    " AND closed_at IS NULL"
)


def lock_key(identity: UUID) -> int:
    """Return the number by which *identity* is locked in PostgreSQL."""
    return int.from_bytes(identity.bytes[:8], "big", signed=True)


async def open_groups(
    connection: AsyncConnection, sighting: Sighting, gap: timedelta
) -> list[Group]:
    """Return the open groups of the sighting's key within reach, and lock the key.

    Two instances with detections of one entity take turns, so neither founds what the other does.
    """
    await connection.execute(_LOCK, {"key": lock_key(sighting.key)})
    reach = {"key": sighting.key, "since": sighting.start - gap, "until": sighting.end + gap}
    return [from_row(row) for row in await connection.execute(_OPEN, reach)]


async def save_group(
    connection: AsyncConnection,
    group: Group,
    absorbed: Sequence[UUID],
    *,
    urgent: bool,
    now: datetime,
) -> None:
    """Write *group*; *urgent*: what joined is to be told at once, if the group is proposed."""
    row = {
        "id": group.id,
        "key": group.key,
        "first": group.first,
        "last": group.last,
        "count": group.count,
        "risk": group.risk,
        "state": to_state(group),
        "urgent": urgent,
        "now": now,
    }
    await connection.execute(_SAVE, row)
    if absorbed:
        await connection.execute(_MERGE, {"target": group.id, "absorbed": list(absorbed)})


async def record_detection(
    connection: AsyncConnection,
    group_id: UUID,
    sighting: Sighting,
    level: str,
    body: str | None,
    now: datetime,
) -> None:
    """Write down that a detection was seen, and which group it is part of."""
    row = {
        "id": sighting.detection_id,
        "group": group_id,
        "rule": sighting.rule_id,
        "title": sighting.title,
        "level": level,
        "first": sighting.start,
        "last": sighting.end,
        "now": now,
        "body": body,
    }
    await connection.execute(_DETECTION, row)


async def telling_detections(
    connection: AsyncConnection, group_id: UUID, *, again: bool = False
) -> list[DetectionRaisedV1]:
    """Return the most telling detections of a group; without *again*, of those not yet told."""
    kept = (await connection.execute(_KEPT, {"group": group_id, "again": again})).all()
    chosen = [row.detection_id for row in most_telling(kept)]
    rows = await connection.execute(_BODIES, {"ids": chosen})
    bodies = {row.id: row.body for row in rows}
    return [DetectionRaisedV1.from_json(bodies[identity].encode()) for identity in chosen]


async def record_proposal(
    connection: AsyncConnection, group_id: UUID, proposal: IncidentProposedV1, now: datetime
) -> None:
    """Write down that *group_id* is proposed, with all the detections that it has now."""
    row: dict[str, Any] = {
        "id": group_id,
        "incident": proposal.incident_id,
        "now": now,
        "body": proposal.model_dump_json(exclude={"detections"}, exclude_none=True),
    }
    await connection.execute(_PROPOSED, row)


async def mark_told(connection: AsyncConnection, detections: Iterable[DetectionRaisedV1]) -> None:
    """Write down that these need not be shown to cases again."""
    ids = [detection.detection_id for detection in detections]
    if ids:
        await connection.execute(_TOLD, {"ids": ids})


async def close_group(connection: AsyncConnection, incident_id: UUID, now: datetime) -> None:
    """Let nothing more join the group of an incident that ended; what comes founds a new one."""
    await connection.execute(_CLOSE, {"incident": incident_id, "now": now})
