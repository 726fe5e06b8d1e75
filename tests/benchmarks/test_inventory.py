"""Import of placements: how fast rows are read, compared, recorded and read back.

TOCSIN_BENCH_PLACEMENTS (1,000,000) says how many, of a tenth as many tenants.
"""

import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import pytest_asyncio

from services.notify.inventory_formats import Format
from services.notify.inventory_intake import read_draft
from services.notify.inventory_keeper import InventoryKeeper
from shared.clock import utc_now
from tests.support.world import Cluster, World, open_world

pytestmark = pytest.mark.benchmark

PLACEMENTS = int(os.environ.get("TOCSIN_BENCH_PLACEMENTS", "1000000"))
TENANTS, SERVERS = PLACEMENTS // 10, max(100, PLACEMENTS // 50)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture(loop_scope="session")
async def world(cluster: Cluster) -> AsyncIterator[World]:
    async with open_world(cluster, durable=True) as world:
        yield world


def estate() -> Iterator[str]:
    yield '{"kind": "regions", "name": "r", "datacenters": ["d"]}\n'
    yield '{"kind": "services", "name": "s", "farms": [{"name": "f", "datacenter": "d"}]}\n'
    for n in range(SERVERS):
        yield f'{{"kind": "servers", "name": "s{n:05}", "server_farm": "f"}}\n'
    for n in range(TENANTS):
        contacts = f'{{"email": "a@t{n}.example"}}'
        yield f'{{"kind": "tenants", "name": "t{n:06}", "contacts": {contacts}}}\n'


def rows(chance: Random, changed: int = 0) -> Iterator[str]:
    yield "tenant,server,from,to,role,data\n"
    for n in range(PLACEMENTS):
        start = BEGIN + timedelta(hours=n % 4_000)
        end = (start + timedelta(days=60)).isoformat() if n % 3 == 1 or n < changed else ""
        server = f"s{(n * 7919 + n // TENANTS * 31) % SERVERS:05}"
        role, data = ("primary", "replica", "backup")[n % 3], chance.choice(CLASSES)
        yield f"t{n % TENANTS:06},{server},{start.isoformat()},{end},{role},{data}\n"


CLASSES = ("", "personal", "personal|payment")


@contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    wall, core = time.perf_counter(), time.process_time()
    yield
    wall, core = time.perf_counter() - wall, time.process_time() - core
    print(f"{what}: {wall:.1f} s ({count / wall:,.0f} rows/s), {core:.1f} s of one core")


async def bring(keeper: InventoryKeeper, lines: Iterator[str], kind: str | None) -> None:
    with tempfile.TemporaryFile() as file:
        for line in lines:
            file.write(line.encode())
        size = file.tell()
        file.seek(0)
        form: Format = "csv" if kind else "ndjson"
        with timed(
            f"read {size / 2**20:.0f} MiB of {form}", PLACEMENTS if kind else TENANTS + SERVERS
        ):
            draft = read_draft(file, form, "placements" if kind else None)
    with timed("compared and recorded", PLACEMENTS if kind else TENANTS + SERVERS):
        outcome = await keeper.bring_in(draft, whole=True, source="import", by="bench")
    assert outcome.taken
    print("  ", outcome.change.difference.counts()["placements"])


@pytest.mark.asyncio(loop_scope="session")
async def test_import(world: World) -> None:
    keeper = InventoryKeeper(None, world.engine("notify"), utc_now)
    print(f"\n{PLACEMENTS:,} placements, {TENANTS:,} tenants, {SERVERS:,} servers")
    await bring(keeper, estate(), None)
    await bring(keeper, rows(Random(1)), "placements")  # noqa: S311 - reproducible
    beside = InventoryKeeper(None, world.engine("notify"), utc_now)
    await beside.refresh()
    await bring(keeper, rows(Random(1), PLACEMENTS // 100), "placements")  # noqa: S311
    with timed("followed by another replica", PLACEMENTS + TENANTS + SERVERS):
        await beside.refresh()
    assert beside.current is not None
    assert keeper.current is not None
    assert beside.current.version == keeper.current.version
    del beside
    again = InventoryKeeper(None, world.engine("notify"), utc_now)
    with timed("read back by another replica", PLACEMENTS + TENANTS + SERVERS):
        await again.refresh()
    assert again.current is not None
    assert again.current.placements.rows == PLACEMENTS
    assert keeper.recorded is not None
    async with world.engine("notify").connect() as connection:
        version = await again.known_at(connection, keeper.recorded.at - timedelta(microseconds=1))
        assert version is not None
        with timed("the version before it, as it was known", PLACEMENTS):
            await again.by_version(connection, version)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak / 1024:,.0f} MiB, two inventories and the test's own included")
