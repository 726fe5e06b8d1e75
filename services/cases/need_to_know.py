"""Need-to-know at the door (§7): a restricted incident is not there for those who may not see it.

Whether somebody may is decided on the log itself, never on a view that might lag: once `restrict`
is answered, nobody else reads on. Lists decide in SQL, by `VISIBLE`.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.domain.incident import fold
from services.cases.store import EventStore
from services.cases.views import Document
from services.cases.views.access import CLEARED
from shared.auth import Principal, Role, allow
from shared.problems import ProblemError

__all__ = [
    "CLEARED_ROLES", "MEMBER", "RECORDED", "UP_TO_DATE", "VISIBLE", "Sight", "check_named",
    "need_to_know", "viewer",
]  # fmt: skip

CLEARED_ROLES = (Role.LEGAL, Role.EXECUTIVE_INCIDENT_MANAGER, Role.AUDITOR)
BESIDE = ("evidence_id", "review_id")  # aggregates of their own that belong to an incident
RECORDED = "tocsin.recorded"  # in a request's scope: this read stands in the record already
WITHOUT_SIGHT = "break-glass"  # the one verb for those who do not see it

# For a query in which `incidents` is named i and :person is the `viewer`. The last condition hides
# what was restricted a moment ago and is not projected yet.
VISIBLE = """((NOT i.restricted OR EXISTS (
        SELECT 1 FROM incident_access a WHERE a.incident_id = i.incident_id
          AND a.person = :person AND (a.until IS NULL OR a.until > now())))
    AND NOT EXISTS (
        SELECT 1 FROM events r WHERE r.type = 'AccessRestricted.v1'
          AND r.stream_id = i.incident_id AND r.position > i.position))"""
# The same for what goes through all incidents, looked up once and not for each of them. Views and
# their position move in one transaction, so what lies beyond it is in none of their rows.
MEMBER = """i.incident_id IN (
        SELECT a.incident_id FROM incident_access a
        WHERE a.person = :person AND (a.until IS NULL OR a.until > now()))"""
UP_TO_DATE = """i.incident_id <> ALL (ARRAY(
        SELECT r.stream_id FROM events r WHERE r.type = 'AccessRestricted.v1'
          AND r.position > (SELECT p.position FROM projections p WHERE p.name = 'incidents')))"""

_EVER = text("""
    SELECT DISTINCT stream_id FROM events
    WHERE type = 'AccessRestricted.v1' AND stream_id = ANY(:ids)
""")
_ITEMS = text("SELECT stream_id, data FROM events WHERE stream_id = ANY(:ids) AND version = 1")
_RECORD = text("""
    INSERT INTO reads (at, person, roles, incident_id, what)
    VALUES (:at, :person, :roles, :id, :what)
""")
_READS = text("""
    SELECT read_id, at, person, roles, what FROM reads
    WHERE incident_id = :id AND read_id > :after ORDER BY read_id LIMIT :limit
""")


def viewer(principal: Principal) -> str:
    """Return as whom *principal* is looked up among those who see an incident."""
    return CLEARED if principal.has(*CLEARED_ROLES) else principal.id


class Sight:
    """Knows who sees what, and keeps the record of who has looked."""

    def __init__(self, engine: AsyncEngine, store: EventStore) -> None:
        self._engine, self._store = engine, store

    async def restricted(
        self, principal: Principal, ids: Collection[UUID], now: datetime
    ) -> dict[UUID, bool]:
        """Return those of *ids* that are restricted, each with whether *principal* sees it."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_EVER, {"ids": list(ids)})).scalars().all()
        found: dict[UUID, bool] = {}
        for key in rows:
            incident = fold((await self._store.read(key)).events)
            if incident.restricted:
                found[key] = principal.has(*CLEARED_ROLES) or incident.seen_by(principal.id, now)
        return found

    async def incidents_of(self, ids: Collection[UUID]) -> dict[UUID, UUID]:
        """Return to which incident each item of evidence and each review belongs, if known."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_ITEMS, {"ids": list(ids)})).all()
        told = {row.stream_id: orjson.loads(row.data).get("incident_id") for row in rows}
        return {key: UUID(incident) for key, incident in told.items() if incident}

    async def withheld(
        self, principal: Principal, events: Sequence[Document], now: datetime
    ) -> list[Document]:
        """Return *events* of the log, without the data of those that *principal* may not see."""
        beside = {e[name] for e in events for name in BESIDE if name in e}
        homes = await self.incidents_of(beside) if beside else {}

        def home(event: Document) -> UUID | None:
            named = (homes.get(event[name]) for name in BESIDE if name in event)
            return event.get("incident_id") or next(named, None)

        asked = {key for event in events if (key := home(event)) is not None}
        seen = await self.restricted(principal, asked, now)
        for key in (key for key, sees in seen.items() if sees):
            await self.record(principal, key, "log", now)
        return [
            event
            if seen.get(home(event) or UUID(int=0), True)
            else {**event, "data": {}, "withheld": ["data"]}
            for event in events
        ]

    async def record(
        self, principal: Principal, incident_id: UUID, what: str, at: datetime
    ) -> None:
        """Note that *principal* reads a restricted incident; what is not noted is not read."""
        values = {
            "at": at,
            "person": principal.id,
            "roles": sorted(role.value for role in principal.roles),
            "id": incident_id,
            "what": what[:500],
        }
        async with self._engine.begin() as connection:
            await connection.execute(_RECORD, values)

    async def reads(self, incident_id: UUID, after: int, limit: int) -> list[Document]:
        """Return who has read an incident while restricted, or its evidence, in their order."""
        values = {"id": incident_id, "after": after, "limit": limit}
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_READS, values)).mappings().all()
        return [dict(row) for row in rows]


def _hidden() -> ProblemError:
    return ProblemError(404, "not_found", "There is no such incident for you.")


async def need_to_know(request: Request, principal: Annotated[Principal, allow(*Role)]) -> None:
    """Refuse what names a restricted incident, its evidence or review, to who may not see it.

    On every router of cases, so that a new route is behind it without a word; a refusal reads as
    if there were no such thing. Reads that pass are recorded before they are answered.
    """
    sight: Sight = request.state.sight
    incident_id = _named(request, "incident_id")
    for name in BESIDE:
        if (key := _named(request, name)) is not None:
            incident_id = (await sight.incidents_of([key])).get(key)
    if incident_id is None:
        return
    now: datetime = request.state.clock()
    seen = await sight.restricted(principal, [incident_id], now)
    if incident_id not in seen:
        return
    if seen[incident_id]:
        if request.method == "GET":
            await sight.record(principal, incident_id, request.url.path, now)
            request.scope[RECORDED] = True
    elif not request.url.path.endswith(f"/{WITHOUT_SIGHT}"):
        raise _hidden()


async def check_named(request: Request, principal: Principal, command: Any) -> None:
    """Refuse a command that names another incident which *principal* may not see."""
    for name in ("target_id", "other_id"):
        other: UUID | None = getattr(command, name, None)
        if other is not None:
            seen = await request.state.sight.restricted(principal, [other], request.state.clock())
            if not seen.get(other, True):
                raise _hidden()


def _named(request: Request, name: str) -> UUID | None:
    """Return the id in the path; None if there is none, or one that the route itself refuses."""
    try:
        return UUID(request.path_params[name])
    except (KeyError, ValueError):
        return None
