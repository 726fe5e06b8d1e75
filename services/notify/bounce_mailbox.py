"""Reconciler: bounces that lie in a mailbox → recorded, each message read once.

How far the mailbox was read stands in PostgreSQL and moves in the transaction that records what was
found; the mailbox itself is not changed. A server that numbers its messages anew (UIDVALIDITY) is
read from the start: a bounce that is known is known, by notification, recipient and action.
"""

import asyncio
from collections.abc import Callable

import structlog
from prometheus_client import Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notify.bounce_book import record
from services.notify.bounce_drop import MAX_MAIL
from services.notify.bounces import bounces
from services.notify.imap import Access, Mailbox
from services.notify.obligations.book import ObligationBook
from shared.clock import Clock
from shared.db import is_transient

__all__ = ["MailboxReader"]

BATCH = 100  # messages of one connection
log = structlog.get_logger()
_read = Gauge("tocsin_notify_bounce_mailbox_read_time", "When the mailbox was last read, Unix time")

_OPENED = text(
    "INSERT INTO bounce_mailboxes AS m (mailbox, uidvalidity, last_uid, read_at)"
    " VALUES (:mailbox, :validity, 0, :at) ON CONFLICT (mailbox) DO UPDATE SET"
    " last_uid = CASE WHEN m.uidvalidity = excluded.uidvalidity THEN m.last_uid ELSE 0 END,"
    " uidvalidity = excluded.uidvalidity, read_at = excluded.read_at RETURNING last_uid"
)
_ADVANCE = text(
    "UPDATE bounce_mailboxes SET last_uid = :uid, read_at = :at WHERE mailbox = :mailbox"
    " AND uidvalidity = :validity AND last_uid < :uid"
)


class MailboxReader:
    """Reads one mailbox; several instances of the service may, none records twice."""

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Clock,
        book: ObligationBook,
        access: Access,
        on_news: Callable[[], None],
    ) -> None:
        self._engine, self._clock, self._access = engine, clock, access
        self._book, self._on_news = book, on_news

    async def once(self) -> int:
        """Take what is new; return how many messages that were. MailboxError: ask later."""
        mailbox = Mailbox(self._access)
        try:
            validity = await asyncio.to_thread(mailbox.open)
            new = await asyncio.to_thread(mailbox.after, await self._last(validity))
            for uid in new[:BATCH]:
                raw = await asyncio.to_thread(mailbox.read, uid, MAX_MAIL)
                await self._take(validity, uid, raw)
        finally:
            mailbox.close()
        _read.set(self._clock().timestamp())
        return len(new[:BATCH])

    async def _last(self, validity: int) -> int:
        values = {"mailbox": self._access.name, "validity": validity, "at": self._clock()}
        async with self._engine.begin() as connection:
            return int((await connection.execute(_OPENED, values)).scalar_one())

    async def _take(self, validity: int, uid: int, raw: bytes) -> None:
        news = 0
        try:
            async with self._engine.begin() as connection:
                if await self._advance(connection, validity, uid):
                    news = await record(connection, bounces(raw), self._clock(), self._book)
        except Exception as error:
            if is_transient(error):
                raise
            # One message is not to keep all that follow it from being read.
            log.exception("bounce not taken", mailbox=self._access.name, uid=uid)
            async with self._engine.begin() as connection:
                await self._advance(connection, validity, uid)
        if news:
            self._on_news()

    async def _advance(self, connection: AsyncConnection, validity: int, uid: int) -> bool:
        """Move on to *uid*; False when another instance has read it."""
        values = {"mailbox": self._access.name, "validity": validity, "uid": uid}
        done = await connection.execute(_ADVANCE, {**values, "at": self._clock()})
        return done.rowcount == 1
