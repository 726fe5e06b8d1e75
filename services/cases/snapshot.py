"""All incidents at one position of the log, page by page, without holding anything open.

The views move on between two pages: a row that is newer than the position is folded from the log
again, up to there. So the pages together are one moment, whenever each of them was asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.need_to_know import VISIBLE
from services.cases.postgres import COLUMNS, opened
from services.cases.sealing.vault import Vault
from services.cases.store import Recorded
from services.cases.views import Document
from services.cases.views.detail import project
from services.cases.views.public import public

__all__ = ["Page", "Snapshots"]

_PAGE = text(f"""
    SELECT incident_id, opened_position, restricted,
           CASE WHEN position <= :at THEN document END AS document
    FROM incidents i
    WHERE opened_position > :after AND opened_position <= :at AND {VISIBLE}
    ORDER BY opened_position LIMIT :limit
""")  # noqa: S608 - constants only
_AGAIN = text(f"""
    SELECT {COLUMNS} FROM events WHERE stream_id = ANY(:ids) AND position <= :at
    ORDER BY stream_id, version
""")  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True)
class Page:
    """``last`` is where the next page begins, None after the last one."""

    items: Sequence[Document]
    last: int | None
    restricted: Sequence[UUID]


class Snapshots:
    """Reads; never writes."""

    def __init__(self, engine: AsyncEngine, vault: Vault) -> None:
        self._engine, self._vault = engine, vault

    async def page(self, *, at: int, after: int, limit: int, person: str) -> Page:
        """Return incidents opened beyond position *after*, as they were at position *at*."""
        async with self._engine.connect() as connection:
            asked = {"at": at, "after": after, "limit": limit + 1, "person": person}
            rows = (await connection.execute(_PAGE, asked)).all()
            more, rows = len(rows) > limit, rows[:limit]
            newer = [row.incident_id for row in rows if row.document is None]
            again: dict[UUID, Document] = {}
            if newer:
                found = await connection.execute(_AGAIN, {"ids": newer, "at": at})
                driver = (await connection.get_raw_connection()).driver_connection
                for event in await opened(self._vault, found.mappings().all(), driver):
                    if isinstance(event, Recorded):
                        again[event.stream_id] = project(again.get(event.stream_id), event)
        return Page(
            items=[
                public(orjson.loads(row.document) if row.document else again[row.incident_id])
                for row in rows
            ],
            last=rows[-1].opened_position if more else None,
            restricted=[row.incident_id for row in rows if row.restricted],
        )
