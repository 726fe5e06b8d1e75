"""What one may ask of escalate: proposals with what led to them, and pages."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from services.escalate.state import READERS
from services.escalate.views import page_of_pages, page_of_proposals, proposal
from shared.auth import Principal, allow
from shared.clock import parse_instant, rfc3339
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter()
Reader = Annotated[Principal, allow(*READERS)]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the answer before")]


@router.get("/v1/proposals", tags=["proposals"], summary="Proposed incidents, newest first")
async def list_proposals(
    request: Request, _: Reader, limit: Limit = 50, cursor: Cursor = None
) -> dict[str, Any]:
    rows = await page_of_proposals(request.state.engine, limit + 1, _read(cursor))
    return _answer(rows, limit)


@router.get(
    "/v1/proposals/{incident_id}",
    tags=["proposals"],
    summary="One proposal: its detections, and why they are one",
)
async def get_proposal(request: Request, incident_id: UUID, _: Reader) -> dict[str, Any]:
    found = await proposal(request.state.engine, incident_id)
    if found is None:
        raise ProblemError(404, "not_found", "There is no such proposal.")
    return found


@router.get("/v1/pages", tags=["pages"], summary="The page ledger, newest first")
async def list_pages(
    request: Request,
    _: Reader,
    limit: Limit = 50,
    cursor: Cursor = None,
    incident_id: UUID | None = None,
) -> dict[str, Any]:
    rows = await page_of_pages(request.state.engine, limit + 1, _read(cursor), incident_id)
    return _answer(rows, limit)


def _answer(rows: list[tuple[datetime, UUID, dict[str, Any]]], limit: int) -> dict[str, Any]:
    following = _cursor(*rows[limit - 1][:2]) if len(rows) > limit else None
    return {"items": [item for _, _, item in rows[:limit]], "next_cursor": following}


def _cursor(at: datetime, identity: UUID) -> str:
    return base64.urlsafe_b64encode(f"{rfc3339(at)}|{identity}".encode()).decode()


def _read(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    try:
        at, _, identity = base64.urlsafe_b64decode(cursor).decode().partition("|")
        return parse_instant(at), UUID(identity)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise ProblemError(422, "malformed", "The cursor is not one of ours.") from error
