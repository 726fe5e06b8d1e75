"""The past of an incident is what its view said at the time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.ids import uuid7
from tests.integration.cases.conversation import TEAM, People

pytestmark = pytest.mark.integration

# What the present says and the past does not: where it goes on since.
PRESENT_ONLY = ("canonical_id",)


async def now_of(people: People, incident: str) -> dict[str, Any]:
    document: dict[str, Any] = (await people.get("anna", f"/v1/incidents/{incident}")).json()
    return {key: value for key, value in document.items() if key not in PRESENT_ONLY}


async def test_every_version_is_as_the_view_was_then(people: People) -> None:
    incident, other = await people.opened("the past"), await people.opened("the other")
    seen = [await now_of(people, incident)]
    for person, verb, body in (
        ("sam", "add-note", {"text": "first"}),
        ("sam", "set-severity", {"level": "SEV3"}),
        ("sam", "escalate", {"owning_team": "blue"}),
        ("rita", "form-v-team", {"members": TEAM, "lead": "rita"}),
        ("lars", "add-note", {"text": "liable", "visibility": "legal_privileged"}),
        ("rita", "link-incident", {"other_id": other, "relation": "same_actor", "reason": "x"}),
    ):
        answer = await people.send(person, incident, verb, body)
        assert answer.status_code == 200, answer.text
        seen.append(await now_of(people, incident))
    # the other end of a link changes without an event of its own
    await people.send("rita", other, "set-severity", {"level": "SEV3"})

    for then in seen:
        past = await people.get("anna", f"/v1/incidents/{incident}", seq=then["version"])
        assert past.json() == then
        assert "etag" not in past.headers
    later = seen[-1]["version"] + 1
    path = f"/v1/incidents/{incident}"
    assert (await people.get("anna", path, seq=later)).status_code == 404
    assert (await people.get("anna", f"/v1/incidents/{uuid7()}", seq=1)).status_code == 404
    assert (await people.get("anna", path, seq=0)).status_code == 422

    withheld = (await people.get("rita", path, seq=later - 1)).json()["notes"]
    assert [note["text"] for note in withheld] == ["first", None]


async def test_the_other_end_of_a_link_is_in_the_past_too(people: People) -> None:
    one, two = await people.opened("one"), await people.opened("two")
    for incident in (one, two):
        await people.send("sam", incident, "set-severity", {"level": "SEV3"})
        await people.send("sam", incident, "escalate", {"owning_team": "blue"})
        await people.send("rita", incident, "form-v-team", {"members": TEAM, "lead": "rita"})
    body = {"other_id": two, "relation": "same_vector", "reason": "both by mail"}
    await people.send("rita", one, "link-incident", body)
    linked = await now_of(people, two)
    assert [row["made_here"] for row in linked["links"]] == [False]
    past = await people.get("anna", f"/v1/incidents/{two}", seq=linked["version"])
    assert past.json() == linked
    assert (await people.get("anna", f"/v1/incidents/{two}", seq=1)).json()["links"] == []


async def test_an_instant_is_answered_with_what_was_known_then(people: People) -> None:
    before = datetime.now(UTC)
    incident = await people.opened("by instant")
    opened = await now_of(people, incident)
    events = (await people.get("anna", f"/v1/incidents/{incident}/events")).json()["items"]
    between = events[0]["recorded_at"]
    await people.send("sam", incident, "add-note", {"text": "later"})
    path = f"/v1/incidents/{incident}"
    assert (await people.get("anna", path, as_of=between)).json() == opened
    now = datetime.now(UTC).isoformat()
    assert (await people.get("anna", path, as_of=now)).json() == await now_of(people, incident)
    refused = await people.get("anna", path, as_of=(before - timedelta(hours=1)).isoformat())
    assert (refused.status_code, refused.json()["code"]) == (404, "not_yet")
    for wrong in (
        {"as_of": (before + timedelta(days=1)).isoformat()},
        {"as_of": "2026-11-24T12:00:00"},
        {"as_of": now, "seq": 1},
    ):
        assert (await people.get("anna", path, **wrong)).status_code == 422


async def test_the_difference_names_what_changed_and_why(people: People) -> None:
    incident = await people.opened("to compare")
    await people.send("sam", incident, "add-note", {"text": "seen twice"})
    await people.send(
        "lars", incident, "add-note", {"text": "s3", "visibility": "legal_privileged"}
    )
    path = f"/v1/incidents/{incident}/diff"
    answer = (await people.get("rita", path, **{"from": 1, "to": 3})).json()
    assert (answer["from_version"], answer["to_version"]) == (1, 3)
    added = {change["path"]: change for change in answer["changes"]}
    assert set(added) >= {"/notes/0", "/notes/1"}
    assert added["/notes/0"]["after"]["text"] == "seen twice"
    assert added["/notes/1"]["after"]["text"] is None
    assert len(answer["events"]) == 2
    assert "s3" not in str(answer)
    back = (await people.get("rita", path, **{"from": 3, "to": 1})).json()
    assert {change["op"] for change in back["changes"]} == {"remove"}
    assert (await people.get("rita", path, **{"from": "yesterday", "to": 1})).status_code == 422
    assert (await people.get("rita", path, **{"from": 1, "to": 99})).status_code == 404
