"""The power goes while four protocols pour in: no accepted event is lost, nor any stored one.

PostgreSQL, NATS, ingest and its log store lie on an ext4 image; a cut stops every process where it
stands, throws away what the disk does not have, and the whole starts again over what is left.

TOCSIN_POWER_CUTS=5 make test ARGS="tests/system/test_power_cut.py"              (make chaos-power)
"""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.support.ingest_process import IngestProcess, ingest_process
from tests.support.loop_disk import loop_disk
from tests.support.many_protocols import Shippers, marks_in
from tests.support.waiting import until
from tests.system.test_kill_ingest import all_stored, progress

CUTS = int(os.environ.get("TOCSIN_POWER_CUTS", "1"))
IMAGE_MIB = 3072

pytestmark = [pytest.mark.system, pytest.mark.timeout(120 + 60 * CUTS)]


async def test_no_accepted_event_is_lost(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accepted, stored, repeated = await pour_over_cuts(place, CUTS, synced=True)
    assert accepted <= stored
    with capsys.disabled():
        print(
            f"\n{CUTS} power cuts: {len(accepted):,} accepted, 0 lost, {repeated} repeated requests"
        )


@pytest.mark.skipif(CUTS < 2, reason="the control of `make chaos-power`")
async def test_without_syncing_the_same_cut_loses_events(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cut is one: a broker that syncs every two minutes, as by default, loses by it."""
    accepted, stored, _ = await pour_over_cuts(place, 1, synced=False)
    lost = len(accepted - stored)
    assert lost
    with capsys.disabled():
        print(f"\ncontrol, the broker's default sync: {len(accepted):,} accepted, {lost:,} lost")


async def pour_over_cuts(place: Path, cuts: int, *, synced: bool) -> tuple[set[str], set[str], int]:
    """Return what was accepted, what is there at the end, and how many requests were repeated."""
    dice = random.Random(20261125)  # noqa: S311 - dice that guard nothing
    with loop_disk(place, IMAGE_MIB) as disk:
        async with ingest_process(disk.at / "p", synced=synced) as ingest:
            await asyncio.to_thread(os.sync)  # an installation that has been there for a while
            shippers = Shippers(ingest)
            async with shippers.running():
                for _ in range(cuts):
                    await progress(shippers)
                    await asyncio.sleep(dice.uniform(0, 1))  # anywhere in a commit or a batch
                    family = ingest.freeze()
                    disk.cut()
                    await ingest.end(family)
                    disk.unmount()
                    disk.mount()
                    await ingest.start()
                    if synced:  # each time, since what a cut took might come again by a later one
                        accepted = shippers.everything
                        assert accepted <= await in_events(ingest)
                if synced:
                    await progress(shippers)
            await shippers.close()
            accepted = shippers.everything
            if synced:
                await until(lambda: all_stored(ingest, accepted), 120, every=0.5)
            return accepted, await in_events(ingest), shippers.repeated


async def in_events(ingest: IngestProcess) -> set[str]:
    return set(marks_in([str(e["raw"]) for e in await ingest.envelopes()]))
