"""What a scope would reach if it were set, and what a list comes to on what was known when."""

import asyncio
import json
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.affected_lists import SHOWN_TENANTS, explain_resolution, listed_tenants
from services.notify.inventory import Inventory
from services.notify.inventory_keeper import InventoryKeeper
from services.notify.scope import ScopeError, resolve
from services.notify.state import READERS, snapshot
from shared.auth import Principal, allow
from shared.clock import rfc3339
from shared.contracts.base import Instant
from shared.contracts.cases import Scope
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["scopes"])

_LIST = text(
    "SELECT l.scope_version, l.inventory_version, s.scope, s.as_of FROM affected_lists l"
    " JOIN scopes s USING (incident_id, scope_version) WHERE l.list_id = :list"
)
KnownAt = Annotated[
    AwareDatetime | None, Query(description="resolve with what the inventory was known to be then")
]


class Selector(BaseModel):
    """Levels and tags in one selector are AND."""

    model_config = ConfigDict(extra="forbid")

    region: str | None = None
    datacenter: str | None = None
    service: str | None = None
    server_farm: str | None = None
    server: str | None = None
    tenant: str | None = None
    tags: dict[str, str] | None = Field(None, max_length=50)


class PreviewBody(BaseModel):
    """A scope as `shared.contracts.cases.Scope` has it, with unknown fields refused."""

    model_config = ConfigDict(extra="forbid")

    include: list[Selector] = Field(max_length=1000)
    exclude: list[Selector] = Field(default_factory=list, max_length=1000)
    window_from: Instant | None = None
    window_to: Instant | None = None
    follow_dependencies: str = Field("none", pattern="^(none|direct|transitive)$")
    roles: list[str] | None = Field(None, description="primary, replica, backup; null: all")
    known_at: Instant | None = Field(
        None, description="resolve with what the inventory was known to be then; null: now"
    )


@router.post("/v1/scopes/preview", summary="Resolve a scope without an incident; changes nothing")
async def preview(
    request: Request,
    body: PreviewBody,
    _: Annotated[Principal, allow(*READERS)],
) -> dict[str, Any]:
    state = request.state
    inventory = state.keeper.current
    if inventory is None:
        raise ProblemError(503, "no_inventory", "No inventory was imported yet.")
    if body.known_at is not None:
        async with snapshot(state.engine) as connection:
            inventory = await _then(state.keeper, connection, body.known_at)
    scope = Scope.model_validate(body.model_dump(exclude={"roles", "known_at"}))
    try:
        found = await asyncio.to_thread(
            resolve, inventory, scope, as_of=state.clock(), roles=body.roles
        )
    except ScopeError as error:
        raise ProblemError(422, "scope_empty", str(error)) from error
    return {"inventory_version": inventory.version, **explain_resolution(found)}


@router.get(
    "/v1/affected-lists/{list_id}/recomputed",
    summary="Resolve a list's scope anew, on its own inventory or on what was known at an instant",
)
async def recomputed(
    request: Request,
    list_id: UUID,
    _: Annotated[Principal, allow(*READERS)],
    known_at: KnownAt = None,
) -> dict[str, Any]:
    """Changes nothing. Without *known_at* the list itself has to come out."""
    state = request.state
    async with snapshot(state.engine) as connection:
        row = (await connection.execute(_LIST, {"list": list_id})).one_or_none()
        if row is None:
            raise ProblemError(404, "not_found", "There is no such list that a scope led to.")
        listed = await listed_tenants(connection, list_id)
        inventory = (
            await state.keeper.by_version(connection, row.inventory_version)
            if known_at is None
            else await _then(state.keeper, connection, known_at)
        )
    scope = Scope.model_validate(json.loads(row.scope))
    found = await asyncio.to_thread(resolve, inventory, scope, as_of=row.as_of)
    now = {tenant.tenant: tenant.confidence for tenant in found.tenants}
    added, removed = sorted(now.keys() - listed.keys()), sorted(listed.keys() - now.keys())
    other = sorted(name for name in now.keys() & listed.keys() if now[name] != listed[name][0])
    return {
        "list_id": str(list_id),
        "scope_version": row.scope_version,
        "known_at": rfc3339(known_at) if known_at else None,
        "list_inventory_version": row.inventory_version,
        "inventory_version": inventory.version,
        "same": not (added or removed or other),
        "differences": {
            "added": len(added),
            "removed": len(removed),
            "other_confidence": len(other),
        },
        "added": added[:SHOWN_TENANTS],
        "removed": removed[:SHOWN_TENANTS],
        "other_confidence": other[:SHOWN_TENANTS],
        **explain_resolution(found),
    }


async def _then(keeper: InventoryKeeper, connection: AsyncConnection, at: datetime) -> Inventory:
    version = await keeper.known_at(connection, at)
    if version is None:
        raise ProblemError(404, "no_inventory_then", f"No inventory was known at {rfc3339(at)}.")
    return await keeper.by_version(connection, version)
