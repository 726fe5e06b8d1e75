"""Sources over the API: keys with scopes and overlap, requirements, conformance, silence."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.ingest.app import create_app
from services.ingest.settings import Settings
from shared.clock import rfc3339, utc_now
from shared.contracts.ingest import LogSourceResumedV1, LogSourceSilentV1
from tests.support.ingest import compact, is_ready
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration


class Hands:
    """A clock that tests move on."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@pytest.fixture(scope="module")
def hands() -> Hands:
    return Hands()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(world: World, hands: Hands) -> AsyncIterator[httpx.AsyncClient]:
    settings = world.settings(Settings, activity_seconds=0.2, key_cache_seconds=0)
    async with world.running(create_app(settings, clock=hands)) as client:
        await until(lambda: is_ready(client))
        yield client


def bearer(world: World, *roles: str) -> dict[str, str]:
    token = world.issuer.issue("sec", roles, lifetime=timedelta(days=3))
    return {"authorization": f"Bearer {token}"}


async def registered(client: httpx.AsyncClient, world: World, name: str, **body: Any) -> str:
    admin = bearer(world, "operator")
    put = await client.put(f"/v1/sources/{name}", json=body, headers=admin)
    assert put.status_code == 200, put.text
    issued = await client.post(f"/v1/sources/{name}/keys", json={}, headers=admin)
    assert issued.status_code == 201, issued.text
    return str(issued.json()["key"])


async def send(client: httpx.AsyncClient, key: str, *events: object) -> httpx.Response:
    body = b"\n".join(compact(event) for event in events)
    headers = {"authorization": f"Bearer {key}"}
    return await client.post("/v1/events", content=body, headers=headers)


async def shown(client: httpx.AsyncClient, world: World, name: str) -> Any:
    answer = await client.get(f"/v1/sources/{name}", headers=bearer(world, "auditor"))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    "kind",
    ["server", "network", "router", "firewall", "load_balancer", "operating_system",
     "application", "identity", "other"],
)  # fmt: skip
async def test_r02a_every_kind_of_source_is_registered(
    client: httpx.AsyncClient, world: World, kind: str
) -> None:
    name = f"k-{kind.replace('_', '-')}"
    key = await registered(client, world, name, kind=kind, region="eu", service="edge")
    assert (await send(client, key, {"n": 1})).status_code == 202
    found = await shown(client, world, name)
    assert (found["kind"], found["region"], found["disabled"]) == (kind, "eu", False)
    assert "key" not in found["keys"][0]
    assert found["keys"][0]["issued_by"] == "sec"


async def test_roles(client: httpx.AsyncClient, world: World) -> None:
    analyst = bearer(world, "security_response")
    assert (await client.put("/v1/sources/x", json={}, headers=analyst)).status_code == 403
    operator = bearer(world, "operator")
    asked = await client.put("/v1/logging-requirements/x", json={}, headers=operator)
    assert asked.status_code == 403
    assert (await client.get("/v1/sources")).status_code == 401
    unknown = await client.post("/v1/sources/nobody/keys", json={}, headers=operator)
    assert unknown.status_code == 404


async def test_a_key_opens_only_the_doors_it_was_issued_for(
    client: httpx.AsyncClient, world: World
) -> None:
    await registered(client, world, "scoped")
    admin = bearer(world, "operator")
    body = {"scopes": ["hec"], "expires_in_days": 1}
    issued = await client.post("/v1/sources/scoped/keys", json=body, headers=admin)
    key = issued.json()["key"]
    refused = await send(client, key, {"n": 1})
    assert (refused.status_code, refused.json()["code"]) == (403, "key_scope")
    hec = {"authorization": f"Splunk {key}"}
    path = "/services/collector/event"
    assert (await client.post(path, content=b'{"event":"x"}', headers=hec)).status_code == 200


async def test_a_rotated_key_works_during_the_overlap_and_not_after(
    client: httpx.AsyncClient, world: World, hands: Hands
) -> None:
    old = await registered(client, world, "turning")
    admin = bearer(world, "operator")
    key_id = (await shown(client, world, "turning"))["keys"][0]["key_id"]
    path = f"/v1/sources/turning/keys/{key_id}"
    turned = await client.post(f"{path}/rotate", json={"overlap_seconds": 600}, headers=admin)
    assert turned.status_code == 201, turned.text
    new = turned.json()["key"]
    assert [(await send(client, k, {"n": 1})).status_code for k in (old, new)] == [202, 202]
    hands.ahead = timedelta(seconds=601)
    try:
        assert [(await send(client, k, {"n": 1})).status_code for k in (old, new)] == [401, 202]
        again = await client.post(f"{path}/rotate", json={}, headers=admin)
        assert again.status_code == 404
    finally:
        hands.ahead = timedelta()
    newer = turned.json()["key_id"]
    gone = await client.delete(f"/v1/sources/turning/keys/{newer}", headers=admin)
    assert gone.status_code == 204
    assert (await send(client, new, {"n": 1})).status_code == 401
    assert (await client.delete("/v1/sources/turning", headers=admin)).status_code == 204
    assert (await send(client, old, {"n": 1})).status_code == 401


async def test_r12b_what_does_not_conform_is_accepted_and_counted(
    client: httpx.AsyncClient, world: World
) -> None:
    team = bearer(world, "security_response")
    path = "/v1/logging-requirements/billing"
    asked = {
        "event_types": ["login", "export"], "event_type_field": "event.action",
        "required_fields": ["user.name", "src_ip"], "max_delay_seconds": 3600,
        "retention_days": 365,
    }  # fmt: skip
    missing = await client.put(path, json=asked, headers=team)
    assert missing.status_code == 428
    first = await client.put(path, json=asked, headers={**team, "if-match": '"0"'})
    assert (first.status_code, first.json()["version"]) == (200, 1), first.text
    stale = await client.put(path, json=asked, headers={**team, "if-match": '"0"'})
    assert (stale.status_code, stale.json()["current_version"]) == (412, 1)
    key = await registered(client, world, "billing-1", service="billing", kind="application")

    async def read() -> bool:
        await send(client, key, {"probe": 1})
        return bool((await shown(client, world, "billing-1"))["conformance"]["events"])

    await until(read)
    before = (await shown(client, world, "billing-1"))["conformance"]
    whole = {"user": {"name": "al"}, "src_ip": "10.0.0.1", "event": {"action": "login"}}
    late = {**whole, "time": rfc3339(utc_now() - timedelta(hours=2))}
    lacking = {"user": {"name": None}, "src_ip": "10.0.0.1"}
    answer = await send(client, key, whole, whole, late, lacking)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 4)

    async def counted() -> Any:
        # How many probes were counted is not known: some may have come before the requirements.
        found = (await shown(client, world, "billing-1"))["conformance"]
        return found if found["events"] - found["nonconformant"] == 3 else None

    found = await until(counted)
    assert found["nonconformant"] > before["nonconformant"]
    assert found["missing_fields"]["user.name"] == found["nonconformant"]
    assert found["late"] == 1
    assert found["seen_event_types"] == {"login": 3}
    assert found["unseen_event_types"] == ["export"]
    good = found["events"] - found["nonconformant"]
    assert found["conformant_percent"] == round(100 * good / found["events"], 2)
    assert found["retention_conforms"] is False
    second = await client.put(path, json={}, headers={**team, "if-match": '"1"'})
    assert second.json()["version"] == 2
    history = (await client.get(path, headers=team)).json()["versions"]
    assert [v["version"] for v in history] == [2, 1]
    assert history[1]["required_fields"] == ["user.name", "src_ip"]


async def test_r12a_silence_is_told_once_and_its_end_too(
    client: httpx.AsyncClient, world: World, hands: Hands
) -> None:
    key = await registered(client, world, "quiet", max_silence_seconds=60, kind="firewall")
    assert (await send(client, key, {"n": 1})).status_code == 202

    async def heard() -> bool:
        return bool((await shown(client, world, "quiet"))["events"])

    await until(heard)
    assert (await shown(client, world, "quiet"))["silent"] is False
    hands.ahead = timedelta(seconds=300)
    try:
        await until(lambda: is_silent(client, world))
        assert (await send(client, key, {"n": 2})).status_code == 202

        async def again() -> bool:
            return not await is_silent(client, world)

        await until(again)
    finally:
        hands.ahead = timedelta()
    told = await world.messages("SOURCES")
    silent = [LogSourceSilentV1.from_json(m[2]) for m in told if m[0] == LogSourceSilentV1.SUBJECT]
    mine = [event for event in silent if event.source_id == "quiet"]
    assert [(e.kind, e.max_silence_seconds) for e in mine] == [("firewall", 60)]
    ended = [LogSourceResumedV1.from_json(m[2]) for m in told if m[0] == LogSourceResumedV1.SUBJECT]
    assert [e.silent_since for e in ended if e.source_id == "quiet"] == [mine[0].silent_since]


async def is_silent(client: httpx.AsyncClient, world: World) -> bool:
    found = await client.get("/v1/sources?silent=true", headers=bearer(world, "operator"))
    return "quiet" in {item["source_id"] for item in found.json()["items"]}


async def test_a_clock_that_is_ahead_is_told(client: httpx.AsyncClient, world: World) -> None:
    key = await registered(client, world, "hasty")
    ahead = {"time": rfc3339(datetime.now(UTC) + timedelta(seconds=90))}
    assert (await send(client, key, ahead, {"n": 1})).status_code == 202

    async def told() -> Any:
        found = (await shown(client, world, "hasty"))["clock"]
        return found if found["ahead"] else None

    found = await until(told)
    assert found["ahead_events"] == 1
    assert 60 < found["skew_seconds"] <= 90
    assert found["most_ahead_seconds"] == found["skew_seconds"]
