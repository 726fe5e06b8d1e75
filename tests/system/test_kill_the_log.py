"""kill -9 of cases and of PostgreSQL under the load of 16 writers: the log keeps its word.

TOCSIN_CHAOS_ROUNDS=20 make test ARGS="tests/system/test_kill_the_log.py"       (make chaos)
"""

import asyncio
import os
import random
import signal
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from services.cases.ledger.keys import load_signer
from tests.support.waiting import until
from tocsin.case_keys import keks_of
from tocsin.rebuild import rebuild
from tocsin.stack import Stack, StackOptions
from tocsin.verify import verify_database

ROUNDS = int(os.environ.get("TOCSIN_CHAOS_ROUNDS", "1"))
WRITERS = 16
BETWEEN = (0.3, 2.0)  # seconds of load before a kill

pytestmark = [pytest.mark.system, pytest.mark.timeout(120 + 60 * ROUNDS)]


@dataclass
class Writer:
    """One who adds notes to an incident of their own and repeats each until it is answered."""

    client: httpx.AsyncClient
    url: str
    headers: dict[str, str]
    name: str
    incident: str = ""
    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    """Version and position of each note, as the answers said."""
    repeats: int = 0

    async def insist(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Post until there is a 2xx; anything but an outage is a failure."""
        while True:
            try:
                answer = await self.client.post(
                    f"{self.url}{path}", json=body, headers={**self.headers, **headers}
                )
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code in (200, 201):
                done: dict[str, Any] = answer.json()
                return done
            # 5xx is 503 and nothing else, however the database went away.
            assert answer is None or answer.status_code == 503, answer.text
            self.repeats += 1
            await asyncio.sleep(0.05)

    async def write(self, over: asyncio.Event) -> None:
        opened = await self.insist(
            "/v1/incidents",
            {"title": self.name, "reason": "chaos", "services": ["mail"]},
            **{"Idempotency-Key": f"open-{self.name}"},
        )
        self.incident, version = opened["incident_id"], int(opened["version"])
        while not over.is_set():
            done = await self.insist(
                f"/v1/incidents/{self.incident}/add-note",
                {"text": f"note after version {version}"},
                **{"Idempotency-Key": f"{self.name}-{version}", "If-Match": f'"{version}"'},
            )
            assert done["version"] == version + 1, done
            version = done["version"]
            self.acknowledged.append((version, done["position"]))


async def test_the_log_keeps_its_word(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dice, over = random.Random(20261125), asyncio.Event()  # noqa: S311 - dice that guard nothing
    environment = {"TOCSIN_CASES_CHECKPOINT_SECONDS": "1"}  # signed all the while
    options = StackOptions(root=place / "p", random_ports=True, environment=environment)
    async with (
        httpx.AsyncClient(timeout=20, trust_env=False) as client,
        Stack(options) as stack,
    ):
        token = stack.issuer.issue("sam", ["service_team"])
        writers = [
            Writer(client, stack.urls["cases"], {"Authorization": f"Bearer {token}"}, f"w{n}")
            for n in range(WRITERS)
        ]
        writing = [asyncio.create_task(writer.write(over)) for writer in writers]
        for _ in range(ROUNDS):
            for part in ("cases", "postgres"):
                await asyncio.sleep(dice.uniform(*BETWEEN))
                enough = acknowledged(writers) + 150
                await kill(stack, part)
                # The next one falls into a load that runs again.
                await until(partial(has_come_to, writers, enough))
                assert not [task for task in writing if task.done()]
        over.set()
        await asyncio.gather(*writing)
        await nothing_is_lost(stack, writers)
        note = await checkpoint(stack, client)
        key = load_signer("tocsin/cases", stack.home.secrets.path("cases.log-key")).public
        outcome = await verify_database(stack.platform.dsn, key, note)
        assert outcome.code == 0, outcome.sentence
        await projected(stack)
        views = await rebuild(stack.platform.dsn, keks_of(stack.home))
        assert views.code == 0, views.sentence
    with capsys.disabled():
        print(
            f"\n{2 * ROUNDS} kills, {WRITERS} writers:"
            f" {acknowledged(writers):,} acknowledged appends,"
            f" {sum(w.repeats for w in writers):,} repeated requests; {outcome.sentence}"
        )


def acknowledged(writers: list[Writer]) -> int:
    return sum(len(writer.acknowledged) for writer in writers)


def has_come_to(writers: list[Writer], enough: int) -> bool:
    return acknowledged(writers) >= enough


async def kill(stack: Stack, part: str) -> None:
    def pid() -> int | None:
        assert stack.supervisor is not None
        if part == "cases":
            return stack.supervisor.states[part].pid
        return stack.platform.parts[part].pid

    os.kill(await until(pid, 120), signal.SIGKILL)


async def nothing_is_lost(stack: Stack, writers: list[Writer]) -> None:
    connection = await asyncpg.connect(stack.platform.dsn)
    rows = await connection.fetch(
        "SELECT position, stream_id::text AS stream, version FROM cases.events ORDER BY position"
    )
    await connection.close()
    assert [r["position"] for r in rows] == list(range(1, len(rows) + 1))  # no gap
    found: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        found.setdefault(row["stream"], []).append((row["version"], row["position"]))
    for writer in writers:
        of_it = found[writer.incident]
        assert [version for version, _ in of_it] == list(range(1, len(of_it) + 1))
        # Each acknowledged note is where its answer said, and nothing was written twice.
        assert of_it[-len(writer.acknowledged) :] == writer.acknowledged
        assert len(of_it) == writer.acknowledged[-1][0]


async def checkpoint(stack: Stack, client: httpx.AsyncClient) -> str:
    """Return the newest checkpoint, as somebody would keep it elsewhere."""
    headers = {"Authorization": f"Bearer {stack.issuer.issue('anna', ['auditor'])}"}

    async def shown() -> str | None:
        answer = await client.get(f"{stack.urls['cases']}/v1/log/checkpoint", headers=headers)
        return str(answer.json()["note"]) if answer.status_code == 200 else None

    note: str = await until(shown, 90)
    return note


async def projected(stack: Stack) -> None:
    async def in_step() -> bool:
        connection = await asyncpg.connect(stack.platform.dsn)
        try:
            return bool(
                await connection.fetchval(
                    "SELECT (SELECT max(position) FROM cases.events) = (SELECT position"
                    " FROM cases.projections WHERE name = 'incidents')"
                )
            )
        finally:
            await connection.close()

    await until(in_step)
