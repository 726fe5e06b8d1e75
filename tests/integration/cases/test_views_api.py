"""The read side: queue, detail, timeline, log, moves, workflow and the live stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from services.cases.domain import events as e
from services.cases.postgres import PostgresStore
from shared.ids import uuid7
from tests.integration.cases.conversation import People
from tests.support.golden_events import one_of_each
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def test_the_queue_pages_without_gaps_or_repeats(people: People) -> None:
    opened = [await people.opened(f"page {n}") for n in range(5)]
    seen: list[str] = []
    answer = await people.get("sam", "/v1/incidents", limit=2)
    while True:
        page = answer.json()
        seen += [row["incident_id"] for row in page["items"]]
        if page["next_cursor"] is None:
            break
        assert 'rel="next"' in answer.headers["link"]
        answer = await people.get("sam", "/v1/incidents", limit=2, cursor=page["next_cursor"])
    assert seen[:5] == opened[::-1]
    assert len(seen) == len(set(seen))


async def test_the_queue_filters_by_state_and_severity(people: People) -> None:
    incident = await people.opened("to be filtered")
    await people.does("sam", incident, "set-severity", level="SEV4")
    rows = (
        await people.get("sam", "/v1/incidents", state=["opened", "closed"], severity="SEV4")
    ).json()["items"]
    assert [row["incident_id"] for row in rows] == [incident]
    assert (await people.get("sam", "/v1/incidents", state="closed")).json()["items"] == []
    assert (await people.get("sam", "/v1/incidents", state="asleep")).status_code == 422
    for cursor in ("zzz", "AAAA", "LTE="):
        assert (await people.get("sam", "/v1/incidents", cursor=cursor)).status_code == 422


async def test_an_incident_carries_its_version(people: People) -> None:
    incident = await people.opened()
    answer = await people.get("sam", f"/v1/incidents/{incident}")
    assert answer.headers["etag"] == '"1"'
    assert answer.json()["number"].startswith("TOCSIN-")
    for path in ("", "/timeline", "/moves"):
        assert (await people.get("sam", f"/v1/incidents/{uuid7()}{path}")).status_code == 404


async def test_auditors_read_the_log_others_do_not(people: People) -> None:
    incident = await people.opened("for the auditor")
    await people.does("sam", incident, "add-note", text="one")
    events = (await people.get("anna", f"/v1/incidents/{incident}/events")).json()["items"]
    assert [(e["version"], e["type"]) for e in events] == [
        (1, "IncidentOpened.v1"),
        (2, "NoteAdded.v1"),
    ]
    assert events[0]["data"]["title"] == "for the auditor"
    later = await people.get("anna", f"/v1/incidents/{incident}/events", after=1)
    assert [e["version"] for e in later.json()["items"]] == [2]
    whole = (await people.get("anna", "/v1/events", limit=500)).json()
    assert [e["position"] for e in whole["items"]] == list(range(1, whole["next_after"] + 1))
    assert (await people.get("sam", "/v1/events")).status_code == 403
    assert (await people.get("otto", "/v1/incidents")).status_code == 403
    assert (await people.get("anna", f"/v1/incidents/{uuid7()}/events")).status_code == 404


async def test_the_moves_say_what_is_missing(people: People) -> None:
    incident = await people.opened()

    async def moves(person: str) -> dict[str, Any]:
        found = (await people.get(person, f"/v1/incidents/{incident}/moves")).json()["moves"]
        return {move["verb"]: move for move in found}

    before = await moves("sam")
    assert before["set-severity"]["permitted"]
    assert [u["code"] for u in before["escalate"]["unmet"]] == ["severity_not_set"]
    assert {u["code"] for u in before["form-v-team"]["unmet"]} == {"role_missing", "wrong_state"}
    await people.does("sam", incident, "set-severity", level="SEV2")
    assert (await moves("sam"))["escalate"]["permitted"]
    assert not any(move["permitted"] for move in (await moves("anna")).values())


async def test_the_workflow_is_data(people: People) -> None:
    workflow = (await people.get("anna", "/v1/workflow")).json()
    confirm = next(x for x in workflow["commands"] if x["verb"] == "confirm")
    assert (confirm["from"], confirm["to"]) == (["investigating"], "confirmed")
    verbs = {x["verb"] for x in workflow["commands"] if not x["system_only"]} - {"open"}
    paths = (await people.client.get("/openapi.json")).json()["paths"]
    assert verbs == {
        path.rsplit("/", 1)[1]
        for path, item in paths.items()
        if path.startswith("/v1/incidents/{") and "post" in item
    } - {"evidence"}  # announces an item: an aggregate of its own


async def _events(lines: AsyncIterator[str], count: int) -> list[tuple[int, dict[str, Any]]]:
    """Return the next *count* events of a stream's *lines*."""
    found: list[tuple[int, dict[str, Any]]] = []
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.partition(":")
        if name:
            fields[name] = value
        elif line == "" and "data" in fields:
            found.append((int(fields["id"]), json.loads(fields["data"])))
            fields = {}
            if len(found) == count:
                break
    return found


async def test_the_stream_resumes_where_it_was_left(people: People) -> None:
    incident = await people.opened("streamed")
    await people.does("sam", incident, "add-note", text="one")
    headers = people.bearer("mia")
    async with asyncio.timeout(60):
        async with people.client.stream(
            "GET", "/v1/stream", params={"after": 0, "incident_id": incident}, headers=headers
        ) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            first = await _events(answer.aiter_lines(), 2)
        assert [data["type"] for _, data in first] == ["IncidentOpened", "NoteAdded"]
        other = await people.opened("not streamed")
        await people.does("sam", incident, "add-note", text="two")
        async with people.client.stream(
            "GET",
            "/v1/stream",
            params={"incident_id": incident},
            headers={**headers, "Last-Event-ID": str(first[0][0])},
        ) as answer:
            lines = answer.aiter_lines()
            resumed = await _events(lines, 2)
            assert [data["sentence"] for _, data in resumed] == ["sam noted: one", "sam noted: two"]
            reading = asyncio.create_task(_events(lines, 1))
            await people.does("sam", other, "add-note", text="elsewhere")
            await people.does("sam", incident, "add-note", text="three")
            assert (await reading)[0][1]["sentence"] == "sam noted: three"


async def test_without_a_position_the_stream_begins_now(people: People) -> None:
    incident = await people.opened("before")
    async with (
        asyncio.timeout(60),
        people.client.stream("GET", "/v1/stream", headers=people.bearer("mia")) as answer,
    ):
        lines = answer.aiter_lines()
        assert (await anext(lines)).startswith(":")  # the stream is open from here
        await people.does("sam", incident, "add-note", text="after")
        async for line in lines:
            if line.startswith("data:"):
                assert json.loads(line[5:])["sentence"] == "sam noted: after"
                break


async def test_more_than_a_page_arrives_without_gaps_and_without_what_is_restricted(
    people: People,
) -> None:
    told, hidden = await people.opened("told in full"), await people.opened("kept among few")
    await people.does("rita", hidden, "restrict", reason="an insider")
    store = PostgresStore(people.world.engine("cases"), people.world.vault)
    note = one_of_each()["NoteAdded.v1"]
    assert isinstance(note, e.NoteAdded)
    position = 0
    for at in range(30):
        for incident, version in ((told, 1 + at * 10), (hidden, 2 + at * 10)):
            notes = [replace(note, note_id=uuid7(), text=f"{at}.{n}") for n in range(10)]
            appended = await store.append(
                UUID(incident), notes, expected=version, command_id=uuid7(), digest="d"
            )
            position = appended.last_position
    seen: list[tuple[int, dict[str, Any]]] = []
    async with asyncio.timeout(60):
        last = "0"
        while left := 301 - sum(data["incident_id"] == told for _, data in seen):
            headers = {**people.bearer("mia"), "Last-Event-ID": last}
            async with people.client.stream("GET", "/v1/stream", headers=headers) as answer:
                seen += await _events(answer.aiter_lines(), min(45, left))  # hangs up again
            last = str(seen[-1][0])
    positions = [key for key, _ in seen]
    assert positions == sorted(set(positions))
    assert hidden not in {data["incident_id"] for _, data in seen}
    assert [data["version"] for _, data in seen if data["incident_id"] == told] == [*range(1, 302)]
    assert positions[-1] <= position


async def test_a_silent_stream_has_a_heartbeat(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cases.api_stream.HEARTBEAT", 1.0)
    async with (
        asyncio.timeout(60),
        people.client.stream("GET", "/v1/stream", headers=people.bearer("mia")) as answer,
    ):
        lines = answer.aiter_lines()
        assert (await anext(lines)).startswith(": from")
        async for line in lines:
            if line == ": ping":
                break


async def test_it_says_that_it_is_ready(people: People) -> None:
    async def ready() -> bool:
        return (await people.client.get("/readyz")).status_code == 200

    await until(ready)
