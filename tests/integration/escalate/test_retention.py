"""What triage forgets in time, a little at once; what is open, held or fresh stays."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from services.escalate.consumer import DetectionHandler
from services.escalate.desk import storm_key
from services.escalate.grouping import Rules
from services.escalate.known import note_fact
from services.escalate.once import once
from services.escalate.proposal import Policies
from services.escalate.retention import Retention
from services.escalate.settings import Settings
from services.escalate.store import close_group
from shared.clock import utc_now
from shared.consume import Delivery
from shared.contracts.base import Contract
from shared.contracts.detect import DetectionRaisedV1
from shared.ids import uuid7
from shared.topology import DETECTIONS
from tests.support.world import World
from tests.unit.escalate.given import detection, directory, priority_policy, severity_policy

pytestmark = pytest.mark.integration
CONSUMER = "escalate-of-this-test"
KEPT, HALF_LIFE = timedelta(days=90), timedelta(days=7)
POLICIES = Policies(Rules(), directory(), severity_policy(), priority_policy())


async def triaged(world: World, at: datetime, *found: DetectionRaisedV1) -> None:
    handler = DetectionHandler(
        world.engine("escalate"), lambda: POLICIES, "log", lambda: at, lambda: None, lambda: None
    )
    await handler([Delivery(one.SUBJECT, {}, one.to_json(), n, 1) for n, one in enumerate(found)])


async def asked(world: World, query: str, **given: Any) -> Any:
    async with world.engine("escalate").begin() as connection:
        return (await connection.execute(text(query), given)).all()


async def forgotten(world: World, now: datetime, at_once: int = 2000) -> list[int]:
    """Forget until nothing is left to forget; return how many rows went at each time."""
    retention = Retention(world.engine("escalate"), lambda: now, KEPT, HALF_LIFE, at_once)
    done = []
    while rows := await retention.once():
        done.append(rows)
    return done


async def hosts(world: World) -> set[str]:
    rows = await asked(world, "SELECT DISTINCT value FROM entity_risk")
    return {row.value for row in rows}


async def test_groups_go_with_their_members_and_detections_unless_they_are_needed(
    world: World,
) -> None:
    now = utc_now()
    old, fresh = now - timedelta(days=91), now - timedelta(days=89)
    quiet = [detection(f"quiet-{n}", level="low", entities={"host": "quiet"}) for n in range(3)]
    storm = [
        detection(f"storm-{n}", rule="storm", level="critical", entities={"host": f"struck-{n}"})
        for n in range(30)
    ]
    ended, lasting, held = (
        detection(name, rule=name, level="critical", entities={"host": name})
        for name in ("ended", "lasting", "held")
    )
    await triaged(world, old, *quiet, *storm, ended, lasting, held)
    late = detection("late", rule="late", level="low", entities={"host": "late"})
    await triaged(world, fresh, late)  # of the same day by its own time, but told later
    incidents = await asked(world, "SELECT key, incident_id FROM detection_groups"
                                   " WHERE incident_id IS NOT NULL")  # fmt: skip
    assert len(incidents) == 4
    lasts = await incident_on(world, "lasting")
    for incident in {UUID(str(row.incident_id)) for row in incidents} - {lasts}:
        async with world.engine("escalate").begin() as connection:
            await close_group(connection, incident, old)
    await asked_nothing(
        world,
        "INSERT INTO incidents (id, number) VALUES (:id, 'T-1')",
        id=await incident_on(world, "held"),
    )
    async with world.engine("escalate").begin() as connection:
        await note_fact(connection, await incident_on(world, "held"), "legal_hold", True)
    done = await forgotten(world, now, at_once=7)
    assert max(done) <= 7 * 6  # so many of each kind at once
    left = await asked(world, "SELECT DISTINCT rule_id FROM detections")
    assert {row.rule_id for row in left} == {"lasting", "late", "held"}
    groups = await asked(world, "SELECT key FROM detection_groups")
    assert len(groups) == 3
    assert storm_key("storm") not in {UUID(str(row.key)) for row in groups}
    seen = await asked(world, "SELECT count(*) FROM inbox WHERE consumer = 'escalate-detections'")
    assert seen[0][0] == 37  # by when they were received, which is now: none is old
    assert await forgotten(world, now + timedelta(days=1)) == []


async def test_risk_is_forgotten_once_it_has_faded_and_not_before(world: World) -> None:
    now = utc_now()
    for name, days, level in (("faded", 100, "low"), ("heavy", 91, "critical"), ("new", 1, "low")):
        at = now - timedelta(days=days)
        one = detection(name, rule=name, level=level, entities={"host": f"risk-{name}"})
        moved = one.model_copy(update={"first_seen": at, "last_seen": at})
        await triaged(world, now, moved)
    await asked_nothing(world, "UPDATE entity_risk SET risk = 100000 WHERE value = 'risk-heavy'")
    await forgotten(world, now)
    assert {"risk-heavy", "risk-new"} == {h for h in await hosts(world) if h.startswith("risk-")}


def test_nothing_goes_that_the_broker_may_still_bring() -> None:
    least = timedelta(days=31)
    assert DETECTIONS.max_age < least
    assert Settings(triage_days=31).triage_days == 31
    for days in (30, 3651):
        with pytest.raises(ValidationError, match="triage_days"):
            Settings(triage_days=days)


async def incident_on(world: World, rule: str) -> UUID:
    rows = await asked(
        world,
        "SELECT incident_id FROM detection_groups WHERE cause_rule = :rule AND merged_into IS NULL",
        rule=rule,
    )
    return UUID(str(rows[0].incident_id))


async def asked_nothing(world: World, statement: str, **given: Any) -> None:
    async with world.engine("escalate").begin() as connection:
        await connection.execute(text(statement), given)


async def test_a_message_of_long_ago_is_not_handled_again_though_its_row_is_gone(
    world: World,
) -> None:
    engine, now = world.engine("escalate"), utc_now()
    known, kept, unknown = (
        Contract(event_id=uuid7(), occurred_at=now - timedelta(days=days))
        for days in (100, 50, 100)
    )

    async def handled(event: Contract) -> bool:
        async with once(engine, CONSUMER, event) as connection:
            return connection is not None

    for event, days in ((known, 100), (kept, 50)):
        await asked_nothing(
            world,
            "INSERT INTO inbox (consumer, event_id, received_at) VALUES (:of, :id, :at)",
            of=CONSUMER, id=event.event_id, at=now - timedelta(days=days),
        )  # fmt: skip
    assert await handled(unknown)  # nothing was forgotten yet: a new installation takes all
    await forgotten(world, now)
    rows = await asked(world, "SELECT event_id FROM inbox WHERE consumer = :of", of=CONSUMER)
    assert {row.event_id for row in rows} >= {kept.event_id, unknown.event_id}
    assert known.event_id not in {row.event_id for row in rows}
    assert [await handled(event) for event in (known, kept, unknown)] == [False] * 3
    late = Contract(event_id=uuid7(), occurred_at=now - timedelta(days=89))
    assert await handled(late)
    assert not await handled(late)
