"""What becomes of the incident, told back to the support case that led to it (R15c)."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.sighting import printable
from services.escalate.support.book import act, case_of_incident
from services.escalate.support.case import Follow
from shared.contracts.cases import (
    IncidentClosedV1,
    IncidentDismissedV1,
    IncidentEvent,
    IncidentOpenedV1,
    IncidentReopenedV1,
)

__all__ = ["follow"]


async def follow(connection: AsyncConnection, event: IncidentEvent, now: datetime) -> None:
    """Note in the case that its incident has a number, is over, or goes on after all."""
    match event:
        case IncidentClosedV1() | IncidentDismissedV1():
            over = True
        case IncidentOpenedV1() | IncidentReopenedV1():
            over = False
        case _:
            return
    if case_id := await case_of_incident(connection, event.incident_id):
        told = Follow(number=printable(event.number), over=over)
        await act(connection, case_id, told, "cases", now)
