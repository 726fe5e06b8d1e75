"""Keeps the views in step with the log: rows and cursor are one transaction."""

import asyncio
from typing import Any

import structlog
from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.advance import LIVE, GapError, advance
from services.cases.sealing.vault import Vault

__all__ = ["GapError", "Projector"]

BATCH = 200

log = structlog.get_logger()
_position = Gauge("tocsin_cases_projected_position", "Position that the views have reached")


class Projector:
    """Runs the views forward; `reached` gives readers their own writes."""

    def __init__(self, engine: AsyncEngine, vault: Vault) -> None:
        self._engine, self._vault = engine, vault
        self._running = asyncio.Lock()
        self._moved = asyncio.Condition()
        self.position = 0

    async def once(self) -> int:
        """Project the next events, if there are any; return how many."""
        async with self._running, self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            async with driver.transaction():
                done, position = await advance(driver, self._vault, LIVE, BATCH)
        await self._announce(position)
        return done

    async def reached(self, position: int, limit: float = 2.0) -> bool:
        """Bring the views to *position*; False if they are not there within *limit* seconds."""
        try:
            async with asyncio.timeout(limit):
                while self.position < position and await self.once():
                    pass
        except Exception:
            log.warning("views are behind", position=position, at=self.position, exc_info=True)
        return self.position >= position

    async def moved(self, beyond: int, limit: float) -> bool:
        """Wait until the views are beyond a position, or *limit* seconds; tell which."""
        try:
            async with asyncio.timeout(limit), self._moved:
                await self._moved.wait_for(lambda: self.position > beyond)
        except TimeoutError:
            return False
        return True

    async def _announce(self, position: int) -> None:
        if position > self.position:
            async with self._moved:
                self.position = position
                self._moved.notify_all()
            _position.set(position)
