"""Support cases through the whole service: opened, assigned, triaged, converted, told back."""

import hashlib
from datetime import timedelta
from functools import partial
from operator import add
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services.escalate.support.desk import Desk
from services.escalate.support.watch import Watch
from shared.clock import utc_now
from shared.contracts.cases import IncidentClosedV1, IncidentOpenedV1
from shared.contracts.escalate import (
    IncidentProposedV1,
    SMEEngagementReleasedV1,
    SMEEngagementRequestedV1,
    SupportCaseAcknowledgedV1,
    SupportCaseLinkedV1,
    SupportCaseOpenedV1,
    SupportCaseTriagedV1,
)
from shared.ids import uuid7
from tests.integration.escalate.test_severity_gate import settled, tell
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import NOON
from tests.unit.escalate.test_proposal import POLICIES

pytestmark = pytest.mark.integration
STATEMENT = "Wir sehen Anmeldungen, die niemand gemacht hat.\nSeit 3 Uhr – alle aus einem Netz."
BODY = {"title": "Sign-ins that nobody made", "statement": STATEMENT, "services": ["id"]}
HANDED = {"outcome": "escalate", "message": "We are investigating this as an incident."}


def bearer(world: World, name: str, role: str, tenant: str | None = None) -> dict[str, str]:
    return {"authorization": f"Bearer {world.token(name, role, tenant=tenant)}"}


@pytest.fixture
def carla(world: World) -> dict[str, str]:
    return bearer(world, "carla", "customer_contact", "acme")


@pytest.fixture
def iris(world: World) -> dict[str, str]:
    return bearer(world, "iris", "incident_communications")


async def opened(
    escalate: httpx.AsyncClient, who: dict[str, str], **body: Any
) -> dict[str, Any]:  # fmt: skip
    answer = await escalate.post("/v1/support-cases", json={**BODY, **body}, headers=who)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def told(world: World, contract: type[Any], **about: Any) -> list[Any]:
    found = [
        contract.from_json(body)
        for subject, _, body in await world.messages("ESCALATIONS")
        if subject == contract.SUBJECT
    ]
    return [m for m in found if all(getattr(m, k) == v for k, v in about.items())]


async def test_r15a_only_the_own_tenants_cases_are_there(
    world: World, escalate: httpx.AsyncClient, carla: dict[str, str]
) -> None:
    case = await opened(escalate, carla)
    path = f"/v1/support-cases/{case['case_id']}"
    own = (await escalate.get(path, headers=carla)).json()
    assert own["statement"] == STATEMENT
    assert own["status"] == "received"
    assert "log" not in own
    assert "assignee" not in own
    mallory = bearer(world, "mallory", "customer_contact", "other")
    for method, where, body in [
        ("GET", path, None),
        ("POST", f"{path}/replies", {"text": "hello"}),
        ("GET", f"{path}/attachments/{'0' * 64}", None),
    ]:
        answer = await escalate.request(method, where, json=body, headers=mallory)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    stolen = await escalate.post(f"{path}/attachments?name=x", content=b"x", headers=mallory)
    assert stolen.status_code == 404
    assert (await escalate.get("/v1/support-cases", headers=mallory)).json()["items"] == []
    listed = (await escalate.get("/v1/support-cases", headers=carla)).json()["items"]
    assert case["case_id"] in [item["case_id"] for item in listed]
    for verb, given in [("triage", HANDED), ("acknowledge", None), ("notes", {"text": "n"})]:
        answer = await escalate.post(f"{path}/{verb}", json=given, headers=carla)
        assert answer.status_code == 403
    nobody = bearer(world, "nobody", "customer_contact")
    answer = await escalate.post("/v1/support-cases", json=BODY, headers=nobody)
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_missing")


async def test_r15b_a_case_is_assigned_at_once_and_acknowledged(
    world: World, escalate: httpx.AsyncClient, carla: dict[str, str], iris: dict[str, str]
) -> None:
    case = await opened(escalate, carla)
    identity = UUID(case["case_id"])
    (event,) = await until(lambda: told(world, SupportCaseOpenedV1, case_id=identity))
    assert (event.team, event.tenant, event.source_kind) == ("ic", "acme", "customer_case")
    seen = (await escalate.get(f"/v1/support-cases/{identity}", headers=iris)).json()
    assert seen["team"] == "ic"
    assert seen["acknowledge_by"] is not None

    async def mine() -> list[str]:
        pages = (await escalate.get("/v1/pages?limit=200")).json()["items"]
        return [p["team"] for p in pages if case["reference"] in p["reason"]]

    assert await until(mine) == ["ic"]
    for _ in range(2):  # twice is once
        answer = await escalate.post(f"/v1/support-cases/{identity}/acknowledge", headers=iris)
        assert answer.json()["acknowledged_by"] == "iris"
        assert answer.json()["acknowledge_by"] is None
    (event,) = await until(lambda: told(world, SupportCaseAcknowledgedV1, case_id=identity))
    assert event.person == "iris"
    assert (await escalate.get(f"/v1/support-cases/{identity}", headers=carla)).json()[
        "status"
    ] == "being_looked_at"


async def test_r15b_silence_reminds_the_team_then_the_duty_manager(
    world: World, escalate: httpx.AsyncClient, carla: dict[str, str]
) -> None:
    case = await opened(escalate, carla)
    engine, later = world.engine("escalate"), utc_now()
    desk = Desk(lambda: POLICIES, "log", timedelta(minutes=15))
    # A watch that was not there when the case was opened: the timer is the row.
    for minutes in (16, 40, 200):
        watch = Watch(engine, desk, partial(add, later, timedelta(minutes=minutes)), lambda: None)
        while await watch.once():
            pass
    async with engine.connect() as connection:  # ordered in the future: not on the ledger yet
        chains = await connection.exec_driver_sql(
            "SELECT team FROM page_chains WHERE reason LIKE '%' || $1 || '%'"
            " ORDER BY started_at, id",
            (case["reference"],),
        )
        mine = [row.team for row in chains]
    assert mine == ["ic", "ic", "dm", "dm"]


async def test_r15c_a_case_becomes_one_incident_with_every_team_and_is_told_back(
    world: World, escalate: httpx.AsyncClient, carla: dict[str, str], iris: dict[str, str]
) -> None:
    case = await opened(escalate, carla)
    identity, path = UUID(case["case_id"]), f"/v1/support-cases/{case['case_id']}"
    body = {**HANDED, "inputs": {"privacy": "personal"}}
    answer = await escalate.post(f"{path}/triage", json=body, headers=iris)
    assert answer.status_code == 200, answer.text
    again = await escalate.post(f"{path}/triage", json=body, headers=iris)
    assert again.json() == answer.json()  # twice is once
    incident = UUID(answer.json()["incident_id"])
    (linked,) = await until(lambda: told(world, SupportCaseLinkedV1, incident_id=incident))
    assert (linked.case_id, linked.statement, linked.tenant) == (identity, STATEMENT, "acme")
    (proposed,) = await told(world, IncidentProposedV1, incident_id=incident)
    assert proposed.source_kind == "customer_case"
    assert proposed.services == ["id"]
    assert proposed.detections[0].samples[0].raw == STATEMENT
    (verdict,) = await until(lambda: told(world, SupportCaseTriagedV1, case_id=identity))
    teams = {"sr-identity", "identity", "ic", "legal", "compliance", "cps"}
    assert teams <= set(verdict.teams)
    wanted = await until(lambda: told(world, SMEEngagementRequestedV1, incident_id=incident))
    assert {w.team for w in wanted} == set(verdict.teams)
    assert len(wanted) == len(verdict.teams)
    assert "RT10" in verdict.routing_rules  # it is known to come from a customer
    kinds = {w.team: w.team_kind for w in wanted}
    assert (kinds["sr-identity"], kinds["legal"]) == ("security_response", "legal")
    sam = bearer(world, "sam", "security_response")
    listed = await escalate.get(f"/v1/incidents/{incident}/engagements", headers=sam)
    rows = {row["team"]: row for row in listed.json()["items"]}
    assert {row["status"] for row in rows.values()} == {"requested"}
    assert set(rows) == set(verdict.teams)
    one = f"/v1/engagements/{rows['legal']['engagement_id']}"
    done = await escalate.post(f"{one}/decline", json={"reason": "on leave"}, headers=sam)
    assert done.json()["status"] == "declined"
    done = await escalate.post(f"{one}/release", json={"reason": "not needed"}, headers=sam)
    assert done.json()["status"] == "released"
    assert await until(lambda: told(world, SMEEngagementReleasedV1, incident_id=incident))

    async def everybody() -> bool:
        answer = await escalate.get(f"/v1/pages?incident_id={incident}&limit=200")
        return set(verdict.teams) <= {page["team"] for page in answer.json()["items"]}

    await until(everybody)

    about: dict[str, Any] = {
        "occurred_at": NOON, "incident_id": incident, "number": "TOCSIN-2026-000777",
        "version": 1, "position": 1, "actor": "sue",
    }  # fmt: skip
    await tell(
        world,
        IncidentOpenedV1(
            event_id=uuid7(), **about, title="t", source_kind="customer_case", detected_at=NOON
        ),
    )
    await settled(world)
    seen = (await escalate.get(path, headers=iris)).json()
    assert (seen["incident_number"], seen["status"]) == (
        "TOCSIN-2026-000777",
        "under_investigation",
    )
    await tell(world, IncidentClosedV1(event_id=uuid7(), **about, disposition="confirmed"))
    await settled(world)
    own = (await escalate.get(path, headers=carla)).json()
    assert own["status"] == "resolved"
    assert "TOCSIN-2026-000777" not in str(own)


@pytest.mark.parametrize(
    ("outcome", "word"),
    [("customer_realm", "closed"), ("not_security", "closed"), ("need_info", "waiting_for_you")],
)
async def test_other_verdicts_make_no_incident(
    world: World,
    escalate: httpx.AsyncClient,
    carla: dict[str, str],
    iris: dict[str, str],
    outcome: str,
    word: str,
) -> None:
    case = await opened(escalate, carla)
    path = f"/v1/support-cases/{case['case_id']}"
    answer = await escalate.post(
        f"{path}/triage", json={"outcome": outcome, "message": "Please see."}, headers=iris
    )
    assert answer.json()["incident_id"] is None
    own = (await escalate.get(path, headers=carla)).json()
    assert own["status"] == word
    assert [m["text"] for m in own["messages"]] == ["Please see."]
    replied = await escalate.post(f"{path}/replies", json={"text": "Yes."}, headers=carla)
    if outcome == "need_info":
        assert replied.json()["messages"][-1]["from"] == "you"
        waiting = (await escalate.get(path, headers=iris)).json()
        assert waiting["state"] == "open"
        assert waiting["acknowledge_by"] is not None
    else:
        assert (replied.status_code, replied.json()["code"]) == (409, "case_closed")


async def test_the_status_address_shows_status_and_approved_messages_only(
    world: World, escalate: httpx.AsyncClient, carla: dict[str, str], iris: dict[str, str]
) -> None:
    case = await opened(escalate, carla)
    address, path = case["status_address"]["path"], f"/v1/support-cases/{case['case_id']}"
    sam = bearer(world, "sam", "security_response")
    await escalate.post(f"{path}/notes", json={"text": "internal only"}, headers=sam)
    refused = await escalate.post(f"{path}/messages", json={"text": "hello"}, headers=sam)
    assert refused.status_code == 403  # only incident communications speaks to customers
    for _ in range(2):
        key = {"idempotency-key": "m1"}
        await escalate.post(f"{path}/messages", json={"text": "On it."}, headers={**iris, **key})
    async with httpx.AsyncClient(base_url=escalate.base_url) as anybody:
        shown = await anybody.get(address)
        assert shown.json()["status"] == "received"
        assert [m["text"] for m in shown.json()["messages"]] == ["On it."]
        assert STATEMENT not in shown.text
        assert shown.headers["cache-control"] == "no-store"
        assert (await anybody.get("/v1/case-status/guess")).status_code == 404
        async with world.engine("escalate").connect() as connection:
            kept = (await connection.execute(text("SELECT digest FROM support_case_tokens"))).all()
        assert address.rpartition("/")[2] not in str(kept)
        await _expire(world, UUID(case["case_id"]))
        gone = await anybody.get(address)
        assert (gone.status_code, gone.json()["code"]) == (410, "link_expired")


async def test_files_are_kept_by_digest_and_bounded(
    world: World, escalate: httpx.AsyncClient, carla: dict[str, str], iris: dict[str, str]
) -> None:
    case = await opened(escalate, carla)
    path = f"/v1/support-cases/{case['case_id']}/attachments"
    data = bytes(range(256)) * 8000
    name = "../../etc/passwd\u202e"
    added = await escalate.post(path, params={"name": name}, content=data, headers=carla)
    again = await escalate.post(path, params={"name": name}, content=data, headers=carla)
    assert (added.status_code, again.status_code) == (201, 201)
    digest = hashlib.sha256(data).hexdigest()
    assert added.json() == {"digest": digest, "name": "passwd", "size": len(data)}
    for who in (carla, iris):
        got = await escalate.get(f"{path}/{digest}", headers=who)
        assert got.content == data
        assert got.headers["content-disposition"].startswith("attachment;")
    other = await opened(escalate, carla)
    elsewhere = f"/v1/support-cases/{other['case_id']}/attachments/{digest}"
    assert (await escalate.get(elsewhere, headers=carla)).status_code == 404
    large = await escalate.post(
        path, params={"name": "big"}, content=b"x" * ((5 << 20) + 1), headers=carla
    )
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    seen = (await escalate.get(f"/v1/support-cases/{case['case_id']}", headers=iris)).json()
    assert [e["kind"] for e in seen["log"]].count("attached") == 1


async def test_one_key_opens_one_case(
    world: World, escalate: httpx.AsyncClient, carla: dict[str, str]
) -> None:
    keyed = {**carla, "idempotency-key": "night"}
    first, second = await opened(escalate, keyed), await opened(escalate, keyed)
    assert first["case_id"] == second["case_id"]
    other = await escalate.post("/v1/support-cases", json={**BODY, "title": "x"}, headers=keyed)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    somebody = {**bearer(world, "dora", "customer_contact", "umbra"), "idempotency-key": "night"}
    assert (await opened(escalate, somebody))["case_id"] != first["case_id"]


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"statement": ""}, "statement"),
        ({"statement": "a\x00"}, "statement"),
        ({"statement": "x" * 20_001}, "statement"),
        ({"severity": "SEV0"}, "severity"),
        ({"observed_at": "2026-01-01T00:00:00"}, "observed_at"),
    ],
)
async def test_a_malformed_case_is_refused_by_its_place(
    escalate: httpx.AsyncClient, carla: dict[str, str], body: dict[str, Any], at: str
) -> None:
    answer = await escalate.post("/v1/support-cases", json={**BODY, **body}, headers=carla)
    assert answer.status_code == 422
    assert at in answer.json()["errors"][0]["at"]


async def test_inputs_that_the_policy_lacks_change_nothing(
    escalate: httpx.AsyncClient, carla: dict[str, str], iris: dict[str, str]
) -> None:
    case = await opened(escalate, carla)
    path = f"/v1/support-cases/{case['case_id']}"
    body = {**HANDED, "inputs": {"privacy": "a lot"}}
    answer = await escalate.post(f"{path}/triage", json=body, headers=iris)
    assert answer.status_code == 422
    assert "privacy" in answer.json()["errors"][0]["at"]
    assert (await escalate.get(path, headers=iris)).json()["state"] == "open"


async def test_the_log_of_a_case_is_append_only(
    world: World, escalate: httpx.AsyncClient, carla: dict[str, str]
) -> None:
    await opened(escalate, carla)
    for statement in (
        "UPDATE support_case_events SET text = 'x'",
        "DELETE FROM support_case_events",
        "UPDATE support_cases SET statement = 'x'",
        "UPDATE support_cases SET tenant = 'x'",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with world.engine("escalate").begin() as connection:
                await connection.execute(text(statement))


async def _expire(world: World, case_id: UUID) -> None:
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        await connection.execute(
            "UPDATE escalate.support_case_tokens SET expires_at = now() - interval '1 s'"
            " WHERE case_id = $1",
            case_id,
        )
    finally:
        await connection.close()
