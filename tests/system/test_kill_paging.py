"""kill -9 of escalate and of PostgreSQL while incidents are proposed and people paged.

No page is lost, none is doubled: one chain a proposal, and each page under one key (R11).
TOCSIN_CHAOS_ROUNDS=20 make test ARGS="tests/system/test_kill_paging.py"       (make chaos)
"""

import asyncio
import json
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shared.bus import Bus
from shared.cloudevents import outgoing
from tests.integration.escalate.oncall_world import overrides
from tests.support.providers import providers
from tests.support.waiting import until
from tests.support.webhook_sink import new_webhook_secret
from tests.unit.escalate.given import detection
from tocsin.stack import Stack, StackOptions

ROUNDS = int(os.environ.get("TOCSIN_CHAOS_ROUNDS", "1"))
A_ROUND = 20  # proposals; each pages two channels of whoever is on call

pytestmark = [pytest.mark.system, pytest.mark.timeout(180 + 60 * ROUNDS)]


async def test_no_page_is_lost_or_doubled(place: Path) -> None:
    dice = random.Random(20261125)  # noqa: S311 - dice that guard nothing
    place.mkdir(exist_ok=True)
    async with providers(new_webhook_secret()) as sink:
        options = StackOptions(
            root=place / "p", random_ports=True, environment=environment(place, sink)
        )
        async with Stack(options) as stack:
            for number in range(ROUNDS):
                sending = asyncio.create_task(detect(stack, number))
                for part in ("escalate", "postgres"):
                    await asyncio.sleep(dice.uniform(0.1, 0.8))
                    await kill(stack, part)
                await sending
            wanted = {proposal(name) for name in names()}
            pages = await until(lambda: settled(stack, wanted), 120)
            assert not sink.refused
            received = Counter(sink.keys("/pagerduty"))
            ordered = {page["id"] for page in pages if page["channel"] == "pagerduty"}
            # Each page came, under its own key and no other; a repeat after a kill has the same.
            assert {str(page) for page in ordered} == set(received)
            assert len(ordered) == len(wanted)
            assert {str(p["id"]) for p in pages if p["channel"] == "slack"} == set(
                sink.keys("/slack")
            )


def environment(place: Path, sink: Any) -> dict[str, str]:
    found = overrides(place, sink)
    # Whoever is responsible is cy: by PagerDuty and Slack, as everybody's first.
    directory = found["directory_file"]
    directory.write_text(
        directory.read_text().replace("default_service_team: platform", "default_service_team: api")
    )
    return {
        f"TOCSIN_ESCALATE_{name.upper()}": json.dumps(v) if isinstance(v, list) else str(v)
        for name, v in found.items()
    }


def names() -> list[str]:
    return [f"{number}-{one}" for number in range(ROUNDS) for one in range(A_ROUND)]


def proposal(name: str) -> str:
    return f"kill-{name}"


async def detect(stack: Stack, number: int) -> None:
    seed = stack.home.secrets.get("nats.detect.nkey")
    async with Bus(stack.platform.nats_url, "detect", seed) as bus:
        await bus.wait_connected(10)
        for one in range(A_ROUND):
            name = f"{number}-{one}"
            # A rule of its own each: one rule on many hosts is a storm, and a single proposal.
            found = detection(
                f"kill-{name}",
                rule=f"rule-{name}",
                level="critical",
                entities={"host": proposal(name)},
            )
            await bus.publish(outgoing(found, source="detect"), stream="DETECTIONS")
            await asyncio.sleep(0.03)


async def kill(stack: Stack, part: str) -> None:
    def pid() -> int | None:
        if part == "escalate":
            assert stack.supervisor is not None
            return stack.supervisor.states[part].pid
        return stack.platform.parts[part].pid

    os.kill(await until(pid), signal.SIGKILL)


async def settled(stack: Stack, wanted: set[str]) -> list[Any]:
    """Return all pages once every proposal has its own and all are sent."""
    try:
        connection = await asyncpg.connect(stack.platform.dsn)
    except (OSError, asyncpg.PostgresError):
        return []
    try:
        groups = await connection.fetch(
            "SELECT id, incident_id FROM escalate.detection_groups WHERE incident_id IS NOT NULL"
        )
        pages = await connection.fetch("SELECT id, channel, sent_at FROM escalate.pages")
        chains = await connection.fetchval("SELECT count(*) FROM escalate.page_chains")
    finally:
        await connection.close()
    assert len(groups) <= len(wanted)
    assert chains <= len(wanted)
    done = len(groups) == len(wanted) == chains and all(p["sent_at"] for p in pages)
    return list(pages) if done and len(pages) >= 2 * len(wanted) else []
