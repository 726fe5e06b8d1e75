"""Suppressions, groups of detections and asset tiers over HTTP."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.detect import suppressions
from services.detect.api import READERS
from services.detect.store import groups_of_detections
from shared.auth import Principal, Role, allow
from shared.clock import Clock
from shared.contracts.base import Instant
from shared.ids import uuid7
from shared.problems import ProblemError

__all__ = ["router"]

MAX_DAYS = 90
router = APIRouter(tags=["noise"])
Reader = Annotated[Principal, allow(*READERS)]
Writer = Annotated[Principal, allow(Role.DETECTION_ENGINEER, Role.SECURITY_RESPONSE)]
EntityType = Literal["host", "user", "ip", "account", "service", "tenant"]


class NewSuppression(BaseModel):
    """What is not to be told until it expires; every part given must fit a detection."""

    model_config = ConfigDict(extra="forbid")

    rule_id: str | None = Field(None, max_length=64)
    entity_type: EntityType | None = None
    entity_value: str | None = Field(None, min_length=1, max_length=256)
    tenant: str | None = Field(None, max_length=128)
    reason: str = Field(min_length=10, max_length=2000)
    expires_at: Instant

    @model_validator(mode="after")
    def _about_something(self) -> "NewSuppression":
        if self.rule_id is None and self.entity_type is None:
            raise ValueError("a rule or an entity is needed: nothing may silence everything")
        if (self.entity_type is None) != (self.entity_value is None):
            raise ValueError("entity_type and entity_value go together")
        return self


class Tier(BaseModel):
    """How much an asset matters: 1 the crown jewels, 3 ordinary, 4 least."""

    model_config = ConfigDict(extra="forbid")

    tier: int = Field(ge=1, le=4)


@router.post("/v1/suppressions", status_code=201, summary="Hold detections back until a date")
async def add_suppression(request: Request, body: NewSuppression, who: Writer) -> dict[str, Any]:
    now = _now(request)
    if not now < body.expires_at <= now + timedelta(days=MAX_DAYS):
        raise ProblemError(
            422, "malformed", f"expires_at must lie within the next {MAX_DAYS} days."
        )
    row = {**body.model_dump(), "id": uuid7(), "created_by": who.id, "created_at": now}
    if not await suppressions.add(request.state.engine, row):
        raise ProblemError(
            429,
            "too_many_suppressions",
            f"{suppressions.MAX_ACTIVE} suppressions are in force; end some first.",
            headers={"Retry-After": "3600"},
        )
    return row


@router.get("/v1/suppressions", summary="Suppressions and how much each has held back")
async def list_suppressions(
    request: Request, _: Reader, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> dict[str, Any]:
    return {"items": await suppressions.listed(request.state.engine, _now(request), limit)}


@router.post("/v1/suppressions/{suppression_id}/end", summary="End a suppression early")
async def end_suppression(request: Request, suppression_id: UUID, who: Writer) -> dict[str, Any]:
    if not await suppressions.end(request.state.engine, suppression_id, who.id, _now(request)):
        raise ProblemError(404, "not_found", "There is no such suppression in force.")
    return {"id": suppression_id, "ended_by": who.id}


@router.get("/v1/detection-groups", summary="Detections by rule and principal, with all counts")
async def list_groups(
    request: Request,
    _: Reader,
    hours: Annotated[int, Query(ge=1, le=24 * 31)] = 24,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> dict[str, Any]:
    since = _now(request) - timedelta(hours=hours)
    return {"items": await groups_of_detections(request.state.engine, since, limit)}


@router.get("/v1/asset-tiers", summary="Assets whose tier was set")
async def list_tiers(request: Request, _: Reader) -> dict[str, Any]:
    return {"items": await suppressions.tiers(request.state.engine)}


@router.put("/v1/asset-tiers/{entity_type}/{value}", summary="Set how much an asset matters (R03)")
async def put_tier(
    request: Request,
    entity_type: EntityType,
    value: Annotated[str, Path(min_length=1, max_length=256)],
    body: Tier,
    who: Writer,
) -> dict[str, Any]:
    now = _now(request)
    since = now - timedelta(days=suppressions.MAX_RESCORED_DAYS)
    rescored = await suppressions.set_tier(
        request.state.engine, entity_type, value, body.tier, who.id, now, since
    )
    return {"type": entity_type, "value": value.lower(), "tier": body.tier, "rescored": rescored}


def _now(request: Request) -> datetime:
    clock: Clock = request.state.clock
    return clock()
