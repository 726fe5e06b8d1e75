"""`tocsin search` and `tocsin replay`, as processes, against a running ingest."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest
import pytest_asyncio

from tests.support.log_store import is_stored, publish, sealed, storing
from tests.support.world import World

pytestmark = pytest.mark.integration
WINDOW = ("--from", "2026-03-01T00:00:00Z", "--to", "2026-03-02T00:00:00Z")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    async with storing(world, tmp_path_factory.mktemp("s")) as client:
        events = [{"user": "alice" if n % 2 else "bob", "n": n} for n in range(20)]
        await publish(world, sealed([*events, {"user": "eve", "x": "\x1b[2J[red]"}]))
        await is_stored(client, 21)
        yield client


async def tocsin(world: World, client: httpx.AsyncClient, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin", *arguments, "--url", str(client.base_url),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TOCSIN_TOKEN": world.token("sam", "security_response")},
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_events_as_a_table_and_as_json(world: World, client: httpx.AsyncClient) -> None:
    code, out, err = await tocsin(world, client, "search", "user:alice", *WINDOW, "--limit", "3")
    assert code == 0, err
    assert "3 events" in out
    assert '"user":"alice"' in out.replace("\n", "").replace(" ", "")
    _, out, _ = await tocsin(world, client, "search", "user:alice", *WINDOW, "--all", "--json")
    assert len([orjson.loads(line) for line in out.splitlines()]) == 10
    _, out, _ = await tocsin(world, client, "search", "user:eve", *WINDOW)
    assert "\x1b[2J" not in out  # what a log says is shown, not obeyed


async def test_a_histogram(world: World, client: httpx.AsyncClient) -> None:
    code, out, _ = await tocsin(world, client, "search", *WINDOW, "--histogram")
    assert code == 0
    assert "2026-03-01T12:00:00Z         21 █" in out
    assert out.endswith("21 events\n")


async def test_an_extract_with_its_digest(
    world: World, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    target = tmp_path / "extract.ndjson"
    code, out, err = await tocsin(
        world, client, "search", "user:bob", *WINDOW, "--export", str(target), "--all"
    )
    assert code == 0, err
    content = target.read_bytes()
    assert hashlib.sha256(content).hexdigest() in out
    assert len(content.splitlines()) == 10
    assert list(tmp_path.iterdir()) == [target]


async def test_a_replay_and_refusals(world: World, client: httpx.AsyncClient) -> None:
    code, out, err = await tocsin(world, client, "replay", *WINDOW, "--query", "user:alice")
    assert code == 0, err
    assert "complete: 10 events in 1 blocks" in out
    code, _, err = await tocsin(world, client, "search", "a:1 AND", *WINDOW)
    assert code == 1
    assert "A condition is missing before the end (at character 8)." in err
