"""What escalate copied of an incident goes when cases erased it; who was paged when stays (I10)."""

from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from shared.contracts.cases import IncidentDismissedV1, IncidentErasedV1
from shared.contracts.escalate import IncidentProposedV1, SupportCaseLinkedV1
from shared.ids import uuid7
from tests.integration.escalate.test_detections_to_proposals import send
from tests.integration.escalate.test_severity_gate import (
    about,
    escalated,
    opened,
    settled,
    severity,
    tell,
)
from tests.integration.escalate.test_support_cases import HANDED, bearer, told
from tests.integration.escalate.test_support_cases import opened as case_opened
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import detection

pytestmark = pytest.mark.integration


async def everything(world: World) -> str:
    """Return all that is in escalate's tables; messages age out by themselves."""
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'escalate'"
            " AND tablename NOT IN ('inbox', 'outbox')"
        )
        rows = [
            row["t"]
            for table in tables
            for row in await connection.fetch(
                f'SELECT t::text AS t FROM escalate."{table["tablename"]}" t'  # noqa: S608
            )
        ]
        return "\n".join(rows)
    finally:
        await connection.close()


def erased(incident: UUID, scope: str, version: int = 9) -> IncidentErasedV1:
    named = {**about("9999", version), "incident_id": incident}
    return IncidentErasedV1.model_validate(
        {**named, "erasure_id": uuid7(), "scope": scope, "basis": "data_subject_request"}
    )


async def ended(world: World, name: str, entities: dict[str, str], title: str) -> UUID:
    """Return an incident that came from a detection, was escalated, paged and dismissed."""
    found = detection(
        name, rule=f"rule-{name}", level="critical", entities=entities,
        raw=f"login of {' at '.join(entities.values())} with hunter2",
    )  # fmt: skip
    async with world.bus("detect") as bus:
        await send(bus, found)

    async def proposed() -> list[Any]:
        found_ = await told(world, IncidentProposedV1)
        return [p for p in found_ if p.grouping.entity.value in entities.values()]

    (proposal,) = await until(proposed)
    incident: UUID = proposal.incident_id
    over = IncidentDismissedV1(**about(name, 8), classification="false_positive", reason="x")
    events = (
        opened(name).model_copy(update={"title": title}),
        severity(name, "SEV2", 2, inputs={"details": "presence"}),
        escalated(name, uuid7()),
        over,
    )
    await tell(world, *(event.model_copy(update={"incident_id": incident}) for event in events))
    await settled(world)
    return incident


async def test_of_a_whole_incident_no_word_stays_and_who_was_paged_does(
    world: World, escalate: httpx.AsyncClient
) -> None:
    person = "zaphod@example.com"
    incident = await ended(world, "8001", {"user": person}, f"Odd logins of {person}")
    before = await everything(world)
    assert person in before
    assert "hunter2" in before
    pages = (await escalate.get(f"/v1/pages?incident_id={incident}&limit=200")).json()["items"]
    assert any(person in page["reason"] for page in pages)
    await tell(world, erased(incident, "incident"))
    await settled(world)
    kept = await everything(world)
    assert [word for word in (person, "zaphod", "hunter2") if word in kept.lower()] == []
    after = (await escalate.get(f"/v1/pages?incident_id={incident}&limit=200")).json()["items"]
    same = ("id", "team", "person", "created_at", "sent_at", "acknowledged_by")
    assert [[p.get(k) for k in same] for p in after] == [[p.get(k) for k in same] for p in pages]
    assert {page["reason"] for page in after} == {"[erased]"}
    shown = await escalate.get(f"/v1/proposals/{incident}")
    assert shown.status_code == 200, shown.text
    assert (shown.json()["title"], shown.json()["detections"]) == ("[erased]", [])
    # Told again under another id, as after a lost acknowledgement: nothing is left to do.
    await tell(world, erased(incident, "incident", 10))
    await settled(world)
    assert (await escalate.get(f"/v1/proposals/{incident}")).json() == shown.json()


async def test_of_a_person_all_persons_of_the_incident_go_and_the_rest_stays(
    world: World, escalate: httpx.AsyncClient
) -> None:
    """The message names nobody: what may be about the one who was erased is not kept."""
    both = {"host": "heart-of-gold", "user": "trillian"}
    incident = await ended(world, "8002", both, "Odd logins on heart-of-gold")
    named = await ended(world, "8003", {"user": "tricia"}, "Odd logins of Tricia")
    risky = (await escalate.get("/v1/triage/risk?limit=200")).text
    assert "tricia" in risky
    await tell(world, erased(incident, "person"), erased(named, "person"))
    await settled(world)
    kept = await everything(world)
    assert [word for word in ("trillian", "tricia", "hunter2") if word in kept.lower()] == []
    shown = (await escalate.get(f"/v1/proposals/{incident}")).json()
    assert shown["grouping"]["entity"]["value"] == "heart-of-gold"
    pages = (await escalate.get(f"/v1/pages?incident_id={incident}&limit=200")).json()["items"]
    assert pages
    assert all("heart-of-gold" in page["reason"] for page in pages)
    assert "tricia" not in (await escalate.get("/v1/triage/risk?limit=200")).text


async def test_the_support_case_behind_it_is_blotted_out_and_its_way_stays(
    world: World, escalate: httpx.AsyncClient
) -> None:
    carla = bearer(world, "carla.surname", "customer_contact", "acme")
    iris = bearer(world, "iris", "incident_communications")
    statement = "Ford Prefect saw a login of his."
    case = await case_opened(escalate, carla, title="Login of Ford", statement=statement)
    other = await case_opened(escalate, carla, title="Another", statement="Keeps its file.")
    for of in (case, other):
        answer = await escalate.post(
            f"/v1/support-cases/{of['case_id']}/attachments?name=ford-prefect.txt",
            content=b"shared by two cases",
            headers=carla,
        )
        assert answer.status_code in (200, 201), answer.text
    path = f"/v1/support-cases/{case['case_id']}"
    answer = await escalate.post(
        f"{path}/triage", json={**HANDED, "inputs": {"privacy": "personal"}}, headers=iris
    )
    incident = UUID(answer.json()["incident_id"])
    await until(lambda: told(world, SupportCaseLinkedV1, incident_id=incident))
    reference = (await escalate.get(path, headers=iris)).json()["reference"]
    await tell(world, erased(incident, "incident"))
    await settled(world)
    shown = (await escalate.get(path, headers=iris)).json()
    assert {shown[name] for name in ("title", "statement", "opened_by")} == {"[erased]"}
    assert (shown["reference"], shown["tenant"]) == (reference, "acme")
    assert "Ford" not in str(shown)
    assert "carla" not in str(shown)
    assert [entry["kind"] for entry in shown["log"]][:2] == ["opened", "attached"]
    assert (await escalate.get(path, headers=carla)).json()["statement"] == "[erased]"
    # The other case has its words, and the bytes that both had.
    kept = (await escalate.get(f"/v1/support-cases/{other['case_id']}", headers=iris)).json()
    assert kept["statement"] == "Keeps its file."
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        left = await connection.fetchval("SELECT count(*) FROM escalate.attachments")
        assert left == 1
        await tell(world, erased(UUID(int=7), "incident"))  # of what is not known here: nothing
        await settled(world)
    finally:
        await connection.close()
