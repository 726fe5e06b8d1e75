"""A message that reached none of a tenant's contacts: marked, and told to those who can act."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.cloudevents import outgoing
from shared.contracts.notify import NotificationUndeliverableV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["tell_undeliverable"]

log = structlog.get_logger()
_undeliverable = Counter(
    "tocsin_notify_undeliverable_total", "Messages that reached no contact of a tenant", ["channel"]
)
_MARK = text(
    "UPDATE notifications SET undeliverable_at = :at WHERE notification_id = :id"
    " AND undeliverable_at IS NULL AND state IN ('failed', 'bounced')"
    " RETURNING incident_id, tenant, channel"
)


async def tell_undeliverable(
    connection: AsyncConnection,
    notification_id: UUID,
    at: datetime,
    *,
    contacts: int,
    rounds: Sequence[int],
) -> None:
    """Say that it failed, unless it was withdrawn: once in each round of attempts.

    *rounds* are those of all messages concerned, *contacts* the addresses that they went to.
    """
    one = (await connection.execute(_MARK, {"id": notification_id, "at": at})).one_or_none()
    if one is None:
        return
    _undeliverable.labels(one.channel).inc()
    log.error("tenant not reached", notification=str(notification_id), tenant=one.tenant)
    told = NotificationUndeliverableV1(
        event_id=derived_id("notification-undeliverable", notification_id, *rounds),
        occurred_at=at,
        notification_id=notification_id,
        incident_id=one.incident_id,
        tenant=one.tenant,
        channel=one.channel,
        contacts=contacts,
        given_up_at=at,
    )
    await enqueue(connection, [outgoing(told, source="notify")])
