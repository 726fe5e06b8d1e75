"""Detections in, proposals out: one an entity, once, with counts that lose nothing."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from services.escalate.consumer import DetectionHandler
from services.escalate.grouping import Rules
from services.escalate.proposal import Policies
from shared.bus import Bus
from shared.clock import utc_now
from shared.cloudevents import outgoing
from shared.consume import Delivery
from shared.contracts.cases import IncidentDismissedV1
from shared.contracts.detect import DetectionRaisedV1
from shared.contracts.escalate import IncidentProposedV1, ProposalExtendedV1, TeamPagedV1
from shared.ids import derived_id, uuid7
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import (
    NOON,
    detection,
    directory,
    priority_policy,
    severity_policy,
)

pytestmark = pytest.mark.integration


async def send(bus: Bus, *detections: DetectionRaisedV1) -> None:
    for found in detections:
        await bus.publish(outgoing(found, source="detect"), stream="DETECTIONS")


async def published(world: World, contract: type[Any], host: str = "") -> list[Any]:
    """Return the messages of *contract* about the incident of *host*."""
    messages = await world.messages("ESCALATIONS")
    proposals = [
        IncidentProposedV1.from_json(body)
        for subject, _, body in messages
        if subject == IncidentProposedV1.SUBJECT
    ]
    about = {p.incident_id for p in proposals if p.grouping.entity.value == host}
    found = [contract.from_json(m[2]) for m in messages if m[0] == contract.SUBJECT]
    return [m for m in found if m.incident_id in about]


async def proposed(world: World, host: str) -> IncidentProposedV1:
    found = await until(lambda: published(world, IncidentProposedV1, host))
    assert len(found) == 1
    proposal: IncidentProposedV1 = found[0]
    return proposal


async def seen(world: World, host: str) -> int:
    async with world.engine("escalate").connect() as connection:
        query = text(
            "SELECT coalesce(sum(detections), 0) FROM detection_groups WHERE merged_into IS NULL"
            " AND state::json ->> 'value' = :host"
        )
        return int(await connection.scalar(query, {"host": host}))


async def test_a_detection_over_the_threshold_is_proposed_once(
    world: World, escalate: httpx.AsyncClient
) -> None:
    found = detection(
        "one", entities={"host": "one"}, service="id", region="eu-west", server="one",
        attack_tactics=["credential-access"], attack_techniques=["T1003.001"],
    )  # fmt: skip
    async with world.bus("detect") as bus:
        await send(bus, found)
        proposal = await proposed(world, "one")
        # The same detection under another message id: the broker cannot know, the inbox does.
        again = found.model_copy(update={"event_id": uuid7()})
        await send(bus, again, detection("mark", entities={"host": "mark"}))
    await proposed(world, "mark")
    assert await proposed(world, "one") == proposal
    assert await published(world, ProposalExtendedV1, "one") == []
    assert proposal.title == "Title of rule-a on host one"
    assert proposal.detections == [found]
    assert proposal.severity.inputs["privacy"] == "credentials"
    assert proposal.severity.inputs["service"] == "tier0"
    assert proposal.severity.level == "SEV0"
    assert proposal.severity.floors_applied == ["F2"]
    (paged,) = await until(lambda: published(world, TeamPagedV1, "one"))
    assert (paged.team, paged.channel) == ("identity", "log")
    assert paged.reason == "set the severity of Title of rule-a on host one"


async def test_redelivered_bytes_have_no_second_effect(
    world: World, escalate: httpx.AsyncClient
) -> None:
    """The consumer may be handed the same message again when an acknowledgement is lost."""
    found = detection("twice", entities={"host": "twice"})
    async with world.bus("detect") as bus:
        await send(bus, found)
    await proposed(world, "twice")
    handler = a_handler(world)
    for attempt in (2, 3):
        message = outgoing(found, source="detect")
        again = Delivery(message.subject, message.headers, message.payload, 1, attempt)
        await handler([again, again])
    assert await seen(world, "twice") == 1
    assert len((await escalate.get("/v1/pages")).json()["items"]) >= 1


def a_handler(world: World) -> DetectionHandler:
    policies = Policies(Rules(), directory(), severity_policy(), priority_policy())
    return DetectionHandler(
        world.engine("escalate"), lambda: policies, "log", utc_now, lambda: None, lambda: None
    )


async def test_500_detections_of_one_host_are_one_proposal_with_all_counted(
    world: World, escalate: httpx.AsyncClient
) -> None:
    detections = [
        detection(f"burst-{n}", at=n / 10, rule=f"rule-{n % 7}", level="low",
                  entities={"host": "burst"}, attack_tactics=["discovery"])
        for n in range(500)
    ]  # fmt: skip
    async with world.bus("detect") as bus:
        await asyncio.gather(*(send(bus, d) for d in detections[:250]))
        proposal = await proposed(world, "burst")
        await asyncio.gather(*(send(bus, d) for d in detections[250:]))
    # At eleven in order, sooner where those of different rules come first, later in a large batch.
    assert 1 < proposal.detection_count <= 250
    extensions = await until(lambda: _told(world, "burst", 500))
    counts = [e.detection_count for e in extensions]
    assert counts == sorted(set(counts))
    # Gathered, not one message a detection.
    assert len(extensions) < 50
    shown = [d.detection_id for m in (proposal, *extensions) for d in m.detections]
    assert len(shown) == len(set(shown))
    assert all(len(m.detections) <= 20 for m in extensions)
    one = (await escalate.get(f"/v1/proposals/{proposal.incident_id}")).json()
    assert (one["detection_count"], len(one["listed"]), len(one["detections"])) == (500, 500, 20)
    assert {d["rule_id"] for d in one["detections"]} == {f"rule-{n}" for n in range(7)}
    assert one["grouping"]["entity"] == {"type": "host", "value": "burst"}


async def _seen_all(world: World, host: str, count: int) -> bool:
    return await seen(world, host) == count


async def _told(world: World, host: str, count: int) -> list[ProposalExtendedV1] | None:
    found = await published(world, ProposalExtendedV1, host)
    return found if found and found[-1].detection_count == count else None


async def test_what_stays_below_the_threshold_is_counted_but_not_proposed(
    world: World, escalate: httpx.AsyncClient
) -> None:
    noise = [
        detection(f"quiet-{n}", at=n, level="informational", entities={"host": "quiet"})
        for n in range(50)
    ]
    async with world.bus("detect") as bus:
        await send(bus, *noise)
        await until(lambda: _seen_all(world, "quiet", 50))
        assert await published(world, IncidentProposedV1, "quiet") == []
        await send(bus, detection("loud", at=60, rule="rule-b", entities={"host": "quiet"}))
    proposal = await proposed(world, "quiet")
    assert proposal.detection_count == 51
    assert {d.rule_id for d in proposal.detections} == {"rule-a", "rule-b"}


async def test_a_detection_between_two_groups_makes_them_one(
    world: World, escalate: httpx.AsyncClient
) -> None:
    async with world.bus("detect") as bus:
        await send(
            bus,
            *(
                detection(f"bridge-{n}", at=at, level="low", rule=f"r{n}", entities={"host": "br"})
                for n, at in enumerate((0, 110, 55))
            ),
        )
    proposal = await proposed(world, "br")
    assert proposal.detection_count == 3
    assert {d.rule_id for d in proposal.detections} == {"r0", "r1", "r2"}
    assert await seen(world, "br") == 3


async def test_instances_that_work_at_the_same_time_found_one_group(
    world: World, escalate: httpx.AsyncClient
) -> None:
    """Four handlers, as of four instances, take the same 40 detections from one host."""
    handlers = [a_handler(world) for _ in range(4)]
    deliveries = []
    for n in range(40):
        found = detection(f"race-{n}", at=n, rule=f"rule-{n}", entities={"host": "race"})
        message = outgoing(found, source="detect")
        deliveries.append(Delivery(message.subject, message.headers, message.payload, n, 1))

    async def work(handler: DetectionHandler, order: list[Delivery]) -> None:
        for n in range(0, len(order), 7):
            await handler(order[n : n + 7])

    await asyncio.gather(
        *(work(h, deliveries[i * 10 :] + deliveries[: i * 10]) for i, h in enumerate(handlers))
    )
    assert await seen(world, "race") == 40
    proposal = await proposed(world, "race")
    await until(lambda: _told(world, "race", 40))

    async def paged() -> Any:
        return (await escalate.get(f"/v1/pages?incident_id={proposal.incident_id}")).json()["items"]

    assert len(await until(paged)) == 1


async def test_names_that_an_attacker_chose_do_not_stop_a_detection(
    world: World, escalate: httpx.AsyncClient
) -> None:
    hostile = detection(
        "hostile",
        entities={"host": "evil\x00\u202e", "user": "x" * 5000},
        title="t\x00\n" + "y" * 3000,
        rule="r\x00" + "z" * 9000,
        raw="\x00" * 100,
        tenant="t\x00",
        service="s\x00",
    )
    async with world.bus("detect") as bus:
        await send(bus, hostile)
    proposal = await proposed(world, "evil")
    assert proposal.detections == [hostile]
    assert "\x00" not in proposal.title + proposal.grouping.explanation
    assert await world.messages("DLQ") == []


async def test_after_its_incident_ended_a_group_takes_no_more(
    world: World, escalate: httpx.AsyncClient
) -> None:
    async with world.bus("detect") as bus:
        await send(bus, detection("over-1", entities={"host": "over"}))
    first = await proposed(world, "over")
    dismissed = IncidentDismissedV1(
        event_id=derived_id("test", "dismissed"), occurred_at=NOON, incident_id=first.incident_id,
        number="TOCSIN-2026-0009", version=9, position=9, actor="sue",
        classification="false_positive", reason="a test",
    )  # fmt: skip
    async with world.bus("cases") as bus:
        await bus.publish(outgoing(dismissed, source="cases"), stream="CASES")

    async def closed() -> bool:
        one = (await escalate.get(f"/v1/proposals/{first.incident_id}")).json()
        return one["closed_at"] is not None

    await until(closed)
    async with world.bus("detect") as bus:
        await send(bus, detection("over-2", at=1, entities={"host": "over"}))
    both = await until(lambda: _two(world, "over"))
    assert len({p.incident_id for p in both}) == 2


async def _two(world: World, host: str) -> list[IncidentProposedV1] | None:
    found = await published(world, IncidentProposedV1, host)
    return found if len(found) == 2 else None


async def test_a_storm_is_one_proposal_and_the_queue_answers_meanwhile(
    world: World, escalate: httpx.AsyncClient
) -> None:
    """One rule on 3,000 hosts at once (the heavy dose is a benchmark), and one other attack."""
    hosts, rule = 3_000, "storm-rule"
    storm = [
        outgoing(
            detection(f"storm-{n}", rule=rule, entities={"host": f"storm-{n}"}), source="detect"
        )
        for n in range(hosts)
    ]
    other = detection("amid", rule="other", entities={"host": "amid"})
    async with world.bus("detect") as bus:
        await asyncio.gather(*(bus.publish(m, stream="DETECTIONS") for m in storm[:2000]))
        await send(bus, other)
        await asyncio.gather(*(bus.publish(m, stream="DETECTIONS") for m in storm[2000:]))
        while await _recorded(world, rule) < hosts:  # and the client's own limit is not reached
            assert (await escalate.get("/v1/proposals")).status_code == 200
    assert await proposed(world, "amid")
    storms = await until(lambda: _storms(world, rule))
    assert len(storms) == 1
    async with world.engine("escalate").connect() as connection:
        query = text("SELECT count(*) FROM detection_groups WHERE cause_rule = :rule")
        proposals = int(await connection.scalar(query, {"rule": rule}) or 0)
    # Single ones only from before it was known for a storm; usually there is none.
    assert proposals - 1 <= Rules().storm_groups
    one = await until(lambda: _all_told(escalate, storms[0], hosts - proposals + 1))
    assert len(one["detections"]) <= 20


async def _storms(world: World, rule: str) -> list[IncidentProposedV1]:
    found = [
        IncidentProposedV1.from_json(body)
        for subject, _, body in await world.messages("ESCALATIONS")
        if subject == IncidentProposedV1.SUBJECT and rule.encode() in body
    ]
    return [p for p in found if "they are one incident" in p.grouping.explanation]


async def _recorded(world: World, rule: str) -> int:
    async with world.engine("escalate").connect() as connection:
        query = text("SELECT count(*) FROM detections WHERE rule_id = :rule")
        return int(await connection.scalar(query, {"rule": rule}))


async def _all_told(
    client: httpx.AsyncClient, proposal: IncidentProposedV1, count: int
) -> dict[str, Any] | None:
    found = (await client.get(f"/v1/proposals/{proposal.incident_id}")).json()
    return found if found["detection_count"] == count else None
