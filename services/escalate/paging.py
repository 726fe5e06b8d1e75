"""Sends what is on the page ledger: at least once, with the page's id as the key for repeats."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import prometheus_client
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.escalate.fates import Fate, Fates
from services.escalate.pages import Page, due_pages, give_back, lease_pages
from shared.clock import Clock

__all__ = ["MOST", "SLOTS", "Channel", "ChannelError", "LogChannel", "Pager"]

SEND_SECONDS = 10.0
LEASE = timedelta(seconds=SEND_SECONDS + 5)
SLOTS = 32  # of each provider
MOST = 256  # of all
CLAIM = 64  # in one transaction
STOP_SECONDS = 3.0

log = structlog.get_logger()
_pages = prometheus_client.Counter(
    "tocsin_escalate_pages_total", "Attempts to page a team", ["channel", "fate"]
)


class ChannelError(Exception):
    """The channel did not take the page; the message says why.

    ``retry_after``: seconds that whoever takes its pages asks us to wait, if it does.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Channel(Protocol):
    """A way to reach somebody."""

    name: str

    def provider(self, page: Page) -> str:
        """Return who takes the page: what is down or slow there is so for all that go there."""

    async def send(self, page: Page) -> None:
        """Return once the page is handed over; ChannelError if it was not."""


class LogChannel:
    """Pages by a line in the service's own log, for whatever watches that."""

    name = "log"

    def provider(self, page: Page) -> str:
        """Return this channel: it waits for nobody."""
        return self.name

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

    Whatever channel they go by, pages are claimed together, the longest due first. Of one provider
    so many are sent at once and no more: what waits for one that hangs stays on the ledger, for any
    instance, and holds up nothing that goes elsewhere.

    A crash between sending and writing that down sends again under the same id once the lease is
    over, or as soon as an *instance* of the same name is up: a page may come twice, but is never
    passed over.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        channels: Mapping[str, Channel],
        clock: Clock,
        on_outgoing: Callable[[], None],
        on_free: Callable[[], None] = lambda: None,
        instance: str = "",
    ) -> None:
        self._engine, self._channels = engine, channels
        self._clock, self._on_free = clock, on_free
        self._instance, self._new = instance, bool(instance)
        self._fates = Fates(engine, clock, on_outgoing)
        self._sending: set[asyncio.Task[None]] = set()
        self._at_once: Counter[str] = Counter()  # by provider
        self._providers: dict[tuple[str, str], str] = {}  # of all who were paged so far
        self._resting: dict[tuple[str, str], datetime] = {}  # who asked us to wait, until when
        self._left = False  # something was due that there was no slot for

    async def send_due(self) -> int:
        """Claim what is due, as far as there are free slots, and begin to send it."""
        if self._new:
            await self._take_up()
        while (room := min(MOST - len(self._sending), CLAIM)) > 0:
            full = {where for where, busy in self._at_once.items() if busy >= SLOTS}
            async with self._engine.begin() as connection:
                now = self._clock()
                due = await due_pages(connection, room, now, self._whose(full) + self._rest(now))
                chosen = self._fitting(due)
                if chosen:
                    await lease_pages(connection, chosen, now + LEASE, self._instance)
            for page in chosen:
                self._begin(page, now + LEASE)
            self._left = bool(full) or len(due) > len(chosen)
            if chosen:
                return len(chosen)
            if not due and not any(self._has_room(provider) for provider in full):
                return 0
            # All that was found goes where it is full, or it is not full any more: look again.
        self._left = True
        return 0

    async def finish(self) -> None:
        """Return once everything that was begun has its fate."""
        while self._sending:
            await asyncio.wait(list(self._sending))
        await self._fates.written()

    async def stop(self) -> None:
        """Break off what is being sent; its leases end by themselves."""
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._fates.stop(STOP_SECONDS)

    async def _take_up(self) -> None:
        """Begin with what the one of this name that was here before did not bring to an end."""
        async with self._engine.begin() as connection:
            left = await give_back(connection, self._instance, self._clock())
        self._new = False
        if left:
            log.warning("pages of a process that died are sent again", pages=left)

    def _whose(self, full: Collection[str]) -> list[tuple[str, str]]:
        """Return the recipients of providers that have all the pages that they are sent at once."""
        return [who for who, where in self._providers.items() if where in full]

    def _rest(self, now: datetime) -> list[tuple[str, str]]:
        """Return the recipients that asked us to wait: one page was refused, not each of them."""
        self._resting = {who: until for who, until in self._resting.items() if until > now}
        return list(self._resting)

    def _fitting(self, due: Sequence[Page]) -> list[Page]:
        """Return those of *due* that there is a slot for."""
        found, at_once = [], Counter(self._at_once)
        providers: dict[tuple[str, str], str] = {}  # asked anew: a secret may have changed
        for page in due:
            who = (page.channel, page.recipient)
            if who not in providers:
                channel = self._channels.get(page.channel)
                providers[who] = channel.provider(page) if channel else page.channel
            if at_once[providers[who]] < SLOTS:
                at_once[providers[who]] += 1
                found.append(page)
        self._providers |= providers
        return found

    def _has_room(self, provider: str) -> bool:
        """Tell whether to claim for it again: a transaction for every single page is too dear."""
        return self._at_once[provider] <= SLOTS // 2

    def _begin(self, page: Page, lease: datetime) -> None:
        provider = self._providers[page.channel, page.recipient]
        self._at_once[provider] += 1
        task = asyncio.create_task(self._send(page, lease))
        self._sending.add(task)
        task.add_done_callback(partial(self._done, provider))

    def _done(self, provider: str, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._at_once[provider] -= 1
        if self._left and self._has_room(provider):
            self._on_free()

    async def _send(self, page: Page, lease: datetime) -> None:
        error = await self._hand_over(page)
        now, wait = self._clock(), timedelta(seconds=(error and error.retry_after) or 0.0)
        if wait:
            self._resting[page.channel, page.recipient] = now + wait
        _pages.labels(page.channel, "failed" if error else "sent").inc()
        self._fates.add(Fate(page, now, str(error) if error else None, lease, wait))

    async def _hand_over(self, page: Page) -> ChannelError | None:
        """Return why *page* could not be sent; None once it was."""
        channel = self._channels.get(page.channel)
        if channel is None:
            return ChannelError(f"there is no channel {page.channel}")
        try:
            await asyncio.wait_for(channel.send(page), SEND_SECONDS)
        except TimeoutError:
            error = ChannelError(f"no answer within {SEND_SECONDS:g} s")
        except ChannelError as refusal:
            error = refusal
        except Exception as failure:  # noqa: BLE001 - whatever it is must not hold up other pages
            error = ChannelError(str(failure) or type(failure).__name__)
        else:
            return None
        log.warning("page not sent", page_id=str(page.id), channel=page.channel, error=str(error))
        return error
