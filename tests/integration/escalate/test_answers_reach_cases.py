"""Escalate and cases over NATS: a severity by link, an escalation, and who answered (P4, R23)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.cases.app import create_app as create_cases
from services.cases.settings import Settings as CasesSettings
from services.escalate.app import create_app
from services.escalate.settings import Settings
from shared.clock import utc_now
from shared.cloudevents import outgoing
from shared.contracts.escalate import SeverityChosenV1
from shared.ids import uuid7
from tests.integration.escalate.oncall_world import overrides
from tests.integration.escalate.test_answers import paged, proposed
from tests.integration.escalate.test_paging import ledger
from tests.support.providers import Providers, providers
from tests.support.waiting import until
from tests.support.webhook_sink import new_webhook_secret
from tests.support.world import World

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sink() -> AsyncIterator[Providers]:
    async with providers(new_webhook_secret()) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(
    world: World, sink: Providers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    given = overrides(tmp_path_factory.mktemp("answers"), sink)
    async with world.running(create_app(world.settings(Settings, **given))) as found:
        found.headers["authorization"] = f"Bearer {world.token('cy', 'security_response')}"
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cases(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.running(create_cases(world.settings(CasesSettings))) as found:
        found.headers["authorization"] = f"Bearer {world.token('sam', 'security_response')}"
        yield found


async def shown(cases: httpx.AsyncClient, incident: object, **wanted: Any) -> dict[str, Any]:
    """Return the incident once it is there and agrees with *wanted*."""

    async def look() -> dict[str, Any] | None:
        answer = await cases.get(f"/v1/incidents/{incident}")
        document: dict[str, Any] = answer.json()
        return document if answer.is_success and wanted.items() <= document.items() else None

    found: dict[str, Any] = await until(look)
    return found


async def test_a_severity_by_link_escalates_and_who_answers_is_proposed_for_the_v_team(
    world: World, client: httpx.AsyncClient, cases: httpx.AsyncClient, sink: Providers
) -> None:
    incident = (await proposed(world, "whole-way")).incident_id
    before = await shown(cases, incident, state="opened")
    assert before["severity"] is None
    kinds = ["security_response", "service_team", "incident_communications"]
    assert before["v_team_proposal"] == {"members": [], "missing_kinds": kinds}
    _, body = await paged(client, sink, incident, "slack")
    link = httpx.URL(body["blocks"][1]["elements"][1]["url"]).path
    async with httpx.AsyncClient(base_url=client.base_url) as anybody:
        assert (await anybody.post(link, data={"level": "SEV2"})).status_code == 200
    after = await shown(cases, incident, state="escalated")
    assert (after["severity"]["level"], after["severity"]["by"]) == ("SEV2", "cy")
    assert after["severity"]["override_reason"] == ""
    (page, *_) = await ledger(client, incident, 1, team="sr-global", status="sent")
    answered = await client.post(f"/v1/pages/{page['page_id']}/acknowledge")
    assert answered.status_code == 200

    async def both() -> list[tuple[str, str]]:
        document = await shown(cases, incident)
        found = [(m["person"], m["kind"]) for m in document["v_team_proposal"]["members"]]
        return found if len(found) == 2 else []

    assert await until(both) == [("cy", "service_team"), ("cy", "security_response")]
    document = await shown(cases, incident)
    assert document["v_team_proposal"]["missing_kinds"] == ["incident_communications"]


async def test_a_duty_manager_who_sets_it_is_flagged_as_acting_for_the_service_team(
    world: World, client: httpx.AsyncClient, cases: httpx.AsyncClient
) -> None:
    incident = (await proposed(world, "stand-in")).incident_id
    await shown(cases, incident, state="opened")
    chosen = SeverityChosenV1(
        event_id=uuid7(), occurred_at=utc_now(),
        incident_id=incident, page_id=uuid7(), level="SEV1", proposed="SEV2",
        reason="Nobody else is there.", person="dora", team="dm", role="duty_manager",
    )  # fmt: skip
    async with world.bus("escalate") as bus:
        await bus.publish(outgoing(chosen, source="escalate"), stream="ESCALATIONS")
    after = await shown(cases, incident, state="escalated")
    assert (after["severity"]["by"], after["severity"]["acting_for"]) == ("dora", "service_team")
    assert after["severity"]["override_reason"] == "Nobody else is there."
