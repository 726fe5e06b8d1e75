"""Legal's hold on all communication about an incident: nothing leaves until it is lifted (I8)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify import incidents
from shared.problems import ProblemError

__all__ = ["holds_of", "lift", "place"]

_ALL = text(
    "SELECT number, reason, authority, placed_by, placed_at, lifted_by, lifted_at, lift_reason"
    " FROM communication_holds WHERE incident_id = :incident ORDER BY number"
)
_PLACE = text(
    "INSERT INTO communication_holds (incident_id, number, reason, authority, placed_by, placed_at)"
    " VALUES (:incident, :number, :reason, :authority, :by, :at)"
)
_LIFT = text(
    "UPDATE communication_holds SET lifted_by = :by, lifted_at = :at, lift_reason = :reason"
    " WHERE incident_id = :incident AND lifted_at IS NULL"
)
_FLAG = text("UPDATE incidents SET held = :held WHERE incident_id = :incident")


async def holds_of(connection: AsyncConnection, incident_id: UUID) -> list[Any]:
    """Return every hold that there was, oldest first."""
    return list((await connection.execute(_ALL, {"incident": incident_id})).all())


async def place(
    connection: AsyncConnection,
    incident_id: UUID,
    *,
    reason: str,
    authority: str,
    by: str,
    at: datetime,
) -> None:
    """Hold; a second one over the first changes nothing. 404 for an unknown incident."""
    if (await _locked(connection, incident_id)).held:
        return
    values = {"incident": incident_id, "number": len(await holds_of(connection, incident_id)) + 1}
    words = {"reason": reason, "authority": authority, "by": by, "at": at}
    await connection.execute(_PLACE, {**values, **words})
    await connection.execute(_FLAG, {"incident": incident_id, "held": True})


async def lift(
    connection: AsyncConnection, incident_id: UUID, *, reason: str, by: str, at: datetime
) -> None:
    """End the hold; 409 where there is none."""
    if not (await _locked(connection, incident_id)).held:
        unmet = {"code": "not_held", "detail": "No hold is in force."}
        raise ProblemError(409, "not_held", "There is nothing to lift.", unmet=[unmet])
    values = {"incident": incident_id, "reason": reason, "by": by, "at": at}
    await connection.execute(_LIFT, values)
    await connection.execute(_FLAG, {"incident": incident_id, "held": False})


async def _locked(connection: AsyncConnection, incident_id: UUID) -> incidents.Incident:
    incident = await incidents.lock(connection, incident_id)
    if incident is None:
        raise ProblemError(404, "not_found", "Nothing is known of this incident yet.")
    return incident
