"""Triage over HTTP: the queue of groups, the risk of entities, suppressions and snoozes."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.escalate import triage_views
from services.escalate.sighting import printable
from services.escalate.state import READERS
from services.escalate.triage_decisions import (
    MOST_SUPPRESSIONS,
    end_suppression,
    snooze,
    suppress,
)
from shared.auth import Principal, Role, allow
from shared.contracts.base import Instant
from shared.ids import uuid7
from shared.problems import ProblemError

__all__ = ["router"]

MOST_DAYS = 90
router = APIRouter(prefix="/v1/triage", tags=["triage"])
Reader = Annotated[Principal, allow(*READERS)]
# What is suppressed pages nobody: that is for those who answer for escalations (R08).
Suppressor = Annotated[Principal, allow(Role.SECURITY_RESPONSE)]
Triager = Annotated[Principal, allow(Role.SECURITY_RESPONSE, Role.SERVICE_TEAM)]
Limit = Annotated[int, Query(ge=1, le=200)]
Kind = Literal["host", "user", "account", "ip", "service", "source"]


class NewSuppression(BaseModel):
    """Which detections count without weight until an instant; all that is named has to agree."""

    model_config = ConfigDict(extra="forbid")

    rule_id: str | None = Field(None, min_length=1, max_length=256)
    entity_type: Kind | None = None
    entity_value: str | None = Field(None, min_length=1, max_length=256)
    tenant: str | None = Field(None, min_length=1, max_length=256)
    reason: str = Field(min_length=10, max_length=2000)
    expires_at: Instant

    @model_validator(mode="after")
    def _of_something(self) -> "NewSuppression":
        if self.rule_id is None and self.entity_type is None:
            raise ValueError("a rule or an entity is needed: nothing may silence everything")
        if (self.entity_type is None) != (self.entity_value is None):
            raise ValueError("entity_type and entity_value go together")
        return self


class Snooze(BaseModel):
    """Until when a group rests, and why."""

    model_config = ConfigDict(extra="forbid")

    until: Instant
    reason: str = Field(min_length=10, max_length=2000)


class Why(BaseModel):
    """Why something ends before its time."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=10, max_length=2000)


@router.get("/groups", summary="Groups that are no proposal yet, the riskiest first")
async def queue(request: Request, _: Reader, limit: Limit = 50, offset: int = 0) -> dict[str, Any]:
    offset = min(max(offset, 0), 10_000)
    rules = request.state.book.current.rules
    found = await triage_views.queue(request.state.engine, rules, limit + 1, offset)
    following = offset + limit if len(found) > limit else None
    return {"items": found[:limit], "next_offset": following}


@router.get("/groups/{group_id}", summary="One group: its rules, stages and counts")
async def group(request: Request, group_id: UUID, _: Reader) -> dict[str, Any]:
    rules = request.state.book.current.rules
    found = await triage_views.one_group(request.state.engine, rules, group_id)
    if found is None:
        raise ProblemError(404, "not_found", "There is no such group.")
    return found


@router.post("/groups/{group_id}/snooze", summary="Let a group rest until an instant")
async def snooze_group(
    request: Request, group_id: UUID, body: Snooze, who: Triager
) -> dict[str, Any]:
    now = _now(request)
    until = _within(body.until, now, "until")
    return await _rest(request, group_id, until, who, body.reason)


@router.post("/groups/{group_id}/wake", summary="End the rest of a group")
async def wake_group(request: Request, group_id: UUID, body: Why, who: Triager) -> dict[str, Any]:
    return await _rest(request, group_id, _now(request), who, body.reason)


@router.get("/risk", summary="Entities by the risk that has accumulated, and what adds to it")
async def risk(request: Request, _: Reader, limit: Limit = 50) -> dict[str, Any]:
    rules = request.state.book.current.rules
    return {"items": await triage_views.riskiest(request.state.engine, rules, _now(request), limit)}


@router.get("/suppressions", summary="Suppressions, newest first, and how much each has held back")
async def list_suppressions(request: Request, _: Reader, limit: Limit = 50) -> dict[str, Any]:
    return {"items": await triage_views.suppressions(request.state.engine, _now(request), limit)}


@router.post("/suppressions", status_code=201, summary="Count without weight until a date")
async def add_suppression(
    request: Request, body: NewSuppression, who: Suppressor
) -> dict[str, Any]:
    now = _now(request)
    row = {
        "id": uuid7(),
        "rule_id": body.rule_id,
        "kind": body.entity_type,
        "value": printable(body.entity_value) if body.entity_value else None,
        "tenant": body.tenant,
        "reason": body.reason,
        "who": who.id,
        "now": now,
        "expires_at": _within(body.expires_at, now, "expires_at"),
    }
    if not await suppress(request.state.engine, row):
        raise ProblemError(
            429,
            "too_many_suppressions",
            f"{MOST_SUPPRESSIONS} suppressions are in force; end some first.",
            headers={"Retry-After": "3600"},
        )
    request.state.wake()
    return {"suppression_id": row["id"], "expires_at": row["expires_at"]}


@router.post("/suppressions/{suppression_id}/end", summary="End a suppression before its time")
async def end(request: Request, suppression_id: UUID, body: Why, who: Suppressor) -> dict[str, Any]:
    engine, now = request.state.engine, _now(request)
    if not await end_suppression(engine, suppression_id, who.id, body.reason, now):
        raise ProblemError(404, "not_found", "There is no such suppression in force.")
    request.state.wake()
    return {"suppression_id": suppression_id, "ended_by": who.id}


async def _rest(
    request: Request, group_id: UUID, until: datetime, who: Principal, reason: str
) -> dict[str, Any]:
    if not await snooze(request.state.engine, group_id, until, who.id, reason, _now(request)):
        raise ProblemError(404, "not_found", "There is no such open group.")
    request.state.wake()
    return {"group_id": group_id, "snoozed_until": until}


def _within(instant: datetime, now: datetime, name: str) -> datetime:
    if not now < instant <= now + timedelta(days=MOST_DAYS):
        raise ProblemError(422, "malformed", f"{name} must lie within the next {MOST_DAYS} days.")
    return instant


def _now(request: Request) -> datetime:
    now: datetime = request.state.clock()
    return now
