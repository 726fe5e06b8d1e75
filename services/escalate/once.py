"""What a message does is done once: its effect and its inbox row are one transaction.

Rows of the inbox are forgotten in time (`retention`). What happened before the floor that is left
was handled then, and is not handled again when a broker that lost its data is filled anew.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.consume import TransientError
from shared.contracts.base import Contract
from shared.db import is_transient

__all__ = ["once", "transaction"]

_FIRST = text(
    "INSERT INTO inbox (consumer, event_id)"
    " SELECT CAST(:consumer AS text), CAST(:event_id AS uuid) WHERE NOT EXISTS"
    " (SELECT FROM inbox_floors AS f WHERE f.consumer = :consumer AND f.until > :occurred_at)"
    " ON CONFLICT DO NOTHING"
)


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Yield a transaction; TransientError where PostgreSQL is to be asked again."""
    try:
        async with engine.begin() as connection:
            yield connection
    except Exception as error:
        if is_transient(error):
            raise TransientError(str(error)) from error
        raise


@asynccontextmanager
async def once(
    engine: AsyncEngine, consumer: str, event: Contract
) -> AsyncIterator[AsyncConnection | None]:
    """Yield the transaction of a message, as `transaction`; None if it was handled before."""
    values = {
        "consumer": consumer,
        "event_id": event.event_id,
        "occurred_at": event.occurred_at,
    }
    async with transaction(engine) as connection:
        fresh = (await connection.execute(_FIRST, values)).rowcount == 1
        yield connection if fresh else None
