"""A stage for notify: an inventory, real receivers, a clock to wind, and cases as a speaker."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from services.notify.app import create_app
from services.notify.settings import Settings
from shared.bus import Bus
from shared.clock import utc_now
from shared.cloudevents import outgoing
from shared.contracts.base import Contract
from shared.contracts.cases import (
    ClockSetV1,
    IncidentConfirmedV1,
    IncidentEvent,
    Scope,
    ScopeSetV1,
)
from shared.ids import uuid7
from tests.support.smtp_sink import SmtpSink
from tests.support.waiting import until
from tests.support.webhook_sink import WebhookSink, new_webhook_secret
from tests.support.world import World

INVENTORY = """
regions:
  - {{name: eu-west, datacenters: [dub1]}}
services:
  - name: mail
    farms:
      - {{name: mail-f1, datacenter: dub1, servers: [m1, m2, m3]}}
tenants:
  - name: alpha
    region: EU
    data_subject_regions: [EU]
    contacts: {{email: [security@alpha.example, privacy@alpha.example]}}
    contract: [{{clause: "9.1", hours: 24, clock: aware}}]
  - name: beta
    region: US
    contacts: {{webhook: {{url: "http://{hooks}/beta", secret: "{secret}"}}}}
  - name: gamma
    region: US
    data_subject_regions: [US]
    contacts:
      email: [it@gamma.example]
      webhook: {{url: "http://{hooks}/gamma", secret: "{secret}"}}
  - name: delta
    contacts: {{email: [soc@delta.example]}}
placements:
  - {{tenant: alpha, server: m1, data: [personal]}}
  - {{tenant: beta, server: m1}}
  - {{tenant: gamma, server: m2}}
  - {{tenant: delta, server: m3}}
"""

AWARE = datetime(2026, 3, 3, 9, 20, tzinfo=UTC)


class WoundClock:
    """The real clock, wound forward as told."""

    def __init__(self, on_wind: Callable[[], None]) -> None:
        self.ahead = timedelta()
        self._on_wind = on_wind

    def __call__(self) -> datetime:
        return utc_now() + self.ahead

    def wind(self, **by: float) -> None:
        self.ahead += timedelta(**by)
        self._on_wind()


class Stage:
    """What the tests of notify play on."""

    def __init__(
        self, world: World, bus: Bus, smtp: SmtpSink, hooks: WebhookSink, folder: Path
    ) -> None:
        self.world, self.bus, self.smtp, self.hooks = world, bus, smtp, hooks
        self.clock = WoundClock(self._wound)
        self.file = folder / "inventory.yml"
        secret = new_webhook_secret()
        hooks.secrets = {"/beta": secret, "/gamma": secret}
        self.file.write_text(INVENTORY.format(hooks=hooks.end, secret=secret))

    def _wound(self) -> None:
        self.hooks.clock = self.clock  # until then the library itself verifies

    def settings(self, **overrides: Any) -> Settings:
        values: dict[str, Any] = {
            "inventory_file": self.file,
            "smtp_host": "127.0.0.1",
            "smtp_port": self.smtp.port,
            "smtp_security": "none",
            "sender": "Operator <security@op.example>",
            "operator_name": "Example Cloud",
            "operator_data_subject_regions": ["EU"],
            "webhook_allow": [self.hooks.end],
            "dispatch_interval": 0.1,
        }
        return self.world.settings(Settings, **{**values, **overrides})

    @asynccontextmanager
    async def running(self, **overrides: Any) -> AsyncIterator["Desk"]:
        """Yield the service running with its inventory loaded."""
        ports: list[int | None] = []
        app = create_app(self.settings(**overrides), clock=self.clock, on_bounce_port=ports.append)
        async with self.world.running(app) as client:
            desk = Desk(self.world, client, ports[0])
            yield desk

    async def say(self, *contracts: Contract) -> None:
        """Publish as cases would."""
        for contract in contracts:
            await self.bus.publish(outgoing(contract, source="cases"), stream="CASES")

    async def published(self, incident_id: UUID, contract: type[Contract]) -> list[Any]:
        """Return what notify has published of one kind about an incident."""
        return [
            contract.from_json(data)
            for subject, headers, data in await self.world.messages("NOTIFICATIONS")
            if subject == contract.SUBJECT and headers["ce-subject"] == str(incident_id)
        ]


def confirmed(incident_id: UUID, version: int = 5, **changes: Any) -> IncidentConfirmedV1:
    """Return the confirmation of an incident, by sam."""
    values: dict[str, Any] = {
        "event_id": uuid7(),
        "occurred_at": utc_now(),
        "incident_id": incident_id,
        "number": "TOCSIN-2026-0001",
        "version": version,
        "position": version,
        "actor": "sam",
        "confirmed_at": AWARE + timedelta(minutes=10),
        "aware_at": AWARE,
        "detected_at": AWARE - timedelta(hours=1),
        "severity": "SEV1",
        "inputs": {"privacy": "personal"},
        "title": "Mail read",
        "summary": "Somebody read mail on one server.",
        "potential_impact": "Mail on the server was readable for an hour.",
    }
    return IncidentConfirmedV1(**{**values, **changes})


def scoped(
    incident_id: UUID, *servers: str, scope_version: int = 1, set_by: str = "sam"
) -> ScopeSetV1:
    """Return a scope over *servers*."""
    return ScopeSetV1(
        event_id=uuid7(),
        occurred_at=utc_now(),
        incident_id=incident_id,
        number="TOCSIN-2026-0001",
        version=5 + scope_version,
        position=5 + scope_version,
        actor=set_by,
        scope=Scope.model_validate(
            {
                "include": [{"server": server} for server in servers],
                "window_from": AWARE - timedelta(hours=2),
                "window_to": AWARE,
            }
        ),
        scope_version=scope_version,
        set_by=set_by,
    )


def clock_set(incident_id: UUID, version: int, clock: str, instant: datetime) -> ClockSetV1:
    """Return that an instant was recorded or corrected in cases, by lena."""
    return ClockSetV1(
        event_id=uuid7(),
        occurred_at=utc_now(),
        incident_id=incident_id,
        number="TOCSIN-2026-0001",
        version=version,
        position=version,
        actor="lena",
        clock=clock,
        instant=instant,
    )


def told_by_cases(
    contract: type[IncidentEvent], incident_id: UUID, version: int, **values: Any
) -> IncidentEvent:
    """Return another message of cases about the incident, by sam."""
    return contract(
        event_id=uuid7(),
        occurred_at=utc_now(),
        incident_id=incident_id,
        number="TOCSIN-2026-0001",
        version=version,
        position=version,
        actor="sam",
        **values,
    )


class Desk:
    """People at notify's API."""

    def __init__(
        self, world: World, client: httpx.AsyncClient, bounce_port: int | None = None
    ) -> None:
        self.world, self.client, self.bounce_port = world, client, bounce_port

    async def call(
        self,
        method: str,
        path: str,
        *,
        who: str = "carol",
        role: str = "incident_communications",
        **rest: Any,
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.world.token(who, role)}"}
        return await self.client.request(method, path, headers=headers, **rest)

    async def get(self, path: str) -> Any:
        answer = await self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any, role: str = "incident_communications") -> Any:
        answer = await self.call("POST", path, role=role, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def portal(
        self, method: str, path: str, tenant: str | None, who: str = "pat"
    ) -> httpx.Response:
        """Call as a contact of *tenant*."""
        token = self.world.token(who, "customer_contact", tenant=tenant)
        headers = {"Authorization": f"Bearer {token}"}
        return await self.client.request(method, f"/v1/portal/notices{path}", headers=headers)

    async def newest_list(self, incident_id: UUID, version: int = 1) -> dict[str, Any]:
        """Return the list once there is one of *version*."""

        async def probe() -> Any:
            items = (await self.get(f"/v1/incidents/{incident_id}/affected-lists"))["items"]
            return items[0] if items and items[0]["version"] >= version else None

        found: dict[str, Any] = await until(probe)
        return found

    async def approve(self, list_id: str, who: str = "carol") -> httpx.Response:
        return await self.call("POST", f"/v1/affected-lists/{list_id}/approve", who=who)

    async def notifications(self, incident_id: UUID) -> dict[tuple[str, str], dict[str, Any]]:
        return _by_place(await self._items(incident_id))

    async def all_are(self, incident_id: UUID, state: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the notifications once there are some and all, older ones too, are in *state*."""

        async def probe() -> Any:
            items = await self._items(incident_id)
            return items if {item["state"] for item in items} == {state} else None

        return _by_place(await until(probe))

    async def _items(self, incident_id: UUID) -> list[dict[str, Any]]:
        return list((await self.get(f"/v1/notifications?incident_id={incident_id}"))["items"])


def _by_place(items: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the notification of each tenant and channel; of several, the one listed last."""
    return {(item["tenant"], item["channel"]): item for item in items}
