"""The routes of search: asking, cancelling, one event, an extract with its digest."""

import asyncio
import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from services.ingest.search.extract import make_extract
from services.ingest.search.plan import Answer
from services.ingest.search.pool import Running
from services.ingest.search.request import Prepared, SearchRequest, cursor_of, prepare
from services.ingest.search.service import SearchService, shown
from services.ingest.settings import Settings
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.ids import uuid7
from shared.problems import ProblemError

__all__ = ["READERS", "Reader", "carry_out", "router", "service_of"]

router = APIRouter(tags=["search"])
READERS = (
    Role.SECURITY_RESPONSE, Role.SERVICE_TEAM, Role.DETECTION_ENGINEER, Role.AUDITOR,
    Role.SUBJECT_MATTER_EXPERT,
)  # fmt: skip
Reader = Annotated[Principal, allow(*READERS)]
LOOK = 0.25

log = structlog.get_logger()


def service_of(request: Request) -> SearchService:
    """Return the search service; 503 where this installation keeps no log store."""
    found: SearchService | None = request.state.search
    if found is None:
        raise ProblemError(
            503, "store_not_configured", "This installation keeps no log store; nothing to search."
        )
    return found


@router.post("/v1/search", summary="Search stored events")
async def search(
    request: Request, principal: Reader, body: Annotated[SearchRequest, Body()]
) -> dict[str, Any]:
    """Newest events first unless `sort` says otherwise. The query language: docs/search.md."""
    return await carry_out(request, principal, body)


async def carry_out(request: Request, principal: Principal, body: SearchRequest) -> dict[str, Any]:
    """Return the answer to *body* as it goes over the wire."""
    service = service_of(request)
    prepared = prepare(body, request.state.clock())
    search_id = body.search_id or uuid7()
    begun = time.monotonic()
    answer = await _until_gone(request, service, prepared, body, principal, search_id)
    took = int((time.monotonic() - begun) * 1000)
    log.info("search", by=principal.id, query=body.query, files=answer.files, milliseconds=took)
    return {
        "search_id": str(search_id),
        "from": rfc3339(prepared.start),
        "to": rfc3339(prepared.end),
        "hits": [shown(row) for row in answer.hits],
        "next_cursor": cursor_of(prepared, answer.next_after),
        "aggregations": _with_times(answer.aggregations),
        "scanned": {"files": answer.files, "events": answer.rows, "bytes": answer.bytes},
        "damaged_files": answer.damaged,
        "took_ms": took,
    }


async def _until_gone(
    request: Request,
    service: SearchService,
    prepared: Prepared,
    body: SearchRequest,
    principal: Principal,
    search_id: UUID,
) -> Answer:
    """Search for as long as somebody waits for the answer."""
    started: list[Running] = []
    searching = asyncio.create_task(
        service.search(
            prepared,
            limit=body.limit,
            owner=principal.id,
            query=body.query,
            tenant=principal.tenant,
            search_id=search_id,
            on_start=started.append,
        )
    )
    try:
        while not searching.done():
            await asyncio.wait({searching}, timeout=LOOK)
            if not searching.done() and await request.is_disconnected():
                for running in started:
                    running.cancel.set()
    except asyncio.CancelledError:
        searching.cancel()
        raise
    return await searching


def _with_times(figures: Mapping[str, Any]) -> dict[str, Any]:
    for figure in figures.values():
        for bucket in figure.get("buckets", ()) if isinstance(figure, dict) else ():
            if "from" in bucket:
                bucket["from"] = rfc3339(datetime.fromtimestamp(bucket["from"], UTC))
    return dict(figures)


@router.get("/v1/search", summary="Searches that are running on this instance")
async def list_running(request: Request, principal: Reader) -> dict[str, Any]:
    sees_all = principal.tenant is None and principal.has(Role.SECURITY_RESPONSE, Role.AUDITOR)
    return {
        "items": [
            {
                "search_id": str(running.id),
                "owner": running.owner,
                "query": running.query,
                "since": rfc3339(running.since),
            }
            for running in service_of(request).searchers.running.values()
            if sees_all or running.owner == principal.id
        ]
    }


@router.delete("/v1/search/{search_id}", status_code=204, summary="Cancel a search")
async def cancel(request: Request, search_id: UUID, principal: Reader) -> Response:
    """Yours, or anybody's for security response. The search itself answers 409."""
    running = service_of(request).searchers.running.get(search_id)
    if running is None or not (
        running.owner == principal.id or principal.has(Role.SECURITY_RESPONSE)
    ):
        raise ProblemError(404, "not_found", "No such search is running here.")
    running.cancel.set()
    return Response(status_code=204)


@router.get("/v1/events/{event_id}", summary="One stored event")
async def get_event(request: Request, event_id: UUID, principal: Reader) -> dict[str, Any]:
    found = await service_of(request).event(event_id, principal.id, principal.tenant)
    if found is None:
        raise ProblemError(404, "not_found", "There is no such event in the store.")
    return shown(found)


class ExtractRequest(SearchRequest):
    """A search whose events are wanted whole."""

    limit: int = Field(100_000, ge=1, le=1_000_000)


@router.post("/v1/search/extract", summary="The events found, as NDJSON with a digest")
async def extract(
    request: Request, principal: Reader, body: Annotated[ExtractRequest, Body()]
) -> StreamingResponse:
    """One envelope a line, `raw` verbatim. `Repr-Digest` (RFC 9530) is the SHA-256 of the body;
    `Tocsin-Events` counts its lines, `Tocsin-Complete` is false where a limit cut it short or a
    file is damaged."""
    service = service_of(request)
    settings: Settings = request.state.settings
    made = await make_extract(
        service,
        prepare(body, request.state.clock()),
        owner=principal.id,
        tenant=principal.tenant,
        query=body.query,
        limit=body.limit,
        max_bytes=settings.extract_max_bytes,
        folder=settings.store_cache,
        gone=request.is_disconnected,
    )
    log.info(
        "extract", by=principal.id, query=body.query, events=made.events, sha256=made.sha256.hex()
    )
    return StreamingResponse(
        made.pieces(),
        media_type="application/x-ndjson",
        headers={
            "Content-Length": str(made.size),
            "Repr-Digest": f"sha-256=:{base64.b64encode(made.sha256).decode()}:",
            "Tocsin-Sha256": made.sha256.hex(),
            "Tocsin-Events": str(made.events),
            "Tocsin-Complete": str(made.complete and not made.damaged).lower(),
            "Content-Disposition": 'attachment; filename="events.ndjson"',
        },
    )
