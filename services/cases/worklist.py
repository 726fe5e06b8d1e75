"""What waits for one person: their own actions, and what their roles let them do."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.need_to_know import VISIBLE
from services.cases.views import Document

__all__ = ["WorkLists"]

# Improvement items live on when the incident is closed; their rows are those of the review.
_MINE = f"""
    WITH mine AS (
        SELECT incident_id, kind, ref, what, since, due FROM work
        WHERE person = :me
        UNION ALL
        SELECT incident_id, kind, ref, what, since, due FROM work
        WHERE roles && cast(:roles AS text[]) AND not_by IS DISTINCT FROM :me
        UNION ALL
        SELECT incident_id, 'improvement_item', item_id::text,
               coalesce(document::json->>'text', target), NULL, due
        FROM improvement_items WHERE owner = :me AND NOT done
    ), visible AS (
        SELECT w.*, i.opened_position FROM mine w
        JOIN incidents i ON i.incident_id = w.incident_id WHERE {VISIBLE}
    )
"""  # noqa: S608 - constants only
_ITEMS = text(f"""{_MINE}
    SELECT w.*, i.summary FROM visible w JOIN incidents i ON i.incident_id = w.incident_id
    WHERE cast(:kinds AS text[]) IS NULL OR w.kind = ANY(:kinds)
    ORDER BY w.due NULLS LAST, w.opened_position DESC, w.kind, w.ref LIMIT :limit
""")  # noqa: S608 - constants only
_COUNTS = text(f"{_MINE} SELECT kind, count(*) AS n FROM visible GROUP BY kind")  # noqa: S608 - constants only


class WorkLists:
    """Reads; never writes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def of(
        self,
        *,
        me: str,
        roles: Collection[str],
        person: str,
        kinds: Collection[str] | None,
        now: datetime,
        limit: int,
    ) -> tuple[list[Document], dict[str, int]]:
        """Return what waits, the most urgent first, and how much of each kind there is.

        *person* is the `viewer`: nothing of an incident that may not be seen is told.
        """
        who: dict[str, Any] = {"me": me, "roles": sorted(roles), "person": person}
        asked = {**who, "kinds": None if kinds is None else list(kinds), "limit": limit}
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_ITEMS, asked)).all()
            counts = (await connection.execute(_COUNTS, who)).all()
        items = [
            {
                "kind": row.kind,
                "ref": row.ref or None,
                "what": row.what,
                "since": row.since,
                "due": row.due,
                "overdue": row.due is not None and row.due <= now,
                "incident": orjson.loads(row.summary),
            }
            for row in rows
        ]
        return items, {row.kind: row.n for row in counts}
