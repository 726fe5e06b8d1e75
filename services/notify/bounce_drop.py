"""Where bounces arrive: an SMTP drop that takes mail for the return path, and a Maildir.

The drop answers 250 once the bounces are committed, 451 while they cannot be: the relay keeps what
we have not. It relays nothing, and takes mail for the return path only.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP
from sqlalchemy.ext.asyncio import AsyncEngine

from services.notify.bounce_book import record
from services.notify.bounces import bounces
from services.notify.obligations.book import ObligationBook
from shared.clock import Clock
from shared.db import is_transient

__all__ = ["BounceReader", "smtp_drop"]

log = structlog.get_logger()
MAX_MAIL = 1 << 20
BATCH = 100


class BounceReader:
    """Reads status notifications; anything else is dropped, with a line in the log."""

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Clock,
        book: ObligationBook,
        address: str,
        maildir: Path | None,
        on_news: Callable[[], None],
    ) -> None:
        self._engine, self._clock, self._book = engine, clock, book
        self._local, _, self._domain = address.lower().rpartition("@")
        self._maildir, self._on_news = maildir, on_news

    async def take(self, raw: bytes, recipients: list[str]) -> None:
        """Record what *raw* says came back."""
        found = bounces(raw, recipients)
        if not found:
            log.info("not a delivery status notification", bytes=len(raw))
            return
        async with self._engine.begin() as connection:
            news = await record(connection, found, self._clock(), self._book)
        if news:
            self._on_news()

    async def read_maildir(self) -> int:
        """Take what lies in ``new`` and move it to ``cur`` as seen; return how many were there."""
        if self._maildir is None:
            return 0
        names = await asyncio.to_thread(_listed, self._maildir / "new")
        for name in names:
            path = self._maildir / "new" / name
            raw = await asyncio.to_thread(path.read_bytes)
            if len(raw) <= MAX_MAIL:
                await self.take(raw, [])
            await asyncio.to_thread(path.replace, self._maildir / "cur" / f"{name}:2,S")
        return len(names)

    # The library's handler methods.
    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        local, _, domain = address.lower().rpartition("@")
        if domain != self._domain or local.partition("+")[0] != self._local:
            return "550 5.7.1 only bounces of our own mail are taken"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        try:
            await self.take(envelope.content, envelope.rcpt_tos)
        except Exception as error:
            if not is_transient(error):
                log.exception("bounce not taken")
            return "451 4.3.0 try again later"
        return "250 2.0.0 taken"


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_file())[:BATCH]
    except FileNotFoundError:
        return []


@asynccontextmanager
async def smtp_drop(reader: BounceReader, host: str, port: int | None) -> AsyncIterator[int | None]:
    """Serve the drop; yield its port. None for *port*: there is none."""
    if port is None:
        yield None
        return
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(reader, hostname="tocsin", data_size_limit=MAX_MAIL, timeout=60, loop=loop),
        host,
        port,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
