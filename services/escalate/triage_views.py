"""What triage knows, as readers see it: open groups, the risk of entities, suppressions."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.group_codec import from_row, standing_from_row
from services.escalate.grouping import Rules
from services.escalate.progression import path
from services.escalate.standing import explained, risk_at
from services.escalate.store import GROUP_COLUMNS
from shared.clock import rfc3339

__all__ = ["one_group", "queue", "riskiest", "suppressions"]

_MORE = f"{GROUP_COLUMNS}, g.incident_id, g.snoozed_by, g.snooze_reason, g.merged_into"
_QUEUE = text(
    f"SELECT {_MORE} FROM detection_groups AS g"  # noqa: S608 - our own names
    " WHERE g.merged_into IS NULL AND g.closed_at IS NULL AND g.proposed_at IS NULL"
    " ORDER BY g.risk DESC, g.id LIMIT :n OFFSET :offset"
)
_ONE = text(f"SELECT {_MORE} FROM detection_groups AS g WHERE g.id = :id")  # noqa: S608 - same
_RISKIEST = text(
    "SELECT key, kind, value, tenant, heats, armed FROM entity_risk"
    " ORDER BY risk DESC, key LIMIT :n"
)
_SUPPRESSIONS = text(
    "SELECT id AS suppression_id, rule_id, kind AS entity_type, value AS entity_value, tenant,"
    " reason, created_by, created_at, expires_at, ended_by, ended_at, hits, last_hit_at,"
    " ended_at IS NULL AND expires_at > :now AS active"
    " FROM triage_suppressions ORDER BY created_at DESC, id LIMIT :n"
)


async def queue(engine: AsyncEngine, rules: Rules, limit: int, offset: int) -> list[dict[str, Any]]:
    """Return groups that are not proposed, the riskiest first."""
    async with engine.connect() as connection:
        rows = await connection.execute(_QUEUE, {"n": limit, "offset": offset})
        return [_group(row, rules) for row in rows]


async def one_group(engine: AsyncEngine, rules: Rules, group_id: UUID) -> dict[str, Any] | None:
    """Return one group, or None; of one that was merged, ``merged_into`` says where it went."""
    async with engine.connect() as connection:
        row = (await connection.execute(_ONE, {"id": group_id})).one_or_none()
        return _group(row, rules) if row else None


async def riskiest(
    engine: AsyncEngine, rules: Rules, now: datetime, limit: int
) -> list[dict[str, Any]]:
    """Return entities by their risk when last detected; ``risk`` is what is left of it now."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_RISKIEST, {"n": limit})).all()
    found = []
    for row in rows:
        standing = standing_from_row(row)
        found.append(
            {
                "entity": {"type": standing.kind, "value": standing.value},
                "tenant": standing.tenant,
                "risk": risk_at(standing, now, rules.half_life),
                "threshold": rules.entity_threshold,
                "armed": standing.armed,
                "explained": explained(standing, now, rules.half_life),
            }
        )
    return found


async def suppressions(engine: AsyncEngine, now: datetime, limit: int) -> list[dict[str, Any]]:
    """Return suppressions, newest first, with how many detections each has held back."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_SUPPRESSIONS, {"n": limit, "now": now})).mappings()
        return [dict(row) for row in rows]


def _group(row: Any, rules: Rules) -> dict[str, Any]:
    group = from_row(row)
    return {
        "group_id": str(group.id),
        "entity": {"type": group.kind, "value": group.value},
        "tenant": group.tenant,
        "detection_count": group.count,
        "suppressed": group.suppressed,
        "risk": group.risk(rules),
        "threshold": rules.threshold,
        "first_seen": rfc3339(group.first),
        "last_seen": rfc3339(group.last),
        "stages": path(group.stages),
        "rules": [
            {"rule_id": rule, "title": t.title, "count": t.times, "risk": t.risk}
            for rule, t in sorted(group.tallies.items(), key=lambda x: (-x[1].risk, x[0]))[:50]
        ],
        "incident_id": str(row.incident_id) if row.incident_id else None,
        "merged_into": str(row.merged_into) if row.merged_into else None,
        "snoozed_until": rfc3339(group.snoozed_until) if group.snoozed_until else None,
        "snoozed_by": row.snoozed_by,
        "snooze_reason": row.snooze_reason,
    }
