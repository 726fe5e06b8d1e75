"""Saved queries (R19b): a search request under a name, shared with everybody who may search."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Body, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.ingest.search.api import Reader, carry_out, service_of
from services.ingest.search.request import SearchRequest, prepare
from shared.auth import Principal, Role
from shared.clock import rfc3339
from shared.ids import uuid7
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["saved queries"])
MOST = 500  # of one person

_ALL = text(
    "SELECT * FROM saved_queries WHERE CAST(:owner AS text) IS NULL OR owner = :owner"
    " ORDER BY name, id LIMIT 1000"
)
_ONE = text("SELECT * FROM saved_queries WHERE id = :id")
_COUNT = text("SELECT count(*) FROM saved_queries WHERE owner = :owner")
_ADD = text(
    "INSERT INTO saved_queries (id, name, owner, request, created_at, updated_at)"
    " VALUES (:id, :name, :owner, :request, :now, :now) RETURNING *"
)
_CHANGE = text(
    "UPDATE saved_queries SET name = :name, request = :request, version = version + 1,"
    " updated_at = :now WHERE id = :id AND version = :version RETURNING *"
)
_DELETE = text("DELETE FROM saved_queries WHERE id = :id")


class SavedQuery(BaseModel):
    """What is kept; `search` is checked when it is saved."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    search: SearchRequest


def _shown(row: Any) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "owner": row.owner,
        "search": orjson.loads(row.request),
        "version": row.version,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


def _values(body: SavedQuery, request: Request) -> dict[str, Any]:
    if body.search.cursor is not None or body.search.search_id is not None:
        raise ProblemError(422, "malformed", "A saved query has no cursor and no search_id.")
    prepare(body.search, request.state.clock())  # refuses what could never run
    written = body.search.model_dump_json(by_alias=True, exclude_defaults=True)
    return {"name": body.name, "request": written, "now": request.state.clock()}


async def _found(request: Request, query_id: UUID, principal: Principal, *, own: bool) -> Any:
    """Return the row; 404 where there is none or it is not theirs to know, 403 to change."""
    service_of(request)
    async with request.state.engine.connect() as connection:
        row = (await connection.execute(_ONE, {"id": query_id})).one_or_none()
    if row is None or (principal.tenant is not None and row.owner != principal.id):
        raise ProblemError(404, "not_found", "There is no such saved query.")
    if own and row.owner != principal.id and not principal.has(Role.SECURITY_RESPONSE):
        raise ProblemError(403, "not_owner", f"It belongs to {row.owner}.")
    return row


@router.get("/v1/saved-queries", summary="Saved queries")
async def list_saved(request: Request, principal: Reader) -> dict[str, Any]:
    service_of(request)
    owner = principal.id if principal.tenant is not None else None
    async with request.state.engine.connect() as connection:
        rows = (await connection.execute(_ALL, {"owner": owner})).all()
    return {"items": [_shown(row) for row in rows]}


@router.post("/v1/saved-queries", status_code=201, summary="Save a query")
async def save(
    request: Request, principal: Reader, body: Annotated[SavedQuery, Body()]
) -> dict[str, Any]:
    service_of(request)
    values = _values(body, request)
    try:
        async with request.state.engine.begin() as connection:
            if await connection.scalar(_COUNT, {"owner": principal.id}) >= MOST:
                raise ProblemError(409, "too_many", f"One person saves at most {MOST} queries.")
            added = {**values, "id": uuid7(), "owner": principal.id}
            return _shown((await connection.execute(_ADD, added)).one())
    except IntegrityError as error:
        raise ProblemError(409, "name_used", "You have a saved query of that name.") from error


@router.get("/v1/saved-queries/{query_id}", summary="One saved query")
async def get_saved(
    request: Request, query_id: UUID, principal: Reader, response: Response
) -> dict[str, Any]:
    found = await _found(request, query_id, principal, own=False)
    response.headers["ETag"] = f'"{found.version}"'
    return _shown(found)


@router.put("/v1/saved-queries/{query_id}", summary="Change a saved query")
async def change(
    request: Request,
    query_id: UUID,
    principal: Reader,
    body: Annotated[SavedQuery, Body()],
    if_match: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    found = await _found(request, query_id, principal, own=True)
    if if_match is None:
        raise ProblemError(428, "version_missing", "This needs If-Match with the version read.")
    values = {**_values(body, request), "id": query_id, "version": found.version}
    if if_match.strip('"') != str(found.version):
        raise _stale(found.version)
    try:
        async with request.state.engine.begin() as connection:
            row = (await connection.execute(_CHANGE, values)).one_or_none()
    except IntegrityError as error:
        raise ProblemError(409, "name_used", "You have a saved query of that name.") from error
    if row is None:
        raise _stale(found.version)
    return _shown(row)


def _stale(version: int) -> ProblemError:
    return ProblemError(
        412, "stale_version", "Somebody has changed it meanwhile.", current_version=version
    )


@router.delete("/v1/saved-queries/{query_id}", status_code=204, summary="Forget a saved query")
async def forget(request: Request, query_id: UUID, principal: Reader) -> Response:
    await _found(request, query_id, principal, own=True)
    async with request.state.engine.begin() as connection:
        await connection.execute(_DELETE, {"id": query_id})
    return Response(status_code=204)


@router.post("/v1/saved-queries/{query_id}/search", summary="Run a saved query")
async def run(request: Request, query_id: UUID, principal: Reader) -> dict[str, Any]:
    found = await _found(request, query_id, principal, own=False)
    body = SearchRequest.model_validate_json(found.request)
    return await carry_out(request, principal, body)
