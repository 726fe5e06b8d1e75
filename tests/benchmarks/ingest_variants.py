"""Ingest as a process, and what it is compared with.

    python -m tests.benchmarks.ingest_variants real|ungrouped|bare

``real`` is the service. ``ungrouped`` is the service, but every request is a block of its own.
``bare`` is an ASGI route that decodes and publishes a block a request and does nothing else: no
key, no envelope, no identity, no quarantine, no metrics.
"""

import gc
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import orjson
import uvicorn
from starlette.types import Receive, Scope, Send

from services.ingest.app import create_app
from services.ingest.blocks import build_block, split
from services.ingest.envelope import Sealed
from services.ingest.settings import Settings
from services.ingest.writer import BlockWriter
from shared.bus import Bus
from shared.clock import utc_now
from shared.ids import uuid7
from shared.logging import configure_logging
from shared.settings import load_settings


class Bare:
    """Decode, pack, publish, answer."""

    def __init__(self, settings: Settings) -> None:
        seed = settings.nats_nkey_seed
        self._bus = Bus(settings.nats_url, "ingest", seed.get_secret_value() if seed else None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with self._bus:
                await self._bus.wait_connected(5)
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        lines = body.split(b"\n") if scope["path"] == "/v1/events" else []
        block_id = str(uuid7())
        envelopes = []
        for line in lines:
            if line:
                orjson.loads(line)
                envelopes.append(Sealed(block_id, line, False))
        for run in split(envelopes):
            await self._bus.publish(build_block(run, utc_now()), stream="EVENTS")
        await send(
            {
                "type": "http.response.start",
                "status": 202,
                "headers": [(b"content-length", b"2"), (b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": b"{}"})


async def alone(
    self: BlockWriter, source_id: str, envelopes: Sequence[Sealed], observed: datetime
) -> frozenset[int]:
    """Write as if nobody else were waiting."""
    for run in split(envelopes):
        await self._bus.publish(build_block(run, observed), stream="EVENTS")
    return frozenset()


@asynccontextmanager
async def nothing(_: Any) -> AsyncIterator[None]:
    yield


def main() -> None:
    settings = load_settings(Settings)
    configure_logging("ingest", settings.log_level)
    if sys.argv[1] == "ungrouped":
        BlockWriter.write = alone  # type: ignore[method-assign]
    app: Any = Bare(settings) if sys.argv[1] == "bare" else create_app(settings)
    gc.freeze()  # as services/ingest/__main__.py does, for all variants
    gc.set_threshold(20_000, 20, 50)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=2000,
    )


if __name__ == "__main__":
    main()
