"""Ingest → detect → incident, the five services as processes, everything durable.

    make bench ARGS="tests/benchmarks/test_pipeline.py"

prints events/s accepted (durable), events/s evaluated, and p50/p99 from acceptance to detection.
The fdatasync time of the machine stands beside them, since all durable figures hang on it.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import asyncpg
import httpx
import orjson
import pytest
import pytest_asyncio

from shared.clock import parse_instant, utc_now
from tests.support.waiting import until
from tocsin.demo_events import benign_events
from tocsin.memory import resident_mib
from tocsin.stack import Stack, StackOptions

pytestmark = [pytest.mark.benchmark, pytest.mark.system]

EVENTS = int(os.environ.get("TOCSIN_BENCH_EVENTS", "40000"))
BATCH, CONNECTIONS = 100, 16
MARKERS = 200
SOURCES = {"bench": {"category": "application", "service": "api"}}


def fdatasync_ms(folder: Path) -> float:
    """Return the median time of a 4 KiB write and fdatasync."""
    times = []
    with (folder / "probe").open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(4096))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return sorted(times)[50] * 1000


@pytest_asyncio.fixture(loop_scope="session")
async def stack() -> AsyncIterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="tocsin-bench-"))
    folder.chmod(0o711)
    try:
        async with Stack(
            StackOptions(root=folder / "p", random_ports=True, sources=SOURCES)
        ) as stack:
            yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def evaluated(stack: Stack) -> int:
    connection = await asyncpg.connect(stack.platform.dsn)
    try:
        return int(await connection.fetchval("SELECT coalesce(sum(events), 0) FROM detect.blocks"))
    finally:
        await connection.close()


async def post(client: httpx.AsyncClient, url: str, body: bytes) -> None:
    answer = await client.post(url, content=body)
    assert answer.status_code == 202, answer.text


async def pour(client: httpx.AsyncClient, url: str, bodies: list[bytes]) -> float:
    """Send *bodies* over all connections; return the seconds it took."""
    queue = list(reversed(bodies))

    async def one() -> None:
        while queue:
            await post(client, url, queue.pop())

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return time.perf_counter() - begun


@pytest.mark.timeout(900)
async def test_ingest_to_detection(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    key = stack.key("bench")
    url = f"{stack.urls['ingest']}/v1/events"
    events = list(benign_events(EVENTS, utc_now()))
    bodies = [b"\n".join(events[i : i + BATCH]) for i in range(0, EVENTS, BATCH)]
    limits = httpx.Limits(max_connections=CONNECTIONS)
    async with httpx.AsyncClient(
        headers={"Authorization": f"Bearer {key}"}, timeout=60, limits=limits
    ) as client:
        await pour(client, url, bodies[:20])  # caches, connections, first rule load
        await until(lambda: _at_least(stack, 20 * BATCH), 120)
        before = await evaluated(stack)
        begun = time.perf_counter()
        accepting = await pour(client, url, bodies)
        await until(lambda: _at_least(stack, before + EVENTS), 300)
        evaluating = time.perf_counter() - begun
        delays = await latencies(stack, client, url)
    memory = resident_mib(os.getpid())
    with capsys.disabled():
        print(
            f"\n  fdatasync {fdatasync_ms(stack.home.root):.2f} ms (median of 100)"
            f"\n  accepted, durable   {EVENTS / accepting:10,.0f} events/s"
            f"  ({BATCH} a request, {CONNECTIONS} connections, {len(events[0])}-byte events)"
            f"\n  evaluated           {EVENTS / evaluating:10,.0f} events/s  (shipped rule pack)"
            f"\n  acceptance → detection  p50 {delays[len(delays) // 2] * 1000:.0f} ms"
            f"   p99 {delays[int(len(delays) * 0.99)] * 1000:.0f} ms  ({len(delays)} events)"
            f"\n  memory of everything incl. this client: {memory['proportional']:.0f} MiB PSS"
        )


async def _at_least(stack: Stack, wanted: int) -> bool:
    return await evaluated(stack) >= wanted


async def latencies(stack: Stack, client: httpx.AsyncClient, url: str) -> list[float]:
    """Return sorted seconds from the 202 of an event to the instant of its detection."""
    accepted: dict[str, datetime] = {}
    for n in range(MARKERS):
        event = {"host": f"m{n:04}", "action": "audit_log.disabled", "outcome": "success"}
        await post(client, url, orjson.dumps(event))
        accepted[f"m{n:04}"] = utc_now()
    connection = await asyncpg.connect(stack.platform.dsn)
    try:
        query = "SELECT body FROM detect.detections WHERE source_id = 'bench'"

        async def all_there() -> list[asyncpg.Record]:
            rows = await connection.fetch(query)
            return rows if len(rows) >= MARKERS else []

        rows = await until(all_there, 60)
    finally:
        await connection.close()
    found = [orjson.loads(row["body"]) for row in rows]
    return sorted(
        max(0.0, (parse_instant(d["occurred_at"]) - accepted[host]).total_seconds())
        for d in found
        for host in [next(e["value"] for e in d["entities"] if e["type"] == "host")]
        if host in accepted
    )
