"""Severities in, escalations out: once an incident, with an owner, and with a page to it."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.cloudevents import outgoing
from shared.contracts.base import Contract
from shared.contracts.cases import IncidentEscalatedV1, IncidentOpenedV1, SeveritySetV1
from shared.contracts.escalate import EscalationRaisedV1, TeamPagedV1
from shared.ids import derived_id, uuid7
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import NOON

pytestmark = pytest.mark.integration


def about(name: str, version: int = 1) -> dict[str, Any]:
    return {
        "event_id": uuid7(),
        "occurred_at": NOON,
        "incident_id": derived_id("test-incident", name),
        "number": f"TOCSIN-2026-{name}",
        "version": version,
        "position": 1,
        "actor": "sue",
    }


def opened(name: str) -> IncidentOpenedV1:
    return IncidentOpenedV1(
        **about(name), title=f"Title {name}", source_kind="rule", detected_at=NOON
    )


def severity(name: str, level: str, version: int = 1, **more: Any) -> SeveritySetV1:
    return SeveritySetV1.model_validate({**about(name, version), "level": level, **more})


def escalated(name: str, escalation_id: UUID, team: str = "sr-global") -> IncidentEscalatedV1:
    return IncidentEscalatedV1(**about(name), escalation_id=escalation_id, owning_team=team)


async def tell(world: World, *events: Contract) -> None:
    async with world.bus("cases") as bus:
        for event in events:
            await bus.publish(outgoing(event, source="cases"), stream="CASES")


async def told(world: World, contract: type[Any], name: str) -> list[Any]:
    identity = derived_id("test-incident", name)
    found = [
        contract.from_json(body)
        for subject, _, body in await world.messages("ESCALATIONS")
        if subject == contract.SUBJECT
    ]
    return [m for m in found if m.incident_id == identity]


async def paged_all(world: World, name: str, teams: set[str]) -> list[Any]:
    found = await told(world, TeamPagedV1, name)
    return found if teams <= {page.team for page in found} else []


async def paged_team(world: World, name: str, team: str) -> list[Any]:
    return [page for page in await told(world, TeamPagedV1, name) if page.team == team]


async def chains(world: World, name: str) -> list[str]:
    """Return the team of each chain of pages that was begun for an incident, sorted."""
    async with world.engine("escalate").connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT team FROM page_chains WHERE incident_id = $1 ORDER BY team",
            (derived_id("test-incident", name),),
        )
        return [row.team for row in rows]


async def settled(world: World) -> None:
    """Return once everything published before is handled: the consumer keeps the order."""
    name = uuid7().hex
    await tell(world, severity(name, "SEV2"))
    await until(lambda: told(world, EscalationRaisedV1, name))


async def test_sev1_escalates_once_with_owner_teams_and_rules(
    world: World, escalate: httpx.AsyncClient
) -> None:
    inputs = {"privacy": "suspected", "scope": "server", "service": "tier0"}
    first = severity("0001", "SEV1", services=["id"], regions=["us-east"], inputs=inputs)
    again = severity("0001", "SEV0", services=["id"], previous="SEV1", inputs=inputs)
    await tell(world, opened("0001"), first, again, severity("0001", "SEV1"))
    await settled(world)
    (raised,) = await told(world, EscalationRaisedV1, "0001")
    assert raised.severity == "SEV1"
    assert raised.owning_team == "sr-identity-americas"
    assert raised.engaged_teams == [
        "sr-identity-americas", "identity", "ic", "legal", "compliance", "cps",
    ]  # fmt: skip
    assert raised.routing_rules == ["RT1", "RT2", "RT5"]


async def test_sev3_waits_for_the_service_team_and_escalates_when_raised(
    world: World, escalate: httpx.AsyncClient
) -> None:
    await tell(world, severity("0002", "SEV3"), severity("0003", "SEV4"))
    await settled(world)
    assert await told(world, EscalationRaisedV1, "0002") == []
    assert await told(world, EscalationRaisedV1, "0003") == []
    await tell(world, severity("0002", "SEV2", previous="SEV3"))
    (raised,) = await until(lambda: told(world, EscalationRaisedV1, "0002"))
    assert raised.owning_team == "sr-global"


async def test_the_owning_team_is_paged_once_the_incident_is_escalated(
    world: World, escalate: httpx.AsyncClient
) -> None:
    await tell(world, opened("0004"), severity("0004", "SEV2"))
    (raised,) = await until(lambda: told(world, EscalationRaisedV1, "0004"))
    assert await told(world, TeamPagedV1, "0004") == []
    await tell(world, escalated("0004", raised.escalation_id, raised.owning_team))
    # SEV2 with nothing known of privacy engages legal and compliance too (RT2).
    teams = ["compliance", "ic", "legal", "platform", "sr-global"]
    pages = await until(lambda: paged_all(world, "0004", set(teams)))
    (paged,) = [page for page in pages if page.team == "sr-global"]
    assert paged.reason == "take on TOCSIN-2026-0004 (SEV2): Title 0004"
    await tell(world, escalated("0004", raised.escalation_id, raised.owning_team))
    await settled(world)
    assert await chains(world, "0004") == teams  # none a second time


async def test_an_incident_that_the_service_team_escalated_is_paged_and_not_escalated_again(
    world: World, escalate: httpx.AsyncClient
) -> None:
    await tell(world, severity("0005", "SEV3"), escalated("0005", uuid7(), "sr-own"))
    await until(lambda: paged_team(world, "0005", "sr-own"))
    await tell(world, severity("0005", "SEV1", previous="SEV3"))
    await settled(world)
    assert await told(world, EscalationRaisedV1, "0005") == []


async def test_whatever_people_typed_does_not_hold_up_the_incidents_after_it(
    world: World, escalate: httpx.AsyncClient
) -> None:
    inputs = {"scope": ["region"], "privacy": {"a": "\x00"}, "service": 10**30}
    await tell(
        world,
        opened("0006").model_copy(update={"title": "a\x00b\n"}),
        severity("0006", "SEV2", services=["s\x00"], regions=["\x00"], inputs=inputs),
        escalated("0006", uuid7(), "te\x00am"),
        escalated("0007", uuid7(), "\x00"),
    )
    await settled(world)
    (paged,) = await until(lambda: paged_team(world, "0006", "te am"))
    assert (paged.team, paged.reason) == ("te am", "take on TOCSIN-2026-0006 (SEV2): a b")
    await until(lambda: paged_team(world, "0007", "sr-global"))
