"""What is known of an incident that routing asks for: said by people, found by other services (§6).

Severity's inputs come with the severity; who did it, whether a legal hold is on, how soon a notice
is due and which industries are affected are facts of their own, noted as they come.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.directory import Directory
from services.escalate.group_codec import from_row
from services.escalate.policy import UNKNOWN
from services.escalate.store import GROUP_COLUMNS

__all__ = ["SCOPE", "Known", "known_of", "note_fact", "note_industries", "note_over"]

_ROW = text(
    "SELECT i.number, i.title, i.severity, i.services, i.regions, i.inputs, i.source_kind, i.facts,"
    " i.over, a.inputs AS assessed FROM incidents i"
    " LEFT JOIN assessments a ON a.incident_id = i.id WHERE i.id = :id"
)
_GROUP = text(
    f"SELECT {GROUP_COLUMNS} FROM detection_groups g WHERE g.incident_id = :id"  # noqa: S608 - ours
)
_CASE = text("SELECT tenant FROM support_cases WHERE incident_id = :id")
SCOPE = "scope_names"  # services and regions of the scope that was set, beside the incident's own
# As a text: PostgreSQL reads no JSON that names a NUL, and an attacker may have written one.
_MATCHED = text(
    "SELECT 1 FROM detection_groups own JOIN detection_groups g"
    " ON g.id = own.id OR g.merged_into = own.id JOIN detections d ON d.group_id = g.id"
    " WHERE own.incident_id = :id AND d.body IS NOT NULL"
    " AND position(CAST(:mark AS text) IN d.body) > 0 LIMIT 1"
)
_MARK = '"technique":"threat_intel"'
# An incident that cases has not told of yet is noted all the same: messages come in any order.
_NOTE = text(
    "INSERT INTO incidents AS i (id, number, facts) VALUES (:id, '', :facts)"
    " ON CONFLICT (id) DO UPDATE SET facts = (i.facts::jsonb || EXCLUDED.facts::jsonb)::text"
)
_FACTS = text("SELECT facts FROM incidents WHERE id = :id FOR UPDATE")
_OVER = text("UPDATE incidents SET over = :over WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Known:
    """An incident as routing sees it; ``inputs`` are the severity's and the facts together."""

    number: str = ""
    title: str = ""
    severity: str | None = None
    services: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    source_kind: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    over: bool = False


async def known_of(connection: AsyncConnection, incident: UUID, directory: Directory) -> Known:
    """Return what is known of *incident*; of one that nobody told of, nothing."""
    row = (await connection.execute(_ROW, {"id": incident})).one_or_none()
    if row is None:
        return Known()
    stated = orjson.loads(row.inputs)
    assessed = {
        name: value
        for name, value in (orjson.loads(row.assessed) if row.assessed else {}).items()
        if value != UNKNOWN or name not in stated
    }
    facts = orjson.loads(row.facts)
    scope = facts.pop(SCOPE, {})
    found = {**stated, **assessed, **facts}
    industries = {*facts.get("tenant_industry", ())}
    industries |= directory.industries_of(await _tenants(connection, incident))
    if industries and "tenant_industry" not in stated:
        found["tenant_industry"] = sorted(industries)
    if "threat_intel_match" not in found and await connection.scalar(
        _MATCHED, {"id": incident, "mark": _MARK}
    ):
        found["threat_intel_match"] = True
    return Known(
        number=row.number,
        title=row.title,
        severity=row.severity,
        services=tuple(dict.fromkeys([*row.services, *scope.get("services", ())])),
        regions=tuple(dict.fromkeys([*row.regions, *scope.get("regions", ())])),
        source_kind=row.source_kind,
        inputs=found,
        over=row.over,
    )


async def note_fact(connection: AsyncConnection, incident: UUID, name: str, value: object) -> bool:
    """Remember a fact of *incident*; False if it is known already."""
    row = (await connection.execute(_FACTS, {"id": incident})).one_or_none()
    if row is not None and orjson.loads(row.facts).get(name) == value:
        return False
    facts = orjson.dumps({name: value}).decode()
    await connection.execute(_NOTE, {"id": incident, "facts": facts})
    return True


async def note_industries(
    connection: AsyncConnection, incident: UUID, industries: frozenset[str]
) -> bool:
    """Add to the industries whose customers are affected; False if all are known already."""
    row = (await connection.execute(_FACTS, {"id": incident})).one_or_none()
    known = frozenset(orjson.loads(row.facts).get("tenant_industry", ()) if row else ())
    if industries <= known:
        return False
    return await note_fact(connection, incident, "tenant_industry", sorted(known | industries))


async def note_over(connection: AsyncConnection, incident: UUID, *, over: bool) -> None:
    """Remember that *incident* ended, or goes on after all."""
    await connection.execute(_OVER, {"id": incident, "over": over})


async def _tenants(connection: AsyncConnection, incident: UUID) -> set[str]:
    """Return the tenants that its detections or its support case name."""
    found = {row.tenant for row in await connection.execute(_CASE, {"id": incident})}
    groups = await connection.execute(_GROUP, {"id": incident})
    found |= {from_row(row).tenant for row in groups}
    return {tenant for tenant in found if tenant}
