"""Bad input to cases, one test a refusal; nothing of it leaves a trace in the log."""

from uuid import UUID

import pytest

from tests.integration.cases.conversation import People

pytestmark = pytest.mark.integration
NOWHERE = UUID(int=1)


async def version(people: People, incident: str) -> int:
    return int((await people.shown(incident))["version"])


async def test_an_unknown_field_is_422_wherever_it_stands(people: People) -> None:
    incident = await people.investigating()
    before = await version(people, incident)
    for verb, body, at in (
        ("record-summary", {"summary": "s", "potential_impact": "p", "mood": "fine"}, "body.mood"),
        ("set-scope", {"include": [{"server": "m1", "rack": "7"}]}, "body.include.0.rack"),
    ):
        refused = await people.send("rita", incident, verb, body)
        assert (refused.status_code, refused.json()["code"]) == (422, "malformed")
        assert at in [error["at"] for error in refused.json()["errors"]]
    assert await version(people, incident) == before


async def test_an_oversized_body_is_413_and_an_oversized_text_422(people: People) -> None:
    incident = await people.opened()
    before = await version(people, incident)
    huge = await people.send("sam", incident, "add-note", {"text": "x" * (3 << 20)})
    assert (huge.status_code, huge.json()["code"]) == (413, "too_large")
    long = await people.send("sam", incident, "add-note", {"text": "x" * 10_001})
    assert long.status_code == 422
    assert await version(people, incident) == before


async def test_a_wrong_state_is_409_and_says_which_would_be_right(people: People) -> None:
    incident = await people.opened()
    body = {"criteria": [{"text": "gone", "met": True}]}
    refused = await people.send("rita", incident, "contain", body)
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:tocsin:problem:wrong_state"
    [wrong, lacking] = refused.json()["unmet"]
    assert wrong["code"] == "wrong_state"
    assert "it is opened" in wrong["detail"]
    assert lacking["code"] == "no_containment_action"


async def test_a_stale_version_is_412_with_the_current_one(people: People) -> None:
    incident = await people.investigating()
    current = await version(people, incident)
    body = {"summary": "s", "potential_impact": "p"}
    stale = await people.send("sam", incident, "record-summary", body, version=current - 1)
    assert (stale.status_code, stale.headers["ETag"]) == (412, f'"{current}"')
    assert stale.json()["current_version"] == current


async def test_what_is_not_there_and_what_is_hidden_read_alike(people: People) -> None:
    hidden = await people.investigating()
    await people.does("rita", hidden, "restrict", reason="an insider")
    for verb, body in (("add-note", {"text": "hm"}), ("record-summary", {"summary": "s"})):
        answers = []
        for incident in (hidden, str(NOWHERE)):
            body = {"potential_impact": "p", **body} if verb == "record-summary" else body
            answer = await people.client.post(
                f"/v1/incidents/{incident}/{verb}",
                json=body,
                headers={"If-Match": '"1"', **people.bearer("rob")},
            )
            told = answer.json()
            answers.append((answer.status_code, told["code"], told["detail"]))
        assert answers[0] == answers[1]
        assert answers[0][:2] == (404, "not_found")
