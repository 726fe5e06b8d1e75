"""Answers to pages: the severity by link, clicks in Slack, what PagerDuty is told (R11, R23)."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.escalate.app import create_app
from services.escalate.oncall import api_pagerduty
from services.escalate.oncall.api_slack import signature_of
from services.escalate.oncall.links import Links, link_key
from services.escalate.settings import Settings
from shared.clock import utc_now
from shared.cloudevents import outgoing
from shared.contracts.cases import IncidentClosedV1, SeveritySetV1
from shared.contracts.escalate import IncidentProposedV1, PageAcknowledgedV1, SeverityChosenV1
from shared.ids import uuid7
from tests.integration.escalate.oncall_world import DIRECTORY, overrides
from tests.integration.escalate.test_paging import ledger
from tests.integration.escalate.test_severity_gate import tell
from tests.integration.escalate.test_support_cases import told
from tests.support.providers import Providers, providers
from tests.support.waiting import until
from tests.support.webhook_sink import new_webhook_secret
from tests.support.world import World
from tests.unit.escalate.given import NOON, detection

pytestmark = pytest.mark.integration
SECRET = "signing secret of the app"
CY = "U012AB3CD"
CY_PD = "PXPGF42"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sink() -> AsyncIterator[Providers]:
    async with providers(new_webhook_secret()) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(
    world: World, sink: Providers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    given = overrides(tmp_path_factory.mktemp("answers"), sink)
    cy = "  cy:\n    contacts:"
    assert cy in DIRECTORY
    ids = f"slack_user: {CY}\n    pagerduty_user: {CY_PD}"
    known = DIRECTORY.replace(cy, f"  cy:\n    {ids}\n    contacts:")
    given["directory_file"].write_text(known)
    secret = SecretStr(SECRET)
    settings = world.settings(
        Settings, slack_signing_secret=secret, pagerduty_webhook_secret=secret, **given
    )
    async with world.running(create_app(settings)) as found:
        found.headers["authorization"] = f"Bearer {world.token('sam', 'security_response')}"
        yield found


async def proposed(world: World, name: str) -> IncidentProposedV1:
    """Have detect find something on a host of that name; return the incident's proposal."""
    found = detection(f"answers-{name}", level="high", service="api", entities={"host": name})
    async with world.bus("detect") as bus:
        await bus.publish(outgoing(found, source="detect"), stream="DETECTIONS")

    async def look() -> list[IncidentProposedV1]:
        every = [
            IncidentProposedV1.from_json(data)
            for subject, _, data in await world.messages("ESCALATIONS")
            if subject == IncidentProposedV1.SUBJECT
        ]
        return [p for p in every if p.grouping.entity.value == name]

    proposals: list[IncidentProposedV1] = await until(look)
    return proposals[0]


async def paged(
    client: httpx.AsyncClient, sink: Providers, incident: UUID, channel: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the page of that channel, and what the provider took of it."""
    (page,) = await ledger(client, incident, 1, channel=channel, status="sent")
    (body,) = [b for p, k, b in sink.taken if p == f"/{channel}" and k == page["page_id"]]
    return page, body


def about(incident: UUID) -> dict[str, Any]:
    return {
        "event_id": uuid7(), "occurred_at": NOON, "incident_id": incident, "number": "T-1",
        "version": 2, "position": 2, "actor": "sue",
    }  # fmt: skip


async def test_r23_the_severity_is_set_by_the_link_in_the_page_once(
    world: World, client: httpx.AsyncClient, sink: Providers
) -> None:
    proposal = await proposed(world, "link-host")
    incident, level = proposal.incident_id, proposal.severity.level
    page, body = await paged(client, sink, incident, "slack")
    link = httpx.URL(body["blocks"][1]["elements"][1]["url"]).path
    assert level == "SEV2"
    async with httpx.AsyncClient(base_url=client.base_url) as anybody:
        for _ in range(2):  # a mail gateway looks, too
            looked = await anybody.get(link)
            assert looked.status_code == 200
            assert f"Proposed: {level}, {proposal.severity.points} points" in looked.text
            for contribution in proposal.severity.contributions:
                assert contribution.criterion in looked.text
        for given, why in [
            ({"level": "SEV4"}, "one of SEV0, SEV1, SEV2"),  # less is for somebody signed in
            ({"level": "SEV1"}, "say why it is SEV1"),
            ({}, "one of SEV0"),
        ]:
            refused = await anybody.post(link, data=given)
            assert refused.status_code == 422
            assert why in refused.json()["detail"]
        raised = {"level": "SEV1", "reason": "The host signs releases.\x00"}
        done = await anybody.post(link, data=raised, headers={"accept": "application/json"})
        assert done.status_code == 200, done.text
        assert (done.json()["level"], done.json()["by"]) == ("SEV1", "cy")
        for again in (await anybody.post(link, data=raised), await anybody.get(link)):
            assert (again.status_code, again.json()["code"]) == (410, "link_used")
            assert "already used" in again.json()["detail"]
    (chosen,) = await until(lambda: told(world, SeverityChosenV1, incident_id=incident))
    assert (chosen.level, chosen.proposed, chosen.person) == ("SEV1", "SEV2", "cy")
    assert (chosen.team, chosen.role, chosen.reason) == (
        "api", "service_team", "The host signs releases.",
    )  # fmt: skip
    (answer,) = await until(lambda: told(world, PageAcknowledgedV1, incident_id=incident))
    assert str(answer.page_id) == page["page_id"]


async def test_a_link_that_is_expired_for_something_else_or_too_late_says_so(
    world: World, client: httpx.AsyncClient, sink: Providers
) -> None:
    incident = (await proposed(world, "late-host")).incident_id
    page, body = await paged(client, sink, incident, "pagerduty")
    acknowledge, severity = (httpx.URL(entry["href"]).path for entry in body["links"])
    links = Links("", await link_key(world.engine("escalate")))
    past = utc_now() - timedelta(seconds=1)
    old = links.token(UUID(page["page_id"]), past, "set-severity")
    async with httpx.AsyncClient(base_url=client.base_url) as anybody:
        expired = await anybody.get(f"/v1/set-severity/{old}")
        assert (expired.status_code, expired.json()["code"]) == (410, "link_expired")
        for path in (
            acknowledge.replace("/ack/", "/set-severity/"),
            severity.replace("/set-severity/", "/ack/"),
            "/v1/set-severity/x",
        ):
            assert (await anybody.post(path)).status_code == 404
        await tell(world, SeveritySetV1(**about(incident), level="SEV3"))

        async def settled() -> bool:
            return (await anybody.get(severity)).status_code == 410

        await until(settled)
        late = await anybody.post(severity, data={"level": "SEV2"})
        assert (late.status_code, late.json()["code"]) == (410, "severity_set")
        assert "T-1 is SEV3 already" in late.json()["detail"]
    assert await told(world, SeverityChosenV1, incident_id=incident) == []


class Slack:
    """Clicks as Slack sends them."""

    def __init__(self, client: httpx.AsyncClient, sink: Providers) -> None:
        self._client, self._answer = client, f"{sink.url}/any"

    def click(self, value: str, user: str = CY, action: str = "acknowledge") -> bytes:
        payload = {
            "type": "block_actions", "user": {"id": user, "name": "x"}, "team": {"id": "T1"},
            "response_url": self._answer, "actions": [{"action_id": action, "value": value}],
        }  # fmt: skip
        return urlencode({"payload": json.dumps(payload)}).encode()

    async def send(
        self, body: bytes, *, age: float = 0, secret: str = SECRET, sign: str = ""
    ) -> httpx.Response:
        stamp = str(int(utc_now().timestamp() - age))
        headers = {
            "x-slack-request-timestamp": stamp,
            "x-slack-signature": sign or signature_of(secret, stamp, body),
            "content-type": "application/x-www-form-urlencoded",
        }
        async with httpx.AsyncClient(base_url=self._client.base_url) as slack:
            return await slack.post("/v1/slack/interactions", content=body, headers=headers)


async def test_a_click_in_slack_acknowledges_once_as_whoever_clicked(
    world: World, client: httpx.AsyncClient, sink: Providers
) -> None:
    incident = (await proposed(world, "slack-host")).incident_id
    page, body = await paged(client, sink, incident, "slack")
    button = body["blocks"][1]["elements"][0]
    assert (button["value"], "url" in button) == (page["page_id"], False)
    slack = Slack(client, sink)
    stranger = await slack.send(slack.click(page["page_id"], user="U999ZZZZ9"))
    assert stranger.status_code == 200
    words = await until(lambda: [b for p, _, b in sink.taken if p == "/any"])
    assert words[-1]["response_type"] == "ephemeral"
    assert await told(world, PageAcknowledgedV1, incident_id=incident) == []
    click, stamp = slack.click(page["page_id"]), str(int(utc_now().timestamp()))
    assert (await slack.send(click, sign=signature_of(SECRET, stamp, click))).status_code == 200
    replayed = await slack.send(click, sign=signature_of(SECRET, stamp, click))
    assert replayed.status_code in (401, 409)  # 401 if the second has changed in between
    (event,) = await until(lambda: told(world, PageAcknowledgedV1, incident_id=incident))
    assert (event.person, event.team) == ("cy", "api")
    words = await until(
        lambda: [b for p, _, b in sink.taken if p == "/any" and b.get("replace_original")]
    )
    assert "Acknowledged by cy at" in words[-1]["text"]
    link = await slack.send(slack.click("", action="set_severity"))
    assert link.status_code == 200


async def test_what_slack_has_not_signed_just_now_is_refused(
    client: httpx.AsyncClient, sink: Providers
) -> None:
    slack = Slack(client, sink)
    body = slack.click(str(uuid7()))
    for more in ({"secret": "another"}, {"age": 301.0}, {"age": -302.0}, {"sign": "v0=zz"}):
        refused = await slack.send(body, **more)
        assert (refused.status_code, refused.json()["code"]) == (401, "signature_invalid")
    for wrong in (b"", b"payload=x", b"payload=%7B%7D", b"\xff"):
        assert (await slack.send(wrong)).status_code == 422
    assert (await slack.send(slack.click("no uuid"))).status_code == 200
    assert (await slack.send(slack.click(str(uuid7())))).status_code == 200


async def test_pagerduty_follows_what_was_acknowledged_and_settled(
    world: World, client: httpx.AsyncClient, sink: Providers
) -> None:
    incident = (await proposed(world, "pd-host")).incident_id
    page, _ = await paged(client, sink, incident, "pagerduty")
    key = page["page_id"]
    sink.down = True
    other, _ = await paged(client, sink, incident, "slack")
    await client.post(f"/v1/pages/{other['page_id']}/acknowledge")  # of the same chain

    async def tried() -> bool:
        async with world.engine("escalate").connect() as connection:
            row = await connection.exec_driver_sql(
                "SELECT follow_attempts FROM pages WHERE id = $1", (UUID(key),)
            )
            return bool(row.scalar_one())

    await until(tried)
    sink.down = False
    await until(lambda: sink.keys("/pagerduty/acknowledge").count(key) >= 1)
    assert key not in sink.keys("/pagerduty/resolve")
    await tell(world, IncidentClosedV1(**about(incident), disposition="confirmed"))
    await until(lambda: sink.keys("/pagerduty/resolve").count(key) == 1)
    assert sink.keys("/pagerduty").count(key) == 1
    assert sink.refused == []


async def test_who_acknowledges_in_pagerduty_has_acknowledged_here(
    world: World, client: httpx.AsyncClient, sink: Providers
) -> None:
    incident = (await proposed(world, "pd-back-host")).incident_id
    page, _ = await paged(client, sink, incident, "pagerduty")

    async def tells(*, user: str = CY_PD, secret: str = SECRET, **event: Any) -> httpx.Response:
        told = {
            "id": "01ABCDEF", "event_type": "incident.acknowledged", "resource_type": "incident",
            "agent": {"id": user, "type": "user_reference", "summary": "Cy"},
            "data": {"id": "PT4KHLK", "type": "incident", "incident_key": page["page_id"]},
        }  # fmt: skip
        body = json.dumps({"event": {**told, **event}}).encode()
        signatures = f"v1={'0' * 64}, {api_pagerduty.signature_of(secret, body)}"
        async with httpx.AsyncClient(base_url=client.base_url) as anybody:
            return await anybody.post(
                "/v1/pagerduty/webhooks",
                content=body,
                headers={"x-pagerduty-signature": signatures},
            )

    async def answer() -> tuple[str | None, str | None]:
        (found,) = await ledger(client, incident, 1, channel="pagerduty")
        return found.get("acknowledged_by"), found.get("acknowledged_at")

    forged = await tells(secret="another")
    assert (forged.status_code, forged.json()["code"]) == (401, "signature_invalid")
    assert (await tells(data="no incident")).status_code == 422
    for nothing in (
        {"user": "PSOMEBODY"},
        {"event_type": "incident.triggered"},
        {"event_type": "pagey.ping", "data": {"message": "Hello", "type": "ping"}, "agent": None},
        {"agent": {"id": CY_PD, "type": "inbound_integration_reference"}},
        {"data": {"incident_key": "of another tool"}},
        {"data": {"incident_key": str(uuid7())}},
    ):
        assert (await tells(**nothing)).status_code == 200
    assert await answer() == (None, None)
    assert (await tells()).status_code == 200
    by, at = await answer()
    assert by == "cy"
    assert (await tells()).status_code == 200  # it tells at least once
    assert await answer() == ("cy", at)
    (told_once,) = [
        e for e in await told(world, PageAcknowledgedV1) if str(e.page_id) == page["page_id"]
    ]
    assert told_once.person == "cy"
