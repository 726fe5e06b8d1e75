"""A restricted incident is not there for who need not know of it, at any door."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from services.cases.need_to_know import UP_TO_DATE
from tests.integration.cases.conversation import TEAM, People

pytestmark = pytest.mark.integration

DOORS = ("", "/timeline", "/events", "/moves", "/analysis", "/related", "/diff?from=1&to=1",
         "?seq=1", "/evidence", "/evidence/manifest")  # fmt: skip
REASON = "the suspect reads along"


async def hidden_one(people: People, title: str) -> str:
    """Return a restricted incident; rita restricted it, the v-team is rita, sam and ines."""
    incident = await people.opened(title)
    await people.does("sam", incident, "set-severity", level="SEV3")
    await people.does("sam", incident, "escalate", owning_team="blue")
    await people.does("rita", incident, "form-v-team", members=TEAM, lead="rita")
    await people.does("rita", incident, "restrict", reason=REASON)
    return incident


async def listed(people: People, person: str, **asked: Any) -> set[str]:
    rows = (await people.get(person, "/v1/incidents", limit=500, **asked)).json()["items"]
    return {row["incident_id"] for row in rows}


async def test_every_door_is_shut_for_others_and_open_for_members(people: People) -> None:
    incident = await hidden_one(people, "aubergine")

    async def knock(person: str, door: str) -> httpx.Response:
        path = f"/v1/incidents/{incident}{door}"
        return await people.client.get(path, headers=people.bearer(person))

    for door in DOORS:
        shut = await knock("rob", door)  # security response may try every door
        assert (shut.status_code, shut.json()["code"]) == (404, "not_found"), door
        assert "aubergine" not in shut.text
    for door in DOORS:
        for person in ("rita", "anna"):
            answer = await knock(person, door)
            assert answer.status_code == 200, (door, person, answer.text)
    for person in ("sam", "ines", "lars", "emil"):
        assert (await knock(person, "")).status_code == 200, person
    assert (await knock("mia", "")).status_code == 404
    assert incident not in await listed(people, "mia")
    assert incident not in await listed(people, "mia", q="aubergine")
    assert (await people.get("mia", "/v1/counts", q="aubergine")).json()["total"] == 0
    assert incident in await listed(people, "sam", q="aubergine")
    assert (await people.get("anna", "/v1/counts", q="aubergine")).json()["total"] == 1
    refused = await people.send("dora", incident, "add-note", {"text": "hello"}, version=5)
    assert refused.status_code == 404


async def test_security_response_outside_reads_the_log_without_it(people: People) -> None:
    incident = await hidden_one(people, "zucchini")
    events = (await people.get("rob", "/v1/events", limit=500)).json()["items"]
    own = [event for event in events if event.get("incident_id") == incident]
    assert own
    assert all(event["withheld"] == ["data"] and event["data"] == {} for event in own)
    assert "zucchini" not in json.dumps(events)
    whole = (await people.get("anna", "/v1/events", limit=500)).json()["items"]
    assert "zucchini" in json.dumps(whole)
    assert [e["position"] for e in whole] == [e["position"] for e in events]
    shut = await people.get("rob", f"/v1/incidents/{incident}/events")
    assert shut.status_code == 404


async def test_the_stream_leaves_it_out(people: People) -> None:
    incident = await hidden_one(people, "radish")
    shown = await people.opened("turnip")

    async def heard(person: str) -> list[str]:
        found = []
        headers = people.bearer(person)
        async with people.client.stream(
            "GET", "/v1/stream", params={"after": 0}, headers=headers
        ) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    found.append(json.loads(line[5:])["incident_id"])
                    if found[-1] == shown:
                        return found
        return found

    assert incident not in await asyncio.wait_for(heard("mia"), 60)
    assert incident in await asyncio.wait_for(heard("sam"), 60)


async def test_breaking_the_glass_is_for_all_to_see(people: People) -> None:
    incident = await hidden_one(people, "chicory")
    path = f"/v1/incidents/{incident}"
    short = await people.send("mia", incident, "break-glass", {"reason": "why not"}, version=1)
    assert short.status_code == 422
    headers = {**people.bearer("mia"), "Idempotency-Key": "glass-1"}
    body = {"reason": "on call alone, the server burns", "minutes": 30}
    for _ in range(2):  # the same key, once
        answer = await people.client.post(f"{path}/break-glass", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["events"] == ["GlassBroken"]
    seen = await people.get("mia", path)
    assert seen.status_code == 200
    row = next(r for r in seen.json()["access"]["grants"] if r["person"] == "mia")
    assert row["glass_broken"] is True
    assert row["reason"] == body["reason"]
    assert incident in await listed(people, "mia")
    sentences = [
        e["sentence"] for e in (await people.get("sam", f"{path}/timeline")).json()["items"]
    ]
    assert any("broke the glass" in sentence for sentence in sentences)
    await people.send("rita", incident, "revoke-access", {"person": "mia", "reason": "not needed"})
    assert (await people.get("mia", path)).status_code == 404
    open_one = await people.opened("not hidden")
    refused = await people.client.post(
        f"/v1/incidents/{open_one}/break-glass", json=body, headers=people.bearer("mia")
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "not_restricted")


async def test_a_grant_ends_when_it_was_said_to(people: People) -> None:
    incident = await hidden_one(people, "parsnip")
    until = datetime.now(UTC) + timedelta(seconds=3)
    granted = {"person": "mia", "reason": "knows it", "until": until.isoformat()}
    await people.send("rita", incident, "grant-access", granted)
    assert (await people.get("mia", f"/v1/incidents/{incident}")).status_code == 200
    assert incident in await listed(people, "mia", q="parsnip")
    await asyncio.sleep(3.2)
    assert (await people.get("mia", f"/v1/incidents/{incident}")).status_code == 404
    assert await listed(people, "mia", q="parsnip") == set()
    past = (until - timedelta(seconds=1)).isoformat()
    body = {"person": "mia", "reason": "x", "until": past}
    refused = await people.send("rita", incident, "grant-access", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "grant_ended")
    await people.does("rita", incident, "lift-restriction", reason="over")
    assert (await people.get("mia", f"/v1/incidents/{incident}")).status_code == 200


async def test_its_evidence_and_those_who_name_it_are_refused_too(people: People) -> None:
    incident = await hidden_one(people, "fennel")
    mine = await people.opened("mine")
    for verb, body in (
        ("merge-into", {"target_id": incident, "reason": "same"}),
        ("link-incident", {"other_id": incident, "relation": "same_actor", "reason": "same"}),
    ):
        refused = await people.send("rob", mine, verb, body, version=1)
        assert refused.status_code == 404, verb


async def test_who_read_it_is_on_record_and_stays_there(people: People) -> None:
    incident = await hidden_one(people, "leek")
    before = datetime.now(UTC)
    await people.get("sam", f"/v1/incidents/{incident}/timeline")
    await people.get("mia", f"/v1/incidents/{incident}/timeline")  # refused: nothing was read
    answer = await people.get("anna", f"/v1/incidents/{incident}/reads")
    rows = [row for row in answer.json()["items"] if row["person"] in {"sam", "mia"}]
    assert [(row["person"], row["roles"], row["what"]) for row in rows] == [
        ("sam", ["service_team"], f"/v1/incidents/{incident}/timeline")
    ]
    assert datetime.fromisoformat(rows[0]["at"]) >= before
    assert (await people.get("sam", f"/v1/incidents/{incident}/reads")).status_code == 403
    for dsn in (people.world.service_dsn("cases"), people.world.admin_dsn):
        connection = await asyncpg.connect(dsn)
        try:
            for statement in ("UPDATE cases.reads SET person = 'x'", "DELETE FROM cases.reads",
                              "TRUNCATE cases.reads"):  # fmt: skip
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        finally:
            await connection.close()


async def test_the_door_does_not_wait_for_the_views(people: People) -> None:
    """What was restricted a moment ago is shut, although no view knows of it yet."""
    incident = await people.opened("endive")
    await people.does("rita", incident, "restrict", reason=REASON)
    connection = await asyncpg.connect(people.world.admin_dsn)
    try:
        await connection.execute("UPDATE cases.incidents SET restricted = false, position = 0")
    finally:
        await connection.close()
    assert (await people.get("mia", f"/v1/incidents/{incident}")).status_code == 404
    assert incident not in await listed(people, "mia")


async def test_what_goes_through_all_incidents_does_not_wait_for_the_views_either(
    people: People,
) -> None:
    incident = UUID(await people.opened("fennel"))
    await people.does("rita", str(incident), "restrict", reason=REASON)
    connection = await asyncpg.connect(people.world.admin_dsn)
    look = (
        "SELECT count(*) FROM cases.incidents i"  # noqa: S608 - constants
        f" WHERE i.incident_id = $1 AND NOT i.restricted AND {UP_TO_DATE}"
    )
    try:
        transaction = connection.transaction()
        await transaction.start()  # nobody else sees the views as they were before
        await connection.execute("SET LOCAL search_path TO cases")
        await connection.execute("UPDATE incidents SET restricted = false")
        assert await connection.fetchval(look, incident) == 1
        await connection.execute(
            "UPDATE projections SET position = (SELECT max(position) - 1 FROM events"
            " WHERE type = 'AccessRestricted.v1') WHERE name = 'incidents'"
        )
        assert await connection.fetchval(look, incident) == 0
        await transaction.rollback()
    finally:
        await connection.close()
