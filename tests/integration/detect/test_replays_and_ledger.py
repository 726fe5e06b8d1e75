"""Replayed blocks double nothing and are marked; evaluated totals per source reach the ledger."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from services.detect.app import create_app
from services.detect.evaluated import report_once
from services.detect.settings import Settings
from services.ingest.blocks import build_block
from services.ingest.envelope import Enveloper, Limits, Sealed
from services.ingest.framing import frame_json
from services.ingest.sources import Source
from shared.clock import utc_now
from shared.cloudevents import Outgoing, outgoing
from shared.contracts.detect import DetectionRaisedV1, EvaluationProgressedV1
from shared.contracts.ingest import (
    REPLAY_BLOCK_SUBJECT,
    REPLAY_ID_HEADER,
    REPLAY_PURPOSE_HEADER,
    Logsource,
    ReplayFinishedV1,
)
from shared.ids import uuid7
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULE = """
title: Export
id: 22222222-2222-4222-8222-222222222222
status: stable
level: high
logsource: {category: application}
detection:
  sel: {action: export}
  condition: sel
"""


def sealed(source_id: str, body: bytes) -> list[Sealed]:
    source = Source(id=source_id, logsource=Logsource(category="application"))
    enveloper = Enveloper(source, None, NOW, Limits(10_000, 32), "k")
    return [s for i in frame_json(body) if isinstance(s := enveloper.seal(i), Sealed)]


def replayed(events: list[Sealed], purpose: str) -> Outgoing:
    block = build_block(events, NOW)
    headers = {
        **block.headers,
        "ce-type": REPLAY_BLOCK_SUBJECT,
        REPLAY_ID_HEADER: str(uuid7()),
        REPLAY_PURPOSE_HEADER: purpose,
    }
    return Outgoing(str(uuid7()), REPLAY_BLOCK_SUBJECT, block.payload, headers)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def detect(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    folder: Path = tmp_path_factory.mktemp("rules")
    (folder / "export.yml").write_text(RULE)
    settings = world.settings(Settings, rules=str(folder), shipped_pack=False)
    async with world.running(create_app(settings)) as client:
        yield client


async def raised(world: World) -> list[DetectionRaisedV1]:
    return [
        DetectionRaisedV1.from_json(body)
        for subject, _, body in await world.messages("DETECTIONS")
        if subject == DetectionRaisedV1.SUBJECT
    ]


async def totals(world: World) -> dict[str, int]:
    found: dict[str, int] = {}
    for subject, _, body in await world.messages("DETECTIONS"):
        if subject == EvaluationProgressedV1.SUBJECT:
            for total in EvaluationProgressedV1.from_json(body).totals:
                found[total.source_id] = max(found.get(total.source_id, 0), total.events)
    return found


async def test_evaluated_totals_are_reported_once_each_block(world: World, detect: object) -> None:
    block = build_block(
        sealed("web", b'{"action":"export"}\n{"a":1}') + sealed("db", b'{"a":1}'), NOW
    )
    async with world.bus("ingest") as bus:
        await bus.publish(block, stream="EVENTS")
        await bus.publish(build_block(sealed("db", b'{"a":2}'), NOW), stream="EVENTS")
        # The same block under a new message id, as after the broker's duplicate window.
        again = Outgoing(str(uuid7()), block.subject, block.payload, block.headers)
        await bus.publish(again, stream="EVENTS")

    async def all_told() -> bool:
        return await totals(world) == {"web": 2, "db": 2}

    await until(all_told)
    assert len(await until(lambda: raised(world))) == 1
    assert await report_once(world.engine("detect"), utc_now) == 0  # nothing counts twice
    assert await totals(world) == {"web": 2, "db": 2}


async def test_a_replay_raises_only_what_is_new_and_says_so(world: World, detect: object) -> None:
    known = sealed("web", b'{"action":"export"}\n{"a":1}')
    missed = sealed("web", b'{"action":"export","n":2}')
    before = await totals(world)
    async with world.bus("ingest") as bus:
        await bus.publish(replayed(known + missed, "detect"), stream="REPLAYS")
        await bus.publish(replayed(known + missed, "detect"), stream="REPLAYS")
        await bus.publish(replayed(sealed("x", b'{"action":"export"}'), "other"), stream="REPLAYS")
        end = ReplayFinishedV1(
            event_id=uuid7(), occurred_at=NOW, replay_id=uuid7(), purpose="detect",
            outcome="complete", events=3, blocks=1,
        )  # fmt: skip
        await bus.publish(outgoing(end, source="ingest"), stream="REPLAYS")

    async def let_go() -> bool:
        return not await world.messages("REPLAYS")  # interest: handled by its only consumer

    await until(let_go)

    async def two() -> list[DetectionRaisedV1]:
        found = await raised(world)
        return found if len(found) > 1 else []

    first, second = await until(two)
    assert (first.replay, second.replay) == (None, True)
    assert second.event_ids == [UUID(str(missed[0].id))]
    assert await totals(world) == before  # a replay is no progress of the ledger
    async with world.engine("detect").connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM detections")) == 2
