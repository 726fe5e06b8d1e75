"""The operator's files change while the service runs: in force within seconds, or refused."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from services.escalate.app import create_app
from services.escalate.oncall.paging_file import SHIPPED_PAGING
from services.escalate.routing_file import SHIPPED_ROUTING
from services.escalate.settings import Settings
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.oncall.given import STAFFED

pytestmark = pytest.mark.integration


def doors(key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()
    door = {"kind": "pagerduty", "source_kind": "trend", "key_sha256": digest}
    return json.dumps({"doors": {"tool": door}})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    found = tmp_path_factory.mktemp("reload")
    (found / "directory.yml").write_text(STAFFED)
    (found / "routing.yml").write_text(SHIPPED_ROUTING.read_text())
    (found / "paging.yml").write_text(SHIPPED_PAGING.read_text())
    (found / "doors.yml").write_text(doors("first key of the door"))
    yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def escalate(world: World, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    names = ("directory", "routing", "paging", "doors")
    files = {f"{name}_file": folder / f"{name}.yml" for name in names}
    async with world.running(create_app(world.settings(Settings, **files))) as client:
        client.headers["authorization"] = f"Bearer {world.token('sam', 'security_response')}"
        yield client


async def notices(escalate: httpx.AsyncClient) -> dict[str, str]:
    answer = await escalate.get("/readyz")
    assert answer.status_code == 200, answer.text  # it works: the version before is in force
    found: dict[str, str] = answer.json().get("notices", {})
    return found


async def first_of_api(escalate: httpx.AsyncClient) -> str:
    items = (await escalate.get("/v1/oncall")).json()["items"]
    return str(next(team["primary"] for team in items if team["team"] == "api"))


async def test_a_directory_that_changes_takes_force_and_a_broken_one_is_refused_with_its_line(
    escalate: httpx.AsyncClient, folder: Path
) -> None:
    assert await first_of_api(escalate) == "cy"
    file = folder / "directory.yml"
    changed = STAFFED.replace(
        "people: [cy]\n        zone: Etc/UTC", "people: [bo]\n        zone: Etc/UTC"
    )
    file.write_text(changed)

    async def bo_is() -> bool:
        return await first_of_api(escalate) == "bo"

    await until(bo_is)
    broken = changed.replace("  api: {kind: service_team", "  api: {knid: service_team")
    line = next(n for n, text in enumerate(broken.splitlines(), 1) if "knid" in text)
    file.write_text(broken)
    said = await until(lambda: notices(escalate))
    assert said["directory"].startswith(
        f"directory.yml, line {line}: on_call.api.knid: unknown key"
    )
    assert said["directory"].endswith("the version before stays in force")
    assert await first_of_api(escalate) == "bo"
    metrics = (await escalate.get("/metrics")).text
    assert 'tocsin_escalate_file_refused{file="directory"} 1.0' in metrics
    file.unlink()

    async def gone() -> bool:
        return "cannot be read" in (await notices(escalate)).get("directory", "")

    await until(gone)
    file.write_text(STAFFED)

    async def mended() -> bool:
        return not await notices(escalate) and await first_of_api(escalate) == "cy"

    await until(mended)


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("routing", "  RT7:", "  RT7:\n    wehn: []", "unknown key"),
        ("paging", "after: 5", "after: 0", "is not later than the step before"),
    ],
)
async def test_each_file_is_refused_with_its_line(
    escalate: httpx.AsyncClient, folder: Path, name: str, old: str, new: str, reason: str
) -> None:
    file = folder / f"{name}.yml"
    good = file.read_text()
    assert old in good
    file.write_text(good.replace(old, new, 1))
    said = await until(lambda: notices(escalate))
    assert said[name].startswith(f"{name}.yml, line ")
    assert reason in said[name]
    file.write_text(good)

    async def mended() -> bool:
        return not await notices(escalate)

    await until(mended)


async def test_a_door_with_a_new_key_opens_to_it_alone(
    escalate: httpx.AsyncClient, folder: Path
) -> None:
    async def enter(key: str) -> int:
        body = {"routing_key": key, "event_action": "resolve", "dedup_key": "x"}
        return (await escalate.post("/v2/enqueue", json=body)).status_code

    assert await enter("first key of the door") == 202
    (folder / "doors.yml").write_text(doors("second key of the door"))

    async def changed() -> bool:
        return await enter("second key of the door") == 202

    await until(changed)
    assert await enter("first key of the door") == 401
