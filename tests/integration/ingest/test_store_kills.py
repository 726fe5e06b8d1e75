"""Kill -9 under load: every event that was accepted is in the store, once."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import psutil
import pytest
from sqlalchemy import text

from services.ingest.blocks import build_block
from tests.support.log_store import NOW, sealed, storing
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration
KILLS = int(os.environ.get("TOCSIN_STORE_KILLS", "2"))
EVER = {"from": "2020-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z"}


async def everything(client: httpx.AsyncClient, query: str) -> list[str]:
    """Return the ids of all events that *query* finds, with repeats if there were any."""
    answer = await client.post(
        "/v1/search/extract", json={"query": query, **EVER, "limit": 1_000_000}
    )
    assert answer.status_code == 200, answer.text
    return [orjson.loads(line)["id"] for line in answer.content.splitlines()]


def store_children(pid: int) -> list[psutil.Process]:
    return [
        c
        for c in psutil.Process(pid).children(recursive=True)
        if any("shared.companion" in part for part in c.cmdline())
    ]


@pytest.mark.timeout(300)
async def test_kill_9_of_the_writer_under_load_loses_and_doubles_nothing(
    world: World, tmp_path: Path
) -> None:
    """Ingest as a whole and, in turn, the store's own process are killed while they write."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")},
        "TOCSIN_DATABASE_URL": world.service_dsn("ingest"),
        "TOCSIN_NATS_URL": world.nats_url,
        "TOCSIN_NATS_NKEY_SEED": world.seeds["ingest"],
        "TOCSIN_PORT": "0",
        "TOCSIN_INGEST_STORE_URL": str(tmp_path / "store"),
        "TOCSIN_INGEST_STORE_CACHE_DIRECTORY": str(tmp_path / "cache"),
        "TOCSIN_INGEST_STORE_BATCH_SECONDS": "0.2",
        "TOCSIN_INGEST_STORE_BATCH_EVENTS": "2000",
    }
    sent: set[str] = set()
    pouring = asyncio.Event()

    async def pour() -> None:
        async with world.bus("ingest") as bus:
            n = 0
            while not pouring.is_set():
                envelopes = sealed([{"killed": n, "i": i} for i in range(200)], "killed")
                await bus.publish(build_block(envelopes, NOW), stream="EVENTS")
                sent.update(str(e.id) for e in envelopes)
                n += 1
                await asyncio.sleep(0.1)  # more would be waited for at the end

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "services.ingest"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    async def blocks() -> int:
        async with world.engine("ingest").connect() as connection:
            return int(await connection.scalar(text("SELECT count(*) FROM store_blocks")) or 0)

    load = asyncio.create_task(pour())
    child = start()
    try:
        for round_ in range(KILLS):
            seen = await blocks()

            async def progress(seen: int = seen) -> bool:
                return await blocks() > seen + 5

            await until(progress)
            await asyncio.sleep(0.05 * round_)  # at different moments of a batch
            if round_ % 2:
                for process in store_children(child.pid):
                    process.kill()
            else:
                child.kill()
                child.wait()
                child = start()
    finally:
        pouring.set()
        await load
        child.kill()
        child.wait()
    async with storing(world, tmp_path, store_batch_events=2000) as client:
        # The manifest is the module's: count this source only.
        async def all_stored() -> bool:
            ledger = (await client.get("/v1/ledger")).json()
            held = {s["source_id"]: s["stored"] for s in ledger["sources"]}
            return bool(held.get("killed", 0) >= len(sent) and not ledger["missing"])

        await until(all_stored, 120)
        ids = await everything(client, "source:killed")
        assert len(ids) == len(sent)
        assert set(ids) == sent
