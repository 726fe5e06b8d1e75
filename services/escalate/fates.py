"""What became of pages, written in batches: while one transaction commits, the next one gathers."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.pages import Page, write_fates
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.escalate import TeamPagedV1
from shared.db import is_transient
from shared.ids import derived_id, jitter
from shared.outbox import enqueue

__all__ = ["RETRY_SECONDS", "Fate", "Fates"]

# A page is never given up; a minute is the most that it waits after a provider came back.
RETRY_SECONDS = (2, 5, 15, 30, 60)
BATCH = 500
PAUSE_SECONDS = 0.5  # while PostgreSQL is away

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Fate:
    """*page* was taken *at*, or was not because of *error*; nobody else has it until *lease*.

    *wait*: how long whoever takes it asked us to wait.
    """

    page: Page
    at: datetime
    error: str | None
    lease: datetime
    wait: timedelta = timedelta(0)

    @property
    def retry_at(self) -> datetime:
        """Return when a page that was not taken is tried again."""
        seconds = RETRY_SECONDS[min(self.page.attempts, len(RETRY_SECONDS)) - 1]
        return self.at + max(timedelta(seconds=jitter(seconds)), self.wait)


class Fates:
    """Writes fates as they come. *on_sent* is called when there are messages in the outbox."""

    def __init__(self, engine: AsyncEngine, clock: Clock, on_sent: Callable[[], None]) -> None:
        self._engine, self._clock, self._on_sent = engine, clock, on_sent
        self._waiting: list[Fate] = []
        self._writer: asyncio.Task[None] | None = None

    def add(self, fate: Fate) -> None:
        """Write *fate* down, soon."""
        self._waiting.append(fate)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def written(self) -> None:
        """Return once all that were added are written or their leases are over."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def stop(self, seconds: float) -> None:
        """Write what is there, if that is done in time; else it is sent again after its lease."""
        if self._writer is None:
            return
        await asyncio.wait([self._writer], timeout=seconds)
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                await self._commit(batch)
            except Exception as error:
                if not is_transient(error):
                    log.exception("fates of pages not written")
                    await self._one_by_one(batch)
                    continue
                log.warning("fates of pages not written yet", error=str(error))
                now = self._clock()
                # After its lease somebody sends a page again, under the same key, and writes that.
                self._waiting[:0] = [fate for fate in batch if fate.lease > now]
                await asyncio.sleep(jitter(PAUSE_SECONDS))

    async def _one_by_one(self, batch: Sequence[Fate]) -> None:
        """Write *batch* without the one that PostgreSQL refuses: it must not take others along."""
        for fate in batch:
            try:
                await self._commit([fate])
            except Exception as error:  # noqa: BLE001 - its lease ends, and it is sent again
                log.warning("fate not written", page_id=str(fate.page.id), error=repr(error))

    async def _commit(self, batch: Sequence[Fate]) -> None:
        taken = [(fate.page, fate.at) for fate in batch if fate.error is None]
        failed = [(fate.page, fate.error, fate.retry_at) for fate in batch if fate.error]
        async with self._engine.begin() as connection:
            sent = await write_fates(connection, taken, failed)
            told = [_told(page, at) for page, at in taken if page.id in sent]
            await enqueue(connection, [outgoing(event, source="escalate") for event in told])
        if told:
            self._on_sent()


def _told(page: Page, at: datetime) -> TeamPagedV1:
    return TeamPagedV1(
        event_id=derived_id("team-paged", page.id),
        occurred_at=at,
        page_id=page.id,
        incident_id=page.incident_id,
        team=page.team,
        channel=page.channel,
        reason=page.reason,
    )
