"""The edge of the commands: versions, keys, refusals, and who may (platform reference §1)."""

import asyncio
import json

import asyncpg
import pytest

from services.cases.app import create_app
from services.cases.settings import Settings
from shared.ids import uuid7
from tests.integration.cases.conversation import People
from tests.support.world import World

pytestmark = pytest.mark.integration


async def test_a_refusal_lists_every_unmet_condition(people: People) -> None:
    incident = await people.opened()
    answer = await people.send("ines", incident, "escalate", {"owning_team": " "})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "severity_not_set"
    assert [u["code"] for u in problem["unmet"]] == ["severity_not_set", "owning_team_missing"]


async def test_security_response_does_not_set_the_severity_before_escalation(
    people: People,
) -> None:
    incident = await people.opened()
    answer = await people.send("rita", incident, "set-severity", {"level": "SEV1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "role_missing")


async def test_a_silent_service_team_is_stood_in_for_and_that_is_flagged(people: People) -> None:
    incident = await people.opened()
    await people.does("dora", incident, "set-severity", level="SEV3")
    shown = (await people.get("anna", f"/v1/incidents/{incident}")).json()
    assert shown["severity"]["acting_for"] == "service_team"


async def test_a_stale_version_is_412_and_names_the_current_one(people: People) -> None:
    incident = await people.opened()
    await people.does("sam", incident, "set-severity", level="SEV3")
    answer = await people.send("sam", incident, "set-severity", {"level": "SEV2"}, version=1)
    assert (answer.status_code, answer.json()["code"]) == (412, "stale_version")
    assert answer.json()["current_version"] == 2
    assert answer.headers["etag"] == '"2"'


async def test_of_two_at_the_same_version_one_wins(people: People) -> None:
    incident = await people.opened()
    answers = await asyncio.gather(
        *(
            people.send("sam", incident, "set-severity", {"level": f"SEV{n}"}, version=1)
            for n in range(4)
        )
    )
    assert sorted(a.status_code for a in answers) == [200, 412, 412, 412]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 428, "version_missing"),
        ({"If-Match": "1"}, 422, "malformed"),
        ({"If-Match": '"one"'}, 422, "malformed"),
        ({"If-Match": 'W/"1"'}, 422, "malformed"),
    ],
)
async def test_the_version_has_to_be_named(
    people: People, headers: dict[str, str], status: int, code: str
) -> None:
    incident = await people.opened()
    answer = await people.client.post(
        f"/v1/incidents/{incident}/set-severity",
        json={"level": "SEV3"},
        headers={**people.bearer("sam"), **headers},
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_note_needs_no_version(people: People) -> None:
    incident = await people.opened()
    answer = await people.client.post(
        f"/v1/incidents/{incident}/add-note", json={"text": "hm"}, headers=people.bearer("mia")
    )
    assert answer.status_code == 200
    assert answer.json()["events"] == ["NoteAdded"]


async def test_a_key_makes_it_once(people: People) -> None:
    incident = await people.opened()
    key = {"Idempotency-Key": str(uuid7())}
    body = {"level": "SEV3", "reason": "as agreed"}
    first = await people.send("sam", incident, "set-severity", body, version=1, headers=key)
    again = await people.send("sam", incident, "set-severity", body, version=1, headers=key)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()  # the stale If-Match does not matter: it was done
    other = await people.send(
        "sam", incident, "set-severity", {"level": "SEV1"}, version=2, headers=key
    )
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    shown = (await people.get("anna", f"/v1/incidents/{incident}")).json()
    assert (shown["version"], shown["severity"]["level"]) == (2, "SEV3")


async def test_a_key_belongs_to_its_owner_and_opens_one_incident(people: People) -> None:
    key = {"Idempotency-Key": str(uuid7())}
    body = {"title": "Twice", "reason": "impatient"}
    answers = [
        await people.client.post("/v1/incidents", json=body, headers={**people.bearer(who), **key})
        for who in ("sam", "sam", "ines")
    ]
    ids = [a.json()["incident_id"] for a in answers]
    assert ids[0] == ids[1] != ids[2]
    assert answers[0].headers["location"] == f"/v1/incidents/{ids[0]}"


async def test_racing_repeats_of_one_key_do_it_once(people: People) -> None:
    incident = await people.opened()
    key = {"Idempotency-Key": str(uuid7())}
    answers = await asyncio.gather(
        *(
            people.send("mia", incident, "add-note", {"text": "me too"}, version=1, headers=key)
            for _ in range(6)
        )
    )
    assert {a.status_code for a in answers} == {200}
    assert len({a.text for a in answers}) == 1


async def test_saying_it_twice_is_saying_it_once(people: People) -> None:
    incident = await people.opened()
    await people.does("sam", incident, "set-severity", level="SEV3")
    again = await people.does("sam", incident, "set-severity", level="SEV3")
    assert (again["events"], again["version"]) == ([], 2)


async def test_malformed_bodies_are_422(people: People) -> None:
    incident = await people.opened()
    for body in (
        {},
        {"level": "SEV9"},
        {"level": "SEV1", "colour": "red"},
        {"level": "SEV1", "inputs": {"a": "\ud800"}},
    ):
        answer = await people.client.post(
            f"/v1/incidents/{incident}/set-severity",
            content=json.dumps(body),
            headers={
                "If-Match": '"1"',
                "Content-Type": "application/json",
                **people.bearer("sam"),
            },
        )
        assert answer.status_code == 422, answer.text
    empty = await people.send("rita", incident, "set-scope", {"include": []}, version=1)
    assert empty.status_code == 422  # §5 A10: never "everyone"


async def test_texts_may_hold_anything_that_json_can(people: People) -> None:
    incident = await people.opened("NUL \x00 and \U0001f512")
    await people.does("sam", incident, "add-note", text="\x00 ' ; DROP TABLE events; -- \u2028")
    shown = (await people.get("anna", f"/v1/incidents/{incident}")).json()
    assert shown["title"] == "NUL \x00 and \U0001f512"
    assert shown["notes"][0]["text"].startswith("\x00 '")


async def test_what_is_not_there_is_404(people: People) -> None:
    nowhere = str(uuid7())
    answer = await people.send("sam", nowhere, "set-severity", {"level": "SEV1"}, version=1)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_every_verb_needs_a_role(people: People) -> None:
    incident = await people.opened()
    for person, verb, body in (
        ("anna", "add-note", {"text": "auditors only read"}),
        ("mia", "confirm", {"rationale": "no"}),
        ("otto", "set-severity", {"level": "SEV1"}),
    ):
        answer = await people.send(person, incident, verb, body, version=1)
        assert (answer.status_code, answer.json()["code"]) == (403, "role_missing")
    bare = await people.client.post(f"/v1/incidents/{incident}/close", json={})
    assert bare.status_code == 401


async def test_high_severities_are_closed_by_an_executive(people: People) -> None:
    incident = await people.investigating()
    raised = await people.does("rita", incident, "set-severity", level="SEV0", reason="it spreads")
    assert raised["events"] == ["SeverityChanged"]
    lowered = await people.send(
        "sam", incident, "set-severity", {"level": "SEV3", "reason": "calm"}
    )
    assert lowered.json()["code"] == "lowering_needs_security_response"
    closing = await people.send("rita", incident, "close")
    assert closing.json()["code"] == "role_missing"
    assert {"wrong_state", "not_contained"} <= {u["code"] for u in closing.json()["unmet"]}


async def test_a_full_queue_is_503_and_says_when(world: World) -> None:
    settings = world.settings(Settings, max_waiting_appends=1)
    async with world.running(create_app(settings)) as client:
        people = People(world, client)
        incident = await people.opened()
        blocker = await asyncpg.connect(world.admin_dsn)
        try:
            # The log is held, so that the first append waits and the next finds the queue full.
            async with blocker.transaction():
                await blocker.execute("SELECT FROM cases.log_head FOR UPDATE")
                sent = [
                    asyncio.create_task(
                        people.send("mia", incident, "add-note", {"text": "x"}, version=1)
                    )
                    for _ in range(12)
                ]
                await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
            answers = await asyncio.gather(*sent)
        finally:
            await blocker.close()
    busy = [a for a in answers if a.status_code == 503]
    assert busy
    assert {a.json()["code"] for a in busy} == {"busy"}
    assert all(a.headers["retry-after"] for a in busy)
