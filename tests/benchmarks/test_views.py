"""The read side of cases: how fast views are made anew, and how long people wait for them.

TOCSIN_BENCH_INCIDENTS sets the scale (500 unless told; 20 events each, and one of 1,000). Need-to-
know is in force: one incident in fifty is restricted, and who asks is no member of any.
"""

import asyncio
import os
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest

from services.cases.rebuild import rebuild
from tests.support.big_log import SERVICES, WORDS, fill, incident_of, long_incident
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.benchmark

INCIDENTS = int(os.environ.get("TOCSIN_BENCH_INCIDENTS", "500"))
TIMES = int(os.environ.get("TOCSIN_BENCH_CALLS", "200"))
READER = "mia"  # a subject matter expert: sees what everybody sees, and nothing restricted


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Run cases as a process of its own, without a broker: its relay has nothing to do here."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cases",
        env={
            **os.environ,
            "TOCSIN_CASES_PORT": str(port),
            "TOCSIN_DATABASE_URL": world.service_dsn("cases"),
            "TOCSIN_NATS_URL": "nats://127.0.0.1:1",
            "TOCSIN_CASES_MASTER_KEY_FILE": str(world.master_key_file),
            "TOCSIN_JWKS_FILE": str(world.issuer.jwks_file),
            "TOCSIN_LOG_LEVEL": "ERROR",
            "TOCSIN_DRAIN_SECONDS": "1",
        },
    )  # fmt: skip
    token = world.token(READER, "subject_matter_expert")
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        ) as client:

            async def answers() -> bool:
                try:
                    return (await client.get("/livez")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(answers, 30)
            yield client
    finally:
        process.terminate()
        await process.wait()


async def percentiles(ask: Callable[[int], Awaitable[object]]) -> str:
    """Return p50, p95 and the most of TIMES calls, in milliseconds."""
    took = []
    for n in range(TIMES):
        began = time.perf_counter()
        await ask(n)
        took.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(took, n=100)
    return f"p50 {cuts[49]:7.1f} ms   p95 {cuts[94]:7.1f} ms   most {max(took):7.1f} ms"


async def made_anew(world: World, total: int) -> None:
    """Fill the views by one rebuild, and measure a second one, which compares what is the same."""
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        await connection.execute(
            "UPDATE cases.projections SET position = $1 WHERE name = 'incidents'", total
        )
    finally:
        await connection.close()
    await rebuild(world.engine("cases"), world.vault)
    cpu = time.process_time()
    made = await rebuild(world.engine("cases"), world.vault)
    cpu = time.process_time() - cpu
    assert (made.events, made.differing) == (total, [])
    whole = made.folded_seconds + made.hashed_seconds
    print(
        f"rebuild: {total / made.folded_seconds:,.0f} events/s until it stands beside live"
        f" ({made.folded_seconds:.1f} s), both sets hashed in {made.hashed_seconds:.1f} s"
        f" ({total / whole:,.0f} events/s in all; {cpu:.1f} s of this process's CPU)"
    )


@pytest.mark.timeout(3600)
async def test_views(world: World) -> None:
    began = time.perf_counter()
    total = await fill(world.admin_dsn, world.vault, INCIDENTS)
    seconds = time.perf_counter() - began
    print(f"\n{INCIDENTS} incidents, {total:,} events with leaves filled in {seconds:.0f} s")
    await made_anew(world, total)
    long = long_incident(INCIDENTS)
    async with serving(world) as client:

        async def get(path: str, **asked: object) -> None:
            answer = await client.get(path, params={k: str(v) for k, v in asked.items()})
            assert answer.status_code == 200, answer.text

        def some(n: int) -> str:
            number = n * 7919 % INCIDENTS
            return str(incident_of(number + (number % 50 == 7)))  # none that is restricted

        cursor = (await client.get("/v1/incidents")).json()["next_cursor"]
        now = datetime.now(UTC).isoformat()
        rows: dict[str, Callable[[int], Awaitable[None]]] = {
            "queue, first page": lambda _: get("/v1/incidents"),
            "queue, second page": lambda _: get("/v1/incidents", cursor=cursor),
            "queue, by state": lambda _: get("/v1/incidents", state="investigating"),
            "queue, by service": lambda n: get("/v1/incidents", service=f"svc-{n % SERVICES}"),
            "counts": lambda _: get("/v1/counts"),
            "search, common word": lambda n: get("/v1/incidents", q=WORDS[n % 8]),
            "search, two words": lambda n: get("/v1/incidents", q=f"{WORDS[n % 8]} svc-{n % 50}"),
            "search, one incident": lambda n: get(
                "/v1/incidents", q=f"host-{n * 7919 % INCIDENTS:06d}"
            ),
            "search, nothing": lambda n: get("/v1/incidents", q=f"absent{n}"),
            "search, word and state": lambda n: get(
                "/v1/incidents", q=WORDS[n % 8], state="closed"
            ),
            "detail, 20 events": lambda n: get(f"/v1/incidents/{some(n)}"),
            "detail, 1,000 events": lambda _: get(f"/v1/incidents/{long}"),
            "as_of, 1,000 events": lambda _: get(f"/v1/incidents/{long}", as_of=now),
            "seq 500 of 1,000": lambda _: get(f"/v1/incidents/{long}", seq=500),
            "queue, breaching": lambda _: get("/v1/views/breaching/incidents"),
            "work list": lambda _: get("/v1/work"),
            "time to a verdict": lambda _: get("/v1/measures/ttv", by="service"),
            "timeline": lambda n: get(f"/v1/incidents/{some(n)}/timeline"),
        }
        for name, ask in rows.items():
            print(f"{name:24} {await percentiles(ask)}", flush=True)
