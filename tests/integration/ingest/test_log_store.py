"""The store keeps every accepted event once: crashes, repeats, poison, merging, ageing, damage."""

import os
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import orjson
import pytest
import pytest_asyncio
from sqlalchemy import text

from services.ingest.blocks import build_block
from services.ingest.store.batch import Block, Store, write_batch
from services.ingest.store.keeper import GRACE, Keeper
from services.ingest.store.process import StoreProcess
from shared.clock import utc_now
from shared.cloudevents import Outgoing
from shared.contracts.ingest import decode_block
from shared.ids import uuid7
from tests.support.log_store import NOW, is_stored, publish, sealed, stored_events, storing
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration
KILLS = int(os.environ.get("TOCSIN_STORE_KILLS", "4"))
EVER = {"from": "2020-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(world: World, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with storing(world, folder) as client:
        yield client


async def found(client: httpx.AsyncClient, query: str) -> int:
    body = {"query": query, **EVER, "limit": 0, "aggregations": {"n": {"kind": "count"}}}
    answer = await client.post("/v1/search", json=body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["aggregations"]["n"]["count"])


def keeper(world: World, folder: Path, now: datetime, days: int = 90) -> tuple[Keeper, Any]:
    store = Store(str(folder / "store"), folder / "cache", 1 << 30, 128)
    process = StoreProcess()
    return Keeper(world.engine("ingest"), store, process, days, lambda: now), process


async def keep(world: World, folder: Path, now: datetime, days: int = 90) -> None:
    """Do all housekeeping that is due at *now*."""
    one, process = keeper(world, folder, now, days)
    try:
        while await one.once():
            pass
    finally:
        process.close()


async def files(world: World, where: str = "removed_at IS NULL") -> list[Any]:
    async with world.engine("ingest").connect() as connection:
        rows = await connection.execute(text(f"SELECT * FROM store_files WHERE {where}"))  # noqa: S608
        return list(rows.all())


async def test_events_are_found_within_seconds_of_their_acceptance(
    world: World, client: httpx.AsyncClient
) -> None:
    begun = time.monotonic()
    await publish(world, sealed([{"marker": "fresh", "n": n} for n in range(10)]))

    async def there() -> bool:
        return await found(client, "marker:fresh") == 10

    await until(there)
    assert time.monotonic() - begun < 20  # generous: the machine may be busy


async def test_engines_read_the_partitions_in_place(
    world: World, client: httpx.AsyncClient, folder: Path
) -> None:
    await publish(world, sealed([{"in": "place", "deep": {"er": 7}}], "hive", tenant="t9"))

    async def there() -> bool:
        return await found(client, "in:place") == 1

    await until(there)
    rows = duckdb.execute(
        'SELECT source, date::VARCHAR, hour::INT, tenant, raw, "f.deep.er" FROM read_parquet('
        "$files, hive_partitioning = true, union_by_name = true) WHERE source = 'hive'",
        {"files": f"{folder}/store/*/*/*/*.parquet"},
    ).fetchall()
    assert rows == [("hive", "2026-03-01", 12, "t9", '{"in":"place","deep":{"er":7}}', "7")]


async def test_a_block_that_comes_again_is_stored_once_and_is_no_hole(
    world: World, client: httpx.AsyncClient
) -> None:
    before = await stored_events(client)
    block = build_block(sealed([{"twice": n} for n in range(5)]), NOW)
    async with world.bus("ingest") as bus:
        for _ in range(3):  # beyond the broker's duplicate window: another message id
            again = Outgoing(str(uuid7()), block.subject, block.payload, block.headers)
            await bus.publish(again, stream="EVENTS")
        await bus.publish(build_block(sealed([{"after": 1}]), NOW), stream="EVENTS")
    await is_stored(client, before + 6)
    assert await found(client, "twice:*") == 5
    ledger = (await client.get("/v1/ledger")).json()
    assert ledger["missing"] == []


async def test_what_is_no_block_goes_to_the_dead_letters_and_holds_up_nothing(
    world: World, client: httpx.AsyncClient
) -> None:
    before = await stored_events(client)
    good = build_block(sealed([{"good": 1}]), NOW)
    bad = [
        Outgoing(str(uuid7()), good.subject, b"rubbish", {**good.headers, "ce-id": str(uuid7())}),
        Outgoing(str(uuid7()), good.subject, b"", {}),
    ]
    async with world.bus("ingest") as bus:
        for message in (*bad, good):
            await bus.publish(message, stream="EVENTS")
    await is_stored(client, before + 1)

    async def buried() -> bool:
        dead = [s for s, _, _ in await world.messages("DLQ") if s.endswith("ingest-store")]
        return len(dead) == 2

    await until(buried)
    assert (await client.get("/v1/ledger")).json()["dead_blocks"] == 2


async def test_a_crash_before_the_commit_leaves_a_stray_that_no_search_sees(
    world: World, client: httpx.AsyncClient, folder: Path
) -> None:
    block = build_block(sealed([{"stray": 1}], "stray"), NOW)
    store = Store(str(folder / "store"), folder / "cache", 1 << 30, 128)
    written = write_batch(store, [Block(uuid7(), 1, block.headers, block.payload)])
    path = folder / "store" / written.files[0].key
    assert path.exists()
    assert await found(client, "stray:1") == 0  # the process died before it told the manifest
    old = time.time() - 86400
    os.utime(path, (old, old))
    await keep(world, folder, utc_now())
    assert not path.exists()


async def test_small_files_become_one_and_a_doubled_event_one(
    world: World, client: httpx.AsyncClient, folder: Path
) -> None:
    before = await stored_events(client)
    event = {"merge": "me", "event_id": "0b9f6a52-0000-4000-8000-000000000001"}
    for n in range(4):
        own = sealed([{"merge": "me", f"own{n}": n}], "small")
        await publish(world, own + sealed([event], "small", now=NOW + timedelta(seconds=n)))
        await is_stored(client, before + 2 * (n + 1))
    assert len([f for f in await files(world) if f.source_id == "small"]) > 1
    await keep(world, folder, utc_now() + timedelta(hours=1))
    left = [f for f in await files(world) if f.source_id == "small"]
    assert len(left) == 1
    assert left[0].rows == 5
    assert await found(client, "merge:me") == 5
    assert await found(client, "own2:2") == 1
    ledger = {s["source_id"]: s for s in (await client.get("/v1/ledger")).json()["sources"]}
    assert ledger["small"]["stored"] == 8  # what came in is what the ledger counts
    merged = await files(world, "removed_at IS NOT NULL")
    assert merged
    await keep(world, folder, utc_now() + timedelta(hours=1) + GRACE + timedelta(minutes=1))
    assert not await files(world, "removed_at IS NOT NULL")
    on_disk = {p.name for p in (folder / "store").glob("date=*/*/*/*.parquet")}
    assert on_disk == {Path(f.path).name for f in await files(world)}


async def test_each_source_is_kept_as_long_as_was_said(
    world: World, client: httpx.AsyncClient, folder: Path
) -> None:
    before = await stored_events(client)
    await publish(world, sealed([{"keep": 1}], "short") + sealed([{"keep": 1}], "long"))
    await is_stored(client, before + 2)
    policy = {"authorization": f"Bearer {world.token('pia', 'policy_admin')}"}
    where = "/v1/store/retention/short"
    assert (await client.put(where, json={"days": 10})).status_code == 403
    answer = await client.put(where, json={"days": 10}, headers=policy)
    assert answer.status_code == 200, answer.text
    held = {s["source_id"]: s for s in (await client.get("/v1/store")).json()["sources"]}
    assert (held["short"]["retention_days"], held["long"]["retention_days"]) == (10, 90)
    await keep(world, folder, utc_now() + timedelta(days=11))
    assert await found(client, "keep:1 AND source:short") == 0
    assert await found(client, "keep:1 AND source:long") == 1
    assert (await client.delete(where, headers=policy)).status_code == 204


async def test_damage_is_found_and_named(
    world: World, client: httpx.AsyncClient, folder: Path
) -> None:
    before = await stored_events(client)
    await publish(world, sealed([{"flip": n} for n in range(50)], "flipped"))
    await is_stored(client, before + 50)
    [file] = [f for f in await files(world) if f.source_id == "flipped"]
    path = folder / "store" / file.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    await keep(world, folder, utc_now() + timedelta(days=1))
    shown = (await client.get("/v1/store")).json()
    assert [d["file"] for d in shown["damaged"]] == [file.path]
    assert "SHA-256" in shown["damaged"][0]["problem"]
    body = {"query": "source:flipped OR keep:1", **EVER}
    answer = (await client.post("/v1/search", json=body)).json()  # the others are found
    assert (answer["damaged_files"], len(answer["hits"])) == (1, 1)


async def test_the_envelope_comes_out_of_the_store_as_it_went_in(
    world: World, client: httpx.AsyncClient
) -> None:
    odd = [
        b'{"a" : 1.10,  "b":"\\u00e9\\u0000x","big":123456789012345678901234567890}',
        b'{"nested":{"list":[1,[2,{"x":"y"}],null],"empty":{},"no":[]},"A":1,"a":2}',
        b'{"":"nameless","quote\\"d":1,"long name with spaces ":true,"\xc3\x9cml":"x"}',
    ]
    envelopes = sealed(odd, "odd", region="eu", server="s1")
    before = await stored_events(client)
    await publish(world, envelopes)
    await is_stored(client, before + 3)
    answer = await client.post("/v1/search/extract", json={"query": "source:odd", **EVER})
    lines = {orjson.loads(line)["id"]: line for line in answer.content.splitlines()}
    block = build_block(envelopes, NOW)
    for one, original in zip(decode_block(block.headers, block.payload), odd, strict=True):
        assert orjson.loads(lines[one["id"]]) == one
        assert original in lines[one["id"]]  # byte for byte
    assert await found(client, "source:odd x:y") == 1
    assert await found(client, 'source:odd "quote\\"d":1') in (0, 1)
    assert await found(client, "source:odd list:2") == 1
    assert await found(client, "source:odd üml:X") == 1
