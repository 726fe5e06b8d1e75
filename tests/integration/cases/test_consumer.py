"""What escalate and notify tell becomes part of the incident, once, and never a loop."""

from typing import Any
from uuid import UUID

import pytest

from shared.cloudevents import outgoing
from shared.contracts.base import Contract
from shared.contracts.cases import IncidentEscalatedV1, IncidentOpenedV1
from shared.ids import uuid7
from tests.integration.cases import told
from tests.integration.cases.conversation import People
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration


async def tell(world: World, service: str, stream: str, *contracts: Contract) -> None:
    async with world.bus(service) as bus:
        for contract in contracts:
            await bus.publish(outgoing(contract, source=service), stream=stream)


async def escalate_tells(world: World, *contracts: Contract) -> None:
    await tell(world, "escalate", "ESCALATIONS", *contracts)


async def notify_tells(world: World, *contracts: Contract) -> None:
    await tell(world, "notify", "NOTIFICATIONS", *contracts)


async def shown(people: People, incident: UUID) -> dict[str, Any] | None:
    answer = await people.get("anna", f"/v1/incidents/{incident}")
    found: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
    return found


async def proposed(people: People) -> UUID:
    """Return an incident that a proposal opened."""
    incident = uuid7()
    await escalate_tells(people.world, told.proposed(incident))
    await until(lambda: shown(people, incident))
    return incident


async def drained(people: People, incident: UUID) -> dict[str, Any]:
    """Return *incident* once everything that was told before has been handled."""
    fact = told.paged(incident)
    await escalate_tells(people.world, fact)

    async def seen() -> dict[str, Any] | None:
        document = await shown(people, incident)
        pages = document["pages"] if document else []
        return document if any(p["fact_id"] == str(fact.page_id) for p in pages) else None

    found: dict[str, Any] | None = await until(seen)
    assert found is not None
    return found


async def test_a_proposal_opens_an_incident_with_all_its_reasons(people: People) -> None:
    incident = uuid7()
    first = told.detection()
    message = told.proposed(incident, first)
    await escalate_tells(people.world, message)
    document = await until(lambda: shown(people, incident))
    assert document is not None
    assert document["source"]["refs"] == [f"proposal:{message.event_id}"]
    assert document["detections"][0]["reasons"][0]["value"] == "root"
    assert document["detections"][0]["samples"][0]["raw"] == "Failed password for root\x00"
    assert document["severity"] is None  # only the service team sets it (R23)
    assert document["severity_proposal"]["contributions"][0]["points"] == 15
    assert document["severity_proposal"]["unknown_inputs"] == ["region"]
    assert document["priority_proposal"]["priority"] == "P3"
    assert {i["value"] for i in document["indicators"]} == {"203.0.113.9", "root"}
    assert {i["role"] for i in document["indicators"]} == {"led_to_detection"}

    async def published() -> bool:
        subjects = [m[0] for m in await people.world.messages("CASES")]
        return IncidentOpenedV1.SUBJECT in subjects

    await until(published)


async def test_what_is_told_twice_happens_once(people: People) -> None:
    incident = uuid7()
    message = told.proposed(incident)
    again = outgoing(message, source="escalate")
    await escalate_tells(people.world, message)
    async with people.world.bus("escalate") as bus:  # beyond the broker's window of duplicates
        for n in range(3):
            copy = type(again)(f"{again.id}-{n}", again.subject, again.payload, again.headers)
            await bus.publish(copy, stream="ESCALATIONS")
    document = await drained(people, incident)
    assert document["version"] == 7  # opened, attached, two linked, two proposed, one page


async def test_more_detections_join(people: People) -> None:
    incident = await proposed(people)
    await escalate_tells(people.world, told.extended(incident, 5, told.detection("198.51.100.7")))
    document = await drained(people, incident)
    assert document["detection_count"] == 5
    assert len(document["detections"]) == 2
    assert {i["value"] for i in document["indicators"]} == {"203.0.113.9", "198.51.100.7", "root"}


async def test_the_escalation_is_taken_over(people: People) -> None:
    incident = await proposed(people)
    await people.does("sam", str(incident), "set-severity", level="SEV2")
    await escalate_tells(people.world, told.raised(incident))
    document = await drained(people, incident)
    assert (document["state"], document["escalation"]["owning_team"]) == ("escalated", "sr-eu")
    subjects = [m[0] for m in await people.world.messages("CASES")]
    assert IncidentEscalatedV1.SUBJECT in subjects


async def test_a_refused_message_is_passed_and_counted(people: People) -> None:
    dismissed = await proposed(people)
    await people.does(
        "sam", str(dismissed), "dismiss-at-triage", classification="false_positive", reason="scan"
    )
    await escalate_tells(people.world, told.raised(dismissed), told.raised(uuid7()))
    document = await drained(people, dismissed)  # a message behind it is handled
    assert document["state"] == "false_positive"
    metrics = (await people.client.get("/metrics")).text
    subject = told.raised(dismissed).SUBJECT
    for code in ("wrong_state", "unknown_incident"):
        line = f'tocsin_cases_messages_refused_total{{code="{code}",subject="{subject}"}}'
        assert line in metrics


async def test_what_cannot_be_understood_does_not_hold_the_line(people: People) -> None:
    incident = await proposed(people)
    good = outgoing(told.paged(incident), source="escalate")
    async with people.world.bus("escalate") as bus:
        bad = type(good)(str(uuid7()), good.subject, b'{"page_id": 1}', good.headers)
        await bus.publish(bad, stream="ESCALATIONS")
    await drained(people, incident)
    assert [m[0] for m in await people.world.messages("DLQ")] == ["tocsin.v1.dlq.cases-escalations"]


async def test_notify_tells_who_is_affected_what_is_owed_and_what_was_sent(people: People) -> None:
    incident = await proposed(people)
    await notify_tells(
        people.world,
        told.identified(incident),
        told.owed(incident),
        told.sent(incident),
        told.notified(incident),
    )

    async def complete() -> dict[str, Any] | None:
        document = await shown(people, incident)
        done = document is not None and document["notifications"]["completed"]
        return document if done else None

    document = await until(complete)
    assert document is not None
    assert document["affected_customers"]["tenants"] == ["t1", "t2"]
    assert document["obligations"][0]["data"]["regime"] == "gdpr_33_1"
    assert document["notifications"]["sent"] == 1
    assert "security@t1.example" not in str(document)  # contacts stay with notify
    timeline = (await people.get("anna", f"/v1/incidents/{incident}/timeline")).json()["items"]
    assert [entry["actor_kind"] for entry in timeline] == ["system"] * len(timeline)
