"""The portal inbox: a tenant's own people read its notices and acknowledge them (§4.2, §7).

What belongs to another tenant is not there at all: 404, as for what never was.
"""

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sqlalchemy import text

from services.notify.state import snapshot
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["portal"])

# A posting needs no carrier: it is there once the list is signed, whether mail gets through or not.
# Of what goes by several channels one copy is shown.
_VISIBLE = """
    SELECT DISTINCT ON (n.list_id, n.kind, n.why) n.notification_id, n.incident_id, i.number,
        n.kind, n.why, n.content, n.created_at, n.supersedes, a.acknowledged_by, a.acknowledged_at
    FROM notifications n JOIN incidents i USING (incident_id)
    LEFT JOIN acknowledgements a USING (notification_id)
    WHERE n.tenant = :tenant AND n.instead_of IS NULL AND n.state <> 'withdrawn'
      AND (NOT i.held OR n.sent_at IS NOT NULL)
    ORDER BY n.list_id, n.kind, n.why, n.channel
"""
_PAGE = text(
    f"SELECT * FROM ({_VISIBLE}) v"  # noqa: S608 - a constant
    " WHERE cast(:before AS uuid) IS NULL OR (created_at, notification_id) <"
    " (SELECT created_at, notification_id FROM notifications WHERE notification_id = :before)"
    " ORDER BY created_at DESC, notification_id DESC LIMIT :limit"
)
_ONE = text(f"SELECT * FROM ({_VISIBLE}) v WHERE notification_id = :id")  # noqa: S608 - same
_ACKNOWLEDGE = text(
    "INSERT INTO acknowledgements (notification_id, tenant, acknowledged_by, acknowledged_at)"
    " VALUES (:id, :tenant, :by, :at) ON CONFLICT DO NOTHING"
)


@router.get("/v1/portal/notices", summary="Your organisation's notices, newest first")
async def notices(
    request: Request,
    principal: Annotated[Principal, allow(Role.CUSTOMER_CONTACT)],
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: UUID | None = None,
) -> dict[str, Any]:
    values = {"tenant": _tenant(principal), "limit": limit, "before": before}
    async with snapshot(request.state.engine) as connection:
        rows = (await connection.execute(_PAGE, values)).all()
    return {
        "items": [_notice(row) for row in rows],
        "next_before": str(rows[-1].notification_id) if len(rows) == limit else None,
    }


@router.get("/v1/portal/notices/{notice_id}", summary="One notice")
async def notice(
    request: Request,
    notice_id: UUID,
    principal: Annotated[Principal, allow(Role.CUSTOMER_CONTACT)],
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        return _notice(await _found(connection, notice_id, principal))


@router.post("/v1/portal/notices/{notice_id}/acknowledge", summary="We have read it")
async def acknowledge(
    request: Request,
    notice_id: UUID,
    principal: Annotated[Principal, allow(Role.CUSTOMER_CONTACT)],
) -> dict[str, Any]:
    async with request.state.engine.begin() as connection:
        await _found(connection, notice_id, principal)
        values = {"id": notice_id, "tenant": _tenant(principal), "by": principal.id}
        await connection.execute(_ACKNOWLEDGE, {**values, "at": request.state.clock()})
        return _notice(await _found(connection, notice_id, principal))


def _tenant(principal: Principal) -> str:
    if principal.tenant is None:
        raise ProblemError(403, "tenant_missing", "The token names no tenant.")
    return principal.tenant


async def _found(connection: Any, notice_id: UUID, principal: Principal) -> Any:
    values = {"id": notice_id, "tenant": _tenant(principal)}
    row = (await connection.execute(_ONE, values)).one_or_none()
    if row is None:
        raise ProblemError(404, "not_found", "There is no such notice.")
    return row


def _notice(row: Any) -> dict[str, Any]:
    content = json.loads(row.content)
    return {
        "notice_id": str(row.notification_id),
        "incident": row.number,
        "kind": row.kind,
        "why": row.why,
        "supersedes": row.supersedes and str(row.supersedes),
        "subject": content["subject"],
        "text": content["text"],
        "posted_at": rfc3339(row.created_at),
        "acknowledged_by": row.acknowledged_by,
        "acknowledged_at": row.acknowledged_at and rfc3339(row.acknowledged_at),
    }
