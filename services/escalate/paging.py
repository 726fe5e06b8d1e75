"""Sends what is on the page ledger: at least once, with the page's id as the key for repeats."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.pages import Page, claim_pages, mark_failed, mark_sent
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.escalate import TeamPagedV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["Channel", "ChannelError", "LogChannel", "Pager"]

SEND_SECONDS = 10.0
LEASE = timedelta(seconds=SEND_SECONDS + 5)
# A page is never given up; a minute is the most that it waits after a provider came back.
RETRY_SECONDS = (2, 5, 15, 30, 60)
SLOTS = 16  # of each channel: a provider that hangs holds up no other

log = structlog.get_logger()
_pages = Counter("tocsin_escalate_pages_total", "Attempts to page a team", ["channel", "fate"])


class ChannelError(Exception):
    """The channel did not take the page; the message says why."""


class Channel(Protocol):
    """A way to reach somebody."""

    name: str

    async def send(self, page: Page) -> None:
        """Return once the page is handed over; ChannelError if it was not."""


class LogChannel:
    """Pages by a line in the service's own log, for whatever watches that."""

    name = "log"

    async def send(self, page: Page) -> None:
        """Write the line."""
        log.warning(
            "page",
            page_id=str(page.id),
            incident_id=str(page.incident_id),
            team=page.team,
            person=page.person,
            reason=page.reason,
        )


class Pager:
    """The work of a reconciler: claims due pages and sends them side by side.

    A crash between sending and writing that down sends again under the same id once the lease is
    over: a page may come twice, but is never passed over.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        channels: Mapping[str, Channel],
        clock: Clock,
        on_outgoing: Callable[[], None],
        on_free: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine, self._channels = engine, channels
        self._clock, self._on_outgoing, self._on_free = clock, on_outgoing, on_free
        self._sending: dict[asyncio.Task[None], str] = {}

    async def send_due(self) -> int:
        """Claim what is due, as far as there are free slots, and begin to send it."""
        claimed = 0
        for name in self._channels:
            free = SLOTS - sum(busy == name for busy in self._sending.values())
            if free > 0:
                claimed += await self._claim([name], free, among=True)
        return claimed + await self._claim(self._channels, SLOTS, among=False)

    async def finish(self) -> None:
        """Return once everything that was begun has its fate."""
        while self._sending:
            await asyncio.wait(list(self._sending))

    async def stop(self) -> None:
        """Break off what is being sent; its leases end by themselves."""
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _claim(self, names: Mapping[str, Channel] | list[str], n: int, *, among: bool) -> int:
        async with self._engine.begin() as connection:
            now = self._clock()
            due = await claim_pages(connection, list(names), n, now, now + LEASE, among=among)
        for page in due:
            task = asyncio.create_task(self._send(page))
            self._sending[task] = page.channel
            task.add_done_callback(self._done)
        return len(due)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        if not task.cancelled() and (error := task.exception()):
            log.error("page's fate not written", error=repr(error))
        self._on_free()

    async def _send(self, page: Page) -> None:
        error = await self._hand_over(page)
        _pages.labels(page.channel, "failed" if error else "sent").inc()
        try:
            await self._write(page, error)
        except (SQLAlchemyError, OSError) as failure:  # the lease ends; it is sent again
            log.warning("page's fate not written", page_id=str(page.id), error=str(failure))
            return
        if error is None:
            self._on_outgoing()

    async def _write(self, page: Page, error: str | None) -> None:
        async with self._engine.begin() as connection:
            now = self._clock()
            if error is not None:
                seconds = RETRY_SECONDS[min(page.attempts, len(RETRY_SECONDS)) - 1]
                await mark_failed(connection, page, error, now + timedelta(seconds=seconds))
                return
            if await mark_sent(connection, page, now):
                paged = TeamPagedV1(
                    event_id=derived_id("team-paged", page.id),
                    occurred_at=now,
                    page_id=page.id,
                    incident_id=page.incident_id,
                    team=page.team,
                    channel=page.channel,
                    reason=page.reason,
                )
                await enqueue(connection, [outgoing(paged, source="escalate")])

    async def _hand_over(self, page: Page) -> str | None:
        """Return why *page* could not be sent; None once it was."""
        channel = self._channels.get(page.channel)
        if channel is None:
            return f"there is no channel {page.channel}"
        try:
            await asyncio.wait_for(channel.send(page), SEND_SECONDS)
        except TimeoutError:
            error = f"no answer within {SEND_SECONDS:g} s"
        except Exception as failure:  # noqa: BLE001 - whatever it is must not hold up other pages
            error = str(failure) or type(failure).__name__
        else:
            return None
        log.warning("page not sent", page_id=str(page.id), channel=page.channel, error=error)
        return error
