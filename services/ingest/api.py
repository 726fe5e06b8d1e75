"""What operators and analysts may look at; ingest has no route that changes anything."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from services.ingest.quarantine import page
from shared.auth import Principal, Role, allow

__all__ = ["router"]

router = APIRouter(tags=["quarantine"])


@router.get("/v1/quarantine", summary="Items that could not be understood, newest first")
async def list_quarantine(
    request: Request,
    _: Annotated[
        Principal,
        allow(Role.OPERATOR, Role.AUDITOR, Role.SECURITY_RESPONSE, Role.DETECTION_ENGINEER),
    ],
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[int | None, Query(ge=1)] = None,
) -> dict[str, Any]:
    items, following = await page(request.state.bus, cursor, limit)
    return {"items": items, "next_cursor": following}


@router.get("/v1/refusals", summary="The last 100 requests turned away, with cause, newest first")
async def list_refusals(
    request: Request, _: Annotated[Principal, allow(Role.OPERATOR, Role.AUDITOR)]
) -> dict[str, Any]:
    """Of this process only, and forgotten when it ends."""
    return {"items": request.state.intake.refused.listed()}
