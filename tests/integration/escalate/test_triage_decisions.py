"""Suppress, snooze, the risk of entities, and severities that are proposed anew."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.clock import utc_now
from shared.cloudevents import outgoing
from shared.contracts.base import Contract
from shared.contracts.cases import Scope, ScopeSelector, ScopeSetV1
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.escalate import IncidentProposedV1, SeverityProposedV1, TriageDecidedV1
from shared.contracts.notify import AffectedCustomersIdentifiedV1
from shared.ids import uuid7
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import NOON, detection

pytestmark = pytest.mark.integration
WHY = "a test of triage, nothing else"


async def send(world: World, *detections: DetectionRaisedV1) -> None:
    async with world.bus("detect") as bus:
        for found in detections:
            await bus.publish(outgoing(found, source="detect"), stream="DETECTIONS")


async def told(world: World, contract: type[Any]) -> list[Any]:
    messages = await world.messages("ESCALATIONS")
    return [contract.from_json(m[2]) for m in messages if m[0] == contract.SUBJECT]


async def proposal_on(world: World, host: str) -> IncidentProposedV1 | None:
    found = await told(world, IncidentProposedV1)
    return next((p for p in found if p.grouping.entity.value == host), None)


async def group_on(client: httpx.AsyncClient, host: str, count: int) -> dict[str, Any] | None:
    for one in (await client.get("/v1/triage/groups?limit=200")).json()["items"]:
        if one["entity"]["value"] == host and one["detection_count"] == count:
            return dict(one)
    return None


async def test_what_is_suppressed_is_counted_and_not_proposed_until_that_ends(
    world: World, escalate: httpx.AsyncClient
) -> None:
    until_then = (utc_now() + timedelta(days=2)).isoformat()
    made = await escalate.post(
        "/v1/triage/suppressions",
        json={"entity_type": "host", "entity_value": "KNOWN.", "reason": WHY,
              "expires_at": until_then},
    )  # fmt: skip
    assert made.status_code == 201, made.text
    found = [
        detection(f"known-{n}", at=n, level="critical", entities={"host": "known"})
        for n in range(3)
    ]
    await send(world, *found)
    one = await until(lambda: group_on(escalate, "known", 3))
    assert (one["suppressed"], one["risk"]) == (3, 0)
    listed = (await escalate.get("/v1/triage/suppressions")).json()["items"]
    assert [(s["hits"], s["active"]) for s in listed] == [(3, True)]
    identity = made.json()["suppression_id"]
    ended = await escalate.post(f"/v1/triage/suppressions/{identity}/end", json={"reason": WHY})
    assert ended.status_code == 200
    await send(world, detection("known-4", at=4, level="high", entities={"host": "known"}))
    proposal = await until(lambda: proposal_on(world, "known"))
    assert proposal.detection_count == 4
    assert "3 of them are suppressed" in proposal.grouping.explanation
    events = await until(lambda: told(world, TriageDecidedV1))
    assert [e.decision for e in events] == ["suppressed", "suppression_ended"]
    assert events[0].matching == {"kind": "host", "value": "KNOWN."}


@pytest.mark.parametrize(
    "changed",
    [
        {"rule_id": None},
        {"entity_type": "host"},
        {"reason": "short"},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "2999-01-01T00:00:00Z"},
    ],
)
async def test_a_suppression_of_everything_or_for_ever_is_refused(
    escalate: httpx.AsyncClient, changed: dict[str, Any]
) -> None:
    body = {
        "rule_id": "r", "reason": WHY, "expires_at": (utc_now() + timedelta(days=1)).isoformat(),
    }  # fmt: skip
    refused = await escalate.post("/v1/triage/suppressions", json={**body, **changed})
    assert refused.status_code == 422


async def test_a_snoozed_group_is_proposed_when_its_rest_is_over(
    world: World, escalate: httpx.AsyncClient
) -> None:
    await send(world, detection("rest-1", level="low", entities={"host": "rest"}))
    one = await until(lambda: group_on(escalate, "rest", 1))
    path = f"/v1/triage/groups/{one['group_id']}"
    later = (utc_now() + timedelta(hours=1)).isoformat()
    rested = await escalate.post(f"{path}/snooze", json={"until": later, "reason": WHY})
    assert rested.status_code == 200, rested.text
    await send(world, detection("rest-2", at=1, level="critical", entities={"host": "rest"}))
    await until(lambda: group_on(escalate, "rest", 2))
    assert await proposal_on(world, "rest") is None
    assert (await escalate.post(f"{path}/wake", json={"reason": WHY})).status_code == 200
    proposal = await until(lambda: proposal_on(world, "rest"))
    assert proposal.detection_count == 2
    shown = (await escalate.get(path)).json()
    assert (shown["incident_id"], shown["snoozed_by"]) == (str(proposal.incident_id), "sam")
    unknown = f"/v1/triage/groups/{uuid7()}"
    assert (await escalate.get(unknown)).status_code == 404
    gone = await escalate.post(f"{unknown}/wake", json={"reason": WHY})
    assert gone.status_code == 404


async def test_the_risk_of_an_entity_is_explained(
    world: World, escalate: httpx.AsyncClient
) -> None:
    day = 24 * 60
    quiet = [
        detection(f"slow-{n}", at=n * day, level="low", rule=f"slow-{n}",
                  entities={"host": "slow"}) for n in range(9)
    ]  # fmt: skip
    for found in quiet:
        await send(world, found)
    proposal = await until(lambda: proposal_on(world, "slow"))
    assert proposal.detection_count == 1
    assert "the risk of host slow has accumulated to" in proposal.grouping.explanation
    shown = (await escalate.get("/v1/triage/risk")).json()["items"]
    one = next(e for e in shown if e["entity"]["value"] == "slow")
    assert one["threshold"] == 100
    assert one["armed"] is False


async def test_the_severity_is_proposed_anew_when_the_facts_change(
    world: World, escalate: httpx.AsyncClient
) -> None:
    host = {"host": "grows"}
    await send(world, detection("g-1", entities=host, server="grows", service="api",
                                attack_tactics=["initial-access"]))  # fmt: skip
    first = await until(lambda: proposal_on(world, "grows"))
    incident = first.incident_id

    async def anew(cause: str) -> SeverityProposedV1 | None:
        found = await told(world, SeverityProposedV1)
        return next((e for e in found if (e.incident_id, e.cause) == (incident, cause)), None)

    await send(world, detection("g-2", at=1, entities=host, server="grows", service="api",
                                rule="rule-b", attack_tactics=["credential-access"]))  # fmt: skip
    worse = await until(lambda: anew("detections"))
    assert (worse.severity.inputs["details"], worse.severity.inputs["privacy"]) == (
        "presence", "credentials",
    )  # fmt: skip
    assert worse.previous == first.severity.level
    assert worse.severity.points > first.severity.points
    assert worse.severity.digest == first.severity.digest

    scope = Scope(include=[ScopeSelector(region="gov"), ScopeSelector(region="eu-west")])
    await publish(world, "cases", "CASES", ScopeSetV1(
        event_id=uuid7(), occurred_at=NOON, incident_id=incident, number="TOCSIN-2026-0001",
        version=5, position=5, actor="sue", scope=scope, scope_version=2, set_by="sue",
    ))  # fmt: skip
    wider = await until(lambda: anew("scope"))
    assert (wider.severity.inputs["scope"], wider.severity.inputs["region"]) == (
        "multi_region", "sovereign",
    )  # fmt: skip
    await publish(world, "notify", "NOTIFICATIONS", customers(incident, 120))
    many = await until(lambda: anew("tenants"))
    assert many.severity.inputs["affected_tenants"] == 120
    assert many.severity.inputs["scope"] == "multi_region"
    assert many.previous == wider.severity.level


def customers(incident: UUID, confirmed: int) -> AffectedCustomersIdentifiedV1:
    return AffectedCustomersIdentifiedV1(
        event_id=uuid7(), occurred_at=NOON, list_id=uuid7(), incident_id=incident, version=1,
        inventory_version="1", confirmed=confirmed, probable=0, possible=7, tenants=[],
    )  # fmt: skip


async def publish(world: World, identity: str, stream: str, event: Contract) -> None:
    async with world.bus(identity) as bus:
        await bus.publish(outgoing(event, source=identity), stream=stream)
