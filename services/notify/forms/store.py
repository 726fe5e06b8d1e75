"""Forms as they were approved: kept with their digests, never changed by a later template."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.forms.form import canonical, digest

__all__ = ["KeptForm", "approved_form", "keep"]

_KEEP = text(
    "INSERT INTO obligation_forms (obligation_id, step, document, document_sha256, pdf, pdf_sha256)"
    " VALUES (:id, :step, :document, :document_sha256, :pdf, :pdf_sha256)"
)
_NEWEST = text(
    "SELECT step, document, document_sha256, pdf, pdf_sha256, text_erased_at FROM obligation_forms"
    " WHERE obligation_id = :id ORDER BY step DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptForm:
    """One approved form; ``step`` is the approval's."""

    step: int
    document: bytes
    document_sha256: str
    pdf: bytes
    pdf_sha256: str
    erased: bool = False

    def shown(self) -> dict[str, Any]:
        """Return what identifies it."""
        template = json.loads(self.document).get("template")
        return {
            "step": self.step,
            "template": template,
            "json_sha256": self.document_sha256,
            "pdf_sha256": self.pdf_sha256,
            "erased": self.erased,
        }


async def keep(
    connection: AsyncConnection,
    obligation_id: UUID,
    step: int,
    document: Mapping[str, Any],
    pdf: bytes,
) -> KeptForm:
    """Keep the form that *step* approved."""
    content = canonical(document)
    form = KeptForm(
        step=step,
        document=content,
        document_sha256=digest(content),
        pdf=pdf,
        pdf_sha256=digest(pdf),
    )
    values = {
        "id": obligation_id,
        "step": step,
        "document": content,
        "document_sha256": form.document_sha256,
        "pdf": pdf,
        "pdf_sha256": form.pdf_sha256,
    }
    await connection.execute(_KEEP, values)
    return form


async def approved_form(connection: AsyncConnection, obligation_id: UUID) -> KeptForm | None:
    """Return the form that was approved last; None where none was."""
    row = (await connection.execute(_NEWEST, {"id": obligation_id})).one_or_none()
    if row is None:
        return None
    return KeptForm(
        step=row.step,
        document=bytes(row.document),
        document_sha256=row.document_sha256,
        pdf=bytes(row.pdf),
        pdf_sha256=row.pdf_sha256,
        erased=row.text_erased_at is not None,
    )
