"""How fast signed notices go out: mails and webhooks a second, each with its proof on the ledger.

The receivers are processes of their own on the same two cores; every message is a connection of its
own, as it is towards real receivers. Beside it: what each costs in statements, transactions and CPU
time of the service, which a busy machine does not change.
"""

import asyncio
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from services.notify.app import create_app
from services.notify.settings import Settings
from shared.clock import utc_now
from shared.cloudevents import outgoing
from shared.ids import uuid7
from tests.integration.notify.stage import Desk, confirmed, scoped
from tests.support.program import Program
from tests.support.waiting import until
from tests.support.webhook_sink import new_webhook_secret
from tests.support.world import World
from tocsin.embedded.ports import claim_port

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
MESSAGES = int(os.environ.get("TOCSIN_BENCH_NOTICES", "2000"))
_SENT = text("SELECT count(*) FROM notifications WHERE incident_id = :incident AND state = 'sent'")


@pytest.mark.parametrize("workers", [4, 16])
@pytest.mark.parametrize("channel", ["email", "webhook"])
async def test_notices_a_second(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], channel: str, workers: int
) -> None:
    port, secret = claim_port(None, "receiver"), new_webhook_secret()
    command = {
        "email": ["tests.support.smtp_process", str(port), str(tmp_path / "mails.jsonl")],
        "webhook": ["tests.support.webhook_process", str(port), secret],
    }[channel]
    receiver = Program([sys.executable, "-m", *command], os.environ)
    kinds: dict[str, dict[str, Any]] = {
        "email": {"email": ["soc@tenant.example"]},
        "webhook": {"webhook": {"url": f"http://127.0.0.1:{port}/x", "secret": secret}},
    }
    file = tmp_path / "inventory.json"
    file.write_text(json.dumps(inventory(kinds[channel])))
    settings = world.settings(
        Settings,
        inventory_file=file,
        smtp_host="127.0.0.1",
        smtp_port=port,
        smtp_security="none",
        webhook_allow=[f"127.0.0.1:{port}"],
        dispatch_workers=workers,
    )
    await receiver.start()
    try:
        await until(partial(answers, port), 20)
        async with world.running(create_app(settings)) as client, world.bus("cases") as bus:
            desk, incident = Desk(world, client), uuid7()
            # Known a moment ago: with nothing overdue no alarms are among the work.
            clocks: dict[str, Any] = dict.fromkeys(
                ("detected_at", "aware_at", "confirmed_at"), utc_now()
            )
            for told in (confirmed(incident, **clocks), scoped(incident, "m1")):
                await bus.publish(outgoing(told, source="cases"), stream="CASES")
            listed = await desk.newest_list(incident)
            cost = Cost()
            started = time.perf_counter()
            assert (await desk.approve(listed["list_id"])).status_code == 200
            signed = time.perf_counter()
            cost.begin()

            async def all_sent() -> bool:
                async with world.engine("notify").connect() as connection:
                    done = await connection.execute(_SENT, {"incident": incident})
                    return bool(done.scalar_one() == MESSAGES)

            await until(all_sent, 600, every=0.2)
            took = time.perf_counter() - signed
            cost.end()
    finally:
        await receiver.stop()
    with capsys.disabled():
        print(
            f"\n{MESSAGES:,} notices by {channel}, {workers} at a time: {MESSAGES / took:.0f}/s"
            f" (made and signed in {signed - started:.1f} s); {cost}"
        )


class Cost:
    """SQL and CPU time of this process, without the question of the test itself."""

    def __init__(self) -> None:
        self.statements = self.transactions = 0
        self.cpu = 0.0

    def begin(self) -> None:
        self.cpu = -time.process_time()
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "begin", self._transaction)

    def end(self) -> None:
        self.cpu += time.process_time()
        event.remove(Engine, "before_cursor_execute", self._statement)
        event.remove(Engine, "begin", self._transaction)

    def _statement(self, _connection: Any, _cursor: Any, said: str, *_: Any) -> None:
        self.statements += "SELECT count(*) FROM notifications" not in said

    def _transaction(self, _connection: Any) -> None:
        self.transactions += 1

    def __str__(self) -> str:
        return (
            f"{self.statements / MESSAGES:.1f} statements and {self.transactions / MESSAGES:.1f}"
            f" transactions each, {1000 * self.cpu / MESSAGES:.1f} ms of CPU time each"
        )


def inventory(contacts: dict[str, Any]) -> dict[str, Any]:
    names = [f"t{number:05}" for number in range(MESSAGES)]
    return {
        "regions": [{"name": "eu", "datacenters": ["d1"]}],
        "services": [
            {"name": "mail", "farms": [{"name": "f", "datacenter": "d1", "servers": ["m1"]}]}
        ],
        "tenants": [{"name": name, "contacts": contacts} for name in names],
        "placements": [{"tenant": name, "server": "m1"} for name in names],
    }


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
