"""Templates that something was rendered from, kept word for word under their digests."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.wording.catalogue import Template

__all__ = ["keep_templates", "used_template"]

_KEEP = text(
    "INSERT INTO used_templates (digest, document, used_at) VALUES (:digest, :document, :at)"
    " ON CONFLICT DO NOTHING"
)
_ONE = text("SELECT document, used_at FROM used_templates WHERE digest = :digest")


async def keep_templates(
    connection: AsyncConnection, templates: Iterable[Template], at: datetime
) -> None:
    """Keep what *templates* say; one that was kept before stays as it is."""
    for template in {template.ref.digest: template for template in templates}.values():
        document = json.dumps(template.document(), ensure_ascii=False, sort_keys=True)
        values = {"digest": template.ref.digest, "document": document, "at": at}
        await connection.execute(_KEEP, values)


async def used_template(
    connection: AsyncConnection, digest: str
) -> tuple[dict[str, Any], datetime] | None:
    """Return the template of *digest* and since when it was used; None for one never used."""
    row = (await connection.execute(_ONE, {"digest": digest})).one_or_none()
    return None if row is None else (json.loads(row.document), row.used_at)
