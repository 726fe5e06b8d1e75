"""kill -9 of ingest and of NATS under load by four protocols: no accepted event is lost.

Two replicas of ingest share the load and the log store; one is killed again and again, and in the
end the other one for good (R17).

TOCSIN_INGEST_KILL_ROUNDS=20 make test ARGS="tests/system/test_kill_ingest.py"  (make chaos-ingest)
"""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.support.ingest_process import IngestProcess, ingest_process
from tests.support.many_protocols import Shippers, marks_in
from tests.support.waiting import until

ROUNDS = int(os.environ.get("TOCSIN_INGEST_KILL_ROUNDS", "1"))
BEFORE = 100  # events that each protocol has had accepted since the last kill

pytestmark = [pytest.mark.system, pytest.mark.timeout(120 + 60 * ROUNDS)]


async def test_r17_no_accepted_event_is_lost(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(20261125)  # noqa: S311 - dice that guard nothing
    async with ingest_process(place / "p", replicas=2) as ingest:
        shippers = Shippers(ingest)
        async with shippers.running():
            for round_ in range(ROUNDS):
                for kill in (kill_ingest, kill_nats, kill_both)[: 3 if round_ % 2 else 2]:
                    await progress(shippers)
                    await asyncio.sleep(dice.uniform(0, 0.2))  # anywhere in a commit
                    await kill(ingest)
            await progress(shippers)
            ingest.replicas[1].kill()  # for good: the other one takes what comes (R17)
            await progress(shippers)
        await shippers.close()
        accepted = shippers.everything
        assert accepted <= set(marks_in([str(e["raw"]) for e in await ingest.envelopes()]))
        await until(lambda: all_stored(ingest, accepted), 120, every=0.5)
        # What has an id of its client's is found once, however often it had to be sent.
        times = Counter(marks_in(await ingest.stored()))
        kills = sum(3 if n % 2 else 2 for n in range(ROUNDS))
    with capsys.disabled():
        print(
            f"\n{ROUNDS} rounds, {kills} kills of ingest and NATS:"
            f" {len(accepted):,} accepted {shippers.counts()}, {shippers.repeated} repeated"
            f" requests, 0 lost, {sum(times.values()) - len(times):,} stored again"
        )


async def progress(shippers: Shippers) -> None:
    """Return when every protocol goes on."""
    before = shippers.counts()

    def everybody() -> bool:
        return all(n >= before[name] + BEFORE for name, n in shippers.counts().items())

    await until(everybody)


async def all_stored(ingest: IngestProcess, accepted: set[str]) -> bool:
    return accepted <= set(marks_in(await ingest.stored()))


async def kill_ingest(ingest: IngestProcess) -> None:
    ingest.replicas[0].kill()
    await ingest.start_ingest()


async def kill_nats(ingest: IngestProcess) -> None:
    await ingest.kill_nats()


async def kill_both(ingest: IngestProcess) -> None:
    ingest.replicas[0].kill()
    await ingest.kill_nats()
    await ingest.start_ingest()
