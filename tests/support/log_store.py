"""Events into EVENTS as ingest would put them, and an ingest with a log store to search them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson

from services.ingest.app import create_app
from services.ingest.blocks import build_block, split
from services.ingest.envelope import Enveloper, Limits, Sealed
from services.ingest.framing import frame_json
from services.ingest.settings import Settings
from services.ingest.sources import Source
from shared.contracts.ingest import Logsource
from tests.support.waiting import until
from tests.support.world import World

__all__ = ["NOW", "is_stored", "publish", "sealed", "stored_events", "storing"]

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def sealed(
    events: Sequence[Any], source: str = "web", *, now: datetime = NOW, **labels: Any
) -> list[Sealed]:
    """Return envelopes of *events* (objects, or text)."""
    logsource = labels.pop("logsource", Logsource(category="application"))
    enveloper = Enveloper(
        Source(id=source, logsource=logsource, **labels), None, now, Limits(200_000, 32)
    )
    body = b"\n".join(e if isinstance(e, bytes) else orjson.dumps(e) for e in events)
    found = [enveloper.seal(item) for item in frame_json(body)]
    assert all(isinstance(one, Sealed) for one in found), found
    return [one for one in found if isinstance(one, Sealed)]


async def publish(world: World, envelopes: Sequence[Sealed]) -> None:
    """Put *envelopes* into EVENTS."""
    async with world.bus("ingest") as bus:
        for run in split(envelopes):
            await bus.publish(build_block(run, NOW), stream="EVENTS")


@asynccontextmanager
async def storing(world: World, folder: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run an ingest whose store is in *folder*; yield a client of a detection engineer."""
    given = {
        "store_url": str(folder / "store"),
        "store_cache_directory": folder / "cache",
        "store_batch_seconds": 0.1,
        **settings,
    }
    async with world.running(create_app(world.settings(Settings, **given))) as client:
        token = world.token("dora", "detection_engineer")
        client.headers["authorization"] = f"Bearer {token}"
        client.timeout = httpx.Timeout(60)

        async def ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await until(ready)
        yield client


async def stored_events(client: httpx.AsyncClient) -> int:
    """Return how many events the manifest says are stored."""
    ledger = await client.get("/v1/ledger")
    assert ledger.status_code == 200, ledger.text
    return sum(source["stored"] for source in ledger.json()["sources"])


async def is_stored(client: httpx.AsyncClient, events: int) -> None:
    """Return once so many are."""

    async def enough() -> bool:
        return await stored_events(client) >= events

    await until(enough)
