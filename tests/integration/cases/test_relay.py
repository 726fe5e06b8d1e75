"""The CASES stream is the log, in order, whatever happens to the broker or to a replica."""

import asyncio
from typing import Any

import nats
import nats.errors
import pytest

from services.cases.leader import Leader
from services.cases.postgres import PostgresStore
from services.cases.relay import LEADER_KEY, STREAM, Relay
from services.cases.tail import ForeignTailError
from shared.bus import Bus, BusUnavailableError
from shared.cloudevents import Outgoing
from shared.contracts.cases import IncidentConfirmedV1, IncidentOpenedV1, IncidentUpdatedV1
from shared.ids import uuid7
from shared.reconcile import Reconciler
from tests.support.incidents import story
from tests.support.waiting import until
from tests.support.world import World
from tocsin.bootstrap import bootstrap

pytestmark = pytest.mark.integration


async def write(world: World, incidents: int = 1) -> int:
    """Append *incidents* whole stories; return the log's last position."""
    store, position = PostgresStore(world.engine("cases"), world.vault), 0
    for _ in range(incidents):
        appended = await store.append(uuid7(), story(), expected=0, command_id=uuid7(), digest="d")
        position = appended.last_position
    return position


async def published(world: World) -> list[int]:
    return [int(headers["ce-position"]) for _, headers, _ in await world.messages(STREAM)]


def store_of(world: World) -> PostgresStore:
    return PostgresStore(world.engine("cases"), world.vault)


def relay(world: World, bus: Bus, leader: Leader | None = None) -> Relay:
    return Relay(store_of(world), bus, leader)


async def drain(some: Relay) -> None:
    while await some.once():
        pass


async def wipe(world: World) -> None:
    """Lose the broker's data: the stream is made anew, empty."""
    client = await nats.connect(
        world.nats_url, nkeys_seed_str=world.seeds["bootstrap"], inbox_prefix="_INBOX_bootstrap"
    )
    try:
        await client.jetstream().delete_stream(STREAM)
    finally:
        await client.close()
    await bootstrap(world.nats_url, world.seeds["bootstrap"])


async def test_the_whole_log_is_published_in_order(world: World) -> None:
    position = await write(world, 3)
    async with world.bus("cases") as bus:
        await drain(relay(world, bus))
        messages = await world.messages(STREAM)
        assert await published(world) == list(range(1, position + 1))
        assert await relay(world, bus).once() == 0  # another process goes on at the same tail
    opened = next(m for m in messages if m[0] == IncidentOpenedV1.SUBJECT)
    contract = IncidentOpenedV1.from_json(opened[2])
    assert opened[1]["ce-subject"] == str(contract.incident_id)
    assert opened[1]["ce-sequence"] == "1".zfill(20)
    assert opened[1]["Nats-Msg-Id"] == opened[1]["ce-id"] == str(contract.event_id)
    assert contract.title == "SSH brute force on m1"
    confirmed = IncidentConfirmedV1.from_json(
        next(m[2] for m in messages if m[0] == IncidentConfirmedV1.SUBJECT)
    )
    assert (confirmed.number, confirmed.severity) == ("TOCSIN-2026-0001", "SEV2")
    assert confirmed.inputs["privacy"] == "suspected"
    updates = [
        IncidentUpdatedV1.from_json(m[2]).event
        for m in messages
        if m[0] == IncidentUpdatedV1.SUBJECT
    ]
    assert "SummaryRecorded" in updates


async def test_a_wiped_broker_is_filled_again_with_the_same_messages(world: World) -> None:
    position = await write(world)
    async with world.bus("cases") as bus:
        some = relay(world, bus)
        await drain(some)
        before = await world.messages(STREAM)
        await wipe(world)
        assert await published(world) == []
        await drain(some)
        after = await world.messages(STREAM)
    assert [m[1]["ce-position"] for m in after] == [str(n) for n in range(1, position + 1)]
    assert [(m[0], m[2]) for m in after] == [(m[0], m[2]) for m in before]


async def test_two_relays_never_interleave(world: World) -> None:
    """Without any leader: the fence alone keeps the order and lets nothing in twice."""
    await wipe(world)
    async with world.bus("cases") as one, world.bus("cases") as two:
        relays = [relay(world, one), relay(world, two)]

        async def run(some: Relay) -> None:
            while True:
                try:
                    if not await some.once():
                        return
                except BusUnavailableError:
                    continue  # fenced off; look at the tail again

        position = await write(world, 4)
        await asyncio.gather(*(run(some) for some in relays))
    assert await published(world) == list(range(1, position + 1))


async def test_one_leads_and_another_takes_over(world: World) -> None:
    engine = world.engine("cases")
    async with world.bus("cases") as bus, Leader(engine, LEADER_KEY) as second:
        async with Leader(engine, LEADER_KEY) as first:
            assert await first.leads()
            assert await first.leads()
            assert not await second.leads()
            position = await write(world)
            assert await relay(world, bus, second).once() == 0
            await drain(relay(world, bus, first))
        assert await published(world) == list(range(1, position + 1))
        await until(second.leads)


async def test_a_relay_outlives_the_broker(world: World) -> None:
    """As in the service: woken or not, it goes on when the broker is there again."""
    async with world.bus("cases") as bus:
        worker = Reconciler("test-relay", relay(world, bus).once, 0.1)
        running = asyncio.create_task(worker.run())
        try:
            await write(world)
            await world.broker.stop()
            position = await write(world)
            await world.broker.start()
            await until(lambda: _reached(world, position))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert await published(world) == list(range(1, position + 1))


async def _reached(world: World, position: int) -> bool:
    try:
        return (await published(world))[-1:] == [position]
    except (nats.errors.Error, OSError, TimeoutError):  # the broker may not be back yet
        return False


async def test_a_stream_that_is_ahead_of_the_log_stops_the_relay(world: World) -> None:
    """A restored backup must be seen by a person, not papered over (§4.1)."""
    async with world.bus("cases") as bus:
        await drain(relay(world, bus))
        ahead: dict[str, Any] = {"ce-position": "1000000"}
        await bus.publish(
            Outgoing(str(uuid7()), IncidentUpdatedV1.SUBJECT, b"{}", ahead), stream=STREAM
        )
        with pytest.raises(ForeignTailError):
            await relay(world, bus).once()
