"""kill -9 of detect and NATS under load: all evaluated, detections neither lost nor doubled.

`make chaos` runs it with 20 rounds (TOCSIN_KILL_ROUNDS).
"""

import asyncio
import json
import os
import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

from shared.clock import rfc3339, utc_now
from shared.contracts.detect import DetectionRaisedV1
from tests.support.waiting import until
from tocsin.reading import Chunk
from tocsin.send import Target, post_chunk
from tocsin.stack import Stack, StackOptions, nkey_seed

ROUNDS = int(os.environ.get("TOCSIN_KILL_ROUNDS", "1"))
pytestmark = [pytest.mark.system, pytest.mark.timeout(120 + 40 * ROUNDS)]

FAILURES = 5
BATCHES, USERS = 12, 10  # a round
PAUSE = 0.4
SOURCES = {"login": {"service": "login", "category": "application"}}
RULES = """
title: A failed sign-in
name: failed
id: 51111111-1111-4111-8111-111111111111
logsource: {category: application}
detection: {s: {act: failed}, condition: s}
---
title: A sign-in
name: success
id: 52222222-2222-4222-8222-222222222222
logsource: {category: application}
detection: {s: {act: success}, condition: s}
---
title: Many failed sign-ins
name: many
id: 53333333-3333-4333-8333-333333333333
correlation: {type: event_count, rules: [failed], group-by: [user], timespan: 1h, condition: {gte: 5}}
---
title: A guessed password
id: 54444444-4444-4444-8444-444444444444
correlation: {type: temporal_ordered, rules: [many, success], group-by: [user], timespan: 1h}
---
title: Something forbidden
id: 55555555-5555-4555-8555-555555555555
level: medium
logsource: {category: application}
detection: {s: {act: forbidden}, condition: s}
"""  # noqa: E501 - a rule in one line


def batch(number: int) -> bytes:
    """Return one step of every user of the round: failures, then a success; one forbidden act."""
    step = number % BATCHES
    users = [f"u{number // BATCHES}-{n}" for n in range(USERS)]
    when = rfc3339(utc_now() - timedelta(seconds=1))
    events: list[dict[str, object]] = [{"act": "other", "n": f"{number}-{n}"} for n in range(40)]
    if step < FAILURES:
        events += [{"act": "failed", "user": user, "step": step} for user in users]
    elif step == FAILURES + 1:
        # Every other user only failed: nobody guessed those passwords.
        events += [{"act": "success", "user": user} for user in users[::2]]
    events.append({"act": "forbidden", "host": f"h{number}"})
    return b"\n".join(json.dumps({**event, "time": when}).encode() for event in events)


async def rows(stack: Stack, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(stack.platform.dsn)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def kill(stack: Stack, part: str) -> None:
    def pid() -> int | None:
        if part == "detect":
            assert stack.supervisor is not None
            return stack.supervisor.states[part].pid
        return stack.platform.parts[part].pid

    os.kill(await until(pid), signal.SIGKILL)


async def test_detections_are_neither_lost_nor_doubled(place: Path) -> None:
    (place / "rules").mkdir()
    (place / "rules").chmod(0o755)
    (place / "rules" / "r.yml").write_text(RULES)
    options = StackOptions(
        root=place / "p",
        random_ports=True,
        environment={
            "TOCSIN_DETECT_RULES": str(place / "rules"),
            "TOCSIN_DETECT_SHIPPED_PACK": "false",
        },
        sources=SOURCES,
    )
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client, Stack(options) as stack:
        accepted = 0
        target = Target(stack.urls["ingest"], stack.key("login"))
        for number in range(ROUNDS * BATCHES):
            # In each round detect dies in mid-window, and once NATS under it.
            if number % BATCHES in (2, 5):
                await kill(stack, "detect" if number % BATCHES == 2 else "nats")
            chunk = Chunk(number, 0, batch(number), False)
            answer = await post_chunk(client, target, chunk, f"run:{number}")
            accepted += answer["accepted"]
            await asyncio.sleep(PAUSE)

        async def evaluated() -> bool:
            done = await rows(stack, "SELECT coalesce(sum(events), 0) AS n FROM detect.blocks")
            return int(done[0]["n"]) >= accepted

        await until(evaluated)
        guessed = {f"u{r}-{n}" for r in range(ROUNDS) for n in range(0, USERS, 2)}

        async def found() -> Counter[str]:
            raised = await rows(
                stack, "SELECT body FROM detect.detections WHERE rule_id LIKE '54444444%'"
            )
            return Counter(
                entity["value"] for row in raised for entity in json.loads(row["body"])["entities"]
                if entity["type"] == "user"
            )  # fmt: skip

        async def all_found() -> bool:
            return set(await found()) >= guessed

        await until(all_found)
        assert await found() == Counter(dict.fromkeys(guessed, 1))
        forbidden = await rows(
            stack, "SELECT body FROM detect.detections WHERE rule_id LIKE '55555555%'"
        )
        assert len(forbidden) == ROUNDS * BATCHES
        done = await rows(stack, "SELECT sum(events) AS n FROM detect.blocks")
        assert (
            int(done[0]["n"])
            == accepted
            == ROUNDS * sum(batch(n).count(b"\n") + 1 for n in range(BATCHES))
        )
        await told_once(stack, len(guessed) + len(forbidden))


async def told_once(stack: Stack, wanted: int) -> None:
    """Every detection is on DETECTIONS, once."""
    from shared.bus import Bus

    seed = nkey_seed(stack.home.secrets, "bootstrap")
    async with Bus(stack.platform.nats_url, "bootstrap", seed) as bus:
        await bus.wait_connected(10)
        js = bus.jetstream()

        async def ids() -> Counter[str]:
            state = (await js.stream_info("DETECTIONS")).state
            found: Counter[str] = Counter()
            for seq in range(1, state.last_seq + 1):
                message = await js.get_msg("DETECTIONS", seq)
                if message.subject == DetectionRaisedV1.SUBJECT:
                    found[(message.headers or {})["ce-id"]] += 1
            return found

        async def all_told() -> bool:
            return len(await ids()) >= wanted

        await until(all_told)
        assert set((await ids()).values()) == {1}
        assert len(await ids()) == wanted
