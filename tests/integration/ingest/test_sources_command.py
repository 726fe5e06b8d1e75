"""`tocsin sources list`, `rotate`, `revoke`, `require`: processes against a running ingest."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest
import pytest_asyncio

from services.ingest.app import create_app
from services.ingest.keys import ApiKey
from services.ingest.settings import Settings
from services.ingest.sources import Source
from tests.support.ingest import is_ready, make_key
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    settings = world.settings(Settings, key_cache_seconds=0, activity_seconds=0.2)
    async with world.running(create_app(settings)) as client:
        await until(lambda: is_ready(client))
        yield client


async def tocsin(
    world: World, client: httpx.AsyncClient, role: str, *arguments: str
) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin", "sources", *arguments, "--url", str(client.base_url),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TOCSIN_TOKEN": world.token("olga", role), "COLUMNS": "200"},
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def sends(client: httpx.AsyncClient, key: object) -> int:
    answer = await client.post(
        "/v1/events", content=b'{"n":1}', headers={"authorization": f"Bearer {key}"}
    )
    return answer.status_code


async def test_a_key_is_rotated_with_an_overlap_and_revoked(
    world: World, client: httpx.AsyncClient
) -> None:
    old = await make_key(world, Source(id="rotated"))
    code, out, err = await tocsin(
        world, client, "operator", "rotate", "rotated", old.id, "--overlap-hours", "1"
    )
    assert code == 0, err
    new = ApiKey.parse(out.strip())
    assert new is not None
    assert (await sends(client, old), await sends(client, new)) == (202, 202)
    code, _, err = await tocsin(world, client, "operator", "revoke", "rotated", new.id)
    assert code == 0, err
    assert (await sends(client, old), await sends(client, new)) == (202, 401)
    code, _, err = await tocsin(world, client, "operator", "revoke", "rotated", new.id)
    assert code == 1  # it is not in force any more
    assert "Traceback" not in err


async def test_sources_are_listed_with_what_is_asked_of_them(
    world: World, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    key = await make_key(world, Source(id="asked", service="edge"))
    requirement = tmp_path / "edge.json"
    requirement.write_bytes(orjson.dumps({"required_fields": ["user"]}))
    for version in (1, 2):  # what is given again is a version of its own
        code, out, err = await tocsin(
            world, client, "security_response", "require", "edge", str(requirement)
        )
        assert code == 0, err
        assert out == f"version {version} is in force\n"

    assert await sends(client, key) == 202

    async def listed() -> dict[str, object] | None:
        _, out, _ = await tocsin(world, client, "operator", "list", "--json")
        (found,) = [r for r in map(orjson.loads, out.splitlines()) if r["source_id"] == "asked"]
        return found if found["events"] else None

    found = await until(listed)
    assert (found["service"], found["events"], found["silent"]) == ("edge", 1, False)
    _, out, _ = await tocsin(world, client, "operator", "list")
    assert "asked" in out
    assert "edge" in out


async def test_refusals_are_sentences(
    world: World, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    answers = await asyncio.gather(
        tocsin(world, client, "security_response", "require", "edge", str(broken)),
        tocsin(world, client, "operator", "rotate", "nobody", "0"),
        tocsin(world, client, "auditor", "revoke", "asked", "0"),
    )
    for (code, _, err), told in zip(answers, ("not JSON", "", ""), strict=True):
        assert code == 1, err
        assert told in err
        assert "Traceback" not in err
