"""Server-sent events: the timeline as it grows; ``id`` is the position, so a client can resume."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from services.cases.api_views import Reader
from services.cases.privilege import entry_for
from services.cases.projector import Projector
from services.cases.queries import Queries

__all__ = ["router"]

PAGE = 200
WAIT = 1.0  # until a shutdown is noticed

router = APIRouter(tags=["views"])


@router.get(
    "/v1/stream",
    response_class=EventSourceResponse,
    summary="The timeline, live (text/event-stream)",
)
async def stream(
    request: Request,
    principal: Reader,
    incident_id: Annotated[UUID | None, Query(description="only this one")] = None,
    after: Annotated[
        int | None, Query(ge=0, le=2**62, description="from now on, if not given")
    ] = None,
    last_event_id: Annotated[
        int | None, Header(alias="Last-Event-ID", ge=0, le=2**62, description="wins over `after`")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    queries: Queries = request.state.queries
    projector: Projector = request.state.projector
    position = last_event_id if last_event_id is not None else after
    if position is None:
        position = await queries.projected()
    yield ServerSentEvent(comment=f"from {position}", retry=2000)
    clock, sight = request.state.clock, request.state.sight
    recorded: set[UUID] = set()
    while not request.app.state.draining and clock().timestamp() < principal.expires:
        seen = projector.position
        rows = await queries.feed(position, incident_id, PAGE)
        asked = {UUID(row.document["incident_id"]) for row in rows}
        seen_by_them = await sight.restricted(principal, asked, clock()) if rows else {}
        for row in rows:
            position = row.key
            key = UUID(row.document["incident_id"])
            if not seen_by_them.get(key, True):
                continue
            if key in seen_by_them and key not in recorded:
                await sight.record(principal, key, "stream", clock())
                recorded.add(key)
            yield ServerSentEvent(id=str(row.key), data=entry_for(principal, row.document))
        if len(rows) < PAGE:
            # All that was projected when we asked has been sent; wait for something newer.
            position = max(position, seen)
            while not await projector.moved(position, WAIT):
                if request.app.state.draining or clock().timestamp() >= principal.expires:
                    break
