"""Answers to pages: by link without signing in, by API, and who may form the v-team (R11, P4)."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import text

from services.escalate.oncall.acknowledgement import (
    Acknowledgement,
    acknowledge,
    paged,
    use_link,
)
from services.escalate.oncall.links import LinkError
from services.escalate.oncall.roster import MEMBER_KINDS
from services.escalate.oncall.small_page import page as small_page
from services.escalate.state import ASSESSORS, READERS
from shared.auth import Principal, allow, public
from shared.clock import rfc3339
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["pages"])
MANDATORY = ("security_response", "service_team", "incident_communications")
_ANSWERED = text(
    "SELECT team, acknowledged_by, min(acknowledged_at) AS at FROM pages"
    " WHERE incident_id = :incident AND acknowledged_at IS NOT NULL"
    " GROUP BY team, acknowledged_by ORDER BY 3, 1, 2"
)
_FORM = (
    '<form method=post><button style="font:inherit;padding:.6em 1.2em">Acknowledge</button></form>'
)


@router.post("/v1/pages/{page_id}/acknowledge", summary="Answer a page; its chain stops")
async def acknowledge_page(
    request: Request, page_id: UUID, principal: Annotated[Principal, allow(*ASSESSORS)]
) -> dict[str, Any]:
    directory = request.state.book.current.directory
    async with request.state.engine.begin() as connection:
        now = request.state.clock()
        found = await acknowledge(connection, directory, page_id, principal.id, now)
    if found is None:
        raise ProblemError(404, "not_found", "There is no such page.")
    request.state.wake()
    return _shown(found)


# A look at the link changes nothing: mail gateways follow every link before people do.
@router.get("/v1/ack/{token}", summary="What the link of a page acknowledges")
@public
async def look_at_link(request: Request, token: str) -> Response:
    page_id = await _read(request, token)
    async with request.state.engine.connect() as connection:
        page = await paged(connection, page_id)
    if page is None:
        raise ProblemError(404, "not_found", "There is no such page.")
    if page.link_used_at is not None:
        raise _used()
    return small_page(page.reason, f"For {page.person or page.team}.", _FORM)


@router.post("/v1/ack/{token}", summary="Acknowledge by link; works once")
@public
async def follow_link(request: Request, token: str) -> Response:
    page_id = await _read(request, token)
    directory = request.state.book.current.directory
    async with request.state.engine.begin() as connection:
        found = await use_link(connection, directory, page_id, request.state.clock())
    if found is None:
        raise _used()
    request.state.wake()
    if request.headers.get("accept", "").startswith("application/json"):
        return JSONResponse(_shown(found))
    words = "Acknowledged" if found.fresh else f"{found.by} has acknowledged it before"
    return small_page(found.reason, f"{words}, at {rfc3339(found.at)}.")


@router.get(
    "/v1/incidents/{incident_id}/v-team-proposal",
    summary="Who answered, by kind of v-team membership, and which kinds are missing",
)
async def v_team_proposal(
    request: Request, incident_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    directory = request.state.book.current.directory
    async with request.state.engine.connect() as connection:
        rows = (await connection.execute(_ANSWERED, {"incident": incident_id})).all()
    members = [
        {
            "person": row.acknowledged_by,
            "team": row.team,
            "kind": MEMBER_KINDS.get(directory.kind_of(row.team), "subject_matter_expert"),
            "acknowledged_at": rfc3339(row.at),
        }
        for row in rows
    ]
    present = {member["kind"] for member in members}
    return {
        "incident_id": str(incident_id),
        "members": members,
        "missing_kinds": [kind for kind in MANDATORY if kind not in present],
    }


async def _read(request: Request, token: str) -> UUID:
    await request.state.links.load(request.state.engine)
    try:
        page_id: UUID = request.state.links.read(token, request.state.clock())
    except LinkError as error:
        if error.expired:
            raise ProblemError(410, "link_expired", str(error)) from error
        raise ProblemError(404, "not_found", str(error)) from error
    return page_id


def _used() -> ProblemError:
    return ProblemError(410, "link_used", "The link was already used.")


def _shown(found: Acknowledgement) -> dict[str, Any]:
    return {
        "page_id": str(found.page_id),
        "incident_id": str(found.incident_id),
        "team": found.team,
        "acknowledged_by": found.by,
        "acknowledged_at": rfc3339(found.at),
    }
