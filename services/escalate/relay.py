"""Publishes the outbox, one instance at a time: a proposal goes out before what extends it."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.store import lock_key
from shared.bus import Bus
from shared.ids import derived_id
from shared.outbox import relay_once
from shared.topology import ESCALATIONS

__all__ = ["relay_in_order"]

_ALONE = text("SELECT pg_try_advisory_xact_lock(:key)")
_KEY = lock_key(derived_id("lock", "escalate", "relay"))


async def relay_in_order(engine: AsyncEngine, bus: Bus) -> int:
    """Publish waiting messages; return how many, 0 also while another instance is at it.

    Each instance alone keeps the order, but two would take turns over parts of the outbox, and
    cases refuses what is about an incident that it does not know yet.
    """
    async with engine.begin() as connection:
        if not await connection.scalar(_ALONE, {"key": _KEY}):
            return 0
        return await relay_once(engine, bus, ESCALATIONS.name)
