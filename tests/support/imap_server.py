"""A real IMAP server (pymap) in a process of its own, with one user and an empty INBOX."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from imapclient import IMAPClient

from tests.support.waiting import until
from tocsin.embedded.ports import claim_port

USER, PASSWORD = "bounces@op.example", "pass word"


@dataclass(frozen=True)
class ImapServer:
    """``port`` speaks plainly, or STARTTLS where the server has a certificate."""

    port: int

    def _client(self) -> IMAPClient:
        return IMAPClient("127.0.0.1", self.port, ssl=False, timeout=60)

    def deliver(self, *mails: bytes) -> None:
        """Put mails into the mailbox, as a delivery agent does."""
        client = self._client()
        try:
            client.login(USER, PASSWORD)
            for mail in mails:
                client.append("INBOX", mail)
        finally:
            client.shutdown()

    def flags(self) -> dict[int, tuple[bytes, ...]]:
        """Return the flags of every message in the mailbox."""
        client = self._client()
        try:
            client.login(USER, PASSWORD)
            client.select_folder("INBOX", readonly=True)
            return dict(client.get_flags(client.search()))
        finally:
            client.shutdown()

    def answers(self) -> bool:
        try:
            self._client().shutdown()
        except OSError:
            return False
        return True


@asynccontextmanager
async def imap_server(certificate: Path | None = None, port: int = 0) -> AsyncIterator[ImapServer]:
    """Serve until the block ends; with a *certificate* (PEM with its key) it offers STARTTLS."""
    server = ImapServer(claim_port(port, "IMAP"))
    secure = ["--cert", certificate, "--key", certificate] if certificate else ["--no-tls"]
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "pymap",
        *("--host", "127.0.0.1", "--port", str(server.port), *map(str, secure)),
        *("dict", "--demo-user", USER, "--demo-password", PASSWORD),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: process.returncode is not None or server.answers())
        assert process.returncode is None
        yield server
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def tls_in_front(port: int, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Speak TLS from the first byte for the server on *port*; yield the port of that."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, outer), carry(inner, writer))

    server = await asyncio.start_server(join, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
