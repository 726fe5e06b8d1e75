"""The native door: ``POST /v1/events`` with JSON lines, an array, concatenated JSON or text lines.

202 ``{accepted, duplicates, quarantined, request_id}`` only after every event and every quarantined
item is on disk. An ``Idempotency-Key`` gives the events of a request their identity, so that the
same request may be repeated until it is answered.
"""

import asyncio
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from services.ingest.decompress import BodyError, TooLargeError, UnknownEncodingError, decompress
from services.ingest.envelope import Enveloper, Limits, Rejected, Sealed
from services.ingest.framing import Item, UnframeableError, frame_json, frame_text
from services.ingest.keys import key_from_header
from services.ingest.quarantine import keep
from services.ingest.settings import Settings
from services.ingest.sources import Source, SourceDirectory
from services.ingest.writer import BlockWriter, OverloadedError
from shared.contracts.ingest import Logsource
from shared.problems import ProblemError

__all__ = ["router"]

IN_PLACE = 64 * 1024

router = APIRouter(tags=["events"])


class Accepted(BaseModel):
    """What became of a request."""

    accepted: int
    duplicates: int
    quarantined: int
    request_id: str


async def sender(request: Request) -> Source:
    """Return the source whose key the request carries; 401 whatever is wrong with it."""
    key = key_from_header(request.headers.get("authorization", ""))
    directory: SourceDirectory = request.state.sources
    source = await directory.authenticate(key) if key else None
    if source is None:
        raise ProblemError(
            401,
            "key_invalid" if key else "key_missing",
            "This needs the API key of a log source (Authorization: Bearer tocsin_…).",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return source


sender.__tocsin_guard__ = frozenset({"ingest_client"})  # type: ignore[attr-defined]  # see shared.auth.is_guarded


@router.post("/v1/events", status_code=202, response_model=Accepted, summary="Send log events")
async def post_events(
    request: Request,
    source: Annotated[Source, Depends(sender)],
    product: Annotated[str | None, Query(max_length=64)] = None,
    category: Annotated[str | None, Query(max_length=64)] = None,
    service: Annotated[str | None, Query(max_length=64)] = None,
) -> JSONResponse:
    """The query names the Sigma logsource of these events where the source's own does not fit."""
    settings: Settings = request.state.settings
    writer: BlockWriter = request.state.writer
    if writer.is_overloaded():
        raise _busy()
    body = await _read(request, settings)
    now = request.state.clock()
    key = request.headers.get("idempotency-key")
    enveloper = Enveloper(
        source,
        Logsource(product=product, category=category, service=service),
        now,
        Limits(settings.max_event_bytes, settings.max_depth),
        key,
    )
    with writer.held(len(body)):
        work = (body, request.headers.get("content-type", ""), enveloper, settings.max_items)
        # Small bodies are parsed at once; a large one must not keep the others (and the probes).
        parse = asyncio.to_thread(_seal_all, *work) if len(body) > IN_PLACE else None
        sealed, rejected = await parse if parse else _seal_all(*work)
    request_id: str = request.scope["tocsin_request_id"]
    # What is broken first: if that fails, nothing of the request is stored twice by a repetition.
    await keep(request.state.bus, rejected, source, "native", request_id, key, now)
    try:
        duplicates = await writer.write(source.id, sealed)
    except OverloadedError:
        raise _busy() from None
    answer = Accepted(
        accepted=len(sealed) - duplicates,
        duplicates=duplicates,
        quarantined=len(rejected),
        request_id=request_id,
    )
    return JSONResponse(answer.model_dump(), 202)


def _seal_all(
    body: bytes, content_type: str, enveloper: Enveloper, most: int
) -> tuple[list[Sealed], list[Rejected]]:
    sealed: list[Sealed] = []
    rejected: list[Rejected] = []
    for count, item in enumerate(_frame(body, content_type), 1):
        if count > most:
            raise ProblemError(413, "too_large", f"A request holds at most {most} events.")
        match enveloper.seal(item):
            case Sealed() as envelope:
                sealed.append(envelope)
            case Rejected() as refusal:
                rejected.append(refusal)
    return sealed, rejected


def _busy() -> ProblemError:
    return ProblemError(
        503,
        "busy",
        "More is waiting for the broker than may be held; send it again.",
        headers={"Retry-After": "1"},
    )


async def _read(request: Request, settings: Settings) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > settings.max_body_bytes:
            raise ProblemError(
                413, "too_large", f"A body is at most {settings.max_body_bytes} bytes."
            )
        chunks.append(chunk)
    try:
        return decompress(
            b"".join(chunks),
            request.headers.get("content-encoding", ""),
            max_bytes=settings.max_body_bytes,
            max_ratio=settings.max_ratio,
        )
    except TooLargeError as error:
        raise ProblemError(413, "too_large", f"{error}.") from error
    except UnknownEncodingError as error:
        raise ProblemError(415, "unknown_encoding", f"{error}.") from error
    except BodyError as error:
        raise ProblemError(400, "unframeable", f"{error}.") from error


def _frame(body: bytes, content_type: str) -> Iterator[Item]:
    try:
        if content_type.partition(";")[0].strip().lower() == "text/plain":
            return frame_text(body)
        return frame_json(body)
    except UnframeableError as error:
        raise ProblemError(400, "unframeable", f"{error}.") from error
