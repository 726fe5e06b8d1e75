"""What is learned after the escalation engages who was not needed before (P3, RT2, RT8, RT9)."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from services.escalate.app import create_app
from services.escalate.settings import Settings
from shared.cloudevents import outgoing
from shared.contracts.cases import (
    EvidenceRecordedV1,
    IncidentClosedV1,
    IncidentUpdatedV1,
    Scope,
    ScopeSelector,
    ScopeSetV1,
)
from shared.contracts.escalate import SMEEngagementRequestedV1, TeamPagedV1
from shared.contracts.notify import AffectedCustomersIdentifiedV1, ObligationIdentifiedV1
from shared.ids import derived_id, uuid7
from tests.integration.escalate.test_severity_gate import (
    about,
    chains,
    escalated,
    opened,
    settled,
    severity,
    tell,
    told,
)
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import DIRECTORY, NOON

pytestmark = pytest.mark.integration
HARMLESS = {
    "privacy": "none", "scope": "server", "service": "tier2", "details": "engage",
    "industry_regulation": "none",
}  # fmt: skip
TENANTS = """
tenants:
  acme: {industry: financial}
  umbra: {industry: retail}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def escalate(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    file = tmp_path_factory.mktemp("facts") / "directory.yml"
    file.write_text(DIRECTORY + TENANTS)
    async with world.running(create_app(world.settings(Settings, directory_file=file))) as client:
        yield client


async def begin(world: World, name: str, **inputs: Any) -> UUID:
    """Escalate an incident that needs neither legal nor compliance."""
    given = severity(name, "SEV2", services=["api"], inputs={**HARMLESS, **inputs})
    await tell(world, opened(name), given, escalated(name, derived_id("escalation", name)))
    await until(lambda: paged(world, name, {"sr-global", "api", "ic"}))
    return derived_id("test-incident", name)


async def paged(world: World, name: str, teams: set[str]) -> bool:
    return teams <= {page.team for page in await told(world, TeamPagedV1, name)}


async def asked(world: World, name: str) -> dict[str, SMEEngagementRequestedV1]:
    return {event.team: event for event in await told(world, SMEEngagementRequestedV1, name)}


async def from_notify(world: World, event: Any) -> None:
    async with world.bus("notify") as bus:
        await bus.publish(outgoing(event, source="notify"), stream="NOTIFICATIONS")


async def test_a_severity_that_is_raised_engages_the_managers_once(
    world: World, escalate: httpx.AsyncClient
) -> None:
    await begin(world, "2001")
    raised = severity("2001", "SEV0", previous="SEV2", services=["api"], inputs=HARMLESS)
    await tell(world, raised, raised.model_copy(update={"event_id": uuid7()}))
    await settled(world)
    teams = ["api", "dm", "em", "ic", "sr-global"]
    assert await chains(world, "2001") == teams  # RT7; nobody twice
    await until(lambda: paged(world, "2001", set(teams)))


async def test_a_scope_that_reaches_further_engages_its_teams(
    world: World, escalate: httpx.AsyncClient
) -> None:
    await begin(world, "2002")
    scope = Scope(include=[ScopeSelector(service="mail", region="eu-west")])
    wider = ScopeSetV1(**about("2002"), scope=scope, scope_version=1, set_by="sam")
    await tell(world, wider)
    await until(lambda: paged(world, "2002", {"mail"}))


@pytest.mark.parametrize("name", ["2003", "2013"])
async def test_rt9_a_legal_hold_engages_legal(
    world: World, escalate: httpx.AsyncClient, name: str
) -> None:
    incident = await begin(world, name)
    on_item = EvidenceRecordedV1(
        event_id=uuid7(), occurred_at=NOON, evidence_id=uuid7(), incident_id=incident, version=2,
        position=9, actor="lea", event="EvidenceLegalHoldPlaced",
    )  # fmt: skip
    on_all = IncidentUpdatedV1(**about(name, 9), event="LegalHoldPlaced")
    await tell(world, on_item if name == "2003" else on_all)
    wanted = await until(lambda: asked(world, name))
    assert set(wanted) == {"legal"}
    assert (wanted["legal"].routing_rules, wanted["legal"].required) == (["RT9"], True)


@pytest.mark.parametrize(("hours", "engaged"), [(72, {"legal", "compliance"}), (240, set())])
async def test_rt2_a_deadline_within_72_hours_engages_legal(
    world: World, escalate: httpx.AsyncClient, hours: int, engaged: set[str]
) -> None:
    name = f"2004{hours}"
    incident = await begin(world, name)
    owed = ObligationIdentifiedV1(
        event_id=uuid7(), occurred_at=NOON, obligation_id=uuid7(), incident_id=incident,
        regime="gdpr_33", phase="initial", recipient="authority", clock="aware",
        clock_at=NOON, due_at=NOON + timedelta(hours=hours), basis="72 h",
    )  # fmt: skip
    for _ in range(2):
        await from_notify(world, owed.model_copy(update={"event_id": uuid7()}))
    if engaged:
        await until(lambda: paged(world, name, engaged))
    marker = await begin(world, f"{name}-after")
    await from_notify(world, owed.model_copy(update={"event_id": uuid7(), "incident_id": marker,
                                                     "due_at": NOON}))  # fmt: skip
    await until(lambda: asked(world, f"{name}-after"))
    assert set(await asked(world, name)) == engaged


async def test_rt8_customers_of_a_regulated_industry_engage_compliance(
    world: World, escalate: httpx.AsyncClient
) -> None:
    incident = await begin(world, "2005")
    for version, tenants in ((1, ["umbra"]), (2, ["umbra", "acme"])):
        found = AffectedCustomersIdentifiedV1(
            event_id=uuid7(), occurred_at=NOON, list_id=uuid7(), incident_id=incident,
            version=version, inventory_version="1", confirmed=len(tenants), probable=0,
            possible=0, tenants=tenants,
        )  # fmt: skip
        await from_notify(world, found)
    wanted = await until(lambda: asked(world, "2005"))
    assert set(wanted) == {"compliance"}
    assert wanted["compliance"].routing_rules == ["RT8"]


async def test_who_did_it_is_said_with_the_severity_and_an_incident_that_is_over_engages_nobody(
    world: World, escalate: httpx.AsyncClient
) -> None:
    incident = await begin(world, "2006", tenant_industry="health")  # stated by people
    assert set(await until(lambda: asked(world, "2006"))) == {"compliance"}
    closed = IncidentClosedV1(**about("2006"), disposition="confirmed")
    raised = severity("2006", "SEV0", services=["api"], inputs=HARMLESS)
    await tell(world, closed, raised)
    await settled(world)
    assert not await paged(world, "2006", {"em"})
    async with world.engine("escalate").connect() as connection:
        row = await connection.exec_driver_sql(
            "SELECT engaged_teams, routing_rules FROM escalations WHERE incident_id = $1",
            (incident,),
        )
        assert tuple(row.one()) == (["sr-global", "api", "ic", "compliance"], ["RT1", "RT8"])
