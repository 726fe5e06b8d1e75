"""kill -9 of escalate and of PostgreSQL in the middle of triage: nothing is lost, none doubled.

TOCSIN_TRIAGE_ROUNDS=20 make test ARGS="tests/system/test_kill_triage.py"       (make chaos-triage)
"""

import asyncio
import os
import random
import signal
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest

from services.escalate.extension import LONGEST_PAUSE
from shared.bus import Bus
from shared.cloudevents import outgoing
from tests.support.waiting import until
from tests.unit.escalate.given import detection
from tocsin.people import Person
from tocsin.stack import Stack, StackOptions, nkey_seed

ROUNDS = int(os.environ.get("TOCSIN_TRIAGE_ROUNDS", "1"))
HOSTS = 30
A_ROUND = 450  # detections

pytestmark = [pytest.mark.system, pytest.mark.timeout(450 + 60 * ROUNDS)]


async def test_no_detection_and_no_proposal_is_lost_or_doubled(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(20261126)  # noqa: S311 - dice that guard nothing
    options = StackOptions(root=place / "p", random_ports=True)
    async with Stack(options) as stack, httpx.AsyncClient(timeout=20, trust_env=False) as client:
        seed = nkey_seed(stack.home.secrets, "detect")
        async with Bus(stack.platform.nats_url, "detect", seed) as bus:
            await bus.wait_connected(10)
            sent = 0
            for _ in range(ROUNDS):
                for part in ("escalate", "postgres"):
                    raising = asyncio.create_task(raise_some(bus, sent))
                    some = sent + dice.randrange(1, A_ROUND // 2)
                    sent += A_ROUND
                    await until(partial(grouped, stack, some), 90)
                    await kill(stack, part)
                    await raising
        await until(partial(grouped, stack, sent), 120)
        # What joins a proposal is told ever more seldom.
        await until(partial(settled, stack), LONGEST_PAUSE.total_seconds() + 60)
        assert await number(stack, "SELECT count(*) FROM escalate.detections") == sent
        counted = "SELECT sum(detections) FROM escalate.detection_groups WHERE merged_into IS NULL"
        assert await number(stack, counted) == sent
        assert await number(stack, "SELECT count(*) FROM escalate.detection_groups") == HOSTS
        raised = "FROM escalate.outbox WHERE subject = 'tocsin.v1.escalate.proposal.raised'"
        assert await number(stack, f"SELECT count(*) {raised}") == HOSTS
        bob = Person(client, stack.urls, "bob", stack.issuer.issue("bob", ["security_response"]))

        async def opened() -> list[str]:
            found = (await bob.get("cases", "/v1/incidents?limit=200"))["items"]
            return found if len(found) >= HOSTS else []

        assert len(await until(opened)) == HOSTS
    with capsys.disabled():
        print(f"\n{2 * ROUNDS} kills in triage: {sent:,} detections, {HOSTS} proposals, each once")


async def raise_some(bus: Bus, start: int) -> None:
    """Raise detections of 60 hosts, a rule a host, within one window; each tenth is told twice."""
    for n in range(start, start + A_ROUND):
        host = n % HOSTS
        found = detection(
            f"chaos-{n}", at=n / 1000, rule=f"rule-{host}", entities={"host": f"host-{host:02}"}
        )
        await bus.publish(outgoing(found, source="detect"), stream="DETECTIONS")
        if n % 10 == 0:
            again = found.model_copy(update={"event_id": detection(f"again-{n}").event_id})
            await bus.publish(outgoing(again, source="detect"), stream="DETECTIONS")


async def kill(stack: Stack, part: str) -> None:
    def pid() -> int | None:
        assert stack.supervisor is not None
        if part == "escalate":
            return stack.supervisor.states[part].pid
        return stack.platform.parts[part].pid

    os.kill(await until(pid, 120), signal.SIGKILL)


async def grouped(stack: Stack, count: int) -> bool:
    try:
        return await number(stack, "SELECT count(*) FROM escalate.detections") >= count
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False  # killed a moment ago


async def settled(stack: Stack) -> bool:
    """Tell whether cases was told of all counts and everything written was published."""
    open_ends = (
        "SELECT (SELECT count(*) FROM escalate.detection_groups WHERE proposed_at IS NOT NULL"
        " AND told < detections)"
        " + (SELECT count(*) FROM escalate.outbox WHERE published_at IS NULL)"
    )
    return await number(stack, open_ends) == 0


async def number(stack: Stack, query: str) -> int:
    connection = await asyncpg.connect(stack.platform.dsn, timeout=5)
    try:
        return int(await connection.fetchval(query))
    finally:
        await connection.close()
