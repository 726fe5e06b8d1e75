"""The outbox: in order, once, whatever becomes of the relay or the broker."""

import shutil
from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared.bus import Bus, BusUnavailableError
from shared.cloudevents import Outgoing, outgoing
from shared.contracts.escalate import TeamPagedV1
from shared.ids import uuid7
from shared.outbox import MessageTooLargeError, Relay, enqueue, first_time
from tests.support.waiting import until
from tests.support.world import World
from tocsin.bootstrap import bootstrap

pytestmark = pytest.mark.integration


def page(team: str) -> Outgoing:
    paged = TeamPagedV1(
        event_id=uuid7(),
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        page_id=uuid7(),
        incident_id=UUID(int=1),
        team=team,
        channel="log",
        reason="test",
    )
    return outgoing(paged, source="escalate")


async def put(world: World, *teams: str) -> None:
    async with world.engine("escalate").begin() as connection:
        await enqueue(connection, [page(team) for team in teams])


async def teams(world: World) -> list[str]:
    return [TeamPagedV1.from_json(m[2]).team for m in await world.messages("ESCALATIONS")]


def relay(world: World, bus: Bus) -> Relay:
    return Relay(world.engine("escalate"), bus, "ESCALATIONS")


async def test_messages_leave_in_order_and_once(world: World) -> None:
    await put(world, "a", "b", "c")
    async with world.bus("escalate") as bus:
        assert await relay(world, bus).once() == 3
        assert await relay(world, bus).once() == 0
    assert await teams(world) == ["a", "b", "c"]


async def test_a_message_that_no_broker_takes_is_refused_at_once(world: World) -> None:
    with pytest.raises(MessageTooLargeError):
        async with world.engine("escalate").begin() as connection:
            await enqueue(connection, [Outgoing(str(uuid7()), "s", b"x" * 1_100_000)])


async def test_the_inbox_knows_what_it_has_seen(world: World) -> None:
    event = uuid7()
    async with world.engine("escalate").begin() as connection:
        assert await first_time(connection, "c", event)
        assert not await first_time(connection, "c", event)
        assert await first_time(connection, "another", event)


async def test_a_crash_before_the_commit_publishes_again_under_the_same_id(world: World) -> None:
    message = page("crash")
    async with world.engine("escalate").begin() as connection:
        await enqueue(connection, [message])
    async with world.bus("escalate") as bus:
        await bus.publish(message, stream="ESCALATIONS")  # and the commit never came
        assert await relay(world, bus).once() == 1
    assert (await teams(world)).count("crash") == 1


@pytest.mark.parametrize("new_message", [True, False])
async def test_a_broker_that_lost_its_data_is_filled_again(world: World, new_message: bool) -> None:
    await put(world, f"kept before {new_message}")
    async with world.bus("escalate") as bus:
        await relay(world, bus).once()
        known = await teams(world)
        await world.broker.stop()
        shutil.rmtree(world.broker.store_dir / "jetstream")
        await world.broker.start()
        await bootstrap(world.broker.url, world.seeds["bootstrap"])
        assert await teams(world) == []
        if new_message:
            await put(world, "new")
        again = relay(world, bus)

        async def filled() -> bool:
            try:
                await again.once()
            except BusUnavailableError:  # still reconnecting
                return False
            return set(known) <= set(await teams(world))

        await until(filled)
        found = await teams(world)
    assert len(found) == len(set(found)) == len(known) + new_message
