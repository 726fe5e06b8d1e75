"""A real HTTP server that takes webhooks and verifies their Standard Webhooks signature."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.clock import Clock, utc_now
from shared.ids import new_secret
from tests.support.waiting import until

TOLERANCE = timedelta(minutes=5)


def new_webhook_secret() -> str:
    """Return a secret as Standard Webhooks has them."""
    return "whsec_" + base64.b64encode(new_secret(24).encode()).decode()


@dataclass(frozen=True)
class Received:
    """One verified call."""

    path: str
    id: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class WebhookSink:
    """``secrets`` by path; ``answers`` are given in turn, then 204; ``gate`` holds answers back."""

    secrets: dict[str, str] = field(default_factory=dict)
    port: int = 0
    received: list[Received] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    clock: Clock = utc_now

    @property
    def end(self) -> str:
        return f"127.0.0.1:{self.port}"

    def at(self, path: str) -> list[Received]:
        return [call for call in self.received if call.path == path]

    def _verified(self, secret: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        if self.clock is utc_now:
            verified: dict[str, Any] = Webhook(secret).verify(body, headers)
            return verified
        # The library compares with the real time; where a test winds the clock, so do we.
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        expected = Webhook(secret).sign(headers["webhook-id"], at, body.decode())
        if expected != headers["webhook-signature"] or abs(self.clock() - at) > TOLERANCE:
            raise WebhookVerificationError("signature or timestamp does not fit")
        return dict(json.loads(body))

    async def take(self, request: Request) -> Response:
        path, headers = request.url.path, dict(request.headers)
        body = await request.body()
        try:
            secret = self.secrets[path]
            verified = self._verified(secret, headers, body)
        except (KeyError, WebhookVerificationError, json.JSONDecodeError) as error:
            self.unverified.append(repr(error))
            return Response(status_code=401)
        self.received.append(Received(path, headers["webhook-id"], headers, verified))
        if self.gate is not None:
            await self.gate.wait()
        status, extra = self.answers.pop(0) if self.answers else (204, {})
        return Response(status_code=status, headers=extra)


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Leave the test process's signals alone."""


@asynccontextmanager
async def webhook_sink(
    sink: WebhookSink | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[WebhookSink]:
    """Serve *sink* until the block ends."""
    sink = sink or WebhookSink()
    app = Starlette(
        routes=[Route("/{rest:path}", sink.take, methods=["POST", "GET"])],
    )
    config = uvicorn.Config(
        app, port=sink.port, log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    config.load()
    config.ssl = tls
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done())
        sink.port = server.servers[0].sockets[0].getsockname()[1]
        yield sink
    finally:
        if sink.gate is not None:
            sink.gate.set()
        server.should_exit = True
        await task
