"""Suppressions and asset tiers in PostgreSQL: who set what, until when."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.detect.noise import TIER_FACTORS

__all__ = ["MAX_ACTIVE", "add", "end", "forget_counts", "listed", "set_tier", "tiers"]

MAX_ACTIVE = 1_000
MAX_RESCORED_DAYS = 30

_ACTIVE = text("SELECT count(*) FROM suppressions WHERE ended_at IS NULL AND expires_at > :now")
_ADD = text(
    "INSERT INTO suppressions (id, rule_id, entity_type, entity_value, tenant, reason, created_by,"
    " created_at, expires_at) VALUES (:id, :rule_id, :entity_type, :entity_value, :tenant, :reason,"
    " :created_by, :created_at, :expires_at) ON CONFLICT (id) DO NOTHING"
)
_LIST = text(
    "SELECT id, rule_id, entity_type, entity_value, tenant, reason, created_by, created_at,"
    " expires_at, ended_at, ended_by, suppressed,"
    " ended_at IS NULL AND expires_at > :now AS active"
    " FROM suppressions ORDER BY created_at DESC LIMIT :n"
)
_END = text(
    "UPDATE suppressions SET ended_at = :now, ended_by = :by WHERE id = :id AND ended_at IS NULL"
)
_TIER = text(
    "INSERT INTO asset_tiers (type, value, tier, set_by, set_at)"
    " VALUES (:type, :value, :tier, :by, :now) ON CONFLICT (type, value)"
    " DO UPDATE SET tier = excluded.tier, set_by = excluded.set_by, set_at = excluded.set_at"
)
_FACTOR = " ".join(f"WHEN {tier} THEN {factor}" for tier, factor in TIER_FACTORS.items())
_RESCORE = text(
    "UPDATE detections d SET risk_score = least(100, round(d.base_score * CASE"  # noqa: S608
    " (SELECT min(t.tier) FROM asset_tiers t WHERE t.type || ':' || t.value = ANY(d.entities))"
    f" {_FACTOR} ELSE 1 END))"
    " WHERE d.entities @> ARRAY[:label] AND d.base_score IS NOT NULL AND d.raised_at > :since"
)


async def add(engine: AsyncEngine, row: dict[str, Any]) -> bool:
    """Add a suppression; False where there are too many already."""
    async with engine.begin() as connection:
        active = await connection.scalar(_ACTIVE, {"now": row["created_at"]}) or 0
        if active >= MAX_ACTIVE:
            return False
        await connection.execute(_ADD, row)
    return True


async def listed(engine: AsyncEngine, now: datetime, limit: int) -> list[dict[str, Any]]:
    """Return suppressions, newest first, with how much each has held back."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_LIST, {"now": now, "n": limit})).mappings()
        return [dict(row) for row in rows]


async def end(engine: AsyncEngine, identity: UUID, by: str, now: datetime) -> bool:
    """End a suppression early; False if there is none that goes on."""
    async with engine.begin() as connection:
        done = await connection.execute(_END, {"id": identity, "by": by, "now": now})
    return done.rowcount == 1


async def set_tier(
    engine: AsyncEngine, kind: str, value: str, tier: int, by: str, now: datetime, since: datetime
) -> int:
    """Set the tier of an asset and score its detections since then anew; return how many."""
    async with engine.begin() as connection:
        row = {"type": kind, "value": value.lower(), "tier": tier, "by": by, "now": now}
        await connection.execute(_TIER, row)
        done = await connection.execute(
            _RESCORE, {"label": f"{kind}:{value.lower()}", "since": since}
        )
    return done.rowcount


async def forget_counts(engine: AsyncEngine, before: datetime) -> int:
    """Forget what throttling counted before then; returns 0, as a reconciler's work does."""
    async with engine.begin() as connection:
        query = text("DELETE FROM detection_throttles WHERE period < :before")
        await connection.execute(query, {"before": before})
    return 0


async def tiers(engine: AsyncEngine) -> list[dict[str, Any]]:
    """Return the tiers that were set."""
    async with engine.connect() as connection:
        query = text("SELECT type, value, tier, set_by, set_at FROM asset_tiers ORDER BY 1, 2")
        return [dict(row) for row in (await connection.execute(query)).mappings()]
