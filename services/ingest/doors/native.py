"""The native door: ``POST /v1/events`` with JSON lines, an array, concatenated JSON or text lines.

202 ``{accepted, duplicates, quarantined, request_id}`` only after every event and every quarantined
item is on disk. An ``Idempotency-Key`` gives the events of a request their identity, so that the
same request may be repeated until it is answered.
"""

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
    enveloper = Enveloper(
        source,
        Logsource(product=product, category=category, service=service),
        now,
        Limits(settings.max_event_bytes, settings.max_depth),
        request.headers.get("idempotency-key"),
    )
    sealed: list[Sealed] = []
    rejected: list[Rejected] = []
    for item in _frame(body, request.headers.get("content-type", "")):
        match enveloper.seal(item):
            case Sealed() as envelope:
                sealed.append(envelope)
            case Rejected() as refusal:
                rejected.append(refusal)
    request_id: str = request.scope["tocsin_request_id"]
    try:
        duplicates = await writer.write(source.id, sealed)
    except OverloadedError:
        raise _busy() from None
    await keep(request.state.bus, rejected, source, "native", request_id, now)
    answer = Accepted(
        accepted=len(sealed) - duplicates,
        duplicates=duplicates,
        quarantined=len(rejected),
        request_id=request_id,
    )
    return JSONResponse(answer.model_dump(), 202)


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


def _frame(body: bytes, content_type: str) -> list[Item]:
    try:
        if content_type.partition(";")[0].strip().lower() == "text/plain":
            return list(frame_text(body))
        return list(frame_json(body))
    except UnframeableError as error:
        raise ProblemError(400, "unframeable", f"{error}.") from error
