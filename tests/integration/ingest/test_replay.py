"""Replay: the store's events again, verbatim, in order, marked; resumed, stopped, asked for."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.detect.app import create_app as create_detect
from services.detect.settings import Settings as DetectSettings
from services.ingest.replay import records
from services.ingest.replay.runner import Replayer
from services.ingest.search.pool import Searchers
from services.ingest.search.service import SearchService
from services.ingest.store.batch import Store
from shared.bus import Bus, BusUnavailableError, PubAck
from shared.clock import rfc3339, utc_now
from shared.cloudevents import Outgoing, outgoing
from shared.contracts.detect import DetectionRaisedV1, ReplayRequestedV1
from shared.contracts.ingest import (
    REPLAY_BLOCK_SUBJECT,
    REPLAY_ID_HEADER,
    REPLAY_PURPOSE_HEADER,
    ReplayFinishedV1,
    decode_block,
)
from shared.ids import uuid7
from tests.support.log_store import NOW, is_stored, publish, sealed, storing
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration
EVENTS = 7000  # more than one portion
WINDOW = {"from": rfc3339(NOW - timedelta(hours=1)), "to": rfc3339(NOW + timedelta(days=1))}
FOLDER: dict[str, Path] = {}
RULE = """
title: Late lesson
id: 33333333-3333-4333-8333-333333333333
status: stable
level: high
logsource: {category: application}
detection:
  sel: {action: overlooked}
  condition: sel
"""


def events() -> list[dict[str, Any]]:
    return [
        {"n": n, "time": rfc3339(NOW + timedelta(seconds=n)), "action": "overlooked" * (n == 4321)}
        for n in range(EVENTS)
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    folder = FOLDER["store"] = tmp_path_factory.mktemp("replayed")
    settings = {"replay_events_per_second": 1_000_000}
    async with storing(world, folder, **settings) as client:
        await publish(world, sealed(events()))
        await is_stored(client, EVENTS)
        yield client


async def over(client: httpx.AsyncClient, replay_id: str) -> dict[str, Any]:
    async def ended() -> dict[str, Any] | None:
        shown: dict[str, Any] = (await client.get(f"/v1/replays/{replay_id}")).json()
        return shown if shown["state"] in {"complete", "cancelled", "failed"} else None

    found: dict[str, Any] = await until(ended)
    return found


async def blocks_of(world: World, replay_id: str) -> list[tuple[dict[str, str], bytes]]:
    return [
        (headers, body)
        for subject, headers, body in await world.messages("REPLAYS")
        if subject == REPLAY_BLOCK_SUBJECT and headers[REPLAY_ID_HEADER] == replay_id
    ]


async def ends_of(world: World) -> list[ReplayFinishedV1]:
    return [
        ReplayFinishedV1.from_json(body)
        for subject, _, body in await world.messages("REPLAYS")
        if subject == ReplayFinishedV1.SUBJECT
    ]


async def test_a_replay_is_the_stored_events_in_order_and_says_when_it_ends(
    world: World, client: httpx.AsyncClient
) -> None:
    asked = {"json": {**WINDOW, "purpose": "backtest"}, "headers": {"idempotency-key": "r1"}}
    first = await client.post("/v1/replays", **asked)  # type: ignore[arg-type]
    assert first.status_code == 202, first.text
    again = await client.post("/v1/replays", **asked)  # type: ignore[arg-type]
    replay_id = first.json()["replay_id"]
    assert again.json()["replay_id"] == replay_id
    shown = await over(client, replay_id)
    assert (shown["state"], shown["events"], shown["progress"]) == ("complete", EVENTS, 1.0)

    async def announced() -> list[ReplayFinishedV1]:
        return [e for e in await ends_of(world) if str(e.replay_id) == replay_id]

    [end] = await until(announced)
    assert (end.events, end.blocks, end.outcome) == (EVENTS, shown["blocks"], "complete")
    blocks = await blocks_of(world, replay_id)
    assert {h[REPLAY_PURPOSE_HEADER] for h, _ in blocks} == {"backtest"}
    replayed = [e for h, b in blocks for e in decode_block(h, b)]
    assert [e["raw"] for e in replayed] == events()
    listed = (await client.get("/v1/replays")).json()["items"]
    assert listed[0]["replay_id"] == replay_id


async def test_detect_asks_by_message_and_a_bad_query_is_told(
    world: World, client: httpx.AsyncClient
) -> None:
    ids = [uuid7(), uuid7()]
    async with world.bus("detect") as bus:
        for replay_id, query in zip(ids, ["n:<10", "n:("], strict=True):
            wanted = ReplayRequestedV1(
                event_id=uuid7(),
                occurred_at=utc_now(),
                replay_id=replay_id,
                purpose="backtest",
                from_time=NOW,
                to_time=NOW + timedelta(days=1),
                query=query,
                requested_by="dora",
            )
            await bus.publish(outgoing(wanted, source="detect"), stream="DETECTIONS")

    async def both() -> dict[str, ReplayFinishedV1] | None:
        ends = {str(e.replay_id): e for e in await ends_of(world)}
        return ends if {str(i) for i in ids} <= set(ends) else None

    ends = await until(both)
    good, bad = (ends[str(i)] for i in ids)
    assert (good.outcome, good.events) == ("complete", 10)
    assert (bad.outcome, bad.events) == ("failed", 0)
    assert "character" in (bad.reason or "")


class _Interrupted(Bus):
    """A bus that fails once, after so many messages: the process died there."""

    def __init__(self, inner: Bus, after: int) -> None:
        self._inner, self._left = inner, after

    async def publish(
        self, message: Outgoing, *, stream: str, expected_last_msg_id: str | None = None
    ) -> PubAck:
        self._left -= 1
        if self._left < 0:
            raise BusUnavailableError("killed")
        return await self._inner.publish(message, stream=stream)


async def test_a_replay_that_is_cut_off_goes_on_where_it_was(
    world: World, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    """Another replica takes it over; a lock keeps the two from doing it at the same time."""
    engine = world.engine("ingest")
    replay_id = uuid7()
    store = Store(str(FOLDER["store"] / "store"), tmp_path, 1 << 30, 256)
    searchers = Searchers(store, 1, 1, 60)
    search = SearchService(engine, searchers, 8 << 20, utc_now)
    try:
        async with engine.begin() as connection:
            await records.add(
                connection, identity=replay_id, purpose="backtest", start=NOW,
                end=NOW + timedelta(days=1), query=None, requested_by="x", now=utc_now(),
            )  # fmt: skip
        async with world.bus("ingest") as bus:
            with pytest.raises(BusUnavailableError):
                await Replayer(engine, _Interrupted(bus, 12), search, 10**9, utc_now).once()
            cut = await records.find(engine, replay_id)
            assert cut is not None
            assert (cut.state, cut.events) == ("running", 5000)
            await Replayer(engine, bus, search, 10**9, utc_now).once()
    finally:
        searchers.close()
    done = await records.find(engine, replay_id)
    assert done is not None
    assert (done.state, done.events) == ("complete", EVENTS)
    found = [e["id"] for h, b in await blocks_of(world, str(replay_id)) for e in decode_block(h, b)]
    assert len(found) == len(set(found)) == EVENTS  # what went out twice bore the same id


async def test_stopping_and_refusals(world: World, client: httpx.AsyncClient) -> None:
    bad = await client.post("/v1/replays", json={**WINDOW, "query": "a:("})
    assert (bad.status_code, bad.json()["code"]) == (422, "query_malformed")
    turned = {"from": WINDOW["to"], "to": WINDOW["from"]}
    assert (await client.post("/v1/replays", json=turned)).status_code == 422
    done = (await client.get("/v1/replays?limit=1")).json()["items"][0]["replay_id"]
    over_already = await client.delete(f"/v1/replays/{done}")
    assert (over_already.status_code, over_already.json()["code"]) == (409, "replay_over")
    assert (await client.get(f"/v1/replays/{uuid7()}")).status_code == 404
    auditor = {"authorization": f"Bearer {world.token('au', 'auditor')}"}
    assert (await client.post("/v1/replays", json=WINDOW, headers=auditor)).status_code == 403


async def test_a_rule_that_came_late_finds_what_was_overlooked_once(
    world: World, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    """R14b: incident missed, lesson, new rule, replay of the same log now detects."""
    (tmp_path / "late.yml").write_text("title: nothing yet\n")
    settings = world.settings(
        DetectSettings, rules=str(tmp_path), shipped_pack=False, reload_seconds=0.2
    )

    async def detections() -> list[DetectionRaisedV1]:
        return [
            DetectionRaisedV1.from_json(body)
            for subject, _, body in await world.messages("DETECTIONS")
            if subject == DetectionRaisedV1.SUBJECT
        ]

    async with world.running(create_detect(settings)) as detect:

        async def equal() -> bool:
            ledger = (await client.get("/v1/ledger")).json()
            return bool(ledger["complete"] and ledger["sources"][0]["evaluated"] == EVENTS)

        await until(equal)  # R13a: accepted = stored = evaluated
        assert await detections() == []
        (tmp_path / "late.yml").write_text(RULE)
        detect.headers["authorization"] = client.headers["authorization"]

        async def loaded() -> bool:
            return bool((await detect.get("/v1/rules")).json()["loaded"] == 1)

        await until(loaded)
        for _ in range(2):
            order = {**WINDOW, "query": "action:*", "purpose": "detect"}
            started = (await client.post("/v1/replays", json=order)).json()
            assert (await over(client, started["replay_id"]))["state"] == "complete"

        async def consumed() -> bool:
            return not await world.messages("REPLAYS")

        await until(consumed)
        found = await until(detections)
        assert [(d.title, d.replay) for d in found] == [("Late lesson", True)]
        ledger = (await client.get("/v1/ledger")).json()
        assert ledger["sources"][0]["evaluated"] == EVENTS  # a replay is no progress
