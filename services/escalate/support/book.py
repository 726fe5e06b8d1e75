"""Support cases in PostgreSQL; every function works in its caller's transaction."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.support.case import Action, Case, Event, Outcome, Status, decide, evolve
from shared.ids import derived_id

__all__ = [
    "KeyReusedError", "act", "case_of_incident", "events_of", "insert_case", "load_case",
    "page_of_cases",
]  # fmt: skip

_COLUMNS = (
    "id, reference, source_kind, tenant, title, statement, observed_at, opened_by, opened_at, team,"
    " assignee, services, regions, status, outcome, acknowledge_by, acknowledged_at,"
    " acknowledged_by, reminders, attachments, incident_id, incident_number, incident_over, events"
)
_NAMES = _COLUMNS.replace(" ", "").split(",")
_INSERT = text(
    f"INSERT INTO support_cases (request_digest, {_COLUMNS})"  # noqa: S608 - our own names
    f" VALUES (:request_digest, {', '.join(':' + name for name in _NAMES)})"
    " ON CONFLICT (id) DO NOTHING"
)
_DIGEST = text("SELECT request_digest FROM support_cases WHERE id = :id")
_ONE = text(f"SELECT {_COLUMNS} FROM support_cases WHERE id = :id")  # noqa: S608 - same
_LOCKED = text(f"SELECT {_COLUMNS} FROM support_cases WHERE id = :id FOR UPDATE")  # noqa: S608 - same
_OF_INCIDENT = text("SELECT id FROM support_cases WHERE incident_id = :id")
_PAGE = text(
    f"SELECT {_COLUMNS} FROM support_cases WHERE (NOT :own OR tenant = :tenant)"  # noqa: S608 - same
    " AND (CAST(:status AS text) IS NULL OR status = :status)"
    " AND (CAST(:at AS timestamptz) IS NULL OR (opened_at, id) < (:at, :id))"
    " ORDER BY opened_at DESC, id DESC LIMIT :n"
)
_UPDATE = text(
    "UPDATE support_cases SET status = :status, outcome = :outcome,"
    " acknowledge_by = :acknowledge_by, acknowledged_at = :acknowledged_at,"
    " acknowledged_by = :acknowledged_by, reminders = :reminders, attachments = :attachments,"
    " incident_id = :incident_id, incident_number = :incident_number,"
    " incident_over = :incident_over, services = :services, regions = :regions, events = :events"
    " WHERE id = :id"
)
_EVENT = text(
    "INSERT INTO support_case_events (case_id, seq, id, kind, at, actor, text, public, data)"
    " VALUES (:case_id, :seq, :id, :kind, :at, :actor, :text, :public, :data)"
)
_DONE = text("SELECT 1 FROM support_case_events WHERE id = :id")
_EVENTS = text(
    "SELECT seq, kind, at, actor, text, public, data FROM support_case_events"
    " WHERE case_id = :id ORDER BY seq"
)


class KeyReusedError(Exception):
    """The Idempotency-Key opened another case."""


async def insert_case(
    connection: AsyncConnection, case: Case, request_digest: str, first: Event
) -> bool:
    """Write *case* with its *first* event; False if that very request has opened it before.

    KeyReusedError if another request has.
    """
    values = {**_values(evolve(case, first)), "request_digest": request_digest}
    if (await connection.execute(_INSERT, values)).rowcount == 0:
        if await connection.scalar(_DIGEST, {"id": case.id}) != request_digest:
            raise KeyReusedError
        return False
    await _write(connection, case.id, 1, derived_id("case-event", case.id, 1), first)
    return True


async def load_case(connection: AsyncConnection, case_id: UUID) -> Case | None:
    """Return the case of that id, or None."""
    row = (await connection.execute(_ONE, {"id": case_id})).one_or_none()
    return _case(row) if row else None


async def case_of_incident(connection: AsyncConnection, incident_id: UUID) -> UUID | None:
    """Return the case that became *incident_id*, or None."""
    found: UUID | None = await connection.scalar(_OF_INCIDENT, {"id": incident_id})
    return found


async def act(
    connection: AsyncConnection,
    case_id: UUID,
    action: Action,
    actor: str,
    now: datetime,
    key: str | None = None,
) -> tuple[Case, Sequence[Event]]:
    """Do *action*; return the case after it and what has happened (nothing if already so).

    RefusedError where the case does not permit it. With a *key* it is done once for that key.
    """
    row = (await connection.execute(_LOCKED, {"id": case_id})).one()
    case = _case(row)
    mark = derived_id("case-event", case_id, "key", actor, key) if key else None
    if mark and await connection.scalar(_DONE, {"id": mark}):
        return case, []
    events = decide(case, action, actor, now)
    for event in events:
        seq = case.events + 1
        identity = mark if mark and event is events[0] else derived_id("case-event", case_id, seq)
        await _write(connection, case_id, seq, identity, event)
        case = evolve(case, event)
    if events:
        await connection.execute(_UPDATE, _values(case))
    return case, events


async def events_of(
    connection: AsyncConnection, case_id: UUID, *, public: bool = False
) -> list[dict[str, Any]]:
    """Return the log of a case, oldest first; *public*: only what the customer sees of it."""
    found = []
    for row in await connection.execute(_EVENTS, {"id": case_id}):
        if public and not row.public:
            continue
        entry = {"seq": row.seq, "kind": row.kind, "at": row.at, "text": row.text}
        if not public:
            entry |= {"actor": row.actor, "public": row.public, "data": json.loads(row.data)}
        found.append(entry)
    return found


async def page_of_cases(
    connection: AsyncConnection,
    limit: int,
    before: tuple[datetime, UUID] | None,
    *,
    own: bool,
    tenant: str | None,
    status: str | None,
) -> list[Case]:
    """Return cases, newest first, older than *before*; *own*: only those of *tenant*."""
    at, identity = before or (None, None)
    values = {
        "n": limit, "at": at, "id": identity, "own": own, "tenant": tenant, "status": status,
    }  # fmt: skip
    return [_case(row) for row in await connection.execute(_PAGE, values)]


async def _write(
    connection: AsyncConnection, case_id: UUID, seq: int, identity: UUID, event: Event
) -> None:
    row = {
        "case_id": case_id,
        "seq": seq,
        "id": identity,
        "kind": event.kind,
        "at": event.at,
        "actor": event.actor,
        "text": event.text,
        "public": event.public,
        "data": json.dumps(dict(event.data)),
    }
    await connection.execute(_EVENT, row)


def _values(case: Case) -> dict[str, Any]:
    values = {name: getattr(case, name) for name in _NAMES}
    return {**values, "services": list(case.services), "regions": list(case.regions)}


def _case(row: Any) -> Case:
    case = Case(**row._mapping)
    return replace(
        case,
        services=tuple(case.services),
        regions=tuple(case.regions),
        status=Status(case.status),
        outcome=Outcome(case.outcome) if case.outcome else None,
    )
