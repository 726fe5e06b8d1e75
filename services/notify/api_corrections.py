"""Taking back what was told, and holding what is not told yet."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from services.notify import communication_hold, incidents
from services.notify.affected_lists import list_nobody
from services.notify.corrections import Correction, approve_correction, corrections_of, draft
from services.notify.state import READERS, snapshot
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.cloudevents import outgoing
from shared.outbox import enqueue
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["corrections and holds"])

Reason = Annotated[str, Field(min_length=1, max_length=2000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CorrectionBody(_Body):
    """What is to be taken back; everyone who was told gets it, once somebody else approves it."""

    why: Literal["content", "no_incident"] = "content"
    statement: str = Field(min_length=1, max_length=8000, description="what holds instead")


class HoldBody(_Body):
    """Why nothing may leave, and on whose word."""

    reason: Reason
    authority: str = Field("", max_length=500)


class ReasonBody(_Body):
    """Why."""

    reason: Reason


@router.get("/v1/incidents/{incident_id}/corrections", summary="Drafted and approved ones")
async def corrections(
    request: Request, incident_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        found = await corrections_of(connection, incident_id)
    return {"items": [_shown(correction) for correction in found]}


@router.post("/v1/incidents/{incident_id}/corrections", summary="Draft one; somebody else sends it")
async def write_correction(
    request: Request,
    incident_id: UUID,
    body: CorrectionBody,
    principal: Annotated[Principal, allow(Role.INCIDENT_COMMUNICATIONS, Role.LEGAL)],
) -> dict[str, Any]:
    state = request.state
    async with state.engine.begin() as connection:
        if await incidents.lock(connection, incident_id) is None:
            raise ProblemError(404, "not_found", "Nothing is known of this incident yet.")
        correction = await draft(
            connection,
            incident_id,
            body.why,
            by=principal.id,
            at=state.clock(),
            wording=state.wording.current,
            statement=body.statement,
        )
    if correction is None:
        unmet = {"code": "nobody_told", "detail": "Nobody was told what could be corrected."}
        raise ProblemError(409, "nobody_told", "There is nothing to correct.", unmet=[unmet])
    return _shown(correction)


@router.post("/v1/corrections/{correction_id}/approve", summary="Send what another wrote")
async def approve(
    request: Request,
    correction_id: UUID,
    principal: Annotated[Principal, allow(Role.INCIDENT_COMMUNICATIONS, Role.LEGAL)],
) -> dict[str, Any]:
    state = request.state
    async with state.engine.begin() as connection:
        made = await approve_correction(
            connection,
            correction_id,
            by=principal.id,
            at=state.clock(),
            operator_name=state.settings.operator_name,
            wording=state.wording.current,
        )
    state.wake()
    return {"correction_id": str(correction_id), "corrections_created": made}


@router.get("/v1/incidents/{incident_id}/communication-holds", summary="Every hold there was")
async def holds(
    request: Request, incident_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        incident = await incidents.find(connection, incident_id)
        rows = await communication_hold.holds_of(connection, incident_id)
    return {
        "held": incident is not None and incident.held,
        "items": [
            {
                "number": row.number,
                "reason": row.reason,
                "authority": row.authority,
                "placed_by": row.placed_by,
                "placed_at": rfc3339(row.placed_at),
                "lifted_by": row.lifted_by,
                "lifted_at": row.lifted_at and rfc3339(row.lifted_at),
                "lift_reason": row.lift_reason,
            }
            for row in rows
        ],
    }


@router.post(
    "/v1/incidents/{incident_id}/hold-communication", summary="Nothing leaves until it is lifted"
)
async def hold_communication(
    request: Request,
    incident_id: UUID,
    body: HoldBody,
    principal: Annotated[Principal, allow(Role.LEGAL)],
) -> dict[str, Any]:
    async with request.state.engine.begin() as connection:
        await communication_hold.place(
            connection,
            incident_id,
            reason=body.reason,
            authority=body.authority,
            by=principal.id,
            at=request.state.clock(),
        )
    return {"incident_id": str(incident_id), "held": True}


@router.post(
    "/v1/incidents/{incident_id}/lift-communication-hold", summary="What is due leaves at once"
)
async def lift_communication_hold(
    request: Request,
    incident_id: UUID,
    body: ReasonBody,
    principal: Annotated[Principal, allow(Role.LEGAL)],
) -> dict[str, Any]:
    async with request.state.engine.begin() as connection:
        await communication_hold.lift(
            connection,
            incident_id,
            reason=body.reason,
            by=principal.id,
            at=request.state.clock(),
        )
    request.state.wake()
    return {"incident_id": str(incident_id), "held": False}


@router.post(
    "/v1/incidents/{incident_id}/nobody-affected",
    summary="Propose that no customer is affected; communications signs it like any list (R34)",
)
async def nobody_affected(
    request: Request,
    incident_id: UUID,
    body: ReasonBody,
    principal: Annotated[Principal, allow(Role.SERVICE_TEAM, Role.SECURITY_RESPONSE)],
) -> dict[str, Any]:
    state = request.state
    if state.keeper.current is None:
        raise ProblemError(503, "no_inventory", "No inventory was imported yet.")
    async with state.engine.begin() as connection:
        incident = await incidents.lock(connection, incident_id)
        if incident is None:
            raise ProblemError(404, "not_found", "Nothing is known of this incident yet.")
        at = state.clock()
        identified = await list_nobody(
            connection, incident_id, state.keeper.current.version, body.reason, principal.id, at
        )
        owed = await state.book.evaluate(connection, incident, at)
        told = [outgoing(one, source="notify") for one in (identified, *owed)]
        await enqueue(connection, told)
    state.wake()
    return {"list_id": str(identified.list_id), "version": identified.version}


def _shown(correction: Correction) -> dict[str, Any]:
    return {
        "correction_id": str(correction.id),
        "number": correction.number,
        "why": correction.why,
        "statement": correction.statement,
        "written_by": correction.written_by,
        "written_at": rfc3339(correction.written_at),
        "approved_by": correction.approved_by,
        "approved_at": correction.approved_at and rfc3339(correction.approved_at),
    }
