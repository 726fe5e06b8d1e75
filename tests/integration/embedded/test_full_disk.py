"""A volume that fills up: nothing acknowledged is lost, it is told, and it goes on by itself."""

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest

from shared.bus import Bus, BusUnavailableError
from shared.cloudevents import Outgoing
from tests.support.waiting import until
from tocsin.embedded.platform import EmbeddedPlatform

pytestmark = pytest.mark.integration

BODY = os.urandom(200_000)


@pytest.fixture
def small_volume() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="tocsin-full-", dir="/tmp"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        place.rmdir()
        pytest.skip(f"a small volume cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
    place.rmdir()


def message(number: int) -> Outgoing:
    return Outgoing(subject="s.x", id=str(number), payload=BODY, headers={})


async def test_after_a_full_disk_the_broker_goes_on_once_there_is_room(small_volume: Path) -> None:
    ballast = small_volume / "ballast"
    ballast.write_bytes(bytes(60 << 20))
    told: list[str] = []
    platform = EmbeddedPlatform(small_volume / "home", database_url="postgresql://elsewhere")
    async with platform, Bus(platform.nats_url, "test", None) as bus:
        keeping = asyncio.create_task(platform.keep_running(lambda _, state: told.append(state)))
        await bus.wait_connected(10)
        await bus.jetstream().add_stream(name="S", subjects=["s.>"])
        confirmed, number = [], 0
        with contextlib.suppress(BusUnavailableError):
            while number < 1000:
                number += 1
                await bus.publish(message(number), stream="S")
                confirmed.append(str(number))
        assert number < 1000, "the volume never filled up"
        # Readiness says so, although the broker answers every question.
        assert "S takes nothing" in (await bus.problem() or "")
        await until(lambda: any("is full" in state for state in told))

        ballast.unlink()

        async def takes() -> bool:
            try:
                await bus.publish(message(number), stream="S")
            except BusUnavailableError:
                return False
            return True

        await until(takes)
        assert "there is room again; starting anew" in told
        assert await bus.problem() is None
        found = await stored(platform.nats_url)
        assert found[: len(confirmed)] == confirmed
        assert found == [*confirmed, str(number)]
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def stored(url: str) -> list[str]:
    client = await nats.connect(url)
    subscription = await client.jetstream().subscribe("s.>", ordered_consumer=True)
    pending = (await client.jetstream().stream_info("S")).state.messages
    found = [
        ((await subscription.next_msg(timeout=10)).headers or {})["Nats-Msg-Id"]
        for _ in range(pending)
    ]
    await client.close()
    return found
