"""GET: every incident at one moment, and where on the CASES stream to go on from there."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from services.cases.api_views import Limit, Reader
from services.cases.cursors import cursor_of, numbers_of
from services.cases.need_to_know import viewer
from services.cases.relay import STREAM
from services.cases.snapshot import Page, Snapshots
from services.cases.tail import tail_of
from shared.bus import BusUnavailableError
from shared.problems import ProblemError

__all__ = ["router"]

PATIENCE = 5.0  # seconds for the views to reach what the stream has already

router = APIRouter(tags=["streams"])


async def _moment(request: Request) -> tuple[int, int]:
    """Return a position that the views have, and a sequence of the stream that is not beyond it."""
    try:
        tail = await tail_of(request.state.bus, STREAM)
    except BusUnavailableError as error:
        raise ProblemError(
            503,
            "broker_unavailable",
            "The stream cannot be looked at now, so nobody can say where to go on.",
            headers={"Retry-After": "2"},
        ) from error
    # The stream was looked at first: what came after is on it, beyond that sequence.
    if not await request.state.projector.reached(tail.position, PATIENCE):
        raise ProblemError(
            503,
            "views_behind",
            "The views have not reached what the stream has.",
            headers={"Retry-After": "5"},
        )
    return await request.state.queries.projected(), tail.sequence


@router.get("/v1/snapshot", summary="Every incident at one moment, to begin consuming CASES from")
async def snapshot(
    request: Request,
    response: Response,
    principal: Reader,
    cursor: Annotated[str | None, Query(max_length=128)] = None,
    limit: Limit = 200,
) -> dict[str, Any]:
    """Pages of one moment, oldest incident first, as they were at ``position`` of the log.

    Then consume ``stream`` from ``stream_seq`` + 1 and pass over messages whose ``ce-position`` is
    not beyond ``position``: what results is what this route would answer at any later moment.
    """
    if cursor is None:
        position, sequence = await _moment(request)
        after = 0
    else:
        position, sequence, after = numbers_of(cursor, 3)
    snapshots: Snapshots = request.state.snapshots
    page: Page = await snapshots.page(
        at=position, after=after, limit=limit, person=viewer(principal)
    )
    for incident_id in page.restricted:
        await request.state.sight.record(principal, incident_id, "snapshot", request.state.clock())
    following = None
    if page.last is not None:
        following = cursor_of(position, sequence, page.last)
        link = request.url.include_query_params(cursor=following)
        response.headers["Link"] = f'<{link}>; rel="next"'
    return {
        "position": position,
        "stream": STREAM,
        "stream_seq": sequence,
        "items": page.items,
        "next_cursor": following,
    }
