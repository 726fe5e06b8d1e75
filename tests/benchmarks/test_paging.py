"""Timers over a restart: each fires once to its channel's key, and how late.

A process of escalate arms nothing itself: the timers are rows. It is killed (-9) while half of them
have fired, started again, and every page's lateness is from when its step was due, or, for what
was due while nobody ran, from when the service answered again.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from services.escalate.settings import Settings
from shared.clock import utc_now
from shared.ids import derived_id
from tests.integration.escalate.oncall_world import overrides
from tests.support.providers import Providers, providers
from tests.support.waiting import until
from tests.support.webhook_sink import new_webhook_secret
from tests.support.world import World

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
TIMERS = int(os.environ.get("TOCSIN_BENCH_TIMERS", "10000"))
SPREAD = float(os.environ.get("TOCSIN_BENCH_SPREAD", "120"))  # seconds over which they are due


@asynccontextmanager
async def process(world: World, environment: dict[str, str]) -> AsyncIterator[tuple[int, datetime]]:
    """Run escalate; yield its process id and the instant at which it was ready."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.escalate", env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{environment['TOCSIN_ESCALATE_PORT']}/readyz"
    async with httpx.AsyncClient(trust_env=False) as client:

        async def ready() -> bool:
            try:
                return (await client.get(url)).status_code == 200
            except httpx.HTTPError:
                return False

        try:
            await until(ready, 60)
            yield running.pid, utc_now()
        finally:
            if running.returncode is None:
                running.send_signal(signal.SIGKILL)
            await running.wait()


async def arm(world: World, start: datetime) -> dict[UUID, datetime]:
    """Write the timers: one step each, to a person with one channel."""
    due = {
        derived_id("bench-chain", n): start + timedelta(seconds=SPREAD * n / TIMERS)
        for n in range(TIMERS)
    }
    async with world.engine("escalate").begin() as connection:
        for identity, at in due.items():
            await connection.exec_driver_sql(
                "INSERT INTO page_chains (id, incident_id, team, reason, people, channel,"
                " started_at, due_at) VALUES ($1, $1, 'pe', 'bench', '{ana}', 'log', $2, $2)",
                (identity, at),
            )
    return due


def distinct(sink: Providers) -> int:
    """Return how many pages came; counted only when it may be all, as counting takes time, too."""
    return len(set(sink.keys("/webhook"))) if len(sink.taken) >= TIMERS else 0


async def measured(
    world: World, due: dict[UUID, datetime], back: datetime, gone: datetime
) -> list[float]:
    async with world.engine("escalate").connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT chain_id, sent_at FROM pages WHERE turn = 0 AND sent_at IS NOT NULL"
        )
        return [
            (row.sent_at - (max(at, back) if gone <= at else at)).total_seconds()
            if (at := due[row.chain_id]) <= row.sent_at
            else 0.0
            for row in rows
        ]


async def test_timers_over_a_restart(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with providers(new_webhook_secret()) as sink:
        environment = _environment(world, tmp_path, sink)
        due = await arm(world, utc_now() + timedelta(seconds=15))
        async with process(world, environment) as (pid, _):
            await until(lambda: len(sink.taken) >= TIMERS // 2, SPREAD + 120)
            os.kill(pid, signal.SIGKILL)
            gone = utc_now()
        async with process(world, environment) as (_, back):
            await until(lambda: distinct(sink) >= TIMERS, SPREAD + 240)

            async def all_written() -> list[float]:
                late = await measured(world, due, back, gone)
                return late if len(late) == TIMERS else []

            late = sorted(await until(all_written, 60))
    received = Counter(sink.keys("/webhook"))
    assert len(received) == TIMERS  # one key each, none missing
    assert not sink.refused
    p50, p99 = late[TIMERS // 2], late[int(TIMERS * 0.99)]
    with capsys.disabled():
        print(
            f"\n{TIMERS:,} timers due over {SPREAD:g} s, kill -9 in the middle: each once by key,"
            f" {sum(received.values()) - TIMERS} repeats; lateness p50 {p50:.2f} s,"
            f" p99 {p99:.2f} s, most {late[-1]:.2f} s;"
            f" away for {(back - gone).total_seconds():.1f} s;"
            f" load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )
    assert p99 < 1.0


def _environment(world: World, folder: Path, sink: Providers) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seed = world.seeds["escalate"]
    found = overrides(folder, sink)
    # Nobody else is to be called in between: the first step is all.
    paging = folder / "paging.yml"
    paging.write_text(
        "policies:\n  one:\n    for: default\n    steps:\n"
        "      - {after: 0, page: primary}\n    pause: 600\n"
    )
    values = {
        **found, "paging_file": paging, "port": port, "nats_url": world.nats_url,
        "nats_nkey_seed": seed, "database_url": world.service_dsn("escalate"),
        "jwks_file": world.issuer.jwks_file,
    }  # fmt: skip
    assert set(values) <= set(Settings.model_fields)
    return {
        f"TOCSIN_ESCALATE_{name.upper()}": json.dumps(v) if isinstance(v, list) else str(v)
        for name, v in values.items()
    }
