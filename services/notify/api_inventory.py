"""The inventory: what is in use, how it came about, and the ways in (import and sync)."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime
from sqlalchemy import text

from services.notify.inventory import Kind
from services.notify.inventory_entries import document
from services.notify.inventory_export import lines, placement_document
from services.notify.inventory_import import Change, Rejected, TooManyRejectedError
from services.notify.inventory_intake import (
    MEDIA_TYPES,
    DocumentTooLargeError,
    read_draft,
    spooled,
)
from services.notify.inventory_keeper import InventoryKeeper, Outcome
from services.notify.inventory_store import MovedOnError, Recorded, recorded
from services.notify.placements import Placement, Placements
from services.notify.state import READERS, snapshot
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.problems import ProblemError

__all__ = ["IMPORTS", "router"]

router = APIRouter(tags=["inventory"])

IMPORTS = re.compile(r"/v1/inventory(/(?!syncs)[a-z_]+)?")
"""The paths whose bodies are streamed."""
SHOWN = 100  # of each kind of difference; the counts are of all
PAGE = 100
HISTORY = 1000

_REVISIONS = text(
    "SELECT revision, version, imported_at, source, recorded_by, changes FROM inventories"
    " WHERE revision < :before ORDER BY revision DESC LIMIT :limit"
)
_SPAN = " r.recorded_from, a.imported_at AS known_from, r.recorded_to, z.imported_at AS known_to"
_JOINS = (
    " JOIN inventories a ON a.revision = r.recorded_from"
    " LEFT JOIN inventories z ON z.revision = r.recorded_to"
)
_KNOWN = (
    " AND (CAST(:at AS timestamptz) IS NULL OR"
    "  (a.imported_at <= :at AND (z.imported_at IS NULL OR z.imported_at > :at)))"
)
_ENTRY_HISTORY = text(
    "SELECT r.document," + _SPAN + " FROM inventory_entries r" + _JOINS  # noqa: S608 - constants
    + " WHERE r.kind = :kind AND r.name = :name" + _KNOWN
    + " ORDER BY r.recorded_from LIMIT :limit"
)  # fmt: skip
_PLACEMENT_HISTORY = text(
    "SELECT r.tenant, r.server, r.role, r.valid_from, r.valid_to, r.data, r.tags,"  # noqa: S608
    + _SPAN + " FROM inventory_placements r" + _JOINS
    + " WHERE (CAST(:tenant AS text) IS NULL OR r.tenant = :tenant)"
    "   AND (CAST(:server AS text) IS NULL OR r.server = :server)" + _KNOWN
    + " ORDER BY r.tenant, r.server, r.role, r.valid_from NULLS FIRST, r.recorded_from"
    " LIMIT :limit"
)  # fmt: skip

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {media: {"schema": {"type": "string"}} for media in MEDIA_TYPES},
    }
}
Admin = Annotated[Principal, allow(Role.POLICY_ADMIN)]
Reader = Annotated[Principal, allow(*READERS, Role.POLICY_ADMIN, Role.OPERATOR)]
Historian = Annotated[Principal, allow(*READERS, Role.POLICY_ADMIN)]
DryRun = Annotated[bool, Query(description="only tell what would change")]
Skip = Annotated[bool, Query(description="take the rest of a document with rejected rows")]
Merge = Annotated[bool, Query(description="add and correct rows; take none away")]
KnownAt = Annotated[AwareDatetime | None, Query(description="only rows that were known then")]


@router.get("/v1/inventory", summary="The version in use, what it counts, and why not a newer one")
async def get_inventory(request: Request, _: Reader) -> dict[str, Any]:
    keeper = request.state.keeper
    current, since, problem = keeper.current, keeper.recorded, keeper.problem
    return {
        "version": current.version if current else None,
        "revision": since.revision if since else None,
        "loaded_at": rfc3339(since.at) if since else None,
        "source": since.source if since else None,
        "counts": current.counts() if current else {},
        "refused_file": problem
        and {"line": problem.line, "why": problem.why, "seen_at": rfc3339(problem.seen_at)},
    }


@router.get("/v1/inventory/revisions", summary="Every version since when, from where, newest first")
async def revisions(
    request: Request,
    _: Reader,
    before: Annotated[int, Query(ge=1, description="of the page before, its `next`")] = 1 << 62,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        rows = (await connection.execute(_REVISIONS, {"before": before, "limit": limit + 1})).all()
    items = [_revision(recorded(row)) for row in rows[:limit]]
    return {"items": items, "next": rows[limit - 1].revision if len(rows) > limit else None}


@router.get(
    "/v1/inventory/export",
    summary="All rows as NDJSON, as an import takes them; known_at: as they were known then",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def export(request: Request, _: Historian, known_at: KnownAt = None) -> StreamingResponse:
    """Secrets are not among the rows. The version is in ``etag``."""
    keeper: InventoryKeeper = request.state.keeper
    inventory = keeper.current
    if known_at is not None:
        async with snapshot(request.state.engine) as connection:
            version = await keeper.known_at(connection, known_at)
            inventory = await keeper.by_version(connection, version) if version else None
    if inventory is None:
        when = rfc3339(known_at) if known_at else "now"
        raise ProblemError(404, "no_inventory_then", f"No inventory was known at {when}.")
    return StreamingResponse(
        lines(inventory),
        media_type="application/x-ndjson",
        headers={"etag": f'"{inventory.version}"'},
    )


@router.get("/v1/inventory/syncs", summary="Each source, its last result and its next turn")
async def syncs(request: Request, _: Reader) -> dict[str, Any]:
    return {"items": await request.state.sync.results()}


@router.post("/v1/inventory/syncs/{name}", summary="Fetch a source now; dry_run changes nothing")
async def run_sync(
    request: Request, name: str, principal: Admin, dry_run: DryRun = False
) -> dict[str, Any]:
    sync = request.state.sync
    source = sync.sources.get(name)
    if source is None:
        raise ProblemError(404, "not_found", "inventory_sync names no such source.")
    result = await sync.run(source, by=principal.id, dry_run=dry_run)
    found = {"outcome": result.word, "detail": result.detail, "dry_run": dry_run}
    return found | (_outcome(result.outcome, dry_run) if result.outcome else {})


@router.get(
    "/v1/inventory/{kind}/history",
    summary="Rows of a name, tenant or server as recorded: corrections and what they correct",
)
async def history(
    request: Request,
    kind: Kind,
    _: Historian,
    name: str | None = None,
    tenant: str | None = None,
    server: str | None = None,
    known_at: KnownAt = None,
) -> dict[str, Any]:
    values: dict[str, Any] = {"at": known_at, "limit": HISTORY + 1}
    if kind == "placements":
        if tenant is None and server is None:
            raise ProblemError(422, "malformed", "Name a tenant or a server.")
        query, values = _PLACEMENT_HISTORY, {**values, "tenant": tenant, "server": server}
    elif name is None:
        raise ProblemError(422, "malformed", "Name one.")
    else:
        query, values = _ENTRY_HISTORY, {**values, "kind": kind, "name": name}
    async with snapshot(request.state.engine) as connection:
        rows = (await connection.execute(query, values)).all()
    items = [
        {
            "row": _placement_row(row) if kind == "placements" else json.loads(row.document),
            "recorded_from": {"revision": row.recorded_from, "at": _instant(row.known_from)},
            "recorded_to": row.recorded_to
            and {"revision": row.recorded_to, "at": _instant(row.known_to)},
        }
        for row in rows[:HISTORY]
    ]
    return {"items": items, "complete": len(rows) <= HISTORY}


@router.post(
    "/v1/inventory",
    summary="Replace or merge the kinds that a document holds: JSON, NDJSON or YAML",
    openapi_extra=_BODY,
)
async def import_all(
    request: Request,
    principal: Admin,
    dry_run: DryRun = False,
    skip_rejected: Skip = False,
    merge: Merge = False,
) -> dict[str, Any]:
    """Rows that cannot be taken stop the import unless told to skip them; each with its line."""
    return await _import(request, None, principal, dry_run, skip_rejected, merge)


@router.post(
    "/v1/inventory/{kind}",
    summary="Replace or merge all of one kind: CSV, NDJSON or a JSON list",
    openapi_extra=_BODY,
)
async def import_kind(
    request: Request,
    kind: Kind,
    principal: Admin,
    dry_run: DryRun = False,
    skip_rejected: Skip = False,
    merge: Merge = False,
) -> dict[str, Any]:
    """Rows that cannot be taken stop the import unless told to skip them; each with its line."""
    return await _import(request, kind, principal, dry_run, skip_rejected, merge)


async def _import(
    request: Request,
    kind: Kind | None,
    principal: Principal,
    dry_run: bool,
    skip_rejected: bool,
    merge: bool,
) -> dict[str, Any]:
    keeper = request.state.keeper
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    form = MEDIA_TYPES.get(media)
    if form is None or (form == "yaml" and kind is not None) or (form == "csv" and kind is None):
        known = ", ".join(MEDIA_TYPES)
        raise ProblemError(
            415, "unsupported_media_type", f"This takes {known}; CSV of one kind, YAML of all."
        )
    if keeper.from_file and not dry_run:
        unmet = {"code": "inventory_in_file", "detail": "inventory_file says what runs."}
        raise ProblemError(
            409, "inventory_in_file", "The inventory comes from a file.", unmet=[unmet]
        )
    try:
        async with spooled(request.stream()) as file, _alone(keeper):
            draft = await asyncio.to_thread(read_draft, file, form, kind)
            outcome = await keeper.bring_in(
                draft,
                whole=not merge,
                skip_rejected=skip_rejected,
                dry_run=dry_run,
                source="import",
                by=principal.id,
            )
    except DocumentTooLargeError as error:
        raise ProblemError(413, "too_large", str(error)) from error
    except TooManyRejectedError as error:
        detail = f"{error} Nothing was changed."
        raise ProblemError(422, "import_rejected", detail, rejected=[]) from error
    except MovedOnError as error:
        detail = "Another import was recorded meanwhile. Nothing was changed; send it again."
        raise ProblemError(409, "inventory_moved_on", detail, unmet=[]) from error
    if not outcome.taken and not dry_run:
        rejected = outcome.change.rejected
        raise ProblemError(
            422,
            "import_rejected",
            f"{len(rejected)} rows cannot be taken; nothing was changed.",
            rejected=_rejected(rejected),
        )
    return {"dry_run": dry_run, **_outcome(outcome, dry_run)}


@asynccontextmanager
async def _alone(keeper: InventoryKeeper) -> AsyncIterator[None]:
    """Let one document at a time into memory."""
    if keeper.reading.locked():
        raise ProblemError(
            503, "import_running", "Another import is read.", headers={"Retry-After": "10"}
        )
    async with keeper.reading:
        yield


def _outcome(outcome: Outcome, dry_run: bool) -> dict[str, Any]:
    """Return what an import did, or would do; of each kind of difference the first 100."""
    change = outcome.change
    by_kind = change.difference.counts()
    totals = {
        word: sum(counts[word] for counts in by_kind.values())
        for word in ("added", "removed", "changed", "unchanged")
    }
    return {
        "version": change.inventory.version,
        "counts": {**totals, "rejected": len(change.rejected)},
        "kinds": {
            kind: {"counts": counts, **_shown(change, kind)}
            for kind, counts in by_kind.items()
            if any(counts[word] for word in ("added", "removed", "changed"))
        },
        "rejected": _rejected(change.rejected),
    }


def _shown(change: Change, kind: Kind) -> dict[str, Any]:
    if kind == "placements":
        rows = change.difference.placements
        before, after = rows.before, rows.after
        pairs = zip(rows.changed_from[:SHOWN], rows.changed_to[:SHOWN], strict=True)
        return {
            "added": _placements(after, rows.added),
            "removed": _placements(before, rows.removed),
            "changed": [
                {"before": _placement(before, old), "after": _placement(after, new)}
                for old, new in pairs
            ],
        }
    one = change.difference.entries[kind]
    old, new = change.base.entries[kind], change.inventory.entries[kind]
    return {
        "added": [document(kind, new[name]) for name in one.added[:SHOWN]],
        "removed": [document(kind, old[name]) for name in one.removed[:SHOWN]],
        "changed": [
            {"before": document(kind, old[name]), "after": document(kind, new[name])}
            for name in one.changed[:SHOWN]
        ],
    }


def _rejected(rejected: Iterable[Rejected]) -> list[dict[str, Any]]:
    return [{"line": one.line or None, "why": one.why} for one in islice(rejected, SHOWN)]


def _revision(one: Recorded) -> dict[str, Any]:
    return {
        "revision": one.revision,
        "version": one.version,
        "recorded_at": rfc3339(one.at),
        "source": one.source,
        "recorded_by": one.by,
        "changes": one.changes,
    }


def _instant(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None


def _placements(placements: Placements, rows: Iterable[int]) -> list[dict[str, Any]]:
    return [_placement(placements, row) for row in islice(rows, SHOWN)]


def _placement(placements: Placements, row: int) -> dict[str, Any]:
    return placement_document(placements.placement(placements.server(row), row))


def _placement_row(row: Any) -> dict[str, Any]:
    return placement_document(
        Placement(
            tenant=row.tenant,
            server=row.server,
            role=row.role,
            valid_from=row.valid_from,
            valid_to=row.valid_to,
            data_classes=tuple(row.data),
            tags=tuple(json.loads(row.tags).items()) if row.tags else (),
        )
    )
