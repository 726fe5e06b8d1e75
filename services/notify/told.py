"""What tenants were told of an incident, and the rows of what they are to be told next."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify.message import Content

__all__ = ["TAKEN_BACK", "Told", "insert", "row", "told"]

# After one of these a tenant believes that it is not affected: being affected again is news.
TAKEN_BACK = frozenset({"not_affected", "no_incident"})

# The last word by each channel; one that failed or never left was not heard.
_TOLD = text(
    """
    SELECT DISTINCT ON (tenant, channel) notification_id, list_id, tenant, channel, recipients,
        kind, why, created_at, sent_at, locale
    FROM notifications
    WHERE incident_id = :incident AND state IN ('pending', 'sending', 'sent')
    ORDER BY tenant, channel, created_at DESC, notification_id
    """
)
_INSERT = text(
    "INSERT INTO notifications (notification_id, list_id, incident_id, tenant, channel,"
    " recipients, content, template_id, template_version, template_digest, locale, covers,"
    " created_at, next_attempt_at, kind, why, supersedes, instead_of) VALUES (:id, :list,"
    " :incident, :tenant, :channel, :recipients, :content, :template_id, :template_version,"
    " :template_digest, :locale, :covers, :at, :at, :kind, :why, :supersedes, :instead_of)"
    " ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The last message to a tenant by one channel."""

    id: UUID
    list_id: UUID
    tenant: str
    channel: str
    recipients: Mapping[str, Any]
    why: str | None
    """Of a correction; None for a notice."""
    created_at: datetime
    locale: str = "en"

    @property
    def counts(self) -> bool:
        """Tell whether the tenant still believes that it is affected."""
        return self.why not in TAKEN_BACK


async def told(connection: AsyncConnection, incident_id: UUID) -> list[Told]:
    """Return the last word to each tenant by each channel, in order of tenant."""
    rows = (await connection.execute(_TOLD, {"incident": incident_id})).all()
    return [
        Told(
            id=r.notification_id,
            list_id=r.list_id,
            tenant=r.tenant,
            channel=r.channel,
            recipients=json.loads(r.recipients),
            why=r.why,
            created_at=r.created_at,
            locale=r.locale,
        )
        for r in rows
    ]


def row(
    *,
    id: UUID,  # noqa: A002 - the column's name
    list_id: UUID,
    incident_id: UUID,
    tenant: str,
    channel: str,
    recipients: Mapping[str, Any],
    content: Content,
    at: datetime,
    why: str | None = None,
    supersedes: UUID | None = None,
    instead_of: UUID | None = None,
) -> dict[str, Any]:
    """Return one message for `insert`; with *supersedes* it is a correction."""
    return {
        "id": id,
        "list": list_id,
        "incident": incident_id,
        "tenant": tenant,
        "channel": channel,
        "recipients": json.dumps(dict(recipients)),
        "content": json.dumps(
            {"subject": content.subject, "text": content.text, "body": content.body}
        ),
        "template_id": content.template.id,
        "template_version": content.template.version,
        "template_digest": content.template.digest,
        "locale": content.template.locale,
        "covers": None if content.covers is None else json.dumps(content.covers),
        "at": at,
        "kind": "notice" if supersedes is None else "correction",
        "why": why,
        "supersedes": supersedes,
        "instead_of": instead_of,
    }


async def insert(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Queue messages; one that is there already stays as it is."""
    if rows:
        await connection.execute(_INSERT, list(rows))


def tenants(words: Iterable[Told]) -> list[str]:
    """Return the tenants of *words*, each once."""
    return sorted({word.tenant for word in words})
