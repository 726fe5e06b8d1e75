"""Sends what is on the page ledger: at least once, with the page's id as the key for repeats."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol

import structlog
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.pages import Page, due_page, mark_failed, mark_sent
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.escalate import TeamPagedV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["Channel", "ChannelError", "LogChannel", "Pager"]

SEND_SECONDS = 10.0
RETRY_SECONDS = (5, 15, 60, 300)

log = structlog.get_logger()
_pages = Counter("tocsin_escalate_pages_total", "Attempts to page a team", ["channel", "fate"])


class ChannelError(Exception):
    """The channel did not take the page; the message says why."""


class Channel(Protocol):
    """A way to reach a team."""

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
            reason=page.reason,
        )


class Pager:
    """The work of a reconciler: one page a run, in a transaction of its own."""

    def __init__(
        self,
        engine: AsyncEngine,
        channels: Mapping[str, Channel],
        clock: Clock,
        on_outgoing: Callable[[], None],
    ) -> None:
        self._engine, self._channels = engine, channels
        self._clock, self._on_outgoing = clock, on_outgoing

    async def send_one(self) -> int:
        """Try the page that is due longest; return how many were tried (0 or 1).

        A crash between sending and committing sends it again under the same id: a page may come
        twice, but is never passed over.
        """
        async with self._engine.begin() as connection:
            page = await due_page(connection, self._clock())
            if page is None:
                return 0
            error = await self._hand_over(page)
            if error is None:
                now = self._clock()
                await mark_sent(connection, page, now)
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
            else:
                seconds = RETRY_SECONDS[min(page.attempts, len(RETRY_SECONDS) - 1)]
                retry_at = self._clock() + timedelta(seconds=seconds)
                await mark_failed(connection, page, error, retry_at)
        _pages.labels(page.channel, "failed" if error else "sent").inc()
        self._on_outgoing()
        return 1

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
