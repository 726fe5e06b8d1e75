"""A late subscriber reaches what the API has: a snapshot of one moment, then the stream."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from services.cases.domain import events as e
from services.cases.domain.vocabulary import State
from services.cases.postgres import PostgresStore
from services.cases.relay import STREAM
from shared.ids import uuid7
from tests.integration.cases.conversation import People
from tests.support.golden_events import one_of_each
from tests.support.incidents import story
from tests.support.late_subscriber import LateSubscriber
from tests.support.waiting import until

pytestmark = pytest.mark.integration

READER = "mia"


class Writer:
    """Appends to incidents and remembers where each of them is."""

    def __init__(self, people: People) -> None:
        self._store = PostgresStore(people.world.engine("cases"), people.world.vault)
        self.at: dict[UUID, int] = {}
        self.position = 0

    async def happens(self, key: UUID, *events: e.Event) -> None:
        appended = await self._store.append(
            key, events, expected=self.at.get(key, 0), command_id=uuid7(), digest="d"
        )
        self.at[key], self.position = appended.last_version, appended.last_position


async def caught_up(people: People, subscriber: LateSubscriber, position: int) -> None:
    """Let the subscriber consume from its sequence until the stream has *position*."""

    async def there() -> bool:
        messages = await people.world.messages(STREAM)
        return bool(messages) and int(messages[-1][1]["ce-position"]) >= position

    await until(there)
    for subject, headers, data in (await people.world.messages(STREAM))[subscriber.sequence :]:
        subscriber.take(subject, headers, data)


async def whole(people: People, limit: int = 500) -> LateSubscriber:
    fresh = LateSubscriber()
    await fresh.begin(people.client, people.bearer(READER), limit)
    return fresh


def to(event: str, **changed: Any) -> e.Event:
    return replace(one_of_each()[f"{event}.v1"], **changed)


async def test_snapshot_and_stream_reach_what_the_api_has(people: People) -> None:
    writer = Writer(people)
    keys = [uuid7() for _ in range(9)]
    for key, end in zip(keys, (State.OPENED, State.ESCALATED, State.INVESTIGATING, State.CONFIRMED,
                               State.CONTAINED, State.CLOSED, State.FALSE_POSITIVE, State.MERGED,
                               State.RECOVERED), strict=True):  # fmt: skip
        await writer.happens(key, *story(end))
    await until(lambda: _projected(people, writer.position))
    subscriber = LateSubscriber()
    await subscriber.begin(people.client, people.bearer(READER), limit=4)
    assert subscriber.pages > 1
    # Life goes on: each of them moves, and new ones are opened.
    await writer.happens(keys[0], *story(State.CONFIRMED)[4:])
    await writer.happens(keys[1], to("ClockCorrected"), to("SeverityChanged"))
    await writer.happens(keys[3], to("ConfirmationRetracted"))
    await writer.happens(keys[4], to("ContainmentLost"))
    await writer.happens(keys[5], to("IncidentReopened", former=State.CLOSED))
    await writer.happens(keys[6], to("IncidentReopened", former=State.FALSE_POSITIVE))
    await writer.happens(keys[7], to("IncidentUnmerged"))
    await writer.happens(keys[8], to("ReviewStarted"), to("IncidentClosed"))
    for _ in range(3):
        await writer.happens(uuid7(), *story())
    await caught_up(people, subscriber, writer.position)
    now = await whole(people)
    assert len(now.rows) == 12
    assert subscriber.rows == now.rows
    for name, row in now.rows.items():  # and so does the detail view
        shown = (await people.get(READER, f"/v1/incidents/{name}")).json()
        told = ("number", "version", "position", "title", "state", "merged_into", "services")
        assert {n: shown[n] for n in told} == {n: row[n] for n in told}
        assert (shown["severity"] or {"level": None})["level"] == row["severity"]


async def test_its_pages_are_of_one_moment_whatever_happens_between_them(people: People) -> None:
    writer = Writer(people)
    first, later = uuid7(), uuid7()
    await writer.happens(first, *story(State.ESCALATED))
    await writer.happens(later, *story(State.ESCALATED))
    await until(lambda: _projected(people, writer.position))
    headers = people.bearer(READER)
    page = (await people.client.get("/v1/snapshot", params={"limit": 1}, headers=headers)).json()
    moment = (page["position"], page["stream_seq"])
    assert page["position"] == writer.position
    await writer.happens(later, *story(State.CONFIRMED)[len(story(State.ESCALATED)) :])
    await writer.happens(uuid7(), *story(State.OPENED))
    await until(lambda: _projected(people, writer.position))
    found = {row["incident_id"]: row for row in page["items"]}
    while page["next_cursor"]:
        asked = {"limit": 1, "cursor": page["next_cursor"]}
        page = (await people.client.get("/v1/snapshot", params=asked, headers=headers)).json()
        assert (page["position"], page["stream_seq"]) == moment
        found |= {row["incident_id"]: row for row in page["items"]}
    assert found[str(later)]["state"] == "escalated"
    assert found[str(later)]["version"] == len(story(State.ESCALATED))
    assert max(row["position"] for row in found.values()) <= moment[0]


async def _projected(people: People, position: int) -> bool:
    shown = (await people.get(READER, "/v1/snapshot", limit=1)).json()
    return int(shown["position"]) >= position


async def test_a_subscriber_who_comes_while_people_work_misses_nothing(people: People) -> None:
    writer = Writer(people)
    stop = asyncio.Event()

    async def work() -> None:
        while not stop.is_set():
            key = uuid7()
            for event in story(State.INVESTIGATING):
                await writer.happens(key, event)

    working = asyncio.create_task(work())
    subscribers = [LateSubscriber() for _ in range(3)]
    try:
        for subscriber in subscribers:
            await subscriber.begin(people.client, people.bearer(READER), limit=3)
    finally:
        stop.set()
        await working
    for subscriber in subscribers:
        await caught_up(people, subscriber, writer.position)
    now = await whole(people)
    assert all(subscriber.rows == now.rows for subscriber in subscribers)


async def test_a_restricted_incident_is_not_in_it(people: People) -> None:
    incident = await people.opened("kept among few")
    await people.does("rita", incident, "restrict", reason="an insider")
    assert incident not in (await whole(people)).rows
    answer = await people.get("rita", "/v1/snapshot", limit=500)
    assert incident in {row["incident_id"] for row in answer.json()["items"]}
    reads = await people.get("anna", f"/v1/incidents/{incident}/reads")
    assert ("rita", "snapshot") in [(row["person"], row["what"]) for row in reads.json()["items"]]


async def test_a_cursor_from_elsewhere_is_refused(people: People) -> None:
    for cursor in ("zzz", "MQ==", "MS4tMS4x", "MS4xLng="):
        assert (await people.get(READER, "/v1/snapshot", cursor=cursor)).status_code == 422
