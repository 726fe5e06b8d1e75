"""The routes of the store itself: what it holds, and how long it keeps it."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text

from services.ingest.search.api import service_of
from services.ingest.settings import Settings
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339

__all__ = ["router"]

router = APIRouter(tags=["store"])
Looker = Annotated[
    Principal,
    allow(Role.OPERATOR, Role.AUDITOR, Role.SECURITY_RESPONSE, Role.DETECTION_ENGINEER),
]
Keeper = Annotated[Principal, allow(Role.POLICY_ADMIN)]
SourceId = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]

_HELD = text(
    "SELECT f.source_id, count(*) AS files, sum(rows) AS events, sum(bytes) AS bytes,"
    " sum(raw_bytes) AS raw_bytes, min(min_time) AS first, max(max_time) AS last,"
    " min(stored_at) AS oldest, count(problem) AS damaged, min(r.days) AS days"
    " FROM store_files f LEFT JOIN store_retention r ON r.source_id = f.source_id"
    " WHERE removed_at IS NULL GROUP BY f.source_id ORDER BY f.source_id"
)
_DAMAGED = text(
    "SELECT path, problem FROM store_files WHERE removed_at IS NULL AND problem IS NOT NULL"
    " ORDER BY path LIMIT 100"
)
_SET = text(
    "INSERT INTO store_retention (source_id, days, set_by, set_at) VALUES (:source, :days, :by,"
    " :now) ON CONFLICT (source_id) DO UPDATE SET days = excluded.days, set_by = excluded.set_by,"
    " set_at = excluded.set_at"
)
_UNSET = text("DELETE FROM store_retention WHERE source_id = :source")


class Retention(BaseModel):
    """How long the events of a source are kept."""

    model_config = ConfigDict(extra="forbid")

    days: int = Field(ge=1, le=3660, description="since they were stored")


@router.get("/v1/store", summary="What the log store holds, by source")
async def get_store(request: Request, _: Looker) -> dict[str, Any]:
    service_of(request)
    settings: Settings = request.state.settings
    async with request.state.engine.connect() as connection:
        held = (await connection.execute(_HELD)).all()
        damaged = (await connection.execute(_DAMAGED)).all()
    return {
        "retention_days": settings.store_retention_days,
        "damaged": [{"file": row.path, "problem": row.problem} for row in damaged],
        "sources": [
            {
                "source_id": row.source_id,
                "files": row.files,
                "events": int(row.events),
                "bytes": int(row.bytes),
                "raw_bytes": int(row.raw_bytes),
                "first_time": rfc3339(row.first),
                "last_time": rfc3339(row.last),
                "oldest_stored_at": rfc3339(row.oldest),
                "retention_days": row.days or settings.store_retention_days,
                "damaged": row.damaged,
            }
            for row in held
        ],
    }


@router.put("/v1/store/retention/{source_id}", summary="Keep a source's events so many days")
async def set_retention(
    request: Request, source_id: SourceId, principal: Keeper, body: Annotated[Retention, Body()]
) -> dict[str, Any]:
    """In force within a minute; what is older goes and does not come back."""
    service_of(request)
    values = {
        "source": source_id, "days": body.days, "by": principal.id, "now": request.state.clock(),
    }  # fmt: skip
    async with request.state.engine.begin() as connection:
        await connection.execute(_SET, values)
    return {"source_id": source_id, "days": body.days}


@router.delete(
    "/v1/store/retention/{source_id}", status_code=204, summary="Keep it as long as the others"
)
async def unset_retention(request: Request, source_id: SourceId, _: Keeper) -> Response:
    service_of(request)
    async with request.state.engine.begin() as connection:
        await connection.execute(_UNSET, {"source": source_id})
    return Response(status_code=204)
