"""Notifications and their ledger; a failed one can be given another schedule."""

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sqlalchemy import text

from services.notify.dispatcher import shown_recipient
from services.notify.ledger import try_again
from services.notify.state import READERS, snapshot
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["notifications"])

_COLUMNS = (
    "notification_id, list_id, tenant, channel, recipients, content, template_digest, created_at,"
    " state, next_attempt_at, attempt, sent_at, proof, last_error"
)
_PAGE = text(
    f"SELECT {_COLUMNS} FROM notifications"  # noqa: S608 - a constant
    " WHERE incident_id = :incident AND (cast(:after AS uuid) IS NULL OR notification_id > :after)"
    " ORDER BY notification_id LIMIT :limit"
)
_STATES = text(
    "SELECT state, count(*) AS n FROM notifications WHERE incident_id = :incident GROUP BY state"
)
_ATTEMPTS = text(
    "SELECT notification_id, fence, attempt, started_at, finished_at, outcome, answer, recipients"
    " FROM attempts WHERE notification_id = ANY(:ids) ORDER BY notification_id, fence"
)


@router.get("/v1/notifications", summary="Notifications of an incident, with every attempt")
async def notifications(
    request: Request,
    incident_id: UUID,
    _: Annotated[Principal, allow(*READERS)],
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
    after: UUID | None = None,
) -> dict[str, Any]:
    values = {"incident": incident_id, "after": after, "limit": limit}
    async with snapshot(request.state.engine) as connection:
        rows = (await connection.execute(_PAGE, values)).all()
        states = (await connection.execute(_STATES, {"incident": incident_id})).all()
        ids = {"ids": [row.notification_id for row in rows]}
        attempts = (await connection.execute(_ATTEMPTS, ids)).all()
    ledger: dict[UUID, list[dict[str, Any]]] = {}
    for attempt in attempts:
        ledger.setdefault(attempt.notification_id, []).append(_attempt(attempt))
    return {
        "counts": {"pending": 0, "sending": 0, "sent": 0, "failed": 0}
        | {row.state: row.n for row in states},
        "items": [_notification(row, ledger.get(row.notification_id, [])) for row in rows],
        "next_after": str(rows[-1].notification_id) if len(rows) == limit else None,
    }


@router.post("/v1/notifications/{notification_id}/retry", summary="Try a failed one again")
async def retry(
    request: Request,
    notification_id: UUID,
    _: Annotated[Principal, allow(Role.INCIDENT_COMMUNICATIONS)],
) -> dict[str, Any]:
    async with request.state.engine.begin() as connection:
        if not await try_again(connection, notification_id, request.state.clock()):
            known = await connection.scalar(
                text("SELECT state FROM notifications WHERE notification_id = :id"),
                {"id": notification_id},
            )
            if known is None:
                raise ProblemError(404, "not_found", "There is no such notification.")
            raise ProblemError(
                409,
                "not_failed",
                "Only a failed notification is tried again.",
                unmet=[{"code": "not_failed", "detail": f"It is {known}."}],
            )
    request.state.wake()
    return {"notification_id": str(notification_id), "state": "pending"}


def _notification(row: Any, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "notification_id": str(row.notification_id),
        "list_id": str(row.list_id),
        "tenant": row.tenant,
        "channel": row.channel,
        "recipients": [shown_recipient(to) for to in json.loads(row.recipients)["to"]],
        "subject": json.loads(row.content)["subject"],
        "text": json.loads(row.content)["text"],
        "template_digest": row.template_digest,
        "created_at": rfc3339(row.created_at),
        "state": row.state,
        "attempt": row.attempt,
        "next_attempt_at": rfc3339(row.next_attempt_at) if row.state == "pending" else None,
        "sent_at": row.sent_at and rfc3339(row.sent_at),
        "proof": row.proof,
        "last_error": row.last_error,
        "attempts": attempts,
    }


def _attempt(row: Any) -> dict[str, Any]:
    return {
        "attempt": row.attempt,
        "fence": row.fence,
        "started_at": rfc3339(row.started_at),
        "finished_at": row.finished_at and rfc3339(row.finished_at),
        "outcome": row.outcome,
        "answer": row.answer,
        "recipients": json.loads(row.recipients),
    }
