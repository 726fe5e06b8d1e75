"""Affected lists: compile the next version from a scope, with its difference to the last one."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.incidents import ScopeRecord
from services.notify.inventory import Inventory
from services.notify.scope import AffectedTenant, Confidence, Match, Resolution, resolve
from shared.clock import rfc3339
from shared.contracts.notify import AffectedCustomersIdentifiedV1
from shared.ids import derived_id

__all__ = [
    "compile_list", "explain", "explain_resolution", "list_nobody", "listed_tenants",
    "newest_list",
]  # fmt: skip

_NEWEST = text(
    "SELECT list_id, version, scope_version, inventory_version, state FROM affected_lists"
    " WHERE incident_id = :incident ORDER BY version DESC LIMIT 1"
)
_TENANTS = text(
    "SELECT tenant, confidence, explanation FROM affected_tenants"
    " WHERE list_id = :list AND change <> 'removed'"
    " AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant) ORDER BY tenant"
)
_SUPERSEDE = text(
    "UPDATE affected_lists SET state = 'superseded'"
    " WHERE incident_id = :incident AND state = 'compiled'"
)
SHOWN_MATCHES = 100  # of one tenant, the surest first
SHOWN_TENANTS = 1_000  # in a preview; the counts are of all
LISTED_TENANTS = 5_000  # in a message; the counts are of all, the API has the whole list

_INSERT = text(
    "INSERT INTO affected_lists (list_id, incident_id, version, scope_version, inventory_version,"
    " state, compiled_by, compiled_at, confirmed, probable, possible, warnings, nobody_reason)"
    " VALUES (:list, :incident, :version, :scope_version, :inventory, 'compiled', :by, :at,"
    " :confirmed, :probable, :possible, :warnings, :nobody)"
)
_INSERT_TENANT = text(
    "INSERT INTO affected_tenants (list_id, tenant, change, confidence, explanation)"
    " VALUES (:list, :tenant, :change, :confidence, :explanation)"
)


async def newest_list(connection: AsyncConnection, incident_id: UUID) -> Any:
    """Return the newest list version's row, or None."""
    return (await connection.execute(_NEWEST, {"incident": incident_id})).one_or_none()


async def listed_tenants(
    connection: AsyncConnection, list_id: UUID, tenant: str | None = None
) -> dict[str, tuple[Confidence, Mapping[str, Any]]]:
    """Return tenant → confidence and explanation of those on a list, or of one of them."""
    rows = (await connection.execute(_TENANTS, {"list": list_id, "tenant": tenant})).all()
    return {r.tenant: (Confidence(r.confidence), json.loads(r.explanation)) for r in rows}


async def compile_list(
    connection: AsyncConnection, record: ScopeRecord, inventory: Inventory, at: datetime
) -> AffectedCustomersIdentifiedV1 | None:
    """Write version n+1 for *record*; None when its scope has a list already.

    The caller holds the incident's lock. ScopeError as of `resolve`.
    """
    last = await newest_list(connection, record.incident_id)
    if last is not None and last.scope_version >= record.version:
        return None
    found = await asyncio.to_thread(resolve, inventory, record.scope, as_of=record.as_of)
    before = await listed_tenants(connection, last.list_id) if last else {}
    version = last.version + 1 if last else 1
    list_id = derived_id("affected-list", record.incident_id, version)
    counts = {confidence.value: found.count(confidence) for confidence in Confidence}
    await connection.execute(_SUPERSEDE, {"incident": record.incident_id})
    await connection.execute(
        _INSERT,
        {
            "list": list_id,
            "incident": record.incident_id,
            "version": version,
            "scope_version": record.version,
            "inventory": inventory.version,
            "by": record.set_by,
            "at": at,
            "warnings": json.dumps(found.warnings),
            "nobody": None,
            **counts,
        },
    )
    if rows := _rows(list_id, found, before):
        await connection.execute(_INSERT_TENANT, rows)
    return AffectedCustomersIdentifiedV1(
        event_id=derived_id("affected-list-identified", list_id),
        occurred_at=at,
        list_id=list_id,
        incident_id=record.incident_id,
        version=version,
        inventory_version=inventory.version,
        tenants=[affected.tenant for affected in found.tenants[:LISTED_TENANTS]],
        **counts,
    )


async def list_nobody(
    connection: AsyncConnection,
    incident_id: UUID,
    inventory_version: str,
    reason: str,
    by: str,
    at: datetime,
) -> AffectedCustomersIdentifiedV1:
    """Write version n+1 with nobody on it, for *reason* (R34); whoever was on n is removed.

    The caller holds the incident's lock.
    """
    last = await newest_list(connection, incident_id)
    before = await listed_tenants(connection, last.list_id) if last else {}
    version = last.version + 1 if last else 1
    list_id = derived_id("affected-list", incident_id, version)
    counts = {confidence.value: 0 for confidence in Confidence}
    await connection.execute(_SUPERSEDE, {"incident": incident_id})
    await connection.execute(
        _INSERT,
        {
            "list": list_id,
            "incident": incident_id,
            "version": version,
            "scope_version": last.scope_version if last else 0,
            "inventory": inventory_version,
            "by": by,
            "at": at,
            "warnings": "[]",
            "nobody": reason,
            **counts,
        },
    )
    if rows := _removed(list_id, set(before), before):
        await connection.execute(_INSERT_TENANT, rows)
    return AffectedCustomersIdentifiedV1(
        event_id=derived_id("affected-list-identified", list_id),
        occurred_at=at,
        list_id=list_id,
        incident_id=incident_id,
        version=version,
        inventory_version=inventory_version,
        tenants=[],
        **counts,
    )


def _rows(
    list_id: UUID,
    found: Resolution,
    before: Mapping[str, tuple[Confidence, Mapping[str, Any]]],
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "list": list_id,
            "tenant": affected.tenant,
            "change": "unchanged" if affected.tenant in before else "added",
            "confidence": affected.confidence.value,
            "explanation": json.dumps(explain(affected)),
        }
        for affected in found.tenants
    ]
    gone = set(before) - {affected.tenant for affected in found.tenants}
    return rows + _removed(list_id, gone, before)


def _removed(
    list_id: UUID, gone: set[str], before: Mapping[str, tuple[Confidence, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    return [
        {
            "list": list_id,
            "tenant": tenant,
            "change": "removed",
            "confidence": None,
            "explanation": json.dumps(before[tenant][1]),
        }
        for tenant in sorted(gone)
    ]


def explain(affected: AffectedTenant) -> dict[str, Any]:
    """Return why a tenant is on a list: every placement that matched, and how."""
    matches = affected.matches
    begins = [m.overlap_from for m in matches if m.overlap_from is not None]
    ends = [m.overlap_to for m in matches if m.overlap_to is not None]
    return {
        "confidence": affected.confidence.value,
        "reason": matches[0].reason,
        "data_classes": list(affected.data_classes),
        "servers": len({match.server.name for match in matches}),
        # None: it reaches back without bound.
        "first_overlap": rfc3339(min(begins)) if len(begins) == len(matches) else None,
        "last_overlap": rfc3339(max(ends)) if ends else None,
        "matches": [_match(match) for match in matches[:SHOWN_MATCHES]],
        "matches_omitted": max(0, len(matches) - SHOWN_MATCHES),
    }


def _match(match: Match) -> dict[str, Any]:
    server, placement = match.server, match.placement
    instants = {
        "placed_from": placement.valid_from,
        "placed_to": placement.valid_to,
        "overlap_from": match.overlap_from,
        "overlap_to": match.overlap_to,
    }
    return {
        "region": server.region,
        "datacenter": server.datacenter,
        "service": server.service,
        "server_farm": server.farm,
        "server": server.name,
        "role": placement.role,
        **{name: at and rfc3339(at) for name, at in instants.items()},
        "confidence": match.confidence.value,
        "reason": match.reason,
    }


def explain_resolution(found: Resolution) -> dict[str, Any]:
    """Return a resolution as the API shows it."""
    return {
        "window_from": found.window_from and rfc3339(found.window_from),
        "window_to": rfc3339(found.window_to),
        "counts": {confidence.value: found.count(confidence) for confidence in Confidence},
        "servers": list(found.servers),
        "warnings": list(found.warnings),
        "tenants": [{"tenant": t.tenant, **explain(t)} for t in found.tenants[:SHOWN_TENANTS]],
        "tenants_omitted": max(0, len(found.tenants) - SHOWN_TENANTS),
    }
