"""The inventory in use, and what a scope would reach if it were set."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from services.notify.affected_lists import explain_resolution
from services.notify.scope import ScopeError, resolve
from services.notify.state import READERS
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.contracts.base import Instant
from shared.contracts.cases import Scope
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["scopes"])


class Selector(BaseModel):
    """Levels in one selector are AND."""

    model_config = ConfigDict(extra="forbid")

    region: str | None = None
    datacenter: str | None = None
    service: str | None = None
    server_farm: str | None = None
    server: str | None = None
    tenant: str | None = None


class PreviewBody(BaseModel):
    """A scope as `shared.contracts.cases.Scope` has it, with unknown fields refused."""

    model_config = ConfigDict(extra="forbid")

    include: list[Selector] = Field(max_length=1000)
    exclude: list[Selector] = Field(default_factory=list, max_length=1000)
    window_from: Instant | None = None
    window_to: Instant | None = None
    follow_dependencies: str = Field("none", pattern="^(none|direct|transitive)$")
    roles: list[str] | None = Field(None, description="primary, replica, backup; null: all")


@router.get("/v1/inventory", summary="The version in use, what it counts, and why not a newer one")
async def get_inventory(
    request: Request, _: Annotated[Principal, allow(*READERS, Role.POLICY_ADMIN, Role.OPERATOR)]
) -> dict[str, Any]:
    keeper = request.state.keeper
    current, problem = keeper.current, keeper.problem
    return {
        "version": current.version if current else None,
        "loaded_at": rfc3339(keeper.loaded_at) if keeper.loaded_at else None,
        "counts": current.counts() if current else {},
        "refused_file": problem
        and {"line": problem.line, "why": problem.why, "seen_at": rfc3339(problem.seen_at)},
    }


@router.post("/v1/scopes/preview", summary="Resolve a scope without an incident; changes nothing")
async def preview(
    request: Request,
    body: PreviewBody,
    _: Annotated[Principal, allow(*READERS)],
) -> dict[str, Any]:
    inventory = request.state.keeper.current
    if inventory is None:
        raise ProblemError(503, "no_inventory", "No inventory was imported yet.")
    scope = Scope.model_validate(body.model_dump(exclude={"roles"}))
    try:
        found = await asyncio.to_thread(
            resolve, inventory, scope, as_of=request.state.clock(), roles=body.roles
        )
    except ScopeError as error:
        raise ProblemError(422, "scope_empty", str(error)) from error
    return {"inventory_version": inventory.version, **explain_resolution(found)}
