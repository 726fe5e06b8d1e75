"""The routes of replays: start one, see how far it is, stop it."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.ingest.replay import records
from services.ingest.replay.records import Replay
from services.ingest.search.api import service_of
from services.ingest.search.request import parsed
from shared.auth import Principal, Role, allow
from shared.contracts.base import Instant
from shared.ids import derived_id, uuid7
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["replays"])
Reader = Annotated[
    Principal,
    allow(Role.DETECTION_ENGINEER, Role.SECURITY_RESPONSE, Role.AUDITOR, Role.OPERATOR),
]
Replayer = Annotated[Principal, allow(Role.DETECTION_ENGINEER, Role.SECURITY_RESPONSE)]


class ReplayOrder(BaseModel):
    """Which events, and what for."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: Instant = Field(alias="from", description="of the events, inclusive")
    end: Instant = Field(alias="to", description="of the events, exclusive")
    query: str | None = Field(None, max_length=8192, description="only what this search finds")
    purpose: Literal["detect", "backtest"] = "detect"

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.start >= self.end:
            raise ValueError("from lies before to")
        return self


@router.post("/v1/replays", status_code=202, summary="Send stored events through detect again")
async def start(
    request: Request, principal: Replayer, body: Annotated[ReplayOrder, Body()]
) -> dict[str, Any]:
    """With an `Idempotency-Key`, asking again gives the same replay."""
    service_of(request)
    parsed(body.query or "")
    key = request.headers.get("idempotency-key")
    identity = derived_id("replay", principal.id, key) if key else uuid7()
    async with request.state.engine.begin() as connection:
        await records.add(
            connection,
            identity=identity,
            purpose=body.purpose,
            start=body.start,
            end=body.end,
            query=body.query,
            requested_by=principal.id,
            tenant=principal.tenant,
            now=request.state.clock(),
        )
    found = await _found(request, identity)
    if (found.start, found.end, found.query, found.purpose) != (
        body.start, body.end, body.query, body.purpose,
    ):  # fmt: skip
        raise ProblemError(422, "key_reused", "The Idempotency-Key was used for another replay.")
    request.state.replays.wake()
    return found.shown()


async def _found(request: Request, identity: UUID) -> Replay:
    found = await records.find(request.state.engine, identity)
    if found is None:
        raise ProblemError(404, "not_found", "There is no such replay.")
    return found


@router.get("/v1/replays", summary="Replays, newest first")
async def list_replays(
    request: Request,
    _: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: UUID | None = None,
) -> dict[str, Any]:
    found = await records.newest(request.state.engine, cursor, limit + 1)
    following = str(found[limit - 1].id) if len(found) > limit else None
    return {"items": [replay.shown() for replay in found[:limit]], "next_cursor": following}


@router.get("/v1/replays/{replay_id}", summary="One replay and how far it is")
async def get_replay(request: Request, replay_id: UUID, _: Reader) -> dict[str, Any]:
    return (await _found(request, replay_id)).shown()


@router.delete("/v1/replays/{replay_id}", summary="Stop a replay")
async def stop(request: Request, replay_id: UUID, principal: Replayer) -> dict[str, Any]:
    """What was published stays published; one that is over stays as it ended (409)."""
    found = await _found(request, replay_id)
    told = f"cancelled by {principal.id}"
    if not await records.end(
        request.state.engine, replay_id, "cancelled", request.state.clock(), told
    ):
        raise ProblemError(409, "replay_over", f"It is {found.state}.")
    request.state.replays.wake()
    return (await _found(request, replay_id)).shown()
