"""Replays in PostgreSQL: asked for, how far, how they ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.clock import rfc3339

__all__ = ["Replay", "add", "advance", "announced", "end", "find", "newest", "unfinished"]

_COLUMNS = (
    "id, purpose, from_time, to_time, query, tenant, requested_by, requested_at, state, reason,"
    " after, events, blocks, finished_at"
)
_ADD = text(
    "INSERT INTO replays (id, purpose, from_time, to_time, query, tenant, requested_by,"
    " requested_at, state, reason) VALUES (:id, :purpose, :start, :end, :query, :tenant, :by,"
    " :now, :state, :reason) ON CONFLICT (id) DO NOTHING"
)
_ONE = text(f"SELECT {_COLUMNS} FROM replays WHERE id = :id")  # noqa: S608
_NEWEST = text(
    f"SELECT {_COLUMNS} FROM replays WHERE (CAST(:before AS uuid) IS NULL OR"  # noqa: S608
    " (requested_at, id) < (SELECT requested_at, id FROM replays WHERE id = :before))"
    " ORDER BY requested_at DESC, id DESC LIMIT :n"
)
_UNFINISHED = text(
    f"SELECT {_COLUMNS} FROM replays WHERE NOT announced ORDER BY requested_at, id"  # noqa: S608
)
_ADVANCE = text(
    "UPDATE replays SET state = 'running', after = :after, events = :events, blocks = :blocks"
    " WHERE id = :id AND state IN ('waiting', 'running')"
)
_END = text(
    "UPDATE replays SET state = :state, reason = :reason, finished_at = :now"
    " WHERE id = :id AND state IN ('waiting', 'running')"
)
_ANNOUNCED = text("UPDATE replays SET announced = true WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay as it stands."""

    id: UUID
    purpose: Literal["detect", "backtest"]
    start: datetime
    end: datetime
    query: str | None
    tenant: str | None
    requested_by: str
    requested_at: datetime
    state: str
    reason: str | None
    after: Sequence[Any] | None
    events: int
    blocks: int
    finished_at: datetime | None

    def shown(self) -> dict[str, Any]:
        """Return it as the API gives it, with how much of its time has passed by."""
        whole = (self.end - self.start).total_seconds()
        passed = 0.0
        if self.after:
            at = datetime.fromisoformat(self.after[0])
            passed = (at - self.start).total_seconds() / whole
        return {
            "replay_id": str(self.id),
            "purpose": self.purpose,
            "from": rfc3339(self.start),
            "to": rfc3339(self.end),
            "query": self.query,
            "requested_by": self.requested_by,
            "requested_at": rfc3339(self.requested_at),
            "state": self.state,
            "reason": self.reason,
            "events": self.events,
            "blocks": self.blocks,
            "progress": 1.0 if self.state == "complete" else round(min(max(passed, 0.0), 1.0), 4),
            "finished_at": rfc3339(self.finished_at) if self.finished_at else None,
        }


def _replay(row: Any) -> Replay:
    after = orjson.loads(row.after) if row.after else None
    return Replay(
        row.id, row.purpose, row.from_time, row.to_time, row.query, row.tenant, row.requested_by,
        row.requested_at, row.state, row.reason, after, row.events, row.blocks, row.finished_at,
    )  # fmt: skip


async def add(
    connection: AsyncConnection,
    *,
    identity: UUID,
    purpose: str,
    start: datetime,
    end: datetime,
    query: str | None,
    requested_by: str,
    now: datetime,
    tenant: str | None = None,
    refused: str | None = None,
) -> bool:
    """Note that a replay was asked for; False if it was before. *refused*: why it cannot be."""
    values = {
        "id": identity,
        "purpose": purpose,
        "start": start,
        "end": end,
        "query": query,
        "tenant": tenant,
        "by": requested_by,
        "now": now,
        "state": "failed" if refused else "waiting",
        "reason": refused,
    }
    return (await connection.execute(_ADD, values)).rowcount == 1


async def find(engine: AsyncEngine, identity: UUID) -> Replay | None:
    """Return one replay, or None."""
    async with engine.connect() as connection:
        row = (await connection.execute(_ONE, {"id": identity})).one_or_none()
    return _replay(row) if row else None


async def newest(engine: AsyncEngine, before: UUID | None, limit: int) -> list[Replay]:
    """Return replays, newest first, asked for before *before*."""
    async with engine.connect() as connection:
        rows = await connection.execute(_NEWEST, {"before": before, "n": limit})
        return [_replay(row) for row in rows]


async def unfinished(engine: AsyncEngine) -> list[Replay]:
    """Return those that are not over, or whose end was not told yet, oldest first."""
    async with engine.connect() as connection:
        return [_replay(row) for row in await connection.execute(_UNFINISHED)]


async def advance(
    engine: AsyncEngine, identity: UUID, after: Sequence[Any], events: int, blocks: int
) -> bool:
    """Note what has been published; False when it was cancelled meanwhile."""
    values = {
        "id": identity,
        "after": orjson.dumps(list(after)).decode(),
        "events": events,
        "blocks": blocks,
    }
    async with engine.begin() as connection:
        return (await connection.execute(_ADVANCE, values)).rowcount == 1


async def end(
    engine: AsyncEngine, identity: UUID, state: str, now: datetime, reason: str | None = None
) -> bool:
    """Note how it ended; False if it was over before."""
    values = {"id": identity, "state": state, "reason": reason, "now": now}
    async with engine.begin() as connection:
        return (await connection.execute(_END, values)).rowcount == 1


async def announced(engine: AsyncEngine, identity: UUID) -> None:
    """Note that its end was published."""
    async with engine.begin() as connection:
        await connection.execute(_ANNOUNCED, {"id": identity})
