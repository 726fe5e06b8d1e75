"""What notify knows of an incident: the facts that cases published, and the scopes set."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import parse_instant, rfc3339
from shared.contracts.cases import IncidentEvent, Scope

__all__ = [
    "Incident", "ScopeRecord", "find", "lock", "newest_scope", "note", "record_scope",
    "waiting_scopes",
]  # fmt: skip

_NOTE = text(
    "INSERT INTO incidents (incident_id, number, facts) VALUES (:id, :number, '{}')"
    " ON CONFLICT DO NOTHING"
)
_FIND = "SELECT number, state, facts, held FROM incidents WHERE incident_id = :id"
_UPDATE = text(
    "UPDATE incidents SET number = :number, state = :state, facts = :facts WHERE incident_id = :id"
)
_RECORD_SCOPE = text(
    "INSERT INTO scopes (incident_id, scope_version, scope, set_by, as_of)"
    " VALUES (:id, :version, :scope, :set_by, :as_of) ON CONFLICT DO NOTHING"
)
_NEWEST_SCOPE = text(
    "SELECT incident_id, scope_version, scope, set_by, as_of FROM scopes"
    " WHERE incident_id = :id ORDER BY scope_version DESC LIMIT 1"
)
_WAITING = text(
    "SELECT s.incident_id FROM scopes s GROUP BY s.incident_id HAVING max(s.scope_version) >"
    " coalesce((SELECT max(l.scope_version) FROM affected_lists l"
    "           WHERE l.incident_id = s.incident_id), 0)"
)

_VERSIONS = "versions"  # of the incident, by which each of the other facts was told


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident; ``facts`` are JSON values, instants as RFC 3339."""

    id: UUID
    number: str
    state: str
    facts: Mapping[str, Any]
    held: bool = False
    """Legal holds all communication about it."""

    def taken_back(self, kind: str) -> bool:
        """Tell whether messages of *kind* are not to leave any more; a correction always may."""
        return kind == "notice" and self.state in {"dismissed", "retracted"}

    def instant(self, name: str) -> datetime | None:
        given = self.facts.get(name)
        return parse_instant(given) if given else None


@dataclass(frozen=True, slots=True)
class ScopeRecord:
    """A scope as it was set."""

    incident_id: UUID
    version: int
    scope: Scope
    set_by: str
    as_of: datetime


async def lock(connection: AsyncConnection, incident_id: UUID) -> Incident | None:
    """Return the incident and keep others off it until the transaction ends; None: unknown.

    All that changes an incident's lists or completes them takes this lock first.
    """
    return await _incident(connection, text(f"{_FIND} FOR UPDATE"), incident_id)


async def find(connection: AsyncConnection, incident_id: UUID) -> Incident | None:
    """Return the incident as it is now; None when nothing is known of it."""
    return await _incident(connection, text(_FIND), incident_id)


async def _incident(
    connection: AsyncConnection, query: TextClause, incident_id: UUID
) -> Incident | None:
    row = (await connection.execute(query, {"id": incident_id})).one_or_none()
    if row is None:
        return None
    return Incident(incident_id, row.number, row.state, json.loads(row.facts), row.held)


async def note(
    connection: AsyncConnection,
    event: IncidentEvent,
    *,
    state: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Incident:
    """Record what *event* tells of its incident and return the incident, locked.

    What a later version of the incident has told already stays: a message that the broker had lost
    comes again after those that followed it (ADR 0021).
    """
    values = {"id": event.incident_id, "number": event.number}
    await connection.execute(_NOTE, values)
    known = await lock(connection, event.incident_id)
    if known is None:
        raise LookupError(f"incident {event.incident_id} vanished")
    told: dict[str, Any] = {**(facts or {}), **({"state": state} if state else {})}
    versions: dict[str, int] = dict(known.facts.get(_VERSIONS, {}))
    newest = {k: v for k, v in told.items() if versions.get(k, 0) <= event.version}
    versions |= dict.fromkeys(newest, event.version)
    now = newest.pop("state", known.state)
    plain = {k: rfc3339(v) if isinstance(v, datetime) else v for k, v in newest.items()}
    facts_now = {**known.facts, **plain, _VERSIONS: versions}
    incident = Incident(known.id, event.number, now, facts_now, known.held)
    document = json.dumps(dict(incident.facts))
    await connection.execute(_UPDATE, {**values, "state": incident.state, "facts": document})
    return incident


async def record_scope(connection: AsyncConnection, record: ScopeRecord) -> None:
    """Keep the scope; one of the same version is there already."""
    await connection.execute(
        _RECORD_SCOPE,
        {
            "id": record.incident_id,
            "version": record.version,
            "scope": record.scope.model_dump_json(exclude_none=True),
            "set_by": record.set_by,
            "as_of": record.as_of,
        },
    )


async def newest_scope(connection: AsyncConnection, incident_id: UUID) -> ScopeRecord | None:
    """Return the scope in force; None before one was set."""
    row = (await connection.execute(_NEWEST_SCOPE, {"id": incident_id})).one_or_none()
    if row is None:
        return None
    scope = Scope.model_validate_json(row.scope)
    return ScopeRecord(row.incident_id, row.scope_version, scope, row.set_by, row.as_of)


async def waiting_scopes(connection: AsyncConnection) -> list[UUID]:
    """Return the incidents whose newest scope has no list yet."""
    return list((await connection.execute(_WAITING)).scalars())
