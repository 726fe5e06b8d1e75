"""Accepted durably per core: every door, one ingest process, `sync_interval: always`.

    make bench ARGS="tests/benchmarks/test_ingest.py"

Events of about 500 bytes, authenticated, enveloped, counted. On a shared machine wall-clock rates
say more of the neighbours than of us, so each line has both: events a second, and events a second
of CPU time that the ingest process used ("a core"). Ratios are taken within the run.
TOCSIN_BENCH_SECONDS (default 4) is the time a line takes, in TOCSIN_BENCH_TURNS (4) turns.
"""

import asyncio
import base64
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import orjson
import psutil
import pytest
import pytest_asyncio
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from services.ingest.blocks import build_block
from services.ingest.envelope import Sealed
from services.ingest.keys import ApiKey
from services.ingest.sources import Source
from shared.clock import utc_now
from shared.cloudevents import Outgoing
from shared.ids import uuid7
from shared.topology import EVENTS
from tests.benchmarks.test_pipeline import fdatasync_ms
from tests.integration.ingest.test_syslog_listener import free_port
from tests.support.ingest import make_key
from tests.support.waiting import until
from tests.support.world import Cluster, World, open_world

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

SECONDS = float(os.environ.get("TOCSIN_BENCH_SECONDS", "4"))
TURNS = int(os.environ.get("TOCSIN_BENCH_TURNS", "4"))
STOPPED = float(os.environ.get("TOCSIN_BENCH_STOPPED", "60"))
CONNECTIONS = 32


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(cluster: Cluster) -> AsyncIterator[World]:
    async with open_world(cluster, durable=True) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def key(world: World) -> ApiKey:
    return await make_key(world, Source(id="bench", tenant="t1", region="eu", service="api"))


def event(n: int) -> dict[str, Any]:
    """An authentication event as a shipper would send it, about 500 bytes."""
    return {
        "@timestamp": f"2026-03-01T10:{n // 60 % 60:02}:{n % 60:02}.123456Z",
        "host": {"name": f"web-{n % 40:02}", "ip": [f"10.1.{n % 250}.3"]},
        "event": {"action": "user-login", "outcome": "failure", "id": f"a1b2c3d4-1111-{n:08x}"},
        "source": {"ip": f"203.0.113.{n % 250}", "port": 1024 + n % 60000},
        "user": {"name": f"user{n % 997:03}.adams", "id": f"S-1-5-21-{n}"},
        "message": f"authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113."
        f"{n % 250} user=user{n % 997:03}.adams",
        "process": {"name": "sshd", "pid": n % 65536},
        "tags": ["auth", "linux"],
        "agent": {"type": "filebeat", "version": "8.17.0"},
    }


def ndjson(events: list[dict[str, Any]]) -> bytes:
    return b"\n".join(map(orjson.dumps, events))


def bulk(events: list[dict[str, Any]]) -> bytes:
    return b"".join(b'{"create":{"_index":"l"}}\n' + orjson.dumps(e) + b"\n" for e in events)


def hec(events: list[dict[str, Any]]) -> bytes:
    return b"".join(
        orjson.dumps({"time": 1767323045.5, "host": "h", "sourcetype": "s", "event": e})
        for e in events
    )


def otlp(events: list[dict[str, Any]]) -> bytes:
    request = ExportLogsServiceRequest()
    logs = request.resource_logs.add()
    for name in ("service.name", "host.name", "k8s.pod.name"):
        logs.resource.attributes.add(key=name).value.string_value = f"value of {name}"
    scope = logs.scope_logs.add()
    for e in events:
        record = scope.log_records.add(
            time_unix_nano=1_767_323_045_123_456_789, severity_number=13, severity_text="WARN"
        )
        record.body.string_value = e["message"]
        for attribute in ("source.ip", "user.name", "user.id", "event.action", "event.outcome"):
            group, name = attribute.split(".")
            record.attributes.add(key=attribute).value.string_value = str(e[group][name])
        record.attributes.add(key="source.port").value.int_value = e["source"]["port"]
        record.trace_id = bytes(16)
    body: bytes = request.SerializeToString()
    return body


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table."""

    name: str
    variant: str
    path: str
    write: Any
    events: int
    content_type: str = "application/json"


LINES = [
    Line("NDJSON, 100 a request", "real", "/v1/events", ndjson, 100),
    Line("NDJSON, 1,000 a request", "real", "/v1/events", ndjson, 1000),
    Line("_bulk, 100 a request", "real", "/_bulk", bulk, 100),
    Line("HEC, 100 a request", "real", "/services/collector/event", hec, 100),
    Line("OTLP protobuf, 100 a request", "real", "/v1/logs", otlp, 100, "application/x-protobuf"),
    Line("one event a request", "real", "/v1/events", ndjson, 1),
    Line("one event a request, ungrouped", "ungrouped", "/v1/events", ndjson, 1),
    Line("bare route, one event a request", "bare", "/v1/events", ndjson, 1),
    Line("bare route, 100 a request", "bare", "/v1/events", ndjson, 100),
    Line("bare route, 1,000 a request", "bare", "/v1/events", ndjson, 1000),
]

RATIOS = [
    ("one event a request", "one event a request, ungrouped"),
    ("one event a request", "bare route, one event a request"),
    ("NDJSON, 100 a request", "bare route, 100 a request"),
    ("NDJSON, 1,000 a request", "bare route, 1,000 a request"),
]


@asynccontextmanager
async def process(world: World, variant: str) -> AsyncIterator[tuple[psutil.Process, int]]:
    port = free_port()
    environment = {
        **os.environ,
        "TOCSIN_INGEST_DATABASE_URL": world.service_dsn("ingest"),
        "TOCSIN_INGEST_NATS_URL": world.nats_url,
        "TOCSIN_INGEST_NATS_NKEY_SEED": world.seeds["ingest"],
        "TOCSIN_INGEST_PORT": str(port),
        "TOCSIN_INGEST_LOG_LEVEL": "ERROR",
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.ingest_variants", variant, env=environment
    )
    try:
        async with httpx.AsyncClient() as client:

            async def up() -> bool:
                try:
                    await client.get(f"http://127.0.0.1:{port}/livez")
                except httpx.HTTPError:
                    return False
                return True

            await until(up, 30)
        yield psutil.Process(child.pid), port
    finally:
        child.terminate()
        await child.wait()


def requests_of(line: Line, key: ApiKey) -> list[bytes]:
    """Return eight whole requests, so that not every block is the same."""
    found = []
    for n in range(8):
        body = line.write([event(n * line.events + m) for m in range(line.events)])
        head = (
            f"POST {line.path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
            f"content-type: {line.content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        found.append(head.encode() + body)
    return found


async def pour(port: int, requests: list[bytes], folder: Path, seconds: float) -> dict[str, Any]:
    file = folder / "requests.json"
    file.write_text(json.dumps([base64.b64encode(r).decode() for r in requests]))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.pouring", "127.0.0.1", str(port),
        str(CONNECTIONS), str(seconds), str(file), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await child.communicate()
    found: dict[str, Any] = json.loads(out)
    return found


@dataclass(frozen=True, slots=True)
class Run:
    """What one turn of a line gave: events a second by the wall clock and of CPU time."""

    wall: float
    core: float
    p50: float
    p99: float
    other: dict[str, int]


async def test_accepted_durably_per_core(
    world: World, key: ApiKey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All lines in turns, several times over; each figure is the median of its turns, each ratio
    that of the ratios within a turn, so that what the neighbours do falls on all alike."""
    wanted = os.environ.get("TOCSIN_BENCH_ONLY", "")
    lines = [line for line in LINES if wanted in line.name]
    prepared = [requests_of(line, key) for line in lines]
    turns: dict[str, list[Run]] = {line.name: [] for line in lines}
    async with AsyncExitStack() as stack:
        variants = sorted({line.variant for line in lines})
        servers = {v: await stack.enter_async_context(process(world, v)) for v in variants}
        for turn in range(TURNS + 1):
            for line, requests in zip(lines, prepared, strict=True):
                server, port = servers[line.variant]
                before = server.cpu_times()
                found = await pour(port, requests, tmp_path, SECONDS / TURNS if turn else 0.5)
                after = server.cpu_times()
                cpu = after.user + after.system - before.user - before.system
                if turn:  # the first is for caches and connections
                    events = found["good"] * line.events
                    turns[line.name].append(
                        Run(
                            events / found["seconds"], events / cpu, found["p50"], found["p99"],
                            found["other"],
                        )
                    )  # fmt: skip

    def ratio(one: str, other: str, figure: str) -> float:
        pairs = zip(turns[one], turns[other], strict=True)
        return float(median(getattr(a, figure) / getattr(b, figure) for a, b in pairs))

    with capsys.disabled():
        for name, runs in turns.items():
            wall, core, p50, p99 = (
                median(getattr(r, f) for r in runs) for f in ("wall", "core", "p50", "p99")
            )
            other = sum((Counter(r.other) for r in runs), Counter())
            print(
                f"\n  {name:32} {wall:9,.0f} events/s  {core:9,.0f} a core"
                f"   p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  {dict(other) or ''}",
                end="",
            )
        print(f"\n  fdatasync {fdatasync_ms(tmp_path):.2f} ms (median of 100)")
        for ours, theirs in RATIOS:
            if ours in turns and theirs in turns:
                wall, core = (ratio(ours, theirs, figure) for figure in ("wall", "core"))
                print(f"  {ours} ÷ {theirs}: {wall:.2f}, a core {core:.2f}")


async def test_packed_against_a_message_an_event(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both with as many publishes in flight as pay off."""
    data = [orjson.dumps(event(n)) for n in range(500)]

    async def rate(make: Any, events: int, in_flight: int) -> float:
        done, begun = 0, time.perf_counter()

        async def one() -> None:
            nonlocal done
            while time.perf_counter() - begun < SECONDS:
                await bus.publish(make(), stream=EVENTS.name)
                done += events

        await asyncio.gather(*(one() for _ in range(in_flight)))
        return done / (time.perf_counter() - begun)

    def packed() -> Outgoing:
        block_id = str(uuid7())
        return build_block([Sealed(block_id, d, False) for d in data], utc_now())

    def single() -> Outgoing:
        return build_block([Sealed(str(uuid7()), data[0], False)], utc_now())

    async with world.bus("ingest") as bus:
        blocks, messages = await rate(packed, 500, 4), await rate(single, 1, 256)
    with capsys.disabled():
        print(
            f"\n  packed {blocks:,.0f} events/s, a message an event {messages:,.0f},"
            f" ratio {blocks / messages:.0f}"
        )


async def test_memory_at_full_load_with_the_broker_stopped(
    world: World, key: ApiKey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = LINES[1]
    requests = requests_of(line, key)
    async with process(world, "real") as (server, port):
        await pour(port, requests, tmp_path, 2)
        running = server.memory_info().rss
        worst = 0
        pouring = asyncio.create_task(pour(port, requests, tmp_path, STOPPED + 5))
        await asyncio.sleep(2)
        await world.broker.stop()
        deadline = time.monotonic() + STOPPED
        while time.monotonic() < deadline:
            worst = max(worst, server.memory_info().rss)
            await asyncio.sleep(0.1)
        await world.broker.start()
        found = await pouring
    with capsys.disabled():
        print(
            f"\n  memory: {running / 2**20:.0f} MiB at full load, at most {worst / 2**20:.0f} MiB"
            f" in {STOPPED:g} s without a broker ({found['other']})"
        )
    assert worst < 300 * 2**20
