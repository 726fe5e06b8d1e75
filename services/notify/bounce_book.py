"""Recipients that a mail did not reach, each recorded once; the alternate contact is written to.

Whether a mail came back or was refused at once is one thing to the tenant: it was not told. What it
was owed runs again (`met_by_notice.py`), and once no contact is left somebody here is told
(`undeliverable.py`).
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify import incidents
from services.notify.bounces import Bounce
from services.notify.incidents import Incident
from services.notify.message import Content
from services.notify.met_by_notice import owe_again
from services.notify.obligations.book import ObligationBook
from services.notify.told import insert, row
from services.notify.undeliverable import tell_undeliverable
from services.notify.wording.catalogue import TemplateRef
from shared.cloudevents import outgoing
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["record", "settle"]

log = structlog.get_logger()
_bounced = Counter(
    "tocsin_notify_bounces_total", "Recipients that a mail did not reach", ["action"]
)

_INCIDENT = text("SELECT incident_id FROM notifications WHERE notification_id = :id")
_FIND = text(
    "SELECT notification_id, list_id, incident_id, tenant, channel, recipients, content,"
    " template_id, template_version, template_digest, locale, covers, kind, why, supersedes,"
    " instead_of, round FROM notifications"
    " WHERE notification_id = :id FOR UPDATE"
)
_RECORD = text(
    "INSERT INTO bounces (notification_id, recipient, action, status, diagnostic, received_at,"
    " round, source) VALUES (:id, :recipient, :action, :status, :diagnostic, :at, :round, :source)"
    " ON CONFLICT DO NOTHING"
)
_ALL_BACK = text(
    "UPDATE notifications SET state = 'bounced' WHERE notification_id = :id AND state = 'sent'"
)
# A message and the one to the alternates that stands in for it.
_PAIR = text(
    """
    SELECT n.notification_id, n.recipients, n.round,
        ARRAY(SELECT b.recipient FROM bounces b WHERE b.action = 'failed'
              AND b.notification_id = n.notification_id AND b.round = n.round) AS failed
    FROM notifications n WHERE n.notification_id = ANY(:ids) ORDER BY n.notification_id
    """
)


async def record(
    connection: AsyncConnection, found: Sequence[Bounce], at: datetime, book: ObligationBook
) -> int:
    """Write *found* down and queue one message to the alternates; return how many were news.

    A bounce of a mail that was never sent to that recipient is not believed.
    """
    news = 0
    for bounce in found:
        held = await _locked(connection, bounce.notification_id)
        to = _named(held[1], bounce.recipient) if held else None
        if held is None or to is None:
            log.warning("bounce of nothing sent", notification=str(bounce.notification_id))
            continue
        incident, one = held
        if not await _written(connection, one, bounce, to, at):
            continue
        news += 1
        _bounced.labels(bounce.action).inc()
        log.warning(
            "recipient not reached",
            notification=str(one.notification_id),
            tenant=one.tenant,
            action=bounce.action,
            status=bounce.status,
            source=bounce.source,
        )
        if bounce.action == "failed":
            await _instead(connection, incident, one, at, book)
    return news


async def settle(
    connection: AsyncConnection, notification_id: UUID, at: datetime, book: ObligationBook
) -> None:
    """Draw the consequences of a message that is not tried any more: alternates, or an alarm."""
    held = await _locked(connection, notification_id)
    if held is None:
        return
    incident, one = held
    if one.channel == "email":
        await _instead(connection, incident, one, at, book)
    else:
        await tell_undeliverable(connection, notification_id, at, contacts=1, rounds=[one.round])


async def _locked(
    connection: AsyncConnection, notification_id: UUID
) -> tuple[Incident, Any] | None:
    """Return a message with its incident; the incident is locked first, as everywhere."""
    values = {"id": notification_id}
    incident_id = (await connection.execute(_INCIDENT, values)).scalar()
    incident = await incidents.lock(connection, incident_id) if incident_id else None
    if incident is None:
        return None
    return incident, (await connection.execute(_FIND, values)).one()


async def _written(
    connection: AsyncConnection, one: Any, bounce: Bounce, to: str, at: datetime
) -> bool:
    values = {
        "id": one.notification_id,
        "recipient": to,
        "action": bounce.action,
        "status": bounce.status,
        "diagnostic": bounce.diagnostic,
        "at": at,
        "round": one.round,
        "source": bounce.source,
    }
    return (await connection.execute(_RECORD, values)).rowcount == 1


async def _instead(
    connection: AsyncConnection, incident: Incident, one: Any, at: datetime, book: ObligationBook
) -> None:
    """Write to the alternates, who are written to once; or tell that nobody is left to write to."""
    recipients = json.loads(one.recipients)
    alternates = recipients.get("alternates")
    if alternates and not incident.taken_back(one.kind):
        await insert(connection, [_to_alternates(one, alternates, at)])
    root = one.instead_of or one.notification_id
    pair = (await connection.execute(_PAIR, {"ids": [root, _alternate_id(root)]})).all()
    # Of an erased one nobody knows whom it went to.
    lost = [m for m in pair if (to := json.loads(m.recipients)["to"]) and {*to} <= {*m.failed}]
    back = [await connection.execute(_ALL_BACK, {"id": m.notification_id}) for m in lost]
    if any(done.rowcount for done in back):
        told = await owe_again(connection, incident.id, one.tenant, at)
        # What runs from the submission, or from the tenant's being told, does not run any more.
        told += await book.evaluate(connection, incident, at, one.tenant)
        await enqueue(connection, [outgoing(contract, source="notify") for contract in told])
    if len(lost) == len(pair):
        contacts = sum(len(message.failed) for message in pair)
        rounds = [message.round for message in pair]
        await tell_undeliverable(connection, root, at, contacts=contacts, rounds=rounds)


def _to_alternates(one: Any, alternates: Sequence[str], at: datetime) -> dict[str, Any]:
    content = json.loads(one.content)
    return row(
        id=_alternate_id(one.notification_id),
        list_id=one.list_id,
        incident_id=one.incident_id,
        tenant=one.tenant,
        channel="email",
        recipients={"to": list(alternates), "secret_ref": None, "alternates": []},
        content=Content(
            content["subject"],
            content["text"],
            content["body"],
            TemplateRef(one.template_id, one.template_version, one.template_digest, one.locale),
            tuple(json.loads(one.covers)) if one.covers else None,
        ),
        at=at,
        why=one.why,
        supersedes=one.supersedes,
        instead_of=one.notification_id,
    )


def _alternate_id(notification_id: UUID) -> UUID:
    return derived_id("alternate", notification_id)


def _named(one: Any, recipient: str) -> str | None:
    """Return the address that mail went to; servers may change the case of what they report."""
    if one.channel != "email":
        return None
    sent_to = json.loads(one.recipients)["to"]
    return next((to for to in sent_to if to.lower() == recipient.lower()), None)
