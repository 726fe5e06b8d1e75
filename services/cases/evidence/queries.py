"""What is asked of the rows of evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.evidence.view import Document

__all__ = ["Due", "EvidenceQueries", "Passed"]

_ONE = text("SELECT document FROM evidence WHERE evidence_id = :id")
_OF_INCIDENT = text(
    "SELECT document FROM evidence WHERE incident_id = :id ORDER BY registered_position"
)
_CUSTODY = text("SELECT entry FROM custody WHERE evidence_id = :id ORDER BY version")
# The partial index `evidence_to_verify` is made for this condition.
_DUE = text("""
    SELECT evidence_id, sha256 FROM evidence
    WHERE state IN ('collected', 'sealed', 'released') AND NOT frozen AND verified_at < :before
    ORDER BY verified_at LIMIT 1
""")
_LIVE = text("""
    SELECT DISTINCT sha256 FROM evidence
    WHERE sha256 = ANY(:digests) AND state IN ('collected', 'sealed', 'released')
""")
_WAITING = text("""
    SELECT evidence_id FROM evidence WHERE declared_sha256 = :sha256 AND state = 'registered'
""")
_IN_STEP = text("""
    SELECT (SELECT coalesce(max(position), 0) FROM events)
         = (SELECT position FROM projections WHERE name = 'incidents') AS in_step
""")

LOCKS = "evidence-locks"  # how far the locks of the store follow the chains of custody
_LOCKED_UP_TO = text("SELECT position FROM projections WHERE name = :name")
_LOCKED = text("""
    UPDATE projections SET position = :position WHERE name = :name AND position < :position
""")
_PASSED = text("""
    SELECT c.position, c.entry, e.sha256 FROM custody c JOIN evidence e USING (evidence_id)
    WHERE c.position > :after ORDER BY c.position LIMIT :limit
""")
_SHARING = text("SELECT document FROM evidence WHERE sha256 = :sha256")


@dataclass(frozen=True, slots=True)
class Passed:
    """An entry of a chain of custody, with the digest that its item has by now."""

    position: int
    type: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """An item whose bytes ought to be hashed again."""

    evidence_id: UUID
    sha256: str


class EvidenceQueries:
    """Reads the rows; the one thing it writes is how far the store's locks have come."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def _rows(self, statement: Any, **values: Any) -> Sequence[Any]:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement, values)).all()

    async def one(self, evidence_id: UUID) -> Document | None:
        """Return the item's document, if it is known."""
        rows = await self._rows(_ONE, id=evidence_id)
        return orjson.loads(rows[0].document) if rows else None

    async def of_incident(self, incident_id: UUID) -> list[Document]:
        """Return the documents of an incident's items in the order of their registration."""
        return [orjson.loads(r.document) for r in await self._rows(_OF_INCIDENT, id=incident_id)]

    async def custody(self, evidence_id: UUID) -> list[Document]:
        """Return the whole chain of custody."""
        return [orjson.loads(r.entry) for r in await self._rows(_CUSTODY, id=evidence_id)]

    async def due(self, before: datetime) -> Due | None:
        """Return the item that has waited longest for its verification, if it is due."""
        rows = await self._rows(_DUE, before=before)
        return Due(rows[0].evidence_id, rows[0].sha256) if rows else None

    async def live(self, digests: Sequence[str]) -> set[str]:
        """Return those of *digests* whose bytes an item still needs."""
        return {r.sha256 for r in await self._rows(_LIVE, digests=list(digests))}

    async def waiting_for(self, sha256: str) -> list[UUID]:
        """Return the items that were announced with this digest and have no bytes yet."""
        return [r.evidence_id for r in await self._rows(_WAITING, sha256=sha256)]

    async def in_step(self) -> bool:
        """Tell whether the views know the whole log; else it proves nothing about orphans."""
        return bool((await self._rows(_IN_STEP))[0].in_step)

    async def passed(self, limit: int) -> list[Passed]:
        """Return the next entries of all chains that the store's locks do not reflect yet."""
        after = (await self._rows(_LOCKED_UP_TO, name=LOCKS))[0].position
        return [
            Passed(row.position, orjson.loads(row.entry)["type"], row.sha256)
            for row in await self._rows(_PASSED, after=after, limit=limit)
        ]

    async def locked(self, position: int) -> None:
        """Note that the store's locks reflect every entry up to *position*."""
        async with self._engine.begin() as connection:
            await connection.execute(_LOCKED, {"name": LOCKS, "position": position})

    async def sharing(self, sha256: str) -> list[Document]:
        """Return the documents of all items that have these bytes."""
        return [orjson.loads(r.document) for r in await self._rows(_SHARING, sha256=sha256)]
