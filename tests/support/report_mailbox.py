"""A real IMAP server on loopback (pymap), with its mailboxes in memory."""

import asyncio
import imaplib
import socket
from argparse import ArgumentParser
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pymap.backend.dict import DictBackend
from pymap.imap import IMAPService

__all__ = ["ImapServer", "imap_server"]


@dataclass(frozen=True, slots=True)
class ImapServer:
    """Where it listens, and who may read."""

    port: int
    user: str = "reports"
    password: str = "only for tests"

    async def deliver(self, raw: bytes, folder: str = "INBOX") -> None:
        """Put a message into *folder*."""
        await asyncio.to_thread(self._deliver, raw, folder)

    async def folder(self, name: str) -> list[bytes]:
        """Return the messages in *name*; none if there is no such folder."""
        return await asyncio.to_thread(self._folder, name)

    def _client(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=60)
        client.login(self.user, self.password)
        return client

    def _deliver(self, raw: bytes, folder: str) -> None:
        with self._client() as client:
            assert client.append(folder, "", "", raw)[0] == "OK"

    def _folder(self, name: str) -> list[bytes]:
        with self._client() as client:
            if client.select(name, readonly=True)[0] != "OK":
                return []
            _, rows = client.fetch("1:*", "(BODY.PEEK[])")
            return [bytes(row[1]) for row in rows if isinstance(row, tuple)]


@asynccontextmanager
async def imap_server() -> AsyncIterator[ImapServer]:
    """Serve an empty mailbox until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ImapServer(port)
    parser = ArgumentParser()
    DictBackend.add_subparser("dict", parser.add_subparsers(dest="backend"))
    IMAPService.add_arguments(parser)
    given = ["--host", "127.0.0.1", "--port", str(port), "--no-tls", "dict"]
    given += ["--demo-user", server.user, "--demo-password", server.password]
    args = parser.parse_args(given)
    args.skip_services, args.passlib_cfg, args.debug = [], None, False
    backend, config = await DictBackend.init(args)
    config.apply_context()
    async with AsyncExitStack() as stack:
        await backend.start(stack)
        await IMAPService(backend, config).start(stack)
        yield server
