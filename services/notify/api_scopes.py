"""The inventory in use, and what a scope would reach if it were set."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from services.notify.affected_lists import explain_resolution
from services.notify.inventory import Placement, Placements
from services.notify.inventory_file import InventoryError, with_placements
from services.notify.placement_rows import difference, parse_rows
from services.notify.scope import ScopeError, resolve
from services.notify.state import READERS
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.contracts.base import Instant
from shared.contracts.cases import Scope
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["scopes"])

SHOWN = 100  # of each kind of difference; the counts are of all
_KINDS = {"text/csv": "csv", "application/x-ndjson": "ndjson"}


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


@router.post(
    "/v1/inventory/placements",
    summary="Replace all placements from CSV or NDJSON; dry_run only tells what would change",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        }
    },
)
async def import_placements(
    request: Request,
    _: Annotated[Principal, allow(Role.POLICY_ADMIN)],
    dry_run: bool = False,
    skip_rejected: bool = False,
) -> dict[str, Any]:
    """Rows that cannot be taken stop the import unless told to skip them; each with its line."""
    kind = _KINDS.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    if kind is None:
        known = ", ".join(_KINDS)
        raise ProblemError(415, "unsupported_media_type", f"This takes {known}.")
    keeper = request.state.keeper
    inventory = keeper.current
    if inventory is None:
        raise ProblemError(503, "no_inventory", "No inventory was imported yet.")
    try:
        text = (await request.body()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProblemError(422, "import_rejected", "The body is not UTF-8.") from error
    taken, rejected = await asyncio.to_thread(parse_rows, text, kind, inventory)
    lines = [{"line": one.line, "why": one.why} for one in rejected[:SHOWN]]
    if rejected and not skip_rejected and not dry_run:
        detail = f"{len(rejected)} rows cannot be taken; nothing was changed."
        raise ProblemError(422, "import_rejected", detail, rejected=lines)
    diff = await asyncio.to_thread(difference, inventory.placements, taken)
    try:
        changed = await asyncio.to_thread(lambda: with_placements(inventory, Placements(taken)))
    except InventoryError as error:
        raise ProblemError(413, "import_too_large", error.why) from error
    if not dry_run:
        if keeper.from_file:
            unmet = {"code": "inventory_in_file", "detail": "inventory_file says what runs."}
            raise ProblemError(
                409, "inventory_in_file", "The inventory comes from a file.", unmet=[unmet]
            )
        await keeper.take_over(changed)
    return {
        "dry_run": dry_run,
        "version": changed.version,
        "counts": {
            "added": len(diff.added),
            "removed": len(diff.removed),
            "unchanged": diff.unchanged,
            "rejected": len(rejected),
        },
        "added": [_placement(p) for p in diff.added[:SHOWN]],
        "removed": [_placement(p) for p in diff.removed[:SHOWN]],
        "rejected": lines,
    }


def _placement(p: Placement) -> dict[str, Any]:
    return {
        "tenant": p.tenant,
        "server": p.server,
        "role": p.role,
        "from": p.valid_from and rfc3339(p.valid_from),
        "to": p.valid_to and rfc3339(p.valid_to),
        "data": list(p.data_classes),
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
