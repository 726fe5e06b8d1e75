"""How long detect's API takes to answer while its correlations have a backlog to work off.

    make bench ARGS="tests/benchmarks/test_api_beside_correlation.py"

The service is a process of its own; the backlog lies in MATCHES when it starts. Answers are timed
until it is worked off, and then again for as long. TOCSIN_BENCH_UPDATES: matches of the backlog;
TOCSIN_BENCH_LATENESS: seconds for which they wait for others.
"""

import asyncio
import hashlib
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from services.detect.correlation.firing import Matched
from services.detect.correlation.messages import spread
from services.detect.rules.load import load_rules
from tests.support.waiting import until
from tests.support.world import World
from tocsin.embedded.ports import claim_port

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

UPDATES = int(os.environ.get("TOCSIN_BENCH_UPDATES", "200000"))
LATENESS = os.environ.get("TOCSIN_BENCH_LATENESS", "10")
BLOCK = 500
PARTITIONS = 4
RULES = """
title: A failure
id: 51111111-1111-4111-8111-111111111111
name: failure
logsource: {category: application}
detection: {s: {outcome: failure}, condition: s}
---
title: Many failures
id: 52222222-2222-4222-8222-222222222222
correlation:
  type: event_count
  rules: [failure]
  group-by: [user]
  timespan: 1h
  condition: {gte: 100000}
"""


@asynccontextmanager
async def detect(world: World, rules: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Run detect as a process; yield a client once it is ready."""
    port = claim_port(None, "detect")
    environment = {
        **os.environ,
        "TOCSIN_PORT": str(port),
        "TOCSIN_DATABASE_URL": world.service_dsn("detect"),
        "TOCSIN_NATS_URL": world.nats_url,
        "TOCSIN_NATS_NKEY_SEED": world.seeds["detect"],
        "TOCSIN_JWKS_FILE": str(world.issuer.jwks_file),
        "TOCSIN_DETECT_RULES": str(rules),
        "TOCSIN_DETECT_SHIPPED_PACK": "false",
        "TOCSIN_DETECT_CORRELATION_LATENESS_SECONDS": LATENESS,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.detect", env=environment,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    headers = {"authorization": f"Bearer {world.token('ann', 'detection_engineer')}"}
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False
        ) as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx.HTTPError:
                    return False

            await until(ready, 60)
            yield client
    finally:
        process.terminate()
        await process.wait()


async def backlog(world: World, rules: Path) -> None:
    """Publish the matches of UPDATES events."""
    plan = load_rules([rules]).plan
    (rule_id,) = plan.feeds
    (step,) = plan.steps
    start = int(time.time() * 1e6) - UPDATES * 10
    async with world.bus("detect") as bus:
        for block in range(UPDATES // BLOCK):
            found = [
                Matched(
                    rule_id,
                    hashlib.blake2b(f"{block}-{at}".encode(), digest_size=16).digest(),
                    start + (block * BLOCK + at) * 10,
                    {"user": f"user-{(block * 7 + at) % 5000}@example.org"},
                    at,
                    step.family,
                )
                for at in range(BLOCK)
            ]
            envelopes = {
                at: {"id": str(UUID(bytes=match.event_id)), "raw": {"outcome": "failure"}}
                for at, match in enumerate(found)
            }
            messages = spread(plan, found, envelopes, PARTITIONS, UUID(int=block + 1), start)
            await asyncio.gather(*(bus.publish(m, stream="MATCHES") for m in messages))


async def timed(client: httpx.AsyncClient, seconds: float, over: asyncio.Event) -> list[float]:
    """Return how long answers took, in ms, one after the other until *over* or so long."""
    took: list[float] = []
    begun = time.monotonic()
    while not over.is_set() and time.monotonic() - begun < seconds:
        for path in ("/v1/rules?limit=10", "/v1/detections?limit=10"):
            asked = time.monotonic()
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            took.append((time.monotonic() - asked) * 1e3)
    return took


def shown(took: list[float]) -> str:
    cuts = statistics.quantiles(took, n=100)
    return f"p50 {cuts[49]:.1f}, p95 {cuts[94]:.1f}, p99 {cuts[98]:.1f}, longest {max(took):.0f} ms"


async def test_answers_while_a_backlog_is_worked_off(world: World, tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(RULES)
    await backlog(world, tmp_path)
    async with world.bus("detect") as bus:
        last = await bus.last_sequence("MATCHES")
    async with detect(world, tmp_path) as client:
        over = asyncio.Event()
        begun = time.monotonic()
        timing = asyncio.create_task(timed(client, 300, over))

        first = 0.0

        async def worked_off() -> bool:
            nonlocal first
            async with world.engine("detect").connect() as connection:
                query = text("SELECT coalesce(max(seq), 0) FROM correlation_partitions")
                seq = int(await connection.scalar(query) or 0)
            if seq and not first:
                first = time.monotonic()
            return seq >= last

        await until(worked_off, 300, every=0.1)
        lasted = time.monotonic() - first
        over.set()
        busy = await timing
        quiet = await timed(client, min(lasted, 10), asyncio.Event())
    print(
        f"\nload {os.getloadavg()[0]:.1f}; counting {first - begun:.1f} s after the API was ready;"
        f" {UPDATES:,} matches in {lasted:.1f} s"
        f" ({UPDATES / lasted:,.0f}/s); answers beside them: {shown(busy)} (n={len(busy)});"
        f" afterwards: {shown(quiet)} (n={len(quiet)})"
    )
    assert len(busy) > 10
