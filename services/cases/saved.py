"""People's own views of the queue, and those that come with Tocsin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.domain.vocabulary import Severity, State
from services.cases.domain.workflow import ACTIVE
from services.cases.narrowing import ME, Narrowing

__all__ = ["MOST_VIEWS", "SHIPPED", "NameTakenError", "SavedView", "SavedViews", "TooManyError"]

MOST_VIEWS = 100  # that one person may keep

_ACTIVE = [state for state in State if state in ACTIVE]

SHIPPED: Mapping[str, tuple[str, Narrowing]] = {
    "mine": ("I am on it", Narrowing(state=_ACTIVE, person=[ME])),
    "unassigned": ("Nobody is on it", Narrowing(state=_ACTIVE, assigned=False)),
    "breaching": ("Breaching within 1 h", Narrowing(due_within=3600)),
    "overdue": ("Overdue", Narrowing(due_within=0)),
    "to-triage": ("Opened, not escalated", Narrowing(state=[State.OPENED])),
    "awaiting-verdict": ("Awaiting a verdict", Narrowing(state=[State.INVESTIGATING])),
    "most-severe": (
        "SEV0 and SEV1, going on",
        Narrowing(state=_ACTIVE, severity=[Severity.SEV0, Severity.SEV1]),
    ),
    "restricted": ("Restricted, and mine to know", Narrowing(restricted=True)),
}

_MINE = text("""
    SELECT view_id, owner, name, shared, filters, version, updated_at FROM saved_views
    WHERE owner = :person OR shared ORDER BY owner <> :person, lower(name), view_id LIMIT 500
""")
_ONE = text("""
    SELECT view_id, owner, name, shared, filters, version, updated_at FROM saved_views
    WHERE view_id = :id AND (owner = :person OR shared)
""")
# One statement, and the lock on the owner's name: a hundred and one at once are not a way around.
_COUNT = text("SELECT count(*) FROM saved_views WHERE owner = :owner")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('saved_views:' || :owner, 0))")
_ADD = text("""
    INSERT INTO saved_views (view_id, owner, name, shared, filters, version, updated_at)
    VALUES (:id, :owner, :name, :shared, :filters, 1, :at)
""")
_CHANGE = text("""
    UPDATE saved_views SET name = :name, shared = :shared, filters = :filters,
        version = version + 1, updated_at = :at
    WHERE view_id = :id AND owner = :owner AND version = :version RETURNING version
""")
_REMOVE = text("""
    DELETE FROM saved_views WHERE view_id = :id AND owner = :owner AND version = :version
    RETURNING version
""")


class NameTakenError(Exception):
    """This person has another view of that name."""


class TooManyError(Exception):
    """This person keeps as many views as one may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    """A view that somebody saved; others see it only if it is shared."""

    view_id: UUID
    owner: str
    name: str
    shared: bool
    narrowing: Narrowing
    version: int
    updated_at: datetime


def _view(row: Any) -> SavedView:
    return SavedView(
        view_id=row.view_id,
        owner=row.owner,
        name=row.name,
        shared=row.shared,
        narrowing=Narrowing.model_validate_json(row.filters),
        version=row.version,
        updated_at=row.updated_at,
    )


class SavedViews:
    """The table of views that people saved."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def seen_by(self, person: str) -> Sequence[SavedView]:
        """Return a person's own views, then those that others share; at most 500."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_MINE, {"person": person})).all()
        return [_view(row) for row in rows]

    async def one(self, view_id: UUID, person: str) -> SavedView | None:
        """Return a view that the person owns or that is shared."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(_ONE, {"id": view_id, "person": person})).first()
        return _view(row) if row else None

    async def add(self, view: SavedView) -> None:
        """Keep a new view; TooManyError, or NameTakenError when its owner has one of that name."""
        async with self._engine.begin() as connection:
            await connection.execute(_LOCK, {"owner": view.owner})
            kept = await connection.scalar(_COUNT, {"owner": view.owner})
            if kept is not None and kept >= MOST_VIEWS:
                raise TooManyError(view.owner)
            try:
                await connection.execute(_ADD, _values(view))
            except IntegrityError as error:
                raise NameTakenError(view.name) from error

    async def change(self, view: SavedView, version: int) -> int | None:
        """Write *view* over *version* of it; return the new version, None if it is not there."""
        async with self._engine.begin() as connection:
            try:
                found = await connection.execute(_CHANGE, {**_values(view), "version": version})
            except IntegrityError as error:
                raise NameTakenError(view.name) from error
            changed: int | None = found.scalar()
        return changed

    async def remove(self, view_id: UUID, owner: str, version: int) -> bool:
        """Remove *version* of a view; tell whether it was there."""
        async with self._engine.begin() as connection:
            values = {"id": view_id, "owner": owner, "version": version}
            return (await connection.execute(_REMOVE, values)).first() is not None


def _values(view: SavedView) -> dict[str, Any]:
    return {
        "id": view.view_id,
        "owner": view.owner,
        "name": view.name,
        "shared": view.shared,
        "filters": view.narrowing.model_dump_json(exclude_none=True),
        "at": view.updated_at,
    }
