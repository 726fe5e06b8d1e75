"""The four fates of a message, against a real broker."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared.bus import Bus, BusUnavailableError
from shared.cloudevents import Outgoing, outgoing
from shared.consume import MAX_FAILURES, Delivery, Handler, TransientError, consume
from shared.contracts.base import ContractError
from shared.contracts.escalate import TeamPagedV1
from shared.ids import uuid7
from shared.topology import consumer
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration


def paged(team: str) -> TeamPagedV1:
    return TeamPagedV1(
        event_id=uuid7(),
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        page_id=uuid7(),
        incident_id=UUID(int=1),
        team=team,
        channel="log",
        reason="test",
    )


async def say(world: World, *teams: str) -> None:
    async with world.bus("escalate") as bus:
        for team in teams:
            await bus.publish(outgoing(paged(team), source="escalate"), stream="ESCALATIONS")


@asynccontextmanager
async def listening(world: World, identity: str, durable: str, handler: Handler):  # type: ignore[no-untyped-def]
    async with world.bus(identity) as bus:
        task = asyncio.create_task(consume(bus, consumer(durable), handler))
        try:
            yield bus
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_message_published_twice_is_stored_once(world: World) -> None:
    message = outgoing(paged("twice"), source="escalate")
    async with world.bus("escalate") as bus:
        first = await bus.publish(message, stream="ESCALATIONS")
        second = await bus.publish(message, stream="ESCALATIONS")
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.seq == second.seq


async def test_nobody_speaks_in_anothers_name(world: World) -> None:
    async with world.bus("detect") as bus:
        with pytest.raises(BusUnavailableError):
            await asyncio.wait_for(
                bus.publish(outgoing(paged("forged"), source="escalate"), stream="ESCALATIONS"), 8
            )
    subjects = [m[0] for m in await world.messages("ESCALATIONS")]
    assert len(subjects) == 1  # only what escalate itself said before


async def test_an_ordered_consumer_waits_out_the_worlds_failures(world: World) -> None:
    await say(world, "one", "two", "three")
    heard: list[str] = []
    failures = iter([True, True, False, False, False, False, False])

    async def handler(delivery: Delivery) -> None:
        team = TeamPagedV1.from_json(delivery.data).team
        if team == "two" and next(failures):
            raise TransientError("the database is away")
        heard.append(team)

    async with listening(world, "cases", "cases-escalations", handler):
        await until(lambda: heard[-3:] == ["one", "two", "three"])


async def test_bad_messages_go_to_the_dead_letters_with_their_reason(world: World) -> None:
    heard: list[str] = []

    async def handler(delivery: Delivery) -> None:
        if delivery.data == b"poison":
            raise ContractError("this is no detection")
        heard.append(delivery.headers["Nats-Msg-Id"])

    subject = "tocsin.v1.detect.detection.raised"
    async with world.bus("detect") as bus:
        for identity, body in (("p1", b"poison"), ("g1", b"good")):
            await bus.publish(Outgoing(identity, subject, body), stream="DETECTIONS")
    async with listening(world, "escalate", "escalate-detections", handler):
        await until(lambda: heard == ["g1"])
        dead = await until(lambda: world.messages("DLQ"))
    assert [(m[0], m[2]) for m in dead] == [("tocsin.v1.dlq.escalate-detections", b"poison")]
    assert dead[0][1]["tocsin-reason"] == "this is no detection"
    assert dead[0][1]["tocsin-subject"] == subject


async def test_what_fails_eight_times_goes_to_the_dead_letters(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.consume.RETRY_DELAYS", (0.05,))
    tried: list[int] = []

    async def handler(delivery: Delivery) -> None:
        if delivery.data == b"crashes":
            tried.append(delivery.attempt)
            raise RuntimeError("a defect of ours")

    subject = "tocsin.v1.detect.detection.raised"
    before = len(await world.messages("DLQ"))
    async with world.bus("detect") as bus:
        await bus.publish(Outgoing("c1", subject, b"crashes"), stream="DETECTIONS")

    async def newest() -> list[tuple[str, dict[str, str], bytes]]:
        return (await world.messages("DLQ"))[before:]

    async with listening(world, "escalate", "escalate-detections", handler):
        dead = await until(newest)
    assert tried == list(range(1, MAX_FAILURES + 1))
    assert dead[0][2] == b"crashes"
    assert dead[0][1]["tocsin-reason"] == "RuntimeError('a defect of ours')"


# What was in flight when the broker died comes again after ack_wait, 30 s.
@pytest.mark.timeout(300)
async def test_a_consumer_outlives_the_broker(world: World) -> None:
    heard: list[str] = []

    async def handler(delivery: Delivery) -> None:
        heard.append(TeamPagedV1.from_json(delivery.data).team)

    async with listening(world, "cases", "cases-escalations", handler):
        await say(world, "before")
        await until(lambda: heard[-1:] == ["before"])
        await world.broker.stop()
        await world.broker.start()
        await say(world, "after")
        await until(lambda: heard[-1:] == ["after"])


async def test_without_a_broker_it_says_so_at_once() -> None:
    async with Bus("nats://127.0.0.1:1", "cases", None) as bus:
        problem = await bus.problem()
        assert problem is not None
        assert "not connected" in problem
        with pytest.raises(BusUnavailableError):
            await bus.publish(outgoing(paged("x"), source="escalate"), stream="ESCALATIONS")
