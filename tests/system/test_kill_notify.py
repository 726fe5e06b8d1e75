"""kill -9 of notify, PostgreSQL and the mail server while notices go out: each tenant told once.

SMTP has no question "have you had this?": what a server took and we could not write down before we
died goes out again. It is the same mail under the same Message-ID, so whoever receives mail knows
it for one (`duplicate` of Sieve, RFC 7352; duplicate suppression of IMAP servers), and this test
counts how often that happens.

    make chaos-notify    20 rounds of 500 mails, kills at 60 points, leases wait out their minute
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from shared.bus import Bus
from shared.clock import utc_now
from shared.cloudevents import outgoing
from shared.ids import new_secret, uuid7
from shared.migrate import migrate
from shared.topology import role_name
from tests.integration.notify.stage import confirmed, scoped
from tests.support.program import Program
from tests.support.waiting import until
from tocsin.bootstrap import bootstrap
from tocsin.embedded.platform import EmbeddedPlatform
from tocsin.embedded.ports import claim_port
from tocsin.stack import authorization, nkey_seed
from tocsin.tokens import LocalIssuer

ROUNDS = int(os.environ.get("TOCSIN_NOTICE_ROUNDS", "1"))
TENANTS = int(os.environ.get("TOCSIN_NOTICE_TENANTS", "200"))  # mails of a round
WORKERS = 4  # what is on its way when something is killed
VICTIMS = ("notify", "postgres", "smtp")

pytestmark = [pytest.mark.system, pytest.mark.timeout(120 + 240 * ROUNDS)]


class Site:
    """PostgreSQL, NATS, notify and a mail server, each in a process of its own."""

    def __init__(self, place: Path, platform: EmbeddedPlatform) -> None:
        self.platform = platform
        self.journal = place / "mails.jsonl"
        (place / "keys").mkdir()
        self.issuer = LocalIssuer(place / "keys")
        self.smtp_port, self.port = claim_port(None, "SMTP"), claim_port(None, "notify")
        self.client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={
                "authorization": f"Bearer {self.issuer.issue('carol', ['incident_communications'])}"
            },
            timeout=20,
            trust_env=False,
        )
        command = ["-m", "tests.support.smtp_process", str(self.smtp_port), str(self.journal)]
        self.smtp = Program([sys.executable, *command], os.environ)
        self._password, self._place = new_secret(16), place

    async def open(self, stack: AsyncExitStack) -> None:
        await migrate(self.platform.dsn, {"notify": self._password})
        await bootstrap(self.platform.nats_url, nkey_seed(self.platform.secrets, "bootstrap"))
        inventory = self._place / "inventory.json"
        inventory.write_text(json.dumps(inventory_of(TENANTS)))
        where = f"127.0.0.1:{self.platform.parts['postgres'].port}/postgres"
        settings = {
            "PORT": self.port,
            "DATABASE_URL": f"postgresql://{role_name('notify')}:{self._password}@{where}",
            "NATS_URL": self.platform.nats_url,
            "NATS_NKEY_SEED": nkey_seed(self.platform.secrets, "notify"),
            "JWKS_FILE": self.issuer.jwks_file,
            "NOTIFY_INVENTORY_FILE": inventory,
            "NOTIFY_SMTP_HOST": "127.0.0.1",
            "NOTIFY_SMTP_PORT": self.smtp_port,
            "NOTIFY_SMTP_SECURITY": "none",
            "NOTIFY_DISPATCH_WORKERS": WORKERS,
            "NOTIFY_DISPATCH_INTERVAL": 0.2,
        }
        environment = {f"TOCSIN_{name}": str(value) for name, value in settings.items()}
        self.notify = Program(
            [sys.executable, "-m", "services.notify"],
            {**os.environ, **environment},
            self._place / "notify.log",
        )
        for program in (self.smtp, self.notify):
            await program.start()
            stack.push_async_callback(program.stop)
        try:
            await until(self.ready)
        except AssertionError as error:
            said = (self._place / "notify.log").read_text("utf-8", "replace")
            raise AssertionError(f"notify is not ready; it said: {said[-2000:]}") from error

    async def ready(self) -> bool:
        try:
            return (await self.client.get("/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def kill(self, part: str) -> None:
        """Kill it, and have it come back."""
        if part == "postgres":  # the platform starts it again
            os.kill(await until(lambda: self.platform.parts[part].pid), signal.SIGKILL)
            return
        program = self.notify if part == "notify" else self.smtp
        await program.kill()
        await program.start()

    def taken(self) -> int:
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    def mails(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_bytes().splitlines()]

    async def rows(self, query: str, *values: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.platform.dsn, timeout=5)
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    async def approved(self, incident: UUID) -> bool:
        """Sign the newest list, as somebody does who is not put off by a service that restarts."""
        try:
            path = f"/v1/incidents/{incident}/affected-lists"
            lists = (await self.client.get(path)).json().get("items")
            if not lists:
                return False
            path = f"/v1/affected-lists/{lists[0]['list_id']}/approve"
            return (await self.client.post(path)).status_code == 200
        except (httpx.HTTPError, ValueError):
            return False

    async def sent(self, incident: UUID, count: int) -> bool:
        """Tell whether *count* or more are sent.

        In the small dose neither the leases of the dead nor pauses between attempts are waited for.
        """
        try:
            if ROUNDS == 1:
                await self.rows(FREE_LEASES)
                await self.rows(TRY_NOW)
            (found,) = await self.rows(SENT, incident)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return bool(found["sent"] >= count)


SENT = "SELECT count(*) AS sent FROM notify.notifications WHERE incident_id = $1 AND state = 'sent'"
# What was begun more than four seconds ago was begun by a process that is dead.
FREE_LEASES = (
    "UPDATE notify.notifications SET lease_until = now() WHERE state = 'sending'"
    " AND lease_until < now() + interval '56 seconds'"
)
TRY_NOW = (
    "UPDATE notify.notifications SET next_attempt_at = now()"
    " WHERE state = 'pending' AND attempt > 0"
)


def inventory_of(tenants: int) -> dict[str, Any]:
    names = [f"t{number:04}" for number in range(tenants)]
    return {
        "regions": [{"name": "eu", "datacenters": ["d1"]}],
        "services": [
            {"name": "mail", "farms": [{"name": "f", "datacenter": "d1", "servers": ["m1"]}]}
        ],
        "tenants": [{"name": n, "contacts": {"email": [address(n)]}} for n in names],
        "placements": [{"tenant": n, "server": "m1"} for n in names],
    }


def address(tenant: str) -> str:
    return f"soc@{tenant}.example"


@asynccontextmanager
async def site(place: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        platform = EmbeddedPlatform(place, authorization=authorization)
        await stack.enter_async_context(platform)
        keeping = asyncio.create_task(platform.keep_running())
        stack.callback(keeping.cancel)
        found = Site(place, platform)
        stack.push_async_callback(found.client.aclose)
        await found.open(stack)
        yield found


async def test_every_tenant_is_told_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dice = random.Random(20261127)  # noqa: S311 - dice that guard nothing
    started, sending = time.monotonic(), 0.0
    async with site(place) as one:
        incidents = []
        seed = nkey_seed(one.platform.secrets, "cases")
        async with Bus(one.platform.nats_url, "cases", seed) as bus:
            await bus.wait_connected(10)
            for _ in range(ROUNDS):
                incident = uuid7()
                incidents.append(incident)
                for told in (confirmed(incident, **just_now()), scoped(incident, "m1")):
                    await bus.publish(outgoing(told, source="cases"), stream="CASES")
                await until(partial(one.approved, incident))
                began = time.monotonic()
                before = one.taken()
                for victim in dice.sample(VICTIMS, len(VICTIMS)):
                    before += dice.randint(TENANTS // 10, TENANTS // 4)
                    await until(lambda n=before: one.taken() >= n, 120, every=0.05)  # type: ignore[misc]
                    await one.kill(victim)
                # Leases of the dead and pauses of what failed twice end while the next rounds run.
                most = TENANTS * 4 // 5
                await until(partial(one.sent, incident, most), 200, every=0.3)
                sending += time.monotonic() - began
        for incident in incidents:
            await until(partial(one.sent, incident, TENANTS), 200, every=0.3)
        await nothing_lost_or_doubled(one, incidents, sending, time.monotonic() - started, capsys)


async def nothing_lost_or_doubled(
    one: Site,
    incidents: list[UUID],
    sending: float,
    whole: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await until(partial(outbox_is_empty, one))
    rows = await one.rows("SELECT notification_id, tenant, state FROM notify.notifications")
    wanted = {
        f"<{row['notification_id']}@localhost>": address(row["tenant"])
        for row in rows
        if row["state"] == "sent"
    }
    assert len(wanted) == len(rows) == ROUNDS * TENANTS
    mails = one.mails()
    # Every notice came, to its tenant, under its own id and no other.
    assert {mail["id"]: mail["to"][0] for mail in mails} == wanted
    # What came twice is the same bytes: whoever keeps one of a Message-ID has each notice once.
    assert len({(mail["id"], mail["sha256"]) for mail in mails}) == len(wanted)
    times = Counter(mail["id"] for mail in mails)
    twice = len(mails) - len(times)
    kills = len(VICTIMS) * ROUNDS
    assert twice <= WORKERS * kills
    told = await one.rows(
        "SELECT count(*) AS n FROM notify.affected_lists WHERE notified_at IS NOT NULL"
    )
    assert told[0]["n"] == len(incidents)
    with capsys.disabled():
        print(
            f"\n{kills} kills of notify, PostgreSQL and the mail server: {len(wanted):,} notices,"
            f" 0 lost, 0 under a second id; {twice} mails taken twice under the same Message-ID"
            f" (at most {max(times.values())} times), 0 twice for who keeps one of each;"
            f" {len(mails) / sending:.0f} mails/s over the kills, {whole:.0f} s in all"
        )


def just_now() -> dict[str, Any]:
    """Return clocks that began a moment ago: with nothing overdue there are no alarms to give."""
    return dict.fromkeys(("detected_at", "aware_at", "confirmed_at"), utc_now())


async def outbox_is_empty(one: Site) -> bool:
    try:
        (found,) = await one.rows(
            "SELECT count(*) AS n FROM notify.outbox WHERE published_at IS NULL"
        )
    except (OSError, asyncpg.PostgresError):
        return False
    return bool(found["n"] == 0)
