"""Where the demo's notices arrive: a mailbox (SMTP) and a webhook receiver, both local."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tocsin.embedded.ports import LOOPBACK

__all__ = ["Mailbox", "WebhookReceiver", "mailbox", "webhook_receiver"]

START_LIMIT = 10.0


@dataclass(slots=True)
class Mailbox:
    """A mail server that keeps what it is given."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content
        mail = message_from_bytes(content if isinstance(content, bytes) else b"")
        mail["X-Envelope-To"] = ", ".join(envelope.rcpt_tos)
        self.mails.append(mail)
        return f"250 kept as {len(self.mails)}"


@asynccontextmanager
async def mailbox() -> AsyncIterator[Mailbox]:
    """Run a mail server on a random port for as long as the block lasts."""
    box = Mailbox()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(box, hostname="mailbox.localhost", enable_SMTPUTF8=True), LOOPBACK, 0
    )
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()


@dataclass(slots=True)
class WebhookReceiver:
    """A customer's endpoint that checks signatures (Standard Webhooks) as a customer would."""

    secret: str
    port: int = 0
    received: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0

    async def take(self, request: Request) -> JSONResponse:
        body = await request.body()
        try:
            content = Webhook(self.secret).verify(body, dict(request.headers))
        except WebhookVerificationError as error:
            self.refused += 1
            return JSONResponse({"error": str(error)}, 401)
        self.received.append({"id": request.headers["webhook-id"], "body": content})
        return JSONResponse({"kept": len(self.received)})


@asynccontextmanager
async def webhook_receiver(secret: str) -> AsyncIterator[WebhookReceiver]:
    """Run a receiver on a random port for as long as the block lasts."""
    receiver = WebhookReceiver(secret)
    app = Starlette(routes=[Route("/{path:path}", receiver.take, methods=["POST"])])
    server = _QuietServer(uvicorn.Config(app, LOOPBACK, 0, log_config=None, access_log=False))
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(START_LIMIT):
        while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
            await asyncio.sleep(0.01)
    receiver.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.should_exit = True
        await task


class _QuietServer(uvicorn.Server):
    """Leaves signals to the program it is part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
