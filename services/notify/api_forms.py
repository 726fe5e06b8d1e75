"""Forms to authorities: filled from draft and facts, as JSON and as PDF."""

import asyncio
import base64
import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from services.notify.forms.build import build
from services.notify.forms.fonts import load_fonts
from services.notify.forms.form import canonical, digest
from services.notify.forms.pdf import form_pdf
from services.notify.forms.store import KeptForm, approved_form
from services.notify.obligations.lifecycle import DONE, Stage
from services.notify.obligations.steps import read
from services.notify.state import READERS, snapshot
from shared.auth import Principal, allow
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["obligations"])


@router.get("/v1/obligations/{obligation_id}/form.json", summary="Filled, by what; what is missing")
async def form_json(
    request: Request, obligation_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> Response:
    document, kept = await _form(request, obligation_id)
    content = kept.document if kept else canonical(document)
    return _answer(content, "application/json", document, "json")


@router.get("/v1/obligations/{obligation_id}/form.pdf", summary="The same form to print or upload")
async def form_as_pdf(
    request: Request, obligation_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> Response:
    document, kept = await _form(request, obligation_id)
    if kept is not None:
        return _answer(kept.pdf, "application/pdf", document, "pdf")
    fonts = load_fonts(request.state.settings.form_fonts)
    content = await asyncio.to_thread(form_pdf, document, fonts)
    return _answer(content, "application/pdf", document, "pdf")


async def _form(request: Request, obligation_id: UUID) -> tuple[dict[str, Any], KeptForm | None]:
    """Return the form as it was approved, or as it would be now."""
    async with snapshot(request.state.engine) as connection:
        kept = await read(connection, obligation_id)
        if kept is None:
            raise ProblemError(404, "not_found", "There is no such obligation.")
        if kept.standing.stage in DONE | {Stage.APPROVED}:
            form = await approved_form(connection, obligation_id)
            if form is not None and form.erased:
                raise ProblemError(
                    410,
                    "form_erased",
                    "What the form said was erased when its retention ended; its digests are kept.",
                    json_sha256=form.document_sha256,
                    pdf_sha256=form.pdf_sha256,
                )
            if form is not None:
                return json.loads(form.document), form
        return await build(connection, kept, request.state), None


def _answer(content: bytes, kind: str, document: dict[str, Any], ending: str) -> Response:
    period = f"-{document['period']}" if document["period"] > 1 else ""
    name = f"{document['incident']}-{document['regime']}-{document['phase']}{period}"
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    sha256 = digest(content)
    encoded = base64.b64encode(bytes.fromhex(sha256)).decode()
    return Response(
        content,
        media_type=kind,
        headers={
            "Content-Disposition": f'attachment; filename="{safe}.{ending}"',
            "ETag": f'"{sha256}"',
            "Repr-Digest": f"sha-256=:{encoded}:",  # RFC 9530
        },
    )
