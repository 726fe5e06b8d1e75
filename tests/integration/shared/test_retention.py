"""EVENTS lets go of what is stored and evaluated, and of nothing else."""

import nats
import pytest
from nats.js.api import RetentionPolicy

from shared.cloudevents import Outgoing
from shared.topology import STREAMS
from tests.support.waiting import until
from tests.support.world import World
from tocsin.bootstrap import bootstrap

pytestmark = pytest.mark.integration


async def take_all(world: World, identity: str, durable: str) -> int:
    client = await nats.connect(
        world.nats_url, nkeys_seed_str=world.seeds[identity], inbox_prefix=f"_INBOX_{identity}"
    )
    try:
        inbox = client.new_inbox()
        messages = await client.subscribe(inbox)
        await client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.EVENTS.{durable}", b'{"batch":10,"no_wait":true}', inbox
        )
        taken = 0
        while True:
            message = await messages.next_msg(timeout=60)
            if (message.headers or {}).get("Status"):
                return taken
            await message.ack_sync()
            taken += 1
    finally:
        await client.close()


async def test_a_block_leaves_when_both_have_had_it(world: World) -> None:
    async with world.bus("ingest") as bus:
        for n in range(3):
            message = Outgoing(f"m{n}", "tocsin.v1.ingest.block.accepted", b"x", {})
            await bus.publish(message, stream="EVENTS")
        assert await take_all(world, "ingest", "ingest-store") == 3
        assert len(await world.messages("EVENTS")) == 3  # stored, not evaluated
        assert await take_all(world, "detect", "detect-events") == 3

        async def gone() -> bool:
            return not await world.messages("EVENTS")

        await until(gone)
        assert await bus.last_sequence("EVENTS") == 3  # numbers go on: the ledger needs them


async def test_bootstrap_again_changes_no_retention_and_loses_nothing(world: World) -> None:
    async with world.bus("ingest") as bus:
        message = Outgoing("late", "tocsin.v1.ingest.block.accepted", b"x", {})
        await bus.publish(message, stream="EVENTS")
        await bootstrap(world.nats_url, world.seeds["bootstrap"])
        assert len(await world.messages("EVENTS")) == 1
    client = await nats.connect(
        world.nats_url, nkeys_seed_str=world.seeds["bootstrap"], inbox_prefix="_INBOX_bootstrap"
    )
    for stream in STREAMS:
        config = (await client.jetstream().stream_info(stream.name)).config
        assert config.retention == RetentionPolicy(stream.retention)
        assert config.deny_purge
        assert config.deny_delete
    await client.close()
