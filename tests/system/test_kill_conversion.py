"""kill -9 of escalate and of PostgreSQL while support cases become incidents (R15c).

Each case is one, each becomes one incident with one proposal, one link and one page chain for each
team; whoever was cut off asks again with the same key, and whatever was answered had happened.
TOCSIN_CONVERSION_ROUNDS=20 make test ARGS="tests/system/test_kill_conversion.py"
(a part of make chaos-triage)
"""

import asyncio
import json
import os
import random
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.waiting import until
from tocsin.people import Person
from tocsin.stack import Stack, StackOptions

ROUNDS = int(os.environ.get("TOCSIN_CONVERSION_ROUNDS", "1"))
CUSTOMERS = 4  # at once
A_CUSTOMER = 2  # cases a kill, one after the other

pytestmark = [pytest.mark.system, pytest.mark.timeout(180 + 60 * ROUNDS)]


async def test_no_case_is_lost_or_doubled(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dice = random.Random(20261127)  # noqa: S311 - dice that guard nothing
    options = StackOptions(root=place / "p", random_ports=True)
    async with Stack(options) as stack, httpx.AsyncClient(timeout=20, trust_env=False) as client:
        answered: dict[str, str] = {}
        for number in range(ROUNDS):
            for part in ("escalate", "postgres"):
                before = len(answered)
                customers = [
                    asyncio.create_task(report(stack, client, f"{number}-{part}-{who}", answered))
                    for who in range(CUSTOMERS)
                ]
                await until(partial(more, answered, before), 90)
                await asyncio.sleep(dice.uniform(0, 0.2))
                await kill(stack, part)
                await asyncio.gather(*customers)
        cases = 2 * ROUNDS * CUSTOMERS * A_CUSTOMER
        assert len(answered) == len(set(answered.values())) == cases
        teams = await until(lambda: settled(stack, cases), 120)
        told = await messages(stack)
        for incident in answered.values():
            kinds = Counter(kind for kind, of, _ in told if of == incident)
            assert kinds["proposal.raised"] == kinds["support_case.linked"] == 1
            assert kinds["support_case.triaged"] == 1
            (verdict,) = (
                m for kind, of, m in told if (kind, of) == ("support_case.triaged", incident)
            )
            assert set(teams[incident]) == set(verdict["teams"])
            assert set(teams[incident].values()) == {1}
            assert kinds["engagement.requested"] == len(teams[incident])
        opened = Counter(m["case_id"] for kind, _, m in told if kind == "support_case.opened")
        assert set(opened) == set(answered)
        assert set(opened.values()) == {1}
        bob = Person(client, stack.urls, "bob", stack.issuer.issue("bob", ["security_response"]))

        async def incidents() -> set[str]:
            found: set[str] = set()
            after = ""
            while True:
                page = await bob.get("cases", f"/v1/incidents?limit=200{after}")
                found |= {one["incident_id"] for one in page["items"]}
                if not page.get("next_cursor"):
                    return found
                after = f"&cursor={page['next_cursor']}"

        wanted, found = set(answered.values()), set[str]()

        async def all_open() -> bool:
            nonlocal found
            found = await incidents()
            return found >= wanted

        try:
            await until(all_open, 180, every=1.0)
        finally:
            assert found == wanted, f"missing {wanted - found}, more {found - wanted}"
    with capsys.disabled():
        print(f"\n{2 * ROUNDS} kills in conversion: {cases} support cases, each one incident")


def more(answered: dict[str, str], before: int) -> bool:
    return len(answered) > before


async def report(
    stack: Stack, client: httpx.AsyncClient, name: str, answered: dict[str, str]
) -> None:
    """Open cases and convert them, asking again until there is an answer."""
    carla = stack.issuer.issue("carla", ["customer_contact"], tenant="acme")
    iris = stack.issuer.issue("iris", ["incident_communications"])
    url = f"{stack.urls['escalate']}/v1/support-cases"
    for one in range(A_CUSTOMER):
        body: dict[str, Any] = {
            "title": f"Case {name}-{one}", "statement": "Sign-ins that nobody made.",
            "services": ["id"],
        }  # fmt: skip
        key = {"authorization": f"Bearer {carla}", "idempotency-key": f"{name}-{one}"}
        case = await asked(client, url, body, key)
        verdict = {"outcome": "escalate", "message": "We are investigating this."}
        path = f"{url}/{case['case_id']}/triage"
        done = await asked(client, path, verdict, {"authorization": f"Bearer {iris}"})
        answered[case["case_id"]] = done["incident_id"]


async def asked(
    client: httpx.AsyncClient, url: str, body: dict[str, Any], headers: dict[str, str]
) -> dict[str, Any]:
    async def attempt() -> dict[str, Any] | None:
        try:
            answer = await client.post(url, json=body, headers=headers)
        except httpx.HTTPError:
            return None
        assert answer.is_success or answer.status_code >= 500, answer.text
        found: dict[str, Any] | None = answer.json() if answer.is_success else None
        return found

    found: dict[str, Any] = await until(attempt, 90, every=0.1)
    return found


async def kill(stack: Stack, part: str) -> None:
    def pid() -> int | None:
        if part == "escalate":
            assert stack.supervisor is not None
            return stack.supervisor.states[part].pid
        return stack.platform.parts[part].pid

    os.kill(await until(pid), signal.SIGKILL)


async def settled(stack: Stack, cases: int) -> dict[str, Counter[str]] | None:
    """Return the teams paged for each incident, once all is sent and told; None before."""
    try:
        connection = await asyncpg.connect(stack.platform.dsn)
    except (OSError, asyncpg.PostgresError):
        return None
    try:
        waiting = await connection.fetchval(
            "SELECT (SELECT count(*) FROM escalate.outbox WHERE published_at IS NULL)"
            " + (SELECT count(*) FROM escalate.pages WHERE sent_at IS NULL AND dropped_at IS NULL)"
            " + (SELECT count(*) FROM escalate.page_chains c WHERE ended IS NULL AND NOT EXISTS"
            " (SELECT FROM escalate.pages p WHERE p.chain_id = c.id))"
        )
        held = await connection.fetchval("SELECT count(*) FROM escalate.support_cases")
        chains = await connection.fetch(
            "SELECT CAST(incident_id AS text) AS incident, team FROM escalate.page_chains"
            " WHERE engagement_id IS NOT NULL"
        )
    finally:
        await connection.close()
    assert held <= cases
    if waiting:
        return None
    teams: dict[str, Counter[str]] = {}
    for chain in chains:
        teams.setdefault(chain["incident"], Counter())[chain["team"]] += 1
    return teams


async def messages(stack: Stack) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Return what escalate told: kind, incident, message."""
    connection = await asyncpg.connect(stack.platform.dsn)
    try:
        rows = await connection.fetch("SELECT subject, payload FROM escalate.outbox")
    finally:
        await connection.close()
    told = [(row["subject"], json.loads(row["payload"])) for row in rows]
    return [
        (subject.removeprefix("tocsin.v1.escalate."), body.get("incident_id"), body)
        for subject, body in told
    ]
