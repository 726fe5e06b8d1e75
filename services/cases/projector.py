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
        self._step: asyncio.Task[int] | None = None
        self._moved = asyncio.Condition()
        self.position = 0

    async def once(self) -> int:
        """Project the next events, if there are any; return how many.

        Who comes while that is being done shares it, and who goes away does not stop it: a step
        that is slow on a busy machine would else be begun again and again and never be done.
        """
        if self._step is None or self._step.done():
            self._step = asyncio.create_task(self._project())
            self._step.add_done_callback(_seen)
        return await asyncio.shield(self._step)

    async def reached(self, position: int, limit: float = 2.0) -> bool:
        """Bring the views to *position*; False if they are not there within *limit* seconds."""
        try:
            async with asyncio.timeout(limit):
                while self.position < position:
                    own = self._step is None or self._step.done()
                    if not await self.once() and own:
                        break  # the log does not have it
        except Exception:
            log.warning("views are behind", position=position, at=self.position, exc_info=True)
        return self.position >= position

    async def close(self) -> None:
        """End the step that is being done, if there is one: its transaction is rolled back."""
        if self._step is not None:
            self._step.cancel()
            await asyncio.wait([self._step])

    async def moved(self, beyond: int, limit: float) -> bool:
        """Wait until the views are beyond a position, or *limit* seconds; tell which."""
        try:
            async with asyncio.timeout(limit), self._moved:
                await self._moved.wait_for(lambda: self.position > beyond)
        except TimeoutError:
            return False
        return True

    async def _project(self) -> int:
        async with self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            async with driver.transaction():
                done, position = await advance(driver, self._vault, LIVE, BATCH)
        await self._announce(position)
        return done

    async def _announce(self, position: int) -> None:
        if position > self.position:
            async with self._moved:
                self.position = position
                self._moved.notify_all()
            _position.set(position)


def _seen(step: asyncio.Task[int]) -> None:
    """Take note of how a step ended, even if nobody waits for it any more."""
    if not step.cancelled():
        step.exception()
