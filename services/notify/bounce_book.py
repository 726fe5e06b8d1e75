"""Bounces as kept: recorded once, and the alternate contact written to where a mail came back."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.bounces import Bounce
from services.notify.message import Content
from services.notify.told import insert, row
from shared.ids import derived_id

__all__ = ["record"]

log = structlog.get_logger()
_bounced = Counter("tocsin_notify_bounces_total", "Mails that came back", ["action"])

_FIND = text(
    "SELECT n.notification_id, n.list_id, n.incident_id, n.tenant, n.recipients, n.content,"
    " n.template_digest, n.state, n.why, n.supersedes FROM notifications n"
    " WHERE n.notification_id = :id AND n.channel = 'email' FOR UPDATE"
)
_RECORD = text(
    "INSERT INTO bounces (notification_id, recipient, action, status, diagnostic, received_at)"
    " VALUES (:id, :recipient, :action, :status, :diagnostic, :at) ON CONFLICT DO NOTHING"
)
_FAILED = text("SELECT recipient FROM bounces WHERE notification_id = :id AND action = 'failed'")
_ALL_BACK = text(
    "UPDATE notifications SET state = 'bounced' WHERE notification_id = :id AND state = 'sent'"
)


async def record(connection: AsyncConnection, found: Sequence[Bounce], at: datetime) -> int:
    """Write *found* down and queue one message to the alternates; return how many were news.

    A bounce of a mail that was never sent to that recipient is not believed.
    """
    news = 0
    for bounce in found:
        one = (await connection.execute(_FIND, {"id": bounce.notification_id})).one_or_none()
        to = _named(json.loads(one.recipients)["to"], bounce.recipient) if one else None
        if one is None or to is None:
            log.warning("bounce of nothing sent", notification=str(bounce.notification_id))
            continue
        done = await connection.execute(
            _RECORD,
            {
                "id": one.notification_id,
                "recipient": to,
                "action": bounce.action,
                "status": bounce.status,
                "diagnostic": bounce.diagnostic,
                "at": at,
            },
        )
        if done.rowcount == 0:
            continue
        news += 1
        _bounced.labels(bounce.action).inc()
        log.warning(
            "mail came back",
            notification=str(one.notification_id),
            tenant=one.tenant,
            action=bounce.action,
            status=bounce.status,
        )
        if bounce.action == "failed":
            await _instead(connection, one, at)
    return news


async def _instead(connection: AsyncConnection, one: Any, at: datetime) -> None:
    recipients = json.loads(one.recipients)
    back = set((await connection.execute(_FAILED, {"id": one.notification_id})).scalars())
    if back.issuperset(recipients["to"]):
        await connection.execute(_ALL_BACK, {"id": one.notification_id})
    if alternates := recipients.get("alternates"):
        content = json.loads(one.content)
        key = derived_id("alternate", one.notification_id)
        await insert(
            connection,
            [
                row(
                    id=key,
                    list_id=one.list_id,
                    incident_id=one.incident_id,
                    tenant=one.tenant,
                    channel="email",
                    recipients={"to": alternates, "secret_ref": None, "alternates": []},
                    content=Content(content["subject"], content["text"], content["body"]),
                    template=one.template_digest,
                    at=at,
                    why=one.why,
                    supersedes=one.supersedes,
                    instead_of=one.notification_id,
                )
            ],
        )


def _named(sent_to: Sequence[str], recipient: str) -> str | None:
    """Return the address that mail went to; servers may change the case of what they report."""
    return next((to for to in sent_to if to.lower() == recipient.lower()), None)
