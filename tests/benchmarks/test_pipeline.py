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

from shared.bus import Bus
from shared.clock import utc_now
from tests.support.waiting import until
from tocsin.demo_events import benign_events
from tocsin.memory import resident_mib
from tocsin.stack import Stack, StackOptions, nkey_seed

pytestmark = [pytest.mark.benchmark, pytest.mark.system]

EVENTS = int(os.environ.get("TOCSIN_BENCH_EVENTS", "40000"))
BATCH, CONNECTIONS = 100, 16
MARKERS, PAUSE = 200, 0.02
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
        quiet = await latencies(stack, client, url, "quiet")
        pouring = asyncio.create_task(pour(client, url, bodies))
        busy = await latencies(stack, client, url, "busy")
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
    memory = resident_mib(os.getpid())
    with capsys.disabled():
        print(
            f"\n  fdatasync {fdatasync_ms(stack.home.root):.2f} ms (median of 100)"
            f"\n  accepted, durable   {EVENTS / accepting:10,.0f} events/s"
            f"  ({BATCH} a request, {CONNECTIONS} connections, {len(events[0])}-byte events)"
            f"\n  evaluated           {EVENTS / evaluating:10,.0f} events/s  (shipped rule pack)"
            f"\n  acceptance → detection  {percentiles(quiet)}  (50 events/s)"
            f"\n                          {percentiles(busy)}  (the same while pouring)"
            f"\n  memory of everything incl. this client: {memory['proportional']:.0f} MiB PSS"
        )


async def _at_least(stack: Stack, wanted: int) -> bool:
    return await evaluated(stack) >= wanted


def percentiles(delays: list[float]) -> str:
    p50, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
    return f"p50 {p50 * 1000:4.0f} ms   p99 {p99 * 1000:4.0f} ms"


async def latencies(stack: Stack, client: httpx.AsyncClient, url: str, name: str) -> list[float]:
    """Return sorted seconds from the 202 of an event to its detection being in DETECTIONS."""
    accepted: dict[str, datetime] = {}
    for n in range(MARKERS):
        host = f"{name}{n:04}"
        event = {"host": host, "action": "audit_log.disabled", "outcome": "success"}
        await post(client, url, orjson.dumps(event))
        accepted[host] = utc_now()
        await asyncio.sleep(PAUSE)
    published = await until(lambda: _published(stack, name), 60)
    return sorted(max(0.0, (published[host] - accepted[host]).total_seconds()) for host in accepted)


async def _published(stack: Stack, name: str) -> dict[str, datetime]:
    """Return host → when its detection was stored in DETECTIONS; empty until all are there."""
    seed = nkey_seed(stack.home.secrets, "bootstrap")
    found: dict[str, datetime] = {}
    async with Bus(stack.platform.nats_url, "bootstrap", seed) as bus:
        await bus.wait_connected(5)
        js = bus.jetstream()
        state = (await js.stream_info("DETECTIONS")).state
        for seq in range(1, state.last_seq + 1):
            message = await js.get_msg("DETECTIONS", seq)
            detection = orjson.loads(message.data or b"")
            for entity in detection["entities"]:
                if entity["type"] == "host" and entity["value"].startswith(name):
                    found[entity["value"]] = _instant(message.time)
    return found if len(found) >= MARKERS else {}


def _instant(time: object) -> datetime:
    return time if isinstance(time, datetime) else datetime.fromisoformat(str(time)[:26] + "+00:00")
