"""kill -9 of every part in mid-flow: every accepted event is evaluated, nothing lost or doubled."""

import asyncio
import json
import os
import signal
from pathlib import Path
from uuid import UUID

import asyncpg
import duckdb
import httpx
import pytest

from services.ingest.envelope import keyed_event_id
from services.ingest.framing import frame_json
from services.ingest.sources import Source
from shared.topology import SERVICES
from tests.support.waiting import until
from tocsin.people import Person
from tocsin.reading import Chunk
from tocsin.send import Target, post_chunk
from tocsin.sinks import Mailbox, mailbox
from tocsin.stack import Stack, StackOptions

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

BATCHES, BATCH = 80, 50
ATTACKED = 10  # from eleven hosts on it would be a storm, and one incident
KILLS_OF_NOTIFY, WORKERS = 3, 4  # each kill may repeat what was on its way
SOURCES = {"web": {"service": "api", "region": "eu-west", "category": "application"}}
INVENTORY = Path(__file__).resolve().parents[2] / "services/notify/examples/inventory.yml"


def batch(number: int) -> bytes:
    """Return a batch of benign events; every eighth one holds one attack, each on its own host."""
    events = [
        {"host": "quiet", "action": "customers.view", "n": number * BATCH + i} for i in range(BATCH)
    ]
    if number % 8 == 0:
        host = f"struck-{number // 8:02}"
        events[7] = {"host": host, "action": "audit_log.disabled", "outcome": "success"}
    return b"\n".join(json.dumps(event).encode() for event in events)


def pid_of(stack: Stack, part: str) -> int | None:
    if part in SERVICES:
        assert stack.supervisor is not None
        return stack.supervisor.states[part].pid
    return stack.platform.parts[part].pid


async def kill(stack: Stack, part: str) -> None:
    pid = await until(lambda: pid_of(stack, part))
    os.kill(pid, signal.SIGKILL)


async def rows(stack: Stack, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(stack.platform.dsn)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


async def ready(stack: Stack, client: httpx.AsyncClient) -> bool:
    for url in stack.urls.values():
        try:
            if (await client.get(f"{url}/readyz")).status_code != 200:
                return False
        except httpx.HTTPError:
            return False
    return True


async def test_nothing_is_lost_or_doubled(place: Path) -> None:
    async with mailbox() as box, httpx.AsyncClient(timeout=30, trust_env=False) as client:
        environment = {
            "TOCSIN_NOTIFY_INVENTORY_FILE": str(INVENTORY),
            "TOCSIN_NOTIFY_SMTP_HOST": "127.0.0.1",
            "TOCSIN_NOTIFY_SMTP_PORT": str(box.port),
            "TOCSIN_NOTIFY_SMTP_SECURITY": "none",
        }
        options = StackOptions(
            root=place / "p", random_ports=True, environment=environment, sources=SOURCES
        )
        async with Stack(options) as stack:
            accepted = await pour_while_killing(stack, client)
            await until(lambda: ready(stack, client))
            await everything_is_evaluated(stack, accepted)
            incident = await one_incident_each(stack, client)
            await customers_hear_once(stack, client, box, incident)


async def pour_while_killing(stack: Stack, client: httpx.AsyncClient) -> set[UUID]:
    """Send all batches while every part is killed once; return the ids of what was accepted."""
    key = stack.key("web")
    target = Target(stack.urls["ingest"], key)
    victims = dict(
        zip(
            range(5, BATCHES, 10),
            ["ingest", "detect", "nats", "escalate", "postgres", "cases", "notify"],
            strict=False,
        )
    )
    queue = list(reversed(range(BATCHES)))
    killing: list[asyncio.Task[None]] = []

    async def sender() -> None:
        while queue:
            number = queue.pop()
            if number in victims:
                killing.append(asyncio.create_task(kill(stack, victims[number])))
            chunk = Chunk(number, BATCH, batch(number), False)
            answer = await post_chunk(client, target, chunk, f"run:{number}")
            assert answer["accepted"] + answer["duplicates"] == BATCH, answer

    await asyncio.gather(*(sender() for _ in range(4)))
    await asyncio.gather(*killing)
    assert len(killing) == 7
    return {
        keyed_event_id(Source(id="web"), f"run:{number}", item)
        for number in range(BATCHES)
        for item in frame_json(batch(number))
    }


async def everything_is_evaluated(stack: Stack, accepted: set[UUID]) -> None:
    """A 202 meant: on disk; in the store and evaluated once the queues have drained (R13a)."""

    async def all_stored() -> bool:
        files = await rows(stack, "SELECT path FROM ingest.store_files WHERE removed_at IS NULL")
        paths = [str(stack.home.store / row["path"]) for row in files]
        if not paths:
            return False
        found = duckdb.execute("SELECT id FROM read_parquet($p)", {"p": paths}).fetchall()
        return accepted <= {row[0] for row in found}

    await until(all_stored, 90)

    async def all_evaluated() -> bool:
        stored = await rows(stack, "SELECT id FROM ingest.store_blocks WHERE events > 0")
        done = {row["id"] for row in await rows(stack, "SELECT id FROM detect.blocks")}
        return {row["id"] for row in stored} <= done

    await until(all_evaluated)

    async def the_ledger_is_even() -> bool:
        ledger = await rows(stack, "SELECT accepted, stored, evaluated FROM ingest.ledger")
        return all(r["accepted"] == r["stored"] == r["evaluated"] for r in ledger)

    await until(the_ledger_is_even)
    raised = await rows(stack, "SELECT body FROM detect.detections")
    hosts = [
        next(e["value"] for e in json.loads(row["body"])["entities"] if e["type"] == "host")
        for row in raised
    ]
    assert sorted(hosts) == [f"struck-{n:02}" for n in range(ATTACKED)]


async def one_incident_each(stack: Stack, client: httpx.AsyncClient) -> str:
    bob = person(stack, client, "bob", "security_response")

    async def incidents() -> list[dict[str, str]]:
        found = (await bob.get("cases", "/v1/incidents?limit=200"))["items"]
        return found if len(found) >= ATTACKED else []

    found = await until(incidents)
    assert len(found) == ATTACKED
    assert len({i["title"] for i in found}) == ATTACKED
    positions = [r["position"] for r in await rows(
        stack, "SELECT position FROM cases.events ORDER BY position"
    )]  # fmt: skip
    assert positions == list(range(1, len(positions) + 1))  # gapless
    return str(found[0]["incident_id"])


async def customers_hear_once(
    stack: Stack, client: httpx.AsyncClient, box: Mailbox, incident: str
) -> None:
    alice = person(stack, client, "alice", "service_team")
    bob = person(stack, client, "bob", "security_response")
    carol = person(stack, client, "carol", "incident_communications")
    await alice.does(incident, "set-severity", level="SEV1", reason="certain")

    async def in_state(wanted: str) -> bool:
        shown = await bob.get("cases", f"/v1/incidents/{incident}")
        return bool(shown["state"] == wanted)

    await until(lambda: in_state("escalated"))
    members = [("bob", "security_response"), ("alice", "service_team"),
               ("carol", "incident_communications")]  # fmt: skip
    await bob.does(incident, "form-v-team", lead="bob",
                   members=[{"person": p, "kind": k} for p, k in members])  # fmt: skip
    await bob.does(incident, "record-summary", summary="s", potential_impact="i")
    await alice.does(
        incident,
        "set-priority",
        priority="P1",
        functional="low",
        informational="privacy_breach",
        recoverability="regular",
        reason="r",
    )
    await bob.does(incident, "confirm", rationale="r", justification="seen by us")
    await alice.does(incident, "set-scope", include=[{"region": "eu-west"}])
    path = f"/v1/incidents/{incident}/affected-lists"

    async def lists() -> list[dict[str, str]]:
        found: list[dict[str, str]] = (await carol.get("notify", path))["items"]
        return found

    newest = (await until(lists))[0]
    await kill(stack, "cases")
    approved = await carol.try_to("notify", f"/v1/affected-lists/{newest['list_id']}/approve")
    assert approved.status_code == 200, approved.text
    await kill(stack, "notify")
    await kill(stack, "postgres")
    await kill(stack, "nats")
    await until(lambda: ready(stack, client))

    async def sent() -> list[dict[str, str]]:
        shown = await carol.get("notify", f"/v1/notifications?incident_id={incident}")
        mails: list[dict[str, str]] = [n for n in shown["items"] if n["channel"] == "email"]
        return mails if mails and all(n["state"] == "sent" for n in mails) else []

    mails = await until(sent, 120)
    # Between the server's "kept" and our commit a crash sends again, under the same id: what a
    # mailbox that knows ids shows is each notice once.
    assert len({mail["Message-ID"] for mail in box.mails}) == len(mails)
    assert len(box.mails) <= len(mails) + KILLS_OF_NOTIFY * WORKERS
    assert len({(n["tenant"], n["channel"]) for n in mails}) == len(mails)


def person(stack: Stack, client: httpx.AsyncClient, name: str, *roles: str) -> Person:
    return Person(client, stack.urls, name, stack.issuer.issue(name, roles))
