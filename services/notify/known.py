"""What notify knows of an incident, gathered for notices and forms."""

import json
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify import incidents
from services.notify.obligations.regimes import CLOCKS
from services.notify.settings import Settings
from services.notify.wording.facts import Known
from shared.contracts.cases import ScopeSelector

__all__ = ["known_of"]

_STATED = text(
    "SELECT facts FROM stated_facts WHERE incident_id = :incident ORDER BY version DESC LIMIT 1"
)
_COUNTS = text(
    "SELECT confirmed, probable, possible FROM affected_lists WHERE incident_id = :incident"
    " ORDER BY version DESC LIMIT 1"
)
_LEVELS = ("region", "datacenter", "service", "server_farm", "server", "tenant")


async def known_of(
    connection: AsyncConnection, incident: incidents.Incident, settings: Settings
) -> Known:
    """Return what can stand in a notice or a form about *incident*."""
    values = {"incident": incident.id}
    stated = (await connection.execute(_STATED, values)).scalar()
    counts = (await connection.execute(_COUNTS, values)).one_or_none()
    clocks = {name: incident.instant(f"{name}_at") for name in CLOCKS}
    return Known(
        number=incident.number,
        facts=incident.facts,
        clocks={name: at for name, at in clocks.items() if at is not None},
        stated=json.loads(stated) if stated else {},
        affected=_affected(counts),
        scope=await _scope(connection, incident.id),
        contact=settings.operator_contact or "",
        privacy_contact=settings.operator_privacy_contact or settings.operator_contact or "",
    )


def _affected(counts: Any) -> str:
    if counts is None:
        return ""
    return (
        f"Affected customers: {counts.confirmed} confirmed, {counts.probable} probable,"
        f" {counts.possible} possible"
    )


async def _scope(connection: AsyncConnection, incident_id: UUID) -> str:
    record = await incidents.newest_scope(connection, incident_id)
    if record is None:
        return ""
    return "Affected: " + "; or ".join(_selector(one) for one in record.scope.include)


def _selector(selector: ScopeSelector) -> str:
    levels = [(level.replace("_", " "), getattr(selector, level)) for level in _LEVELS]
    return ", ".join(f"{level} {name}" for level, name in levels if name)
