"""Engagements of subject-matter experts: ask, accept, decline, release (R21)."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from sqlalchemy import text

from services.escalate.oncall import engagements
from services.escalate.routing import Engaged
from services.escalate.state import READERS
from shared.auth import Principal, Role, allow
from shared.ids import uuid7
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["engagements"])
_EXPERTS = (Role.SUBJECT_MATTER_EXPERT, Role.LEGAL)
Reader = Annotated[Principal, allow(*READERS, *_EXPERTS)]
_KNOWN = text("SELECT severity FROM incidents WHERE id = :id")


class EngageBody(BaseModel):
    """Which team is wanted, and why."""

    model_config = ConfigDict(extra="forbid")

    team: StrictStr = Field(min_length=1, max_length=200)
    reason: StrictStr = Field(min_length=1, max_length=500)
    required: bool = False


class ReasonBody(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: StrictStr = Field(min_length=1, max_length=500)


@router.get("/v1/incidents/{incident_id}/engagements", summary="Experts asked for an incident")
async def list_engagements(request: Request, incident_id: UUID, _: Reader) -> dict[str, Any]:
    async with request.state.engine.connect() as connection:
        return {"items": await engagements.engagements_of(connection, incident_id)}


@router.post(
    "/v1/incidents/{incident_id}/engagements", status_code=201, summary="Ask a team for expertise"
)
async def engage(
    request: Request,
    incident_id: UUID,
    body: EngageBody,
    principal: Annotated[
        Principal,
        allow(Role.SERVICE_TEAM, Role.SECURITY_RESPONSE, Role.DUTY_MANAGER,
              Role.EXECUTIVE_INCIDENT_MANAGER),
    ],
) -> dict[str, Any]:  # fmt: skip
    directory = request.state.book.current.directory
    known = body.team in directory.roster.teams or body.team in directory.teams.values()
    if not known:
        why = f"there is no team {body.team!r}"
        raise ProblemError(
            422, "malformed", f"body.team: {why}.", errors=[{"at": "body.team", "problem": why}]
        )
    async with request.state.engine.begin() as connection:
        row = (await connection.execute(_KNOWN, {"id": incident_id})).one_or_none()
        if row is None:
            raise ProblemError(404, "not_found", "There is no such incident.")
        for present in await engagements.engagements_of(connection, incident_id):
            if present["team"] == body.team and present["status"] in ("requested", "accepted"):
                return dict(present)
        identity = await engagements.request(
            connection,
            incident_id,
            Engaged(body.team, directory.kind_of(body.team), body.required, ()),
            body.reason,
            principal.id,
            "log",
            request.state.clock(),
            severity=row.severity,
            again=(uuid7(),),
        )
        made = await engagements.read(connection, identity)
    request.state.wake()
    assert made is not None  # noqa: S101 - it was written in this transaction
    return made


@router.post("/v1/engagements/{engagement_id}/{move}", summary="Accept, decline or release")
async def move_engagement(
    request: Request,
    engagement_id: UUID,
    move: Literal["accept", "decline", "release"],
    body: ReasonBody,
    principal: Reader,
) -> dict[str, Any]:
    steps = {
        "accept": (engagements.accept, "accepted"),
        "decline": (engagements.decline, "declined"),
        "release": (engagements.release, "released"),
    }
    act, status = steps[move]
    async with request.state.engine.begin() as connection:
        known = await engagements.read(connection, engagement_id)
        if known is None:
            raise ProblemError(404, "not_found", "There is no such engagement.")
        if known["status"] != status:
            now = request.state.clock()
            if not await act(connection, engagement_id, principal.id, body.reason, now):
                detail = f"It is {known['status']}, so it cannot be {status}."
                raise ProblemError(
                    409,
                    "engagement_over",
                    detail,
                    unmet=[{"code": "engagement_over", "detail": detail}],
                )
        moved = await engagements.read(connection, engagement_id)
    request.state.wake()
    return dict(moved or known)
