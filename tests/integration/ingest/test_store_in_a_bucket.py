"""The same store on S3-compatible storage, two replicas with caches of their own."""

from pathlib import Path

import httpx
import pytest

from tests.support.log_store import is_stored, publish, sealed, stored_events, storing
from tests.support.s3_server import made, running_s3
from tests.support.world import World

pytestmark = pytest.mark.integration
EVER = {"from": "2020-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z"}


async def found(client: httpx.AsyncClient, query: str) -> int:
    body = {"query": query, **EVER, "limit": 0, "aggregations": {"n": {"kind": "count"}}}
    answer = await client.post("/v1/search", json=body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["aggregations"]["n"]["count"])


@pytest.mark.timeout(300)
async def test_the_same_store_in_a_bucket(world: World, tmp_path: Path) -> None:
    with running_s3() as url:
        bucket = await made(url, "logs", locking=False)
        settings = {
            "store_url": "s3://logs/tocsin",
            "store_s3_endpoint": url,
            "store_s3_key_id": "k",
            "store_s3_secret": "s",
        }
        async with storing(world, tmp_path, **settings) as client:
            before = await stored_events(client)
            await publish(world, sealed([{"bucket": n} for n in range(30)], "s3"))
            await is_stored(client, before + 30)
        listed = await bucket.call("list_objects_v2", Prefix="tocsin/")
        assert [o["Key"].split("/")[1:4] for o in listed["Contents"]] == [
            ["date=2026-03-01", "hour=12", "source=s3"]
        ]
        # Another replica, with an empty cache of its own, finds what this one has written.
        async with storing(world, tmp_path / "other", **settings) as client:
            assert await found(client, "bucket:>=10") == 20
            key = listed["Contents"][0]["Key"]
            for cached in (tmp_path / "other" / "cache").rglob("*.parquet"):
                cached.unlink()
            await bucket.call("put_object", Key=key, Body=b"tampered")
            body = {"query": "bucket:1 AND source:s3", **EVER}
            answer = await client.post("/v1/search", json=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_damaged")
