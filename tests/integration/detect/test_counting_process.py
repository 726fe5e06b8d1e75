"""The process that counts, beside the service: killed in mid-window, told new rules, measured."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from services.detect.correlation.beside import CountingProcess
from services.detect.correlation.process import Begin
from services.detect.correlation.publisher import MatchPublisher
from services.detect.evaluate import evaluate, packed
from services.detect.ruleset import Ruleset
from shared.clock import rfc3339, utc_now
from shared.contracts.ingest import Envelope
from shared.http import background
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration

GUESSED, LATER = "c4444444-4444-4444-8444-444444444444", "c6666666-6666-4666-8666-666666666666"
RULES = f"""
title: A failed sign-in
name: failed
id: c1111111-1111-4111-8111-111111111111
logsource: {{category: application, service: counted}}
detection: {{s: {{outcome: failure}}, condition: s}}
---
title: Many failed sign-ins
id: {GUESSED}
correlation:
  type: event_count
  rules: [failed]
  group-by: [user]
  timespan: 10m
  condition: {{gte: 6}}
"""
MORE = f"""
title: A removal
name: removal
id: c5555555-5555-4555-8555-555555555555
logsource: {{category: application, service: counted}}
detection: {{s: {{outcome: removal}}, condition: s}}
---
title: A removal, counted
id: {LATER}
correlation:
  type: event_count
  rules: [removal]
  group-by: [user]
  timespan: 10m
  condition: {{gte: 1}}
"""


def counted() -> float:
    return REGISTRY.get_sample_value("tocsin_detect_correlation_matches_total") or 0.0


class Stage:
    """What the service has around the process that counts."""

    def __init__(self, world: World, folder: Path) -> None:
        (folder / "r.yml").write_text(RULES)
        self.world, self.folder, self.wakes = world, folder, 0
        self.ruleset = Ruleset([folder])
        begin = Begin(
            world.service_dsn("detect"), world.nats_url, world.seeds["detect"], 4, 0.5, 1_000
        )
        self.counting = CountingProcess(begin, self.ruleset, self.woken)

    def woken(self) -> None:
        self.wakes += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.ruleset.refresh()
        async with self.world.bus("detect") as bus, background(self.counting.run()):
            self.publisher = MatchPublisher(bus, self.counting.follow)
            yield

    async def send(self, user: str, *outcomes: str) -> None:
        """Publish what the rules in force find in a block of these events."""
        rules = await self.ruleset.in_force()
        now = utc_now()
        envelopes: list[Envelope] = [
            {
                "id": str(uuid4()),
                "observed_time": rfc3339(now),
                "time": rfc3339(now - timedelta(seconds=30 - at)),
                "source_id": "counted",
                "logsource": {"category": "application", "service": "counted"},
                "raw": {"user": user, "outcome": outcome},
            }
            for at, outcome in enumerate(outcomes)
        ]
        found = evaluate(rules, envelopes, now)
        assert len(found.matches) == len(outcomes)
        await self.publisher.publish(packed(rules, found, uuid4(), 4, now).messages)

    async def found(self, rule: str) -> list[UUID]:
        async with self.world.engine("detect").connect() as connection:
            query = text("SELECT id FROM detections WHERE rule_id = :rule")
            return list((await connection.execute(query, {"rule": rule})).scalars())


async def test_a_process_killed_in_mid_window_loses_and_doubles_nothing(
    world: World, tmp_path: Path
) -> None:
    stage = Stage(world, tmp_path)
    async with stage.running():
        before = counted()
        await stage.send("ann", "failure", "failure", "failure")
        await until(lambda: counted() == before + 3)  # told through the pipe
        first = await until(lambda: stage.counting.pid)
        os.kill(first, signal.SIGKILL)
        # Nobody counts for a moment; what is published meanwhile waits in the stream.
        await stage.send("ann", "failure", "failure")
        await until(lambda: stage.counting.pid not in (None, first))
        await stage.send("ann", "failure")
        await until(lambda: stage.found(GUESSED))
        await until(lambda: counted() == before + 6)
        await until(lambda: stage.wakes)
        last = await until(lambda: stage.counting.pid)
    assert len(await stage.found(GUESSED)) == 1
    with pytest.raises(ProcessLookupError):  # none is left behind
        os.kill(last, 0)


async def test_new_rules_count_from_the_first_match_that_they_found(
    world: World, tmp_path: Path
) -> None:
    stage = Stage(world, tmp_path)
    async with stage.running():
        before = counted()
        await stage.send("bob", "failure")
        await until(lambda: counted() == before + 1)
        (tmp_path / "more.yml").write_text(MORE)
        await stage.ruleset.refresh()
        await stage.send("bob", "removal")
        await until(lambda: stage.found(LATER))
