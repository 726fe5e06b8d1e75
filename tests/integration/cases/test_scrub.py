"""What the broker loses in the middle of the CASES stream is found and published again."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.cases.relay import STREAM
from services.cases.scrub import Scrub
from services.cases.tail import tail_of
from shared.bus import Bus
from shared.clock import utc_now
from shared.cloudevents import Outgoing
from shared.contracts.cases import IncidentUpdatedV1
from shared.ids import uuid7
from tests.integration.cases.test_relay import drain, published, relay, store_of, wipe, write
from tests.support.world import World

pytestmark = pytest.mark.integration


def scrub(world: World, bus: Bus) -> Scrub:
    engine = world.engine("cases")
    return Scrub(engine, store_of(world), bus, relay(world, bus), utc_now)


async def damage(world: World, flip: Callable[[bytearray], None]) -> None:
    """Change the stream's bytes on disk, as a failing disk does, while the broker is down."""
    await world.broker.stop()
    [block] = (world.broker.store_dir / "jetstream/$G/streams" / STREAM / "msgs").glob("*.blk")
    data = bytearray(block.read_bytes())
    flip(data)
    block.write_bytes(data)
    await world.broker.start()


def flip_messages(*positions: int) -> Callable[[bytearray], None]:
    """Flip one bit in each of the messages at *positions*."""

    def flip(data: bytearray) -> None:
        for position in positions:
            at = data.index(b"ce-position: %d\r\n" % position)
            data[at] ^= 1

    return flip


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_a_flipped_bit_loses_nothing_for_good(world: World) -> None:
    await wipe(world)
    last = await write(world, 3)
    async with world.bus("cases") as bus:
        await drain(relay(world, bus))
        whole = await world.messages(STREAM)
    await damage(world, flip_messages(9, 10, last - 3))
    async with world.bus("cases") as bus:
        await bus.wait_connected(20)
        left = await published(world)
        assert set(range(1, last + 1)) - set(left) >= {9, 10, last - 3}
        before = counted("tocsin_cases_stream_lost_total")
        some = scrub(world, bus)
        await some.once()
        again = await world.messages(STREAM)
        missing = last - len(left)
        assert counted("tocsin_cases_stream_lost_total") - before == missing
        assert sorted(int(m[1]["ce-position"]) for m in again) == list(range(1, last + 1))
        # The same messages with the same ids, at the end and marked; the others stay in order.
        assert sorted(bodies(again)) == sorted(bodies(whole))
        assert [m[1]["tocsin-reached"] for m in again[-missing:]] == [str(last)] * missing
        # A second round finds them where they are now, and the relay goes on where it was.
        await some.once()
        assert len(await world.messages(STREAM)) == last
        assert (await tail_of(bus, STREAM)).position == last
        further = await write(world)
        await drain(relay(world, bus))
        assert (await published(world))[-(further - last) :] == list(range(last + 1, further + 1))


def bodies(messages: list[Any]) -> list[tuple[str, bytes]]:
    return [(message[1]["ce-id"], message[2]) for message in messages]


async def test_an_intact_stream_is_left_alone(world: World) -> None:
    async with world.bus("cases") as bus:
        await wipe(world)
        await write(world)
        await drain(relay(world, bus))
        before = await world.messages(STREAM)
        some = scrub(world, bus)
        for _ in range(2):
            await some.once()
        assert await world.messages(STREAM) == before
        assert counted("tocsin_cases_stream_foreign") == 0


async def test_a_stream_of_another_history_is_reported_and_not_touched(world: World) -> None:
    """A backup of the log was restored: positions agree, events do not."""
    async with world.bus("cases") as bus:
        await wipe(world)
        await write(world)
        await drain(relay(world, bus))
        stranger = Outgoing(str(uuid7()), IncidentUpdatedV1.SUBJECT, b"{}", {"ce-position": "2"})
        await bus.publish(stranger, stream=STREAM)
        before = await published(world)
        await scrub(world, bus).once()
        assert counted("tocsin_cases_stream_foreign") == 1
        assert await published(world) == before
        await wipe(world)
