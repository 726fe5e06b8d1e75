"""What is asked of the rows of reviews."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.need_to_know import VISIBLE
from services.cases.review.view import Document

__all__ = ["ItemFilter", "ReviewQueries"]

_ONE = text("SELECT document FROM reviews WHERE review_id = :id")
_OF_INCIDENT = text(
    "SELECT document FROM reviews WHERE incident_id = :id ORDER BY started_position"
)
_UNOPENED = text("SELECT incident_id, review_id FROM reviews WHERE state = 'started' LIMIT 100")
_ITEMS = text(f"""
    SELECT t.created_position, t.item_id, t.review_id, t.incident_id, t.document
    FROM improvement_items t JOIN incidents i ON i.incident_id = t.incident_id
    WHERE (t.due, t.item_id) > (SELECT a.due, a.item_id FROM improvement_items a
                                WHERE a.item_id = cast(:after AS uuid)
                                UNION ALL SELECT '-infinity', '00000000-0000-0000-0000-000000000000'
                                WHERE cast(:after AS uuid) IS NULL)
      AND (cast(:done AS boolean) IS NULL OR t.done = :done)
      AND (cast(:owner AS text) IS NULL OR t.owner = :owner)
      AND (cast(:target AS text) IS NULL OR t.target = :target)
      AND {VISIBLE}
    ORDER BY t.due, t.item_id LIMIT :limit
""")  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFilter:
    """Which improvement items are asked for; None is any."""

    done: bool | None = None
    owner: str | None = None
    target: str | None = None


class ReviewQueries:
    """Reads; never writes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def _rows(self, statement: Any, **values: Any) -> Sequence[Any]:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement, values)).all()

    async def one(self, review_id: UUID) -> Document | None:
        """Return the review's document, if it is known."""
        rows = await self._rows(_ONE, id=review_id)
        return orjson.loads(rows[0].document) if rows else None

    async def of_incident(self, incident_id: UUID) -> list[Document]:
        """Return the documents of an incident's reviews in the order in which they began."""
        return [orjson.loads(r.document) for r in await self._rows(_OF_INCIDENT, id=incident_id)]

    async def unopened(self) -> list[tuple[UUID, UUID]]:
        """Return incident and id of each review that was started and has not been opened."""
        return [(r.incident_id, r.review_id) for r in await self._rows(_UNOPENED)]

    async def items(
        self, wanted: ItemFilter, person: str, after: UUID | None, limit: int
    ) -> list[Document]:
        """Return improvement items that *person* may see, those that are due first before others.

        *after* is the item that ended the page before.
        """
        rows = await self._rows(
            _ITEMS,
            done=wanted.done,
            owner=wanted.owner,
            target=wanted.target,
            person=person,
            after=after,
            limit=limit,
        )
        return [
            {
                **orjson.loads(r.document),
                "review_id": str(r.review_id),
                "incident_id": str(r.incident_id),
            }
            for r in rows
        ]
