"""`tocsin up` as its users meet it: kill -9 of everything, a second start, Ctrl-C."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from tests.support.waiting import until
from tocsin.embedded.nats import EmbeddedNats
from tocsin.embedded.postgres import EmbeddedPostgres
from tocsin.embedded.secret_files import SecretFiles
from tocsin.people import Person
from tocsin.stack import authorization
from tocsin.tokens import LocalIssuer

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@asynccontextmanager
async def up(home: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `tocsin up` until the block ends (Ctrl-C, if it still runs then)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin", "up", "--home", str(home), "--random-ports",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.communicate(), 60)


async def until_ready(process: asyncio.subprocess.Process) -> str:
    """Return what it said until it was ready."""
    said = ""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            said += line
            if line.startswith("ready in"):
                return said
    raise AssertionError(f"it ended: {said}")


def urls(home: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((home / "platform.json").read_text())["urls"]
    return found


def analyst(home: Path, client: httpx.AsyncClient) -> Person:
    token = LocalIssuer(home / "secrets").issue("bob", ["security_response"])
    return Person(client, urls(home), "bob", token)


async def send_attack(home: Path, place: Path, host: str) -> None:
    file = place / f"{host}.log"
    message = "Accepted password for root from 203.0.113.9 port 22 ssh2"
    file.write_text(f"Jan  3 04:05:06 {host} sshd[77]: {message}\n")
    sent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin", "send", "--home", str(home), "--product", "linux", str(file)
    )
    assert await sent.wait() == 0


async def hosts_with_incidents(bob: Person) -> set[str]:
    items = (await bob.get("cases", "/v1/incidents"))["items"]
    return {item["title"].rpartition(" ")[2] for item in items}


async def test_after_kill_9_of_everything_it_goes_on(place: Path) -> None:
    home = place / "home"
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        async with up(home) as first:
            await until_ready(first)
            await send_attack(home, place, "alpha")
            await until(lambda: _has(home, client, {"alpha"}))
            await send_attack(home, place, "beta")  # accepted: perhaps not evaluated yet
            family = psutil.Process(first.pid).children(recursive=True)
            for process in [psutil.Process(first.pid), *family]:
                process.kill()
            await first.wait()
        async with up(home) as second:
            await until_ready(second)
            await until(lambda: _has(home, client, {"alpha", "beta"}))
            await until(lambda: _verifies(home))
            refused = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tocsin", "up", "--home", str(home),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, complaint = await refused.communicate()
            assert refused.returncode == 1
            assert str(second.pid) in complaint.decode()
            assert "Traceback" not in complaint.decode()
            children = psutil.Process(second.pid).children(recursive=True)
            second.send_signal(signal.SIGINT)
            out, _ = await asyncio.wait_for(second.communicate(), 60)
            assert second.returncode == 0, out.decode()
            assert "Traceback" not in out.decode()
            assert not [c for c in children if c.is_running()]


async def _has(home: Path, client: httpx.AsyncClient, hosts: set[str]) -> bool:
    return await hosts_with_incidents(analyst(home, client)) == hosts


async def test_servers_of_ones_own_replace_the_embedded_ones(place: Path) -> None:
    home = place / "home"
    postgres = EmbeddedPostgres(place / "postgres", password="of-ones-own", durable=False)
    broker = EmbeddedNats(
        place / "nats", authorization=authorization(SecretFiles(home / "secrets")), durable=False
    )
    await asyncio.gather(postgres.start(), broker.start())
    try:
        async with (
            httpx.AsyncClient(timeout=20, trust_env=False) as client,
            up(
                home,
                TOCSIN_DATABASE_URL=postgres.dsn,
                TOCSIN_NATS_URL=broker.url,
            ) as process,
        ):
            await until_ready(process)
            await send_attack(home, place, "gamma")
            await until(lambda: _has(home, client, {"gamma"}))
        connection = await asyncpg.connect(postgres.dsn)
        assert await connection.fetchval("SELECT count(*) FROM cases.events") > 0
        await connection.close()
        assert not (home / "postgres").exists()
        assert not (home / "nats").exists()
    finally:
        await asyncio.gather(postgres.stop(), broker.stop())


async def _verifies(home: Path) -> bool:
    """Tell whether the log, crash and all, is intact and signed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin", "verify", "--home", str(home), stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode in (0, 3), out.decode()
    return process.returncode == 0
