"""Managed rules in PostgreSQL: the history and what is told from it, in one transaction."""

from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.detect.lifecycle.domain import Event, Managed, evolve, fold

__all__ = ["active_rules", "change", "change_in", "history", "list_rules", "newest_position"]

_ATTEMPTS = 3
_HISTORY = text(
    "SELECT type, actor, at, body FROM rule_events WHERE rule_id = CAST(:rule AS uuid)"
    " ORDER BY version"
)
_APPEND = text(
    "INSERT INTO rule_events (rule_id, version, type, actor, at, body)"
    " VALUES (CAST(:rule AS uuid), :version, :type, :actor, :at, CAST(:body AS json))"
)
_ROW = text(
    "INSERT INTO managed_rules (rule_id, version, state, title, origin, active_text, retired,"
    " changed_at) VALUES (CAST(:rule AS uuid), :version, :state, :title, :origin, :active,"
    " :retired, :at) ON CONFLICT (rule_id) DO UPDATE SET version = excluded.version,"
    " state = excluded.state, title = excluded.title, origin = excluded.origin,"
    " active_text = excluded.active_text, retired = excluded.retired,"
    " changed_at = excluded.changed_at"
)
_LIST = text(
    "SELECT rule_id, version, state, title, origin, retired, changed_at FROM managed_rules"
    " WHERE (CAST(:state AS text) IS NULL OR state = :state) ORDER BY changed_at DESC LIMIT :n"
)
_ACTIVE = text(
    "SELECT rule_id, active_text, retired FROM managed_rules"
    " WHERE active_text IS NOT NULL OR retired"
)

Decide = Callable[[Managed], Event | None]


async def history(connection: AsyncConnection, rule_id: str) -> list[Event]:
    """Return everything that happened to the rule, oldest first."""
    rows = (await connection.execute(_HISTORY, {"rule": rule_id})).all()
    return [Event(row.type, row.actor, row.at, row.body) for row in rows]


async def change(engine: AsyncEngine, rule_id: str, decide: Decide, title: str = "") -> Managed:
    """Append what *decide* says of the rule and return it after that; a lost race is run again.

    RefusedChangeError comes out of *decide* unchanged.
    """
    for attempt in range(_ATTEMPTS):
        try:
            async with engine.begin() as connection:
                return await change_in(connection, rule_id, decide, title)
        except IntegrityError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


async def change_in(
    connection: AsyncConnection, rule_id: str, decide: Decide, title: str = ""
) -> Managed:
    """The same in the caller's transaction, run once; *title* is for rules without a revision."""
    rule = fold(rule_id, await history(connection, rule_id))
    event = decide(rule)
    if event is None:
        return rule
    after = evolve(rule, event)
    body = orjson.dumps(dict(event.body)).decode()
    await connection.execute(
        _APPEND,
        {"rule": rule_id, "version": after.version, "type": event.type, "actor": event.actor,
         "at": event.at, "body": body},
    )  # fmt: skip
    newest = after.revisions[-1] if after.revisions else None
    active = after.revision(after.active).text if after.active is not None else None
    await connection.execute(
        _ROW,
        {"rule": rule_id, "version": after.version, "state": after.state,
         "title": newest.title if newest else title,
         "origin": newest.origin if newest else "predefined",
         "active": active, "retired": after.retired, "at": event.at},
    )  # fmt: skip
    return after


async def list_rules(engine: AsyncEngine, state: str | None, limit: int) -> list[dict[str, Any]]:
    """Return managed rules, the last changed first."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_LIST, {"state": state, "n": limit})).mappings()
        return [dict(row) for row in rows]


async def newest_position(engine: AsyncEngine) -> int:
    """Return the position of the newest event of any rule, 0 if there is none."""
    async with engine.connect() as connection:
        query = text("SELECT coalesce(max(position), 0) FROM rule_events")
        return int(await connection.scalar(query) or 0)


async def active_rules(engine: AsyncEngine) -> tuple[dict[str, str], set[str]]:
    """Return the texts in force by rule id, and the ids of rules that are retired."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_ACTIVE)).all()
    texts = {str(row.rule_id): row.active_text for row in rows if not row.retired}
    return texts, {str(row.rule_id) for row in rows if row.retired}
