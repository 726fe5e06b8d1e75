"""What a message does is done once: its effect and its inbox row are one transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.consume import TransientError
from shared.db import is_transient
from shared.outbox import first_time

__all__ = ["once", "transaction"]


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
    engine: AsyncEngine, consumer: str, event_id: UUID
) -> AsyncIterator[AsyncConnection | None]:
    """Yield the transaction of a message, as `transaction`; None if it was handled before."""
    async with transaction(engine) as connection:
        fresh = await first_time(connection, consumer, event_id)
        yield connection if fresh else None
