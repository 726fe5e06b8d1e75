"""Other tools' doors: their keys, one report for one thing, every source kind to an escalation."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from services.escalate.app import create_app
from services.escalate.doors.register import SOURCE_KINDS
from services.escalate.settings import Settings
from shared.contracts.cases import SeveritySetV1
from shared.contracts.escalate import EscalationRaisedV1, IncidentProposedV1
from shared.ids import uuid7
from tests.integration.escalate.test_severity_gate import tell
from tests.integration.escalate.test_support_cases import HANDED, told
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import DIRECTORY, NOON
from tests.unit.escalate.test_doors import GROUP

pytestmark = pytest.mark.integration


def key_of(kind: str) -> str:
    return f"routing-key-of-{kind}"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def escalate(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("escalate")
    doors: dict[str, Any] = {
        f"pd-{kind}": {
            "kind": "pagerduty", "key_sha256": digest(key_of(kind)), "source_kind": kind,
            **({"tenant": "acme"} if kind == "customer_case" else {}),
        }
        for kind in SOURCE_KINDS
    }  # fmt: skip
    doors["monitoring"] = {
        "kind": "alertmanager", "key_sha256": digest("of-alertmanager"), "source_kind": "trend",
    }  # fmt: skip
    (folder / "doors.yml").write_text(json.dumps({"doors": doors}))
    (folder / "directory.yml").write_text(DIRECTORY)
    settings = world.settings(
        Settings, directory_file=folder / "directory.yml", doors_file=folder / "doors.yml"
    )
    async with world.running(create_app(settings)) as client:
        token = world.token("iris", "incident_communications")
        client.headers["x-iris"] = f"Bearer {token}"
        yield client


def iris(escalate: httpx.AsyncClient) -> dict[str, str]:
    return {"authorization": escalate.headers["x-iris"]}


async def cases(escalate: httpx.AsyncClient, title: str) -> list[dict[str, Any]]:
    answer = await escalate.get("/v1/support-cases?limit=200", headers=iris(escalate))
    return [item for item in answer.json()["items"] if title in item["title"]]


def event(kind: str, action: str, dedup_key: str, summary: str = "") -> dict[str, Any]:
    payload = {"summary": summary, "source": "k8s-1", "severity": "critical"}
    body: dict[str, Any] = {
        "routing_key": key_of(kind), "event_action": action, "dedup_key": dedup_key,
    }  # fmt: skip
    return {**body, "payload": payload} if action == "trigger" else body


@pytest.mark.parametrize("kind", SOURCE_KINDS)
async def test_r07_every_source_kind_reaches_an_escalation(
    world: World, escalate: httpx.AsyncClient, kind: str
) -> None:
    sent = await escalate.post("/v2/enqueue", json=event(kind, "trigger", "r07", f"R07 {kind}"))
    assert (sent.status_code, sent.json()["dedup_key"]) == (202, "r07")
    (case,) = await cases(escalate, f"R07 {kind}")
    assert case["source_kind"] == kind
    done = await escalate.post(
        f"/v1/support-cases/{case['case_id']}/triage", json=HANDED, headers=iris(escalate)
    )
    incident = UUID(done.json()["incident_id"])
    (proposed,) = await until(lambda: told(world, IncidentProposedV1, incident_id=incident))
    assert (proposed.reported_as or proposed.source_kind) == kind
    assert await told(world, EscalationRaisedV1, incident_id=incident) == []  # R23
    severity = SeveritySetV1(
        event_id=uuid7(), occurred_at=NOON, incident_id=incident, number="T-1", version=2,
        position=2, actor="sue", level="SEV2",
    )  # fmt: skip
    await tell(world, severity)
    (raised,) = await until(lambda: told(world, EscalationRaisedV1, incident_id=incident))
    assert raised.owning_team == "sr-global"


async def test_one_thing_is_one_report_until_it_is_over(escalate: httpx.AsyncClient) -> None:
    async def send(action: str) -> None:
        body = event("rule", action, "disk-7", "Disk 7 behaves oddly")
        assert (await escalate.post("/v2/enqueue", json=body)).status_code == 202

    await send("resolve")  # of what nobody has heard
    for _ in range(3):
        await send("trigger")
    (case,) = await cases(escalate, "Disk 7")
    assert case["acknowledged_at"] is None
    await send("acknowledge")
    (case,) = await cases(escalate, "Disk 7")
    assert case["acknowledged_by"] == "door:pd-rule"
    await send("resolve")
    await send("resolve")
    path = f"/v1/support-cases/{case['case_id']}"
    log = (await escalate.get(path, headers=iris(escalate))).json()["log"]
    assert [entry["kind"] for entry in log] == ["opened", "acknowledged", "note"]
    await send("trigger")
    assert len(await cases(escalate, "Disk 7")) == 2


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
async def test_alertmanagers_group_is_one_report(escalate: httpx.AsyncClient, scheme: str) -> None:
    given = "of-alertmanager"
    if scheme == "basic":
        given = base64.b64encode(f"alertmanager:{given}".encode()).decode()
    group = {**GROUP, "groupKey": scheme, "commonAnnotations": {"summary": f"by {scheme}"}}
    for _ in range(2):
        answer = await escalate.post(
            "/v1/alerts/alertmanager",
            json=group,
            headers={"authorization": f"{scheme.title()} {given}"},
        )
        assert answer.status_code == 200, answer.text
    (case,) = await cases(escalate, f"by {scheme}")
    assert case["source_kind"] == "trend"


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Basic !!", "Basic d3Jvbmc=", "Bearer routing-key-of-rule"]
)
async def test_without_its_key_alertmanagers_door_is_shut(
    escalate: httpx.AsyncClient, header: str | None
) -> None:
    headers = {"authorization": header} if header else {}
    answer = await escalate.post("/v1/alerts/alertmanager", json=GROUP, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "key_invalid")


async def test_a_wrong_event_is_refused_in_the_words_of_the_events_api(
    escalate: httpx.AsyncClient,
) -> None:
    good = event("rule", "trigger", "x", "s")
    for body, status in [
        ({**good, "routing_key": "of-alertmanager"}, 401),
        ({**good, "event_action": "shout"}, 400),
        ({**good, "payload": {**good["payload"], "severity": "bad"}}, 400),
        (event("rule", "resolve", ""), 400),
    ]:
        answer = await escalate.post("/v2/enqueue", json=body)
        assert answer.status_code == status
        assert answer.json()["message"] == "Event object is invalid"
        assert answer.json()["errors"]
    assert (await escalate.post("/v2/enqueue", content=b"{")).status_code == 400


async def test_a_storm_at_a_door_is_turned_away(escalate: httpx.AsyncClient) -> None:
    answers = [
        await escalate.post("/v2/enqueue", json=event("anomaly", "trigger", f"s{n}", "storm"))
        for n in range(62)
    ]
    refused = [answer for answer in answers if answer.status_code != 202]
    assert refused
    assert {answer.status_code for answer in refused} == {429}
    assert refused[0].headers["retry-after"] == "60"
    assert len(await cases(escalate, "storm")) == 62 - len(refused)
