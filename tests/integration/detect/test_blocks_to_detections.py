"""Blocks in, detections out: once each, with their reasons, whatever is repeated."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from services.detect.app import create_app
from services.detect.settings import Settings
from services.ingest.blocks import build_block
from services.ingest.envelope import Enveloper, Limits, Sealed
from services.ingest.framing import frame_json
from services.ingest.sources import Source
from shared.bus import Bus
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.ingest import Logsource
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULE = """
title: Unexpected export
id: 11111111-1111-4111-8111-111111111111
status: stable
level: high
tags: [attack.exfiltration, attack.t1567.002]
logsource: {category: application, service: api}
detection:
  action: {action|startswith: export}
  amount: {rows|gte: 1000}
  condition: action and amount
"""
SOURCE = Source(
    id="api",
    tenant="t1",
    region="eu-west",
    service="api",
    server="a1",
    logsource=Logsource(category="application", service="api"),
)
EVENTS = (
    b'{"action":"export_all","rows":5000,"user":"mallory","src_ip":"203.0.113.9"}\n'
    b'{"action":"export_all","rows":5}\n'
    b'{"action":"login","rows":5000}'
)


def envelopes(key: str | None = None) -> list[Sealed]:
    enveloper = Enveloper(SOURCE, None, NOW, Limits(10_000, 32), key)
    return [s for i in frame_json(EVENTS) if isinstance(s := enveloper.seal(i), Sealed)]


async def send(bus: Bus, sealed: list[Sealed]) -> None:
    await bus.publish(build_block(sealed, NOW), stream="EVENTS")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "export.yml").write_text(RULE)
    (folder / "broken.yml").write_text("title: broken\ndetection: {condition: sel}\n")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def detect(world: World, rules: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = world.settings(Settings, rules=str(rules), shipped_pack=False, reload_seconds=0.2)
    async with world.running(create_app(settings)) as client:
        token = world.token("dora", "detection_engineer")
        client.headers["authorization"] = f"Bearer {token}"
        yield client


async def raised(world: World) -> list[DetectionRaisedV1]:
    messages = await world.messages("DETECTIONS")
    wanted = DetectionRaisedV1.SUBJECT
    return [DetectionRaisedV1.from_json(m[2]) for m in messages if m[0] == wanted]


async def blocks(world: World) -> int:
    async with world.engine("detect").connect() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM blocks")))


async def test_a_match_names_rule_fields_and_values(world: World, detect: object) -> None:
    async with world.bus("ingest") as bus:
        await send(bus, envelopes("k1"))
    found = await until(lambda: raised(world))
    assert len(found) == 1
    one = found[0]
    assert (one.title, one.level, one.risk_score) == ("Unexpected export", "high", 70)
    assert one.attack_techniques == ["T1567.002"]
    assert one.attack_tactics == ["exfiltration"]
    assert {(e.type, e.value) for e in one.entities} == {
        ("user", "mallory"), ("ip", "203.0.113.9"), ("host", "a1"), ("service", "api"),
    }  # fmt: skip
    assert {(r.selection, r.field, r.value) for r in one.reasons} == {
        ("action", "action", "export_all"), ("amount", "rows", "5000"),
    }  # fmt: skip
    assert one.samples[0].raw.startswith('{"action":"export_all"')


async def test_the_same_events_in_another_block_are_the_same_detections(
    world: World, detect: httpx.AsyncClient
) -> None:
    before, seen = await raised(world), await blocks(world)
    again = envelopes("k1")
    async with world.bus("ingest") as bus:
        await send(bus, again[:2])  # another block, events known
    await until(lambda: _more_blocks(world, seen))
    assert await raised(world) == before


async def _more_blocks(world: World, than: int) -> bool:
    return await blocks(world) > than


async def test_detections_can_be_read(detect: httpx.AsyncClient) -> None:
    page = (await detect.get("/v1/detections?limit=1")).json()
    assert page["items"][0]["title"] == "Unexpected export"
    one = page["items"][0]["detection_id"]
    shown = (await detect.get(f"/v1/detections/{one}")).json()
    assert shown.items() >= page["items"][0].items()
    assert (await detect.get("/v1/detections?cursor=zzz")).status_code == 422
    missing = await detect.get("/v1/detections/00000000-0000-0000-0000-000000000000")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_a_bad_rule_is_reported_and_drops_no_other(detect: httpx.AsyncClient) -> None:
    listed = (await detect.get("/v1/rules")).json()
    assert (listed["loaded"], listed["rejected"]) == (1, 1)
    errors = (await detect.get("/v1/rules/errors")).json()["items"]
    assert errors[0]["file"].endswith("broken.yml")
    assert errors[0]["line"] >= 1
    assert errors[0]["reason"]


async def test_a_changed_rule_file_is_in_force_soon(
    world: World, detect: httpx.AsyncClient, rules: Path
) -> None:
    (rules / "export.yml").write_text(RULE.replace("gte: 1000", "gte: 2"))
    await until(lambda: _version_changed(detect))
    async with world.bus("ingest") as bus:
        await send(bus, envelopes("k2"))
    await until(lambda: _at_least(world, 3))
    values = {r.value for d in await raised(world) for r in d.reasons if r.field == "rows"}
    assert values == {"5000", "5"}


async def _version_changed(detect: httpx.AsyncClient) -> bool:
    listed = (await detect.get("/v1/rules")).json()
    known = (await detect.get("/v1/detections")).json()["items"]
    return listed["items"][0]["version"] not in {d["rule_version"] for d in known}


async def _at_least(world: World, count: int) -> bool:
    return len(await raised(world)) >= count
