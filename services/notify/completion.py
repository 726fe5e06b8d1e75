"""When every tenant of an approved list has been sent its notice, say so once (I12)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.contracts.notify import CustomersNotifiedV1
from shared.ids import derived_id

__all__ = ["complete_lists"]

# Asked after every sending, so the cheap question comes first.
_UNDER_WAY = text(
    "SELECT EXISTS (SELECT 1 FROM notifications"
    " WHERE incident_id = :incident AND kind = 'notice' AND state IN ('pending', 'sending'))"
)
_COMPLETE = text(
    """
    WITH channels AS (
        SELECT tenant, channel, bool_or(state = 'sent') AS sent FROM notifications
        WHERE incident_id = :incident AND kind = 'notice' AND state <> 'withdrawn'
        GROUP BY tenant, channel
    ), told AS (
        SELECT tenant, bool_and(sent) AS complete, count(*) AS messages
        FROM channels GROUP BY tenant
    )
    UPDATE affected_lists l SET notified_at = :at
    WHERE l.incident_id = :incident AND l.state = 'approved' AND l.notified_at IS NULL
      AND NOT EXISTS (
        SELECT 1 FROM affected_tenants t LEFT JOIN told USING (tenant)
        WHERE t.list_id = l.list_id AND t.change <> 'removed' AND told.complete IS NOT TRUE)
    RETURNING l.list_id, l.version, l.nobody_reason,
      (SELECT count(*) FROM affected_tenants t
       WHERE t.list_id = l.list_id AND t.change <> 'removed') AS tenants,
      (SELECT coalesce(sum(told.messages), 0) FROM affected_tenants t JOIN told USING (tenant)
       WHERE t.list_id = l.list_id AND t.change <> 'removed') AS sent
    """
)


async def complete_lists(
    connection: AsyncConnection, incident_id: UUID, at: datetime
) -> list[CustomersNotifiedV1]:
    """Mark the approved lists that are complete and return their messages.

    The caller holds the incident's lock: two that finish the last two messages at the same time
    would otherwise each see the other's as open.
    """
    if (await connection.execute(_UNDER_WAY, {"incident": incident_id})).scalar_one():
        return []
    rows = (await connection.execute(_COMPLETE, {"incident": incident_id, "at": at})).all()
    return [
        CustomersNotifiedV1(
            event_id=derived_id("customers-notified", row.list_id),
            occurred_at=at,
            list_id=row.list_id,
            incident_id=incident_id,
            version=row.version,
            tenants=row.tenants,
            sent=row.sent,
            completed_at=at,
            nobody_reason=row.nobody_reason or "",
        )
        for row in sorted(rows, key=lambda row: row.version)
    ]
