"""Saved views and work lists: what each person sees, keeps, shares and has to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.cases.saved import MOST_VIEWS, SHIPPED
from tests.integration.cases.conversation import TEAM, People

pytestmark = pytest.mark.integration


async def waits(people: People, who: str, incident: str) -> dict[str, dict[str, Any]]:
    """Return what of *incident* waits for *who*, by its kind."""
    answer = await people.get(who, "/v1/work", limit=500)
    assert answer.status_code == 200, answer.text
    items = [x for x in answer.json()["items"] if x["incident"]["incident_id"] == incident]
    return {x["kind"]: x for x in items}


async def investigated(people: People, title: str) -> str:
    incident = await people.opened(title)
    await people.does("sam", incident, "set-severity", level="SEV3")
    await people.does("sam", incident, "escalate", owning_team="crimson")
    await people.does("rita", incident, "form-v-team", members=TEAM, lead="rita")
    return incident


async def test_the_work_list_follows_the_incident(people: People) -> None:
    incident = await people.opened("work to do")
    assert set(await waits(people, "sam", incident)) == {"severity"}  # until escalation it is ST's
    assert await waits(people, "rita", incident) == {}
    await people.does("sam", incident, "set-severity", level="SEV3")
    assert await waits(people, "sam", incident) == {}
    await people.does("sam", incident, "escalate", owning_team="crimson")
    assert set(await waits(people, "rita", incident)) == {"v_team_to_form"}
    await people.does("rita", incident, "form-v-team", members=TEAM, lead="rita")
    assert set(await waits(people, "rita", incident)) == {"v_team"}
    assert await waits(people, "rob", incident) == {}
    due = datetime.now(UTC) + timedelta(minutes=30)
    await people.does(
        "rita", incident, "record-action",
        kind="investigation", text="Read the log", owner="mia", due=due.isoformat(),
    )  # fmt: skip
    mine = (await waits(people, "mia", incident))["action"]
    assert (mine["what"], mine["overdue"]) == ("Read the log", False)
    assert datetime.fromisoformat(mine["due"]) == due
    counts = (await people.get("mia", "/v1/work", limit=1)).json()["counts"]
    assert counts["action"] == 1
    only = (await people.get("rita", "/v1/work", kind="v_team", limit=500)).json()["items"]
    assert {x["kind"] for x in only} == {"v_team"}
    action = mine["ref"]
    await people.does("rita", incident, "update-action", action_id=action, status="done")
    assert await waits(people, "mia", incident) == {}


async def test_nothing_of_a_restricted_incident_waits_for_who_may_not_see_it(
    people: People,
) -> None:
    incident = await people.opened("kept among few")
    assert await waits(people, "sam", incident)
    await people.does("rita", incident, "restrict", reason="an insider is involved")
    assert await waits(people, "sam", incident) == {}
    counts = (await people.get("sam", "/v1/work")).json()["counts"]
    listed = (await people.get("sam", "/v1/work", limit=500)).json()["items"]
    assert sum(counts.values()) == len(listed)


async def shown(people: People, who: str, view: str) -> list[str]:
    answer = await people.get(who, f"/v1/views/{view}/incidents", limit=500)
    assert answer.status_code == 200, answer.text
    return [row["incident_id"] for row in answer.json()["items"]]


async def test_shipped_views_show_what_their_names_say(people: People) -> None:
    incident = await investigated(people, "in the shipped views")
    other = await people.opened("nobody is on it")
    for view in SHIPPED:
        await shown(people, "mia", view)
    assert incident in await shown(people, "sam", "mine")
    assert incident not in await shown(people, "rob", "mine")
    assert other in await shown(people, "rob", "unassigned")
    assert incident not in await shown(people, "rob", "unassigned")
    assert incident in await shown(people, "rob", "awaiting-verdict")
    assert other in await shown(people, "rob", "to-triage")
    for minutes, breaching, overdue in ((90, False, False), (30, True, False), (-5, True, True)):
        due = datetime.now(UTC) + timedelta(minutes=minutes)
        await people.does(
            "rita", incident, "record-action",
            kind="investigation", text="Look", owner="sam", due=due.isoformat(),
        )  # fmt: skip
        assert (incident in await shown(people, "rob", "breaching")) == breaching, minutes
        assert (incident in await shown(people, "rob", "overdue")) == overdue, minutes
    await people.does("rita", incident, "restrict", reason="an insider is involved")
    assert incident in await shown(people, "rita", "restricted")
    assert await shown(people, "mia", "restricted") == []


async def sent(
    people: People, who: str, method: str, path: str, body: Any = None, **headers: str
) -> httpx.Response:
    return await people.client.request(
        method, path, json=body, headers={**people.bearer(who), **headers}
    )


async def test_a_view_is_kept_changed_shared_and_removed_by_its_owner(people: People) -> None:
    incident = await investigated(people, "found by a saved view")
    body = {"name": "On me", "filters": {"person": ["me"], "q": "saved"}}
    made = await sent(people, "sam", "POST", "/v1/views", body)
    assert made.status_code == 201, made.text
    path, version = made.headers["location"], made.headers["etag"]
    key = made.json()["view_id"]
    assert (await sent(people, "sam", "POST", "/v1/views", body)).json()["code"] == "name_taken"
    assert await shown(people, "sam", key) == [incident]
    assert (await people.get("rob", path)).status_code == 404  # not shared: not there
    assert (await sent(people, "rob", "DELETE", path, **{"If-Match": version})).status_code == 404
    shared = {**body, "name": "On whoever asks", "shared": True}
    assert (await sent(people, "sam", "PUT", path, shared)).status_code == 428
    changed = await sent(people, "sam", "PUT", path, shared, **{"If-Match": version})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    stale = await sent(people, "sam", "PUT", path, shared, **{"If-Match": version})
    assert (stale.status_code, stale.json()["current_version"]) == (412, 2)
    assert await shown(people, "ines", key) == [incident]  # `me` is whoever asks
    assert await shown(people, "rob", key) == []
    theirs = await sent(people, "rob", "PUT", path, shared, **{"If-Match": '"2"'})
    assert (theirs.status_code, theirs.json()["code"]) == (403, "not_owner")
    listed = (await people.get("rob", "/v1/views")).json()["items"]
    assert [(x["name"], x["owner"], x["yours"]) for x in listed if not x["shipped"]] == [
        ("On whoever asks", "sam", False)
    ]
    gone = await sent(people, "sam", "DELETE", path, **{"If-Match": '"2"'})
    assert gone.status_code == 204
    assert (await people.get("sam", path)).status_code == 404


async def test_what_is_malformed_or_too_much_is_refused(people: People) -> None:
    for body in (
        {"name": "x"},
        {"name": "", "filters": {}},
        {"name": "x", "filters": {"shoe_size": 7}},
        {"name": "x", "filters": {"state": ["asleep"]}},
        {"name": "x", "filters": {"q": "a\0b"}},
        {"name": "x\0", "filters": {}},
        {"name": "x", "filters": {"due_within": -1}},
    ):
        assert (await sent(people, "mia", "POST", "/v1/views", body)).status_code == 422, body
    half = await people.client.post(
        "/v1/views",
        content=b'{"name": "\\ud800", "filters": {}}',
        headers={**people.bearer("mia"), "Content-Type": "application/json"},
    )
    assert half.status_code == 422
    for n in range(MOST_VIEWS):
        made = await sent(people, "mia", "POST", "/v1/views", {"name": f"v{n}", "filters": {}})
        assert made.status_code == 201
    refused = await sent(people, "mia", "POST", "/v1/views", {"name": "more", "filters": {}})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_views")
    assert (await sent(people, "mia", "DELETE", "/v1/views/mine")).json()["code"] == "not_owner"
    assert (await people.get("mia", "/v1/views/nonsense")).status_code == 404
