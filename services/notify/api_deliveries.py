"""Notifications and their ledger; a failed one can be given another schedule."""

import json
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sqlalchemy import text

from services.notify.ledger import replay, try_again
from services.notify.outcomes import shown_recipient
from services.notify.state import READERS, snapshot
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["notifications"])

_COLUMNS = (
    "notification_id, list_id, tenant, channel, recipients, content, template_id,"
    " template_version, template_digest, locale, covers, created_at,"
    " state, next_attempt_at, attempt, sent_at, proof, last_error, kind, why, supersedes,"
    " instead_of, undeliverable_at, content_sha256, text_erased_at"
)
_PAGE = text(
    f"SELECT {_COLUMNS} FROM notifications"  # noqa: S608 - a constant
    " WHERE incident_id = :incident AND (cast(:after AS uuid) IS NULL OR notification_id > :after)"
    " ORDER BY notification_id LIMIT :limit"
)
_ONE = text(f"SELECT {_COLUMNS} FROM notifications WHERE notification_id = :id")  # noqa: S608
_BOUNCES = text(
    "SELECT notification_id, recipient, action, status, diagnostic, received_at, source, round"
    " FROM bounces"
    " WHERE notification_id = ANY(:ids) ORDER BY notification_id, received_at"
)
_STATES = text(
    "SELECT state, count(*) AS n, count(undeliverable_at) AS undeliverable FROM notifications"
    " WHERE incident_id = :incident GROUP BY state"
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
        items = await _with_ledger(connection, rows)
    return {
        "counts": {"pending": 0, "sending": 0, "sent": 0, "failed": 0}
        | {row.state: row.n for row in states},
        "undeliverable": sum(row.undeliverable for row in states),
        "items": items,
        "next_after": str(rows[-1].notification_id) if len(rows) == limit else None,
    }


@router.get("/v1/notifications/{notification_id}", summary="One, with its delivery log")
async def notification(
    request: Request, notification_id: UUID, _: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    async with snapshot(request.state.engine) as connection:
        rows = (await connection.execute(_ONE, {"id": notification_id})).all()
        if not rows:
            raise ProblemError(404, "not_found", "There is no such notification.")
        return (await _with_ledger(connection, rows))[0]


@router.post(
    "/v1/notifications/{notification_id}/replay", summary="Post a webhook again, under its same id"
)
async def replay_webhook(
    request: Request,
    notification_id: UUID,
    _: Annotated[Principal, allow(Role.INCIDENT_COMMUNICATIONS, Role.OPERATOR)],
) -> dict[str, Any]:
    async with request.state.engine.begin() as connection:
        if not await replay(connection, notification_id, request.state.clock()):
            await _refuse(connection, notification_id, "not_replayable", "a webhook that was sent")
    request.state.wake()
    return {"notification_id": str(notification_id), "state": "pending"}


@router.post(
    "/v1/notifications/{notification_id}/retry", summary="Try what failed or came back again"
)
async def retry(
    request: Request,
    notification_id: UUID,
    _: Annotated[Principal, allow(Role.INCIDENT_COMMUNICATIONS)],
) -> dict[str, Any]:
    async with request.state.engine.begin() as connection:
        if not await try_again(connection, notification_id, request.state.clock()):
            await _refuse(connection, notification_id, "not_failed", "what failed or came back")
    request.state.wake()
    return {"notification_id": str(notification_id), "state": "pending"}


async def _refuse(connection: Any, notification_id: UUID, code: str, only: str) -> None:
    row = (await connection.execute(_ONE, {"id": notification_id})).one_or_none()
    if row is None:
        raise ProblemError(404, "not_found", "There is no such notification.")
    erased = "; its words were erased" if row.text_erased_at else ""
    unmet = {"code": code, "detail": f"It is {row.state}, by {row.channel}{erased}."}
    raise ProblemError(409, code, f"Only {only} is taken.", unmet=[unmet])


async def _with_ledger(connection: Any, rows: Sequence[Any]) -> list[dict[str, Any]]:
    ids = {"ids": [row.notification_id for row in rows]}
    ledger: dict[UUID, list[dict[str, Any]]] = {}
    for attempt in (await connection.execute(_ATTEMPTS, ids)).all():
        ledger.setdefault(attempt.notification_id, []).append(_attempt(attempt))
    bounced: dict[UUID, list[dict[str, Any]]] = {}
    for row in (await connection.execute(_BOUNCES, ids)).all():
        bounced.setdefault(row.notification_id, []).append(
            {
                "recipient": row.recipient,
                "action": row.action,
                "status": row.status,
                "diagnostic": row.diagnostic,
                "source": row.source,
                "round": row.round,
                "received_at": rfc3339(row.received_at),
            }
        )
    return [
        _notification(row, ledger.get(row.notification_id, []))
        | {"bounces": bounced.get(row.notification_id, [])}
        for row in rows
    ]


def _notification(row: Any, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "notification_id": str(row.notification_id),
        "list_id": str(row.list_id),
        "tenant": row.tenant,
        "channel": row.channel,
        "kind": row.kind,
        "why": row.why,
        "supersedes": row.supersedes and str(row.supersedes),
        "instead_of": row.instead_of and str(row.instead_of),
        "recipients": [shown_recipient(to) for to in json.loads(row.recipients)["to"]],
        "subject": json.loads(row.content)["subject"],
        "text": json.loads(row.content)["text"],
        "template_digest": row.template_digest,
        "content_sha256": row.content_sha256,
        "text_erased_at": row.text_erased_at and rfc3339(row.text_erased_at),
        "template": {
            "id": row.template_id,
            "version": row.template_version,
            "digest": row.template_digest,
            "locale": row.locale,
        },
        "covers": json.loads(row.covers) if row.covers else None,
        "created_at": rfc3339(row.created_at),
        "state": row.state,
        "attempt": row.attempt,
        "next_attempt_at": rfc3339(row.next_attempt_at) if row.state == "pending" else None,
        "sent_at": row.sent_at and rfc3339(row.sent_at),
        "proof": row.proof,
        "last_error": row.last_error,
        "undeliverable_at": row.undeliverable_at and rfc3339(row.undeliverable_at),
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
