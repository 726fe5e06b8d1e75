"""PUT and GET of the bytes: streamed, hashed on the way in and on the way out.

Each way out is a custody event that is written before the first byte leaves.
"""

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from services.cases.evidence.domain.commands import CollectEvidence, RecordAccess
from services.cases.evidence.domain.decide import decide
from services.cases.evidence.domain.item import Item
from services.cases.evidence.edge import (
    EvidenceAnswer,
    answer,
    as_problems,
    bytes_of,
    custodian,
    do,
    item_at,
    roles_of,
)
from services.cases.evidence.integrity import found_digest, report
from services.cases.evidence.store import (
    BlobMissingError,
    DigestMismatchError,
    Reading,
    StoreError,
    StoreFullError,
    TooLargeError,
)
from shared.auth import Principal, allow
from shared.http import BodyBound
from shared.ids import derived_id, uuid7
from shared.openapi import refusal
from shared.problems import ProblemError

__all__ = ["content_bound", "read_all", "router"]

IDLE_SECONDS = 60.0
_SHA256 = re.compile(r"sha-256=:([A-Za-z0-9+/=]{44}):", re.IGNORECASE)
_PATH = re.compile(r"/v1/evidence/[^/]+/content")
_RETRY = {"Retry-After": "30"}

log = structlog.get_logger()
router = APIRouter(tags=["evidence"])

Writer = Annotated[Principal, allow(*roles_of(CollectEvidence))]
Reader = Annotated[Principal, allow(*roles_of(RecordAccess))]


def content_bound(max_bytes: int) -> BodyBound:
    """Return the bound of the one route whose body may be large."""
    return BodyBound("PUT", _PATH, max_bytes)


def _declared(header: str | None, item: Item) -> str:
    """Return the digest that the bytes have to have; 422 unless exactly one is declared."""
    told = None
    if header is not None:
        if (match := _SHA256.search(header)) is None:
            raise ProblemError(422, "malformed", "Content-Digest is sha-256=:<base64>: (RFC 9530).")
        try:
            told = base64.b64decode(match[1], validate=True).hex()
        except binascii.Error as error:
            raise ProblemError(422, "malformed", "Content-Digest is not base64.") from error
        if len(told) != 64:
            raise ProblemError(422, "malformed", "Content-Digest is not a SHA-256.")
    if told and item.declared_sha256 and told != item.declared_sha256:
        raise _mismatch(item.declared_sha256, told)
    if (declared := told or item.declared_sha256) is None:
        raise ProblemError(
            422, "digest_missing", "Declare the SHA-256: Content-Digest, or sha256 beforehand."
        )
    return declared


def _mismatch(declared: str, found: str) -> ProblemError:
    return ProblemError(
        422,
        "digest_mismatch",
        "The bytes are not those that were declared; nothing was kept.",
        declared_sha256=declared,
        found_sha256=found,
    )


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, "too_large", f"An item is at most {limit} bytes; nothing was kept.")


async def _incoming(request: Request) -> AsyncIterator[bytes]:
    """Yield the body; a sender who falls silent does not hold a place for ever."""
    chunks = request.stream().__aiter__()
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise ProblemError(
                408, "upload_stalled", f"No byte came for {IDLE_SECONDS:.0f} s; nothing was kept."
            ) from error
        except ClientDisconnect as error:
            raise ProblemError(400, "incomplete", "The body ended too early.") from error
        if chunk is None:
            return
        yield chunk


@router.put(
    "/v1/evidence/{evidence_id}/content",
    summary="The bytes of an item, once",
    responses={
        408: refusal("No byte came for a while; nothing was kept"),
        415: refusal("The body is encoded; evidence is sent as it is"),
    },
)
async def put_content(
    request: Request,
    response: Response,
    evidence_id: UUID,
    principal: Writer,
    content_digest: Annotated[
        str | None, Header(alias="Content-Digest", max_length=500, description="RFC 9530")
    ] = None,
    content_length: Annotated[  # HTTP's own, so the description need not name it
        int | None, Header(alias="Content-Length", ge=0, include_in_schema=False)
    ] = None,
    content_encoding: Annotated[str, Header(alias="Content-Encoding", max_length=50)] = "identity",
) -> EvidenceAnswer:
    blobs, limit = bytes_of(request), request.state.evidence.max_bytes
    if content_encoding.strip().lower() not in ("", "identity"):
        raise ProblemError(415, "unknown_encoding", "Evidence is sent as it is, not encoded.")
    item, version = await item_at(request, evidence_id)
    declared = _declared(content_digest, item)
    actor, command_id = custodian(principal), derived_id("collect", evidence_id, declared)
    order: dict[str, Any] = {"actor": actor, "sha256": declared, "storage_ref": ""}
    with as_problems(None):
        # Refuse before the bytes travel, not after.
        if not decide(item, CollectEvidence(now=request.state.clock(), size=0, **order)):
            return EvidenceAnswer(evidence_id=evidence_id, version=version, position=0, events=[])
    if content_length is not None and content_length > limit:
        raise _too_large(limit)
    places: asyncio.Semaphore = request.state.evidence.uploads
    if places.locked():
        raise ProblemError(503, "busy", "Too many uploads run already; retry.", headers=_RETRY)
    async with places:
        try:
            stored = await blobs.put(_incoming(request), declared=declared, max_bytes=limit)
        except DigestMismatchError as error:
            raise _mismatch(error.declared, error.found) from error
        except TooLargeError as error:
            raise _too_large(error.limit) from error
        except StoreFullError as error:
            log.warning("the evidence store is full", error=str(error))
            raise ProblemError(
                503, "evidence_store_full", "No room is left; nothing was kept.", headers=_RETRY
            ) from error
        except StoreError as error:
            raise _unavailable(error) from error
    order |= {"size": stored.size, "storage_ref": stored.ref}
    done = await do(
        request,
        evidence_id,
        CollectEvidence(now=request.state.clock(), **order),
        command_id=command_id,
        digest=declared,
    )
    return answer(done, response)


def _unavailable(error: StoreError) -> ProblemError:
    log.error("the evidence store cannot be used", error=str(error))
    return ProblemError(
        503,
        "evidence_store_unavailable",
        "The evidence store cannot be used now; retry.",
        headers=_RETRY,
    )


class _Download(StreamingResponse):
    """Closes the file however the answer ends, even if it never began."""

    def __init__(self, opened: AsyncExitStack, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._opened:
            await super().__call__(scope, receive, send)


async def _outgoing(reading: Reading, sha256: str) -> AsyncIterator[bytes]:
    """Yield the bytes and hash them once more; the last ones leave only if all were right.

    They were verified a moment ago, but a disk may lie twice: then the answer breaks off short of
    its Content-Length, so nobody takes it for whole.
    """
    found, held = hashlib.sha256(), b""
    async for chunk in reading.chunks():
        if held:
            yield held
        await asyncio.to_thread(found.update, chunk)
        held = chunk
    if found.hexdigest() != sha256:
        log.error("bytes changed while they were sent", sha256=sha256)
        raise StoreError("bytes changed while they were sent")
    yield held


@router.get(
    "/v1/evidence/{evidence_id}/content",
    summary="The bytes; verified, and the reading recorded, before they leave",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        409: refusal("It is not in a state to be read, or its integrity check failed"),
    },
)
async def get_content(
    request: Request,
    evidence_id: UUID,
    principal: Reader,
    purpose: Annotated[str, Query(min_length=1, max_length=1000)],
) -> Response:
    blobs = bytes_of(request)
    item, _ = await item_at(request, evidence_id)
    access = RecordAccess(
        actor=custodian(principal), now=request.state.clock(), purpose=purpose, content=True
    )
    with as_problems(None):
        decide(item, access)
    sha256 = item.sha256 or ""
    async with AsyncExitStack() as stack:
        found = None
        try:
            reading = await stack.enter_async_context(blobs.open(sha256))
            found = await reading.digest()
        except BlobMissingError:
            reading = None
        except StoreError as error:
            raise _unavailable(error) from error
        if reading is None or found != sha256:
            state = request.state
            with as_problems(None):
                failed = await report(state.store, state.clock, evidence_id, found, "read")
            state.noticed()
            await state.projector.reached(failed.position)
            raise ProblemError(
                409,
                "integrity_failed",
                "The bytes are not those that were collected; the item is frozen.",
                unmet=[{"code": "integrity_failed", "detail": "the digests differ"}],
                expected_sha256=sha256,
                found_sha256=found,
            )
        done = await do(request, evidence_id, access, command_id=uuid7(), digest="")
        digest = base64.b64encode(bytes.fromhex(sha256)).decode()
        headers = {
            "Content-Length": str(reading.size),
            # The user's name for it is told with the item; here it could only do harm.
            "Content-Disposition": f'attachment; filename="{evidence_id}.bin"',
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
            "Content-Digest": f"sha-256=:{digest}:",
            "ETag": f'"{done.version}"',
        }
        return _Download(
            stack.pop_all(),
            _outgoing(reading, sha256),
            headers=headers,
            media_type="application/octet-stream",
        )


async def read_all(
    request: Request, principal: Principal, items: Sequence[UUID], purpose: str
) -> frozenset[UUID]:
    """Record that the bytes of each of *items* are read, after finding it intact; return those.

    What cannot be read any more (announced, disposed of, frozen) is passed over; 409 for a reader
    or a purpose that would not do for one item alone.
    """
    blobs = bytes_of(request)
    access = RecordAccess(
        actor=custodian(principal), now=request.state.clock(), purpose=purpose, content=True
    )
    read: set[UUID] = set()
    for evidence_id in items:
        item, _ = await item_at(request, evidence_id)
        if not item.has_bytes or item.frozen:
            continue
        with as_problems(None):
            decide(item, access)
        try:
            found = await found_digest(blobs, item.sha256 or "")
        except StoreError as error:
            raise _unavailable(error) from error
        if found != item.sha256:
            with as_problems(None):
                await report(request.state.store, request.state.clock, evidence_id, found, "export")
            request.state.noticed()
            continue
        await do(request, evidence_id, access, command_id=uuid7(), digest="")
        read.add(evidence_id)
    return frozenset(read)
