"""Correlations in the service: across blocks, restarts and repetitions, each finding once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import orjson
import pytest
import pytest_asyncio
from sqlalchemy import text

from services.detect.app import create_app
from services.detect.settings import Settings
from services.ingest.blocks import build_block
from services.ingest.envelope import Enveloper, Limits, Sealed
from services.ingest.framing import frame_json
from services.ingest.sources import Source
from shared.bus import Bus
from shared.clock import utc_now
from shared.cloudevents import Outgoing
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.ingest import (
    REPLAY_BLOCK_SUBJECT,
    REPLAY_ID_HEADER,
    REPLAY_PURPOSE_HEADER,
    Logsource,
)
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration

RULES = """
title: A failed sign-in
name: failed
id: 21111111-1111-4111-8111-111111111111
logsource: {category: application, service: login}
detection: {s: {outcome: failure}, condition: s}
---
title: A sign-in
name: success
id: 22222222-2222-4222-8222-222222222222
logsource: {category: application, service: login}
detection: {s: {outcome: success}, condition: s}
---
title: Many failed sign-ins
name: many
id: 23333333-3333-4333-8333-333333333333
correlation:
  type: event_count
  rules: [failed]
  group-by: [user]
  timespan: 10m
  condition: {gte: 6}
level: medium
---
title: A guessed password
id: 24444444-4444-4444-8444-444444444444
tags: [attack.credential-access, attack.t1110.001]
level: high
correlation:
  type: temporal_ordered
  rules: [many, success]
  group-by: [user]
  timespan: 10m
"""
SOURCE = Source(
    id="login", tenant="t1", service="login", server="l1",
    logsource=Logsource(category="application", service="login"),
)  # fmt: skip


def block(begin: datetime, user: str, outcomes: str) -> Outgoing:
    """Return a block with an event a second: f a failure, s a success."""
    enveloper = Enveloper(SOURCE, None, begin, Limits(64 * 1024, 32))
    lines = b"\n".join(
        orjson.dumps(
            {
                "time": (begin + timedelta(seconds=i)).isoformat(),
                "user": user,
                "src_ip": "203.0.113.9",
                "outcome": {"f": "failure", "s": "success"}[letter],
            }
        )
        for i, letter in enumerate(outcomes)
    )
    sealed = [s for i in frame_json(lines) if isinstance(s := enveloper.seal(i), Sealed)]
    assert len(sealed) == len(outcomes)
    return build_block(sealed, begin)


@pytest_asyncio.fixture(loop_scope="session")
async def bus(world: World) -> AsyncIterator[Bus]:
    async with world.bus("ingest") as bus:
        yield bus


def app_settings(world: World, folder: Path, **more: object) -> Settings:
    (folder / "r.yml").write_text(RULES)
    return world.settings(
        Settings, rules=str(folder), shipped_pack=False, correlation_lateness_seconds=1, **more
    )


async def found(world: World, title: str, user: str) -> list[DetectionRaisedV1]:
    raised = [
        DetectionRaisedV1.from_json(data)
        for subject, _, data in await world.messages("DETECTIONS")
        if subject == DetectionRaisedV1.SUBJECT
    ]
    return [d for d in raised if d.title == title and any(e.value == user for e in d.entities)]


async def evaluated(world: World, sent: Outgoing) -> bool:
    async with world.engine("detect").connect() as connection:
        query = text("SELECT EXISTS (SELECT FROM blocks WHERE id = :id)")
        return bool(await connection.scalar(query, {"id": UUID(sent.id)}))


async def test_a_chain_is_found_with_its_evidence(world: World, bus: Bus, tmp_path: Path) -> None:
    begin = utc_now() - timedelta(minutes=1)
    async with world.running(create_app(app_settings(world, tmp_path))) as client:
        await bus.publish(block(begin, "alice", "ffffff"), stream="EVENTS")
        await bus.publish(block(begin + timedelta(seconds=20), "alice", "s"), stream="EVENTS")
        await bus.publish(block(begin, "bob", "fffffs"), stream="EVENTS")
        await until(lambda: found(world, "A guessed password", "alice"))
        await asyncio.sleep(0)
        (guessed,) = await found(world, "A guessed password", "alice")
        assert guessed.technique == "correlation"
        assert guessed.level == "high"
        assert guessed.attack_techniques == ["T1110.001"]
        assert guessed.source_id == "login"
        assert guessed.tenant == "t1"
        assert len(guessed.event_ids) == 7
        assert {(e.type, e.value) for e in guessed.entities} >= {
            ("user", "alice"), ("ip", "203.0.113.9"),
        }  # fmt: skip
        assert {r.pattern for r in guessed.reasons} >= {"success"}
        assert {s.raw.count("success") for s in guessed.samples} >= {1}
        # What a correlation counts does not speak for itself: neither events nor the lower step.
        assert await found(world, "A failed sign-in", "alice") == []
        assert await found(world, "Many failed sign-ins", "alice") == []
        assert await found(world, "A guessed password", "bob") == []
        shown = await client.get(
            f"/v1/detections/{guessed.detection_id}",
            headers={"Authorization": f"Bearer {world.token('d', 'detection_engineer')}"},
        )
        assert shown.json()["technique"] == "correlation"


async def test_a_restart_in_mid_window_loses_and_doubles_nothing(
    world: World, bus: Bus, tmp_path: Path
) -> None:
    begin = utc_now() - timedelta(minutes=1)
    first = block(begin, "carol", "fff")
    second = block(begin + timedelta(seconds=10), "carol", "fff")
    third = block(begin + timedelta(seconds=20), "carol", "s")
    settings = app_settings(world, tmp_path)
    async with world.running(create_app(settings)):
        await bus.publish(first, stream="EVENTS")
        await until(lambda: evaluated(world, first))
    async with world.running(create_app(settings)):
        await bus.publish(second, stream="EVENTS")
        await until(lambda: evaluated(world, second))
    # The same block once more, under another message id: as if its acknowledgement was lost.
    again = Outgoing("again", second.subject, second.payload, second.headers)
    async with world.running(create_app(settings)):
        await bus.publish(again, stream="EVENTS")
        await bus.publish(third, stream="EVENTS")
        (guessed,) = await until(lambda: found(world, "A guessed password", "carol"))
        assert len(guessed.event_ids) == 7
    async with world.running(create_app(settings)):
        last = block(begin + timedelta(seconds=21), "dave", "ffffffs")
        await bus.publish(last, stream="EVENTS")
        await until(lambda: found(world, "A guessed password", "dave"))
    assert len(await found(world, "A guessed password", "carol")) == 1


async def test_two_processes_share_the_partitions_and_one_takes_over(
    world: World, bus: Bus, tmp_path: Path
) -> None:
    begin = utc_now() - timedelta(minutes=1)
    settings = app_settings(world, tmp_path)
    async with world.running(create_app(settings)):
        async with world.running(create_app(settings)):
            for user in ("gina", "hugo", "ines", "jack"):
                for sent in (block(begin, user, "fff"), block(begin, user, "fff")):
                    await bus.publish(sent, stream="EVENTS")
                    await until(partial(evaluated, world, sent))
        # The second has gone, in the middle of all windows; its partitions are taken over.
        for user in ("gina", "hugo", "ines", "jack"):
            await bus.publish(block(begin + timedelta(seconds=30), user, "s"), stream="EVENTS")
        for user in ("gina", "hugo", "ines", "jack"):
            (guessed,) = await until(partial(found, world, "A guessed password", user))
            assert len(guessed.event_ids) == 7


async def test_point_94_a_replay_doubles_nothing(world: World, bus: Bus, tmp_path: Path) -> None:
    begin = utc_now() - timedelta(minutes=1)
    first = block(begin, "kate", "ffffffs")
    async with world.running(create_app(app_settings(world, tmp_path))):
        await bus.publish(first, stream="EVENTS")
        await until(lambda: found(world, "A guessed password", "kate"))
        for number in range(2):
            headers = {
                **first.headers, REPLAY_ID_HEADER: str(UUID(int=number)),
                REPLAY_PURPOSE_HEADER: "detect",
            }  # fmt: skip
            again = Outgoing(f"replay-{number}", REPLAY_BLOCK_SUBJECT, first.payload, headers)
            await bus.publish(again, stream="REPLAYS")
        # What comes after the replay has seen it go by.
        last = block(begin + timedelta(seconds=20), "liam", "ffffffs")
        await bus.publish(last, stream="EVENTS")
        await until(lambda: found(world, "A guessed password", "liam"))
    assert len(await found(world, "A guessed password", "kate")) == 1


async def test_rules_that_change_leave_the_windows_of_others_alone(
    world: World, bus: Bus, tmp_path: Path
) -> None:
    begin = utc_now() - timedelta(minutes=1)
    settings = app_settings(world, tmp_path, reload_seconds=0.1)
    async with world.running(create_app(settings)) as client:
        await bus.publish(first := block(begin, "mona", "fffff"), stream="EVENTS")
        await until(lambda: evaluated(world, first))
        extra = RULES.split("---")[0].replace("2111", "2999").replace("failed", "more")
        (tmp_path / "more.yml").write_text(extra.replace("A failed sign-in", "One more rule"))
        headers = {"Authorization": f"Bearer {world.token('d', 'detection_engineer')}"}

        async def reloaded() -> bool:
            return bool((await client.get("/v1/rules", headers=headers)).json()["loaded"] == 3)

        await until(reloaded)
        await bus.publish(block(begin + timedelta(seconds=9), "mona", "fs"), stream="EVENTS")
        (guessed,) = await until(lambda: found(world, "A guessed password", "mona"))
        assert len(guessed.event_ids) == 7


async def test_a_broker_that_lost_its_data_does_not_stop_correlation(
    world: World, bus: Bus, tmp_path: Path
) -> None:
    async with world.engine("detect").begin() as connection:
        await connection.execute(text("UPDATE correlation_partitions SET seq = 900000"))
    begin = datetime.now(UTC) - timedelta(minutes=1)
    async with world.running(create_app(app_settings(world, tmp_path))):
        await bus.publish(block(begin, "erin", "ffffffs"), stream="EVENTS")
        await until(lambda: found(world, "A guessed password", "erin"))
