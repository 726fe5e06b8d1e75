"""What an outsider needs to hold us to our log: checkpoints, proofs, and an incident's bundle."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.cases.api_views import Auditor
from services.cases.evidence.api_content import read_all
from services.cases.ledger.bundle import export
from services.cases.ledger.checkpoints import driver_of, handovers, newest_note
from services.cases.ledger.keys import Signer
from services.cases.ledger.tree import StoredTree
from services.cases.ledger.verifier import parse_checkpoint
from shared.auth import Principal, Role, allow
from shared.problems import ProblemError

__all__ = ["router"]

# Who reads what is under legal privilege: a bundle cannot leave it out, the proofs would not hold.
EXPORTERS = (Role.AUDITOR, Role.LEGAL)

Size = Annotated[int, Query(ge=1, le=2**53)]

router = APIRouter(tags=["log"])


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _signer(request: Request) -> Signer:
    signer: Signer | None = request.state.checkpointer.signer
    if signer is None:
        raise ProblemError(404, "not_signed", "This log has no key (TOCSIN_CASES_LOG_KEY_FILE).")
    return signer


@asynccontextmanager
async def _tree(request: Request, size: int) -> AsyncIterator[StoredTree]:
    """Yield the stored tree; 422 for a size that it does not have."""
    async with driver_of(request.state.engine) as driver:
        tree = StoredTree(driver)
        if size > (head := await tree.size()):
            raise ProblemError(422, "beyond_the_log", f"The log has {head} events, not {size}.")
        yield tree


@router.get("/v1/log/checkpoint", summary="The newest signed root of the log")
async def checkpoint(request: Request, _: Auditor) -> dict[str, Any]:
    signer = _signer(request)
    newest = await newest_note(request.state.engine)
    if newest is None:
        raise ProblemError(404, "not_found", "Nothing was signed yet.")
    size, note = newest
    found = parse_checkpoint(note.rpartition("\n\n")[0] + "\n")
    async with driver_of(request.state.engine) as driver:
        handed_over = await handovers(driver)
    return {
        "origin": found.origin,
        "size": size,
        "root": _text(found.root),
        "note": note,
        "key": str(signer.public),
        "handovers": handed_over,  # from older keys to this one; each note is signed by both
    }


@router.get("/v1/log/proof/inclusion", summary="Proof that an event is in the log")
async def inclusion(request: Request, _: Auditor, position: Size, size: Size) -> dict[str, Any]:
    if position > size:
        raise ProblemError(422, "malformed", "position is beyond size.")
    async with _tree(request, size) as tree:
        return {
            "position": position,
            "size": size,
            "leaf_hash": _text(await tree.leaf(position)),
            "path": [_text(digest) for digest in await tree.inclusion(position, size)],
            "root": _text(await tree.root(size)),
        }


@router.get("/v1/log/proof/consistency", summary="Proof that the log was only added to")
async def consistency(
    request: Request,
    _: Auditor,
    first: Annotated[int, Query(alias="from", ge=1, le=2**53)],
    second: Annotated[int, Query(alias="to", ge=1, le=2**53)],
) -> dict[str, Any]:
    if first > second:
        raise ProblemError(422, "malformed", "from is beyond to.")
    async with _tree(request, second) as tree:
        return {
            "from": first,
            "to": second,
            "from_root": _text(await tree.root(first)),
            "to_root": _text(await tree.root(second)),
            "path": [_text(digest) for digest in await tree.consistency(first, second)],
        }


@router.get(
    "/v1/incidents/{incident_id}/bundle",
    summary="An incident with proofs and evidence, for `tocsin verify`",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
async def bundle(
    request: Request,
    incident_id: UUID,
    principal: Annotated[Principal, allow(*EXPORTERS)],
    evidence: Annotated[bool, Query(description="with the bytes of every item")] = False,
    purpose: Annotated[str, Query(max_length=1000, description="why the bytes are read")] = "",
) -> Response:
    """Everything is in it as it was written, text under legal privilege too.

    Each item whose bytes go along is read for *purpose*, an event of its chain of custody that is
    in the bundle. An item that is frozen, or whose bytes are gone, is there without them.
    """
    _signer(request)
    state = request.state
    items = [UUID(d["evidence_id"]) for d in await state.evidence.queries.of_incident(incident_id)]
    read = await read_all(request, principal, items, purpose) if evidence else frozenset()
    found = await export(
        state.engine,
        state.vault,
        state.checkpointer,
        incident_id,
        items,
        with_bytes=read,
        now=state.clock(),
    )
    if found is None:
        raise ProblemError(404, "not_found", "There is no such incident for you.")
    return StreamingResponse(
        found.chunks(state.evidence.store),
        media_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="incident-{incident_id}.zip"',
            "Cache-Control": "no-store",
        },
    )
