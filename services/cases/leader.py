"""One leader among the replicas: a session's advisory lock on a connection kept for it alone."""

import contextlib
from types import TracebackType
from typing import Any, Self

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

__all__ = ["Leader"]

log = structlog.get_logger()


class Leader:
    """Holds the lock from the first time it is free until the connection or the process ends."""

    def __init__(self, engine: AsyncEngine, key: int) -> None:
        self._engine = engine
        self._key = key
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._drop()

    async def leads(self) -> bool:
        """Tell whether this process leads now, taking the lead if nobody has it."""
        if self._connection is not None:
            try:
                await self._driver_of(await self._raw()).fetchval("SELECT 1")
                return True
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                log.warning("the lead was lost with its connection")
                await self._drop()
        connection = await self._engine.connect()
        try:
            driver = self._driver_of(await connection.get_raw_connection())
            taken = bool(await driver.fetchval("SELECT pg_try_advisory_lock($1)", self._key))
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        if taken:
            self._connection = connection
            log.info("leading")
        else:
            await connection.close()
        return taken

    async def _raw(self) -> Any:
        if self._connection is None:
            raise OSError("no connection holds the lock")
        return await self._connection.get_raw_connection()

    @staticmethod
    def _driver_of(raw: Any) -> Any:
        return raw.driver_connection

    async def _drop(self) -> None:
        """Close the connection for good: giving it back to the pool would keep the lock."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.invalidate()
            await connection.close()
