"""Server-sent events: the timeline as it grows; ``id`` is the position, so a client can resume.

The rows are pulled as the client takes them, a page at a time, so nothing piles up for a slow one.
The bytes are written here: the library's own producer logs an error for each client that leaves
while an event is on its way to it (FastAPI 0.14x, `_keepalive_inserter`).
"""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from services.cases.api_views import Reader
from services.cases.privilege import entry_for
from services.cases.projector import Projector
from services.cases.queries import Queries
from shared.auth import Principal

__all__ = ["router"]

PAGE = 200
WAIT = 1.0  # until a shutdown is noticed
HEARTBEAT = 15.0  # seconds of silence after which a comment says that the stream lives
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

router = APIRouter(tags=["streams"])


class EventStream(StreamingResponse):
    """Not the library's class of that kind, which would take the bytes for a generator's items."""

    media_type = "text/event-stream"


@router.get(
    "/v1/stream",
    response_class=EventStream,
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
) -> EventStream:
    position = last_event_id if last_event_id is not None else after
    if position is None:
        position = await request.state.queries.projected()
    told = _told(request, principal, incident_id, position)
    return EventStream(told, headers=HEADERS)


async def _told(
    request: Request, principal: Principal, incident_id: UUID | None, position: int
) -> AsyncIterator[bytes]:
    """Yield what comes after *position*, until the client goes or its token ends."""
    queries: Queries = request.state.queries
    projector: Projector = request.state.projector
    clock, sight = request.state.clock, request.state.sight
    yield format_sse_event(comment=f"from {position}", retry=2000)
    recorded: set[UUID] = set()
    silent = 0.0
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
            data = orjson.dumps(entry_for(principal, row.document)).decode()
            silent = 0.0
            yield format_sse_event(id=str(row.key), data_str=data)
        if len(rows) < PAGE:
            # All that was projected when we asked has been sent; wait for something newer.
            position = max(position, seen)
            if not await projector.moved(position, WAIT):
                silent += WAIT
        if silent >= HEARTBEAT:
            silent = 0.0
            yield KEEPALIVE_COMMENT
