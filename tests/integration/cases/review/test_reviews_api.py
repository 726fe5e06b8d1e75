"""The post-incident review over HTTP: from start-review to sign-off, and what goes out of it."""

from datetime import timedelta
from typing import Any

import pytest

from shared.clock import rfc3339, utc_now
from shared.contracts.cases import LessonLearnedV1, ReviewRecordedV1
from tests.integration.cases.conversation import People
from tests.support.waiting import until

pytestmark = pytest.mark.integration

LESSON: dict[str, Any] = {
    "category": "new_vector",
    "text": "Nothing watches sshd on the bastion.",
    "attack_vector": "attrition",
    "techniques": ["T1110.001"],
    "proposed_rule": "title: sshd on the bastion",
    "rule_ids": ["rule-ssh"],
}


def item(**changes: Any) -> dict[str, Any]:
    due = rfc3339(utc_now() + timedelta(days=30))
    return {
        "text": "Ship the log",
        "owner": "sam",
        "due": due,
        "target": "logging_requirement",
        **changes,
    }


async def shown(people: People, review: str, person: str = "anna") -> dict[str, Any]:
    answer = await people.get(person, f"/v1/reviews/{review}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_review_from_the_start_to_the_closed_incident(people: People) -> None:
    incident, review = await people.in_review()
    begun = await shown(people, review)
    assert begun["state"] == "open"
    assert begun["version"] == 1
    assert begun["timeline"]["started_by"] == "rita"

    # An action that is still open can only be closed over as an improvement item.
    open_action = await people.does(
        "sam", incident, "record-action", kind="investigation", text="Ask the vendor", owner="sam"
    )
    action = open_action["created"]["action_id"]
    refused = await people.asks("rita", review, "create-improvement-item", item(action_id=action))
    assert refused.json()["code"] == "action_unknown"  # it came after the freeze
    await people.reviews("rita", review, "freeze-timeline")

    lesson = await people.reviews("dan", review, "record-lesson", **LESSON)
    key = lesson["created"]["lesson_id"]
    early = await people.asks("rita", review, "submit")
    assert {unmet["code"] for unmet in early.json()["unmet"]} == {
        "summary_missing",
        "evaluation_missing",
        "lesson_without_item",
    }
    created = await people.reviews(
        "rita", review, "create-improvement-item", **item(lesson_id=key, action_id=action)
    )
    await people.reviews(
        "sam", review, "record-summary", sequence="At night.", technical_summary="A password."
    )
    await people.reviews(
        "rita", review, "evaluate-response", sufficient=True, complete=False, text="m2 came late"
    )
    await people.reviews("rita", review, "submit")
    own = await people.asks("rita", review, "sign-off")
    assert own.json()["code"] == "approver_is_author"
    await people.reviews("rob", review, "send-back", reason="Name the actor.")
    await people.reviews("rita", review, "submit")
    blocked = await people.send("rita", incident, "close")
    assert {unmet["code"] for unmet in blocked.json()["unmet"]} == {"review_open"}
    moves = (await people.get("rita", f"/v1/incidents/{incident}/moves")).json()["moves"]
    [close] = [move for move in moves if move["verb"] == "close"]
    assert [unmet["code"] for unmet in close["unmet"]] == ["review_open"]
    await people.reviews("rob", review, "sign-off", note="good")

    closed = await people.does("rita", incident, "close")
    assert closed["events"] == ["IncidentClosed"]
    checklist = (await people.shown(incident))["closure"]["checklist"]
    assert checklist["review"] == "completed"
    assert checklist["actions"] == "2, 1 as improvement items"

    # Items live on after the review and the incident.
    done = {"item_id": created["created"]["item_id"], "reference": "change 77"}
    await people.reviews("sam", review, "complete-improvement-item", **done)
    final = await shown(people, review)
    assert final["state"] == "completed"
    assert final["improvement_items"][0]["done"]["reference"] == "change 77"
    assert [row["version"] for row in final["history"]] == list(range(1, final["version"] + 1))


async def test_the_frozen_timeline_ends_where_it_was_frozen(people: People) -> None:
    incident, review = await people.in_review()
    await people.does("sam", incident, "add-note", text="too late for the review")
    frozen = (await people.get("sam", f"/v1/reviews/{review}/timeline")).json()
    assert frozen["items"][-1]["type"] == "ReviewStarted"
    assert frozen["incident_version"] == frozen["items"][-1]["version"]
    of = (await people.get("sam", f"/v1/incidents/{incident}/reviews")).json()["items"]
    assert [row["review_id"] for row in of] == [review]


async def test_a_waiver_closes_too_but_not_by_who_started_it(people: People) -> None:
    incident, review = await people.in_review()
    assert (await people.asks("rita", review, "waive", {"reason": "r"})).status_code == 403
    await people.reviews("emil", review, "waive", reason="the same as yesterday's")
    assert (await people.does("rita", incident, "close"))["events"] == ["IncidentClosed"]


async def test_a_lesson_goes_out_in_full_and_the_rest_by_name(people: People) -> None:
    incident, review = await people.in_review()
    answer = await people.reviews("dan", review, "record-lesson", **LESSON)

    async def published() -> list[tuple[str, Any, bytes]]:
        messages = await people.world.messages("CASES")
        mine = [m for m in messages if review.encode() in m[2]]
        return mine if len(mine) >= 2 else []

    frozen, learned = await until(published)
    assert frozen[0] == ReviewRecordedV1.SUBJECT
    lesson = LessonLearnedV1.from_json(learned[2])
    assert str(lesson.incident_id) == incident
    assert str(lesson.lesson_id) == answer["created"]["lesson_id"]
    assert lesson.proposed_rule == "title: sshd on the bastion"
    assert learned[1]["ce-subject"] == review


async def test_versions_keys_and_what_is_not_there(people: People) -> None:
    _, review = await people.in_review()
    path = f"/v1/reviews/{review}/record-lesson"
    bare = await people.client.post(path, json=LESSON, headers=people.bearer("dan"))
    assert bare.status_code == 428
    stale = await people.client.post(
        path, json=LESSON, headers={"If-Match": '"9"', **people.bearer("dan")}
    )
    assert (stale.status_code, stale.headers["ETag"]) == (412, '"1"')
    keyed = {"If-Match": '"1"', "Idempotency-Key": "k1", **people.bearer("dan")}
    first = await people.client.post(path, json=LESSON, headers=keyed)
    again = await people.client.post(path, json=LESSON, headers=keyed)
    assert first.json() == again.json()
    other = await people.client.post(path, json={**LESSON, "text": "x"}, headers=keyed)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    unknown = await people.client.post(
        path.replace(review, "00000000-0000-0000-0000-000000000001"), json=LESSON, headers=keyed
    )
    assert unknown.status_code in (404, 422)
    assert (await people.get("sam", f"/v1/reviews/{review[:-1]}0/moves")).status_code == 404
    extra = await people.asks("dan", review, "record-lesson", {**LESSON, "mood": "fine"})
    assert extra.status_code == 422


async def test_improvement_items_are_listed_by_due_date_and_page(people: People) -> None:
    _, review = await people.in_review()
    keys = []
    for day in (3, 1, 2):
        due = rfc3339(utc_now() + timedelta(days=day))
        body = item(due=due, owner="olga", target="rule")
        made = await people.reviews("rita", review, "create-improvement-item", **body)
        keys.append(made["created"]["item_id"])
    third, first, second = keys
    path = "/v1/improvement-items"
    page = (await people.get("sam", path, owner="olga", done=False, limit=2)).json()
    assert [row["item_id"] for row in page["items"]] == [first, second]
    rest = await people.get("sam", path, owner="olga", done=False, after=page["next_after"])
    assert [row["item_id"] for row in rest.json()["items"]] == [third]
    await people.reviews(
        "sam", review, "complete-improvement-item", item_id=first, reference="change 1"
    )
    done = (await people.get("sam", path, owner="olga", done=True, target="rule")).json()["items"]
    assert [row["item_id"] for row in done] == [first]


async def test_a_restricted_incidents_review_is_not_there_for_others(people: People) -> None:
    incident, review = await people.in_review()
    await people.reviews("rita", review, "create-improvement-item", **item(owner="quentin"))
    await people.does("rita", incident, "restrict", reason="an insider")
    for path in (
        f"/v1/reviews/{review}",
        f"/v1/reviews/{review}/moves",
        f"/v1/reviews/{review}/timeline",
        f"/v1/incidents/{incident}/reviews",
    ):
        assert (await people.get("dan", path)).status_code == 404
        assert (await people.get("anna", path)).status_code == 200
    hidden = await people.get("dan", "/v1/improvement-items", owner="quentin")
    assert hidden.json()["items"] == []
    refused = await people.client.post(
        f"/v1/reviews/{review}/record-lesson",
        json=LESSON,
        headers={"If-Match": '"2"', **people.bearer("dan")},
    )
    assert refused.status_code == 404
    reads = (await people.get("anna", f"/v1/incidents/{incident}/reads")).json()["items"]
    assert any(review in row["what"] for row in reads)
    log = (await people.get("rob", "/v1/events", after=0, limit=500)).json()["items"]
    assert all(event["data"] == {} for event in log if event.get("review_id") == review)
