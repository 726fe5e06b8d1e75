"""Pages end to end: on call, channels, answers by link and API, experts, legal clocks (§6, R11)."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from icalendar import Calendar

from services.escalate.app import create_app
from services.escalate.oncall.links import Links, link_key
from services.escalate.settings import Settings
from shared.clock import utc_now
from shared.cloudevents import outgoing
from shared.contracts.escalate import (
    CoverageGapFoundV1,
    PageAcknowledgedV1,
    SMEEngagementAcceptedV1,
    SMEEngagementDeclinedV1,
    SMEEngagementReleasedV1,
    SMEEngagementRequestedV1,
    TeamPagedV1,
)
from shared.contracts.notify import (
    NotificationUndeliverableV1,
    ObligationDueSoonV1,
    ObligationOverdueV1,
)
from shared.ids import derived_id, uuid7
from tests.integration.escalate.oncall_world import overrides
from tests.integration.escalate.test_severity_gate import escalated, opened, severity, tell, told
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
    folder = tmp_path_factory.mktemp("oncall")
    settings = world.settings(Settings, **overrides(folder, sink))
    async with world.running(create_app(settings)) as found:
        found.headers["authorization"] = f"Bearer {world.token('cy', 'security_response')}"
        yield found


async def escalate(world: World, name: str, level: str = "SEV2", **inputs: Any) -> UUID:
    harmless = {"privacy": "none", "scope": "server", "service": "tier2"}
    await tell(
        world,
        opened(name),
        severity(name, level, services=["api"], inputs={**harmless, **inputs}),
        escalated(name, uuid7()),
    )
    return derived_id("test-incident", name)


async def ledger(
    client: httpx.AsyncClient, incident: UUID, count: int, **match: Any
) -> list[dict[str, Any]]:
    """Return the pages of an incident once *count* of those that match are there."""

    async def look() -> list[dict[str, Any]]:
        answer = await client.get("/v1/pages", params={"incident_id": str(incident), "limit": 200})
        found = [p for p in answer.json()["items"] if match.items() <= p.items()]
        return found if len(found) >= count else []

    return list(await until(look))


async def test_whoever_is_on_call_is_paged_by_their_channels_in_the_documented_shapes(
    world: World, client: httpx.AsyncClient, sink: Providers
) -> None:
    incident = await escalate(world, "1001", privacy="suspected")
    # cy by two channels for api and legal, legal's own, ana for the router, ic and compliance.
    await ledger(client, incident, 8, status="sent")
    await ledger(client, incident, 3, team="legal", status="sent")
    pages = await ledger(client, incident, 8, status="sent")
    by_team = {(page["team"], page["channel"]) for page in pages}
    assert {("legal", "teams"), ("legal", "pagerduty"), ("legal", "slack")} <= by_team
    assert {page["person"] for page in pages if page["team"] == "pe"} == {"ana"}  # RT6: router
    assert sink.refused == []
    for page in pages:
        if page["channel"] in ("slack", "teams", "pagerduty", "webhook"):
            assert sink.keys(f"/{page['channel']}").count(page["page_id"]) == 1
    # Nobody described this team: the log is its channel.
    (ic,) = [page for page in pages if page["team"] == "ic"]
    assert ic["channel"] == "log"


async def test_an_acknowledgement_by_api_stops_the_chain_and_proposes_a_member(
    world: World, client: httpx.AsyncClient
) -> None:
    incident = await escalate(world, "1002")
    (page, *_) = await ledger(client, incident, 1, team="sr-global", status="sent")
    answer = await client.post(f"/v1/pages/{page['page_id']}/acknowledge")
    assert answer.status_code == 200
    assert answer.json()["acknowledged_by"] == "cy"
    again = await client.post(f"/v1/pages/{page['page_id']}/acknowledge")
    assert again.json() == answer.json()
    (event,) = await until(lambda: told(world, PageAcknowledgedV1, "1002"))
    assert (event.person, event.team, event.member_kind) == ("cy", "sr-global", "security_response")
    (shown,) = await ledger(client, incident, 1, page_id=page["page_id"])
    assert shown["status"] == "acknowledged"
    assert shown["seconds_to_acknowledge"] == event.seconds
    async with world.engine("escalate").connect() as connection:
        row = (
            await connection.exec_driver_sql(
                "SELECT due_at, ended FROM page_chains WHERE id = $1", (UUID(page["chain_id"]),)
            )
        ).one()
    assert tuple(row) == (None, "acknowledged")
    proposal = (await client.get(f"/v1/incidents/{incident}/v-team-proposal")).json()
    assert [m["kind"] for m in proposal["members"]] == ["security_response"]
    assert proposal["missing_kinds"] == ["service_team", "incident_communications"]
    missing = await client.post(f"/v1/pages/{uuid7()}/acknowledge")
    assert missing.status_code == 404


async def test_a_link_works_once_for_its_page_and_says_when_it_does_not(
    world: World, client: httpx.AsyncClient, sink: Providers
) -> None:
    incident = await escalate(world, "1003")
    (page, *_) = await ledger(client, incident, 1, channel="slack", status="sent")
    body = next(b for p, key, b in sink.taken if p == "/slack" and key == page["page_id"])
    link = httpx.URL(body["blocks"][1]["elements"][0]["url"])
    async with httpx.AsyncClient(base_url=client.base_url) as anybody:
        # A mail gateway that looks at the link acknowledges nothing.
        for _ in range(2):
            looked = await anybody.get(link.path)
            assert looked.status_code == 200
            assert "<form method=post>" in looked.text
        done = await anybody.post(link.path)
        assert done.status_code == 200
        assert "Acknowledged" in done.text
        for again in (await anybody.post(link.path), await anybody.get(link.path)):
            assert again.status_code == 410
            assert again.json()["code"] == "link_used"
            assert "already used" in again.json()["detail"]
        links = Links("", await link_key(world.engine("escalate")))
        old = links.token(UUID(page["page_id"]), utc_now() - timedelta(seconds=1))
        expired = await anybody.post(f"/v1/ack/{old}")
        assert (expired.status_code, expired.json()["code"]) == (410, "link_expired")
        forged = link.path[:-4] + ("AAAA" if not link.path.endswith("AAAA") else "BBBB")
        assert (await anybody.post(forged)).status_code == 404
        assert (await anybody.post("/v1/ack/x")).status_code == 404
    (event,) = await until(lambda: told(world, PageAcknowledgedV1, "1003"))
    assert event.person == page["person"]


async def test_experts_are_requested_and_accept_by_acknowledging(
    world: World, client: httpx.AsyncClient
) -> None:
    incident = await escalate(world, "1004", privacy="suspected")

    async def asked() -> list[Any]:
        found = await told(world, SMEEngagementRequestedV1, "1004")
        return found if len(found) >= 3 else []

    wanted = {event.team: event for event in await until(asked)}
    assert set(wanted) == {"legal", "compliance", "pe"}
    assert wanted["legal"].required
    assert wanted["legal"].routing_rules == ["RT2"]
    (page, *_) = await ledger(client, incident, 1, team="legal", status="sent")
    await client.post(f"/v1/pages/{page['page_id']}/acknowledge")
    (accepted,) = await until(lambda: told(world, SMEEngagementAcceptedV1, "1004"))
    assert (accepted.team, accepted.person) == ("legal", "cy")


async def test_an_engagement_by_hand_is_declined_and_released_with_reasons(
    world: World, client: httpx.AsyncClient
) -> None:
    incident = await escalate(world, "1005")
    await until(lambda: told(world, TeamPagedV1, "1005"))
    path = f"/v1/incidents/{incident}/engagements"
    body = {"team": "forensics", "reason": "disk images"}
    made = await client.post(path, json=body)
    assert made.status_code == 201
    assert made.json()["team_kind"] == "forensics"  # a seventh kind, by data
    assert (await client.post(path, json=body)).json() == made.json()
    unknown = await client.post(path, json={"team": "nobody", "reason": "x"})
    assert unknown.status_code == 422
    one = f"/v1/engagements/{made.json()['engagement_id']}"
    declined = await client.post(f"{one}/decline", json={"reason": "on leave"})
    assert (declined.json()["status"], declined.json()["reason"]) == ("declined", "on leave")
    released = await client.post(f"{one}/release", json={"reason": "not needed"})
    assert released.json()["status"] == "released"
    over = await client.post(f"{one}/accept", json={"reason": "late"})
    assert (over.status_code, over.json()["code"]) == (409, "engagement_over")
    assert len(await until(lambda: told(world, SMEEngagementDeclinedV1, "1005"))) == 1
    assert len(await until(lambda: told(world, SMEEngagementReleasedV1, "1005"))) == 1
    listed = (await client.get(path)).json()["items"]
    assert "released" in [item["status"] for item in listed]


async def test_legal_clocks_page_legal_then_communications_then_the_manager(
    world: World, client: httpx.AsyncClient
) -> None:
    incident, obligation = derived_id("test-incident", "1006"), uuid7()
    due = utc_now() + timedelta(hours=2)
    common: dict[str, Any] = {
        "occurred_at": utc_now(), "obligation_id": obligation, "incident_id": incident,
        "regime": "gdpr_33", "phase": "initial", "recipient": "authority", "due_at": due,
    }  # fmt: skip
    soon = [
        ObligationDueSoonV1(event_id=uuid7(), level=level, state="triggered", **common)
        for level in ("half", "four_fifths", "four_fifths")  # told twice under two ids
    ]
    async with world.bus("notify") as bus:
        for message in (*soon, ObligationOverdueV1(event_id=uuid7(), **common)):
            await bus.publish(outgoing(message, source="notify"), stream="NOTIFICATIONS")
    # Executive incident manager: only the deadline itself.
    manager = await ledger(client, incident, 2, team="em")
    assert all("the deadline has passed" in page["reason"] for page in manager)
    communications = await ledger(client, incident, 2, team="ic")
    assert len({page["chain_id"] for page in communications}) == 2
    legal = await ledger(client, incident, 9, team="legal")
    assert len({page["chain_id"] for page in legal}) == 3


async def test_tenants_that_nobody_reaches_page_communications_once_an_hour(
    world: World, client: httpx.AsyncClient
) -> None:
    incident = await escalate(world, "paging-unreached", "SEV2")
    first = utc_now().replace(minute=10)
    async with world.bus("notify") as bus:
        for tenant, at in (
            ("delta", first),
            ("gamma", first + timedelta(minutes=20)),
            ("alpha", first + timedelta(hours=1)),
        ):
            told = NotificationUndeliverableV1(
                event_id=uuid7(),
                occurred_at=at,
                notification_id=uuid7(),
                incident_id=incident,
                tenant=tenant,
                channel="email",
                contacts=2,
                given_up_at=at,
            )
            for _ in range(2):
                await bus.publish(outgoing(told, source="notify"), stream="NOTIFICATIONS")

    async def named() -> set[str] | None:
        """Return the tenants that pages name, once there are two; others ask to join."""
        pages = await ledger(client, incident, 1, team="ic")
        reasons = [p["reason"] for p in pages if "tenant" in p["reason"]]
        found = {reason.split("tenant ")[1].split()[0] for reason in reasons}
        return found if len(found) >= 2 else None

    told_of = await until(named)
    # Of the first hour whichever came first; messages have no order among themselves.
    assert len(told_of) == 2
    assert "alpha" in told_of


async def test_overrides_change_who_is_on_call_and_stay_on_record(
    client: httpx.AsyncClient,
) -> None:
    now = utc_now()
    body = {
        "schedule": "always-cy", "person": "bo", "reason": "swap",
        "from": (now + timedelta(days=2)).isoformat(), "to": (now + timedelta(days=3)).isoformat(),
    }  # fmt: skip
    made = await client.post("/v1/oncall/overrides", json=body, headers={"Idempotency-Key": "k"})
    assert made.status_code == 201
    again = await client.post("/v1/oncall/overrides", json=body, headers={"Idempotency-Key": "k"})
    assert again.json() == made.json()
    then = (now + timedelta(days=2, hours=1)).isoformat()
    answer = (await client.get("/v1/oncall", params={"at": then})).json()
    assert next(t for t in answer["items"] if t["team"] == "api")["primary"] == "bo"
    identity = made.json()["override_id"]
    assert (await client.delete(f"/v1/oncall/overrides/{identity}")).status_code == 204
    assert (await client.delete(f"/v1/oncall/overrides/{identity}")).status_code == 404
    answer = (await client.get("/v1/oncall", params={"at": then})).json()
    assert next(t for t in answer["items"] if t["team"] == "api")["primary"] == "cy"
    listed = (await client.get("/v1/oncall/overrides")).json()["items"]
    assert next(o for o in listed if o["override_id"] == identity)["cancelled_by"] == "cy"
    for wrong in ({"person": "zoe"}, {"schedule": "none"}, {"to": body["from"]}):
        refused = await client.post("/v1/oncall/overrides", json={**body, **wrong})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["at"].startswith("body.")


async def test_a_schedule_goes_out_as_icalendar_and_comes_back_as_overrides(
    client: httpx.AsyncClient,
) -> None:
    out = await client.get("/v1/oncall/schedules/sr-first.ics", params={"days": 14})
    events = Calendar.from_ical(out.content).walk("VEVENT")
    assert {str(e["x-tocsin-person"]) for e in events} <= {"ana", "bo", "cy"}
    assert all(e.decoded("dtstart").utcoffset() == timedelta(0) for e in events)
    path = "/v1/oncall/schedules/always-cy/import"
    took = await client.post(path, content=out.content)
    assert took.json() == {"events": len(events), "added": len(events)}
    assert (await client.post(path, content=out.content)).json()["added"] == 0
    at = events[1].decoded("dtstart") + timedelta(minutes=1)
    shown = (await client.get("/v1/oncall", params={"at": at.isoformat()})).json()["items"]
    holder = {team["team"]: team["primary"] for team in shown}
    assert holder["api"] == str(events[1]["x-tocsin-person"])
    refused = await client.post(path, content=b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n")
    assert (refused.status_code, refused.json()["code"]) == (422, "malformed")
    assert (await client.get("/v1/oncall/schedules/none")).status_code == 404


async def test_coverage_and_gaps_are_reported_and_told(
    world: World, client: httpx.AsyncClient
) -> None:
    covered = (await client.get("/v1/oncall/coverage")).json()["items"]
    assert ("kind", "threat_intelligence") in {(f["what"], f["name"]) for f in covered}
    gaps = (await client.get("/v1/oncall/gaps")).json()["items"]
    assert "sr-global" not in {g["name"] for g in gaps}

    async def gap_events() -> list[CoverageGapFoundV1]:
        return [
            CoverageGapFoundV1.from_json(data)
            for subject, _, data in await world.messages("ESCALATIONS")
            if subject == CoverageGapFoundV1.SUBJECT
        ]

    events = await until(gap_events)
    assert "threat_intelligence" in {event.name for event in events}
    shifts = (await client.get("/v1/oncall/schedules/sr-second")).json()["items"]
    assert datetime.fromisoformat(shifts[0]["to"]) > datetime.now(UTC)
