"""What PagerDuty shows follows us: acknowledged here is acknowledged there, settled is resolved.

By the page's own `dedup_key` (Events API v2). Told at least once; the key makes repeats harmless.
"""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.oncall.channels.hooks import PAGERDUTY
from services.escalate.oncall.channels.http import Poster
from services.escalate.oncall.channels.secrets import Secrets
from services.escalate.paging import ChannelError
from shared.clock import Clock
from shared.ids import jitter

__all__ = ["FollowUps"]

AT_ONCE = 16
LEASE = timedelta(seconds=15)
RETRY_SECONDS = (2, 5, 15, 30, 60)
MOST_ATTEMPTS = 1_000  # more than half a day, a minute apart

log = structlog.get_logger()
_told = Counter("tocsin_escalate_follow_ups_total", "What PagerDuty was told after", ["fate"])

# The lease ends by itself: whoever died while telling gives it back.
_CLAIM = text(
    "UPDATE pages SET follow_attempts = pages.follow_attempts + 1, follow_next = :lease FROM ("
    " SELECT p.id, CASE WHEN c.settled_at IS NULL THEN 'acknowledge' ELSE 'resolve' END AS wanted"
    " FROM pages p JOIN page_chains c ON c.id = p.chain_id WHERE p.channel = 'pagerduty'"
    " AND p.sent_at IS NOT NULL AND p.followed IS DISTINCT FROM 'resolve'"
    " AND (c.settled_at IS NOT NULL OR (p.followed IS NULL"
    " AND (c.acknowledged_at IS NOT NULL OR c.ended = 'accepted')))"
    " AND p.follow_attempts < :most AND (p.follow_next IS NULL OR p.follow_next <= :now)"
    " ORDER BY p.sent_at, p.id LIMIT :n FOR UPDATE OF p SKIP LOCKED) AS due"
    " WHERE pages.id = due.id"
    " RETURNING pages.id, pages.recipient, pages.follow_attempts AS attempts, due.wanted"
)
_DONE = text(
    "UPDATE pages SET followed = :told, follow_attempts = 0, follow_next = NULL WHERE id = :id"
)
_AGAIN = text("UPDATE pages SET follow_next = :next WHERE id = :id")


class FollowUps:
    """The work of a reconciler."""

    def __init__(self, engine: AsyncEngine, poster: Poster, secrets: Secrets, clock: Clock) -> None:
        self._engine, self._poster, self._secrets = engine, poster, secrets
        self._clock = clock

    async def once(self) -> int:
        """Tell of up to 16 pages, side by side; return how many were told."""
        async with self._engine.begin() as connection:
            now = self._clock()
            values = {"now": now, "lease": now + LEASE, "n": AT_ONCE, "most": MOST_ATTEMPTS}
            due = (await connection.execute(_CLAIM, values)).all()
        return sum(await asyncio.gather(*(self._tell(row) for row in due)))

    async def _tell(self, row: Any) -> bool:
        try:
            secret = self._secrets.get(row.recipient, "routing_key")
            event = {
                "routing_key": secret["routing_key"],
                "event_action": row.wanted,
                "dedup_key": str(row.id),
            }
            url = secret.get("url", PAGERDUTY)
            await self._poster.post(url, json.dumps(event).encode(), {})
        except ChannelError as error:
            log.warning("not told", page_id=str(row.id), action=row.wanted, error=str(error))
            _told.labels("failed").inc()
            seconds = jitter(RETRY_SECONDS[min(row.attempts, len(RETRY_SECONDS)) - 1])
            wait = timedelta(seconds=max(seconds, error.retry_after or 0.0))
            await self._write(_AGAIN, row, next=self._clock() + wait)
            return False
        await self._write(_DONE, row, told=row.wanted)
        _told.labels("told").inc()
        return True

    async def _write(self, statement: Any, row: Any, **values: str | datetime) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(statement, {"id": row.id, **values})
