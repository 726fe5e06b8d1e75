"""Nobody forms the v-team: the duty manager is paged, once, over any restart (R25a)."""

from datetime import timedelta
from functools import partial
from operator import add
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from services.escalate.app import create_app
from services.escalate.assembly import AssemblyWatch
from services.escalate.settings import Settings
from shared.clock import utc_now
from shared.contracts.cases import IncidentDismissedV1, IncidentUnmergedV1, VTeamFormedV1
from shared.ids import uuid7
from tests.integration.escalate.test_severity_gate import (
    about,
    escalated,
    opened,
    paged_team,
    settled,
    severity,
    tell,
)
from tests.integration.escalate.test_silence import pages
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import DIRECTORY
from tests.unit.escalate.test_proposal import POLICIES

pytestmark = pytest.mark.integration

MINUTES = {"SEV0": 15.0, "SEV1": 30.0, "SEV2": 240.0}


def formed(name: str) -> VTeamFormedV1:
    return VTeamFormedV1(**about(name, 9), lead="rita", kinds={"security_response": 1})


async def wait(world: World, minutes: float) -> int:
    """Run a watch that was not there before; return how often it paged."""
    clock = partial(add, utc_now(), timedelta(minutes=minutes))
    watch = AssemblyWatch(
        world.engine("escalate"), lambda: POLICIES, "log", MINUTES, clock, lambda: None
    )
    done = 0
    while await watch.once():
        done += 1
    return done


async def asked(world: World, name: str) -> list[str]:
    """Return for which missing v-teams the duty manager was begun to be paged."""
    found = await pages(world, name)
    return [reason for team, reason in found if team == "dm" and "waits for its v-team" in reason]


async def test_r25a_the_duty_manager_is_paged_once_for_a_v_team_that_nobody_forms(
    world: World, escalate: httpx.AsyncClient, tmp_path: Path
) -> None:
    await tell(world, opened("2501"), severity("2501", "SEV1"), escalated("2501", uuid7()))
    await settled(world)
    assert await wait(world, 29) == 0
    # The service comes back half an hour later: what was armed before is due.
    file = tmp_path / "directory.yml"
    file.write_text(DIRECTORY)
    settings = world.settings(Settings, directory_file=file)
    later = partial(add, utc_now(), timedelta(minutes=31))
    for _ in range(2):  # and again, which finds nothing left to do
        async with world.running(create_app(settings, clock=later)):
            await until(lambda: paged_team(world, "2501", "dm"))
    (page,) = await paged_team(world, "2501", "dm")
    assert page.reason.startswith("TOCSIN-2026-2501 (SEV1) waits for its v-team since ")
    assert page.reason.endswith("act for sr-global, who did not form it")
    assert await wait(world, 100_000) == 0
    assert len(await asked(world, "2501")) == 1


async def test_r25a_formation_cancels_it_and_what_was_paged_for_it(
    world: World, escalate: httpx.AsyncClient
) -> None:
    await tell(world, severity("2502", "SEV0"), escalated("2502", uuid7()))
    await tell(world, severity("2503", "SEV0"), escalated("2503", uuid7()), formed("2503"))
    await settled(world)
    assert await wait(world, 16) == 1
    assert await asked(world, "2503") == []
    await tell(world, formed("2502"))
    await settled(world)
    async with world.engine("escalate").connect() as connection:
        ended = await connection.execute(
            text("SELECT ended FROM page_chains WHERE incident_id = :id AND asks = 'v_team'"),
            {"id": about("2502")["incident_id"]},
        )
        assert list(ended.scalars()) == ["v-team formed"]


async def test_r25a_a_severity_that_is_raised_shortens_the_wait_and_sev4_is_not_waited_for(
    world: World, escalate: httpx.AsyncClient
) -> None:
    await tell(world, severity("2504", "SEV2"), escalated("2504", uuid7()))
    await tell(world, severity("2505", "SEV4"), escalated("2505", uuid7()))
    await settled(world)
    assert await wait(world, 31) == 0
    await tell(world, severity("2504", "SEV1", 2))
    await settled(world)
    assert await wait(world, 31) == 1
    assert await wait(world, 100_000) == 0
    assert await asked(world, "2505") == []


async def test_r25a_the_end_of_the_incident_ends_it_and_coming_back_begins_it_anew(
    world: World, escalate: httpx.AsyncClient
) -> None:
    over = IncidentDismissedV1(**about("2506"), classification="false_positive", reason="scan")
    await tell(world, severity("2506", "SEV0"), escalated("2506", uuid7()), over)
    await settled(world)
    assert await wait(world, 100_000) == 0
    back = IncidentUnmergedV1(**about("2506"), target_id=uuid7(), state="escalated")
    await tell(world, back)
    await settled(world)
    assert await wait(world, 16) == 1


async def test_an_escalation_that_comes_late_waits_for_nothing(
    world: World, escalate: httpx.AsyncClient
) -> None:
    """The broker had lost it, and gives it after what followed it (ADR 0021)."""
    await tell(world, severity("2507", "SEV0", 2), formed("2507"), escalated("2507", uuid7()))
    await tell(world, opened("2507"))  # and so for the severity: it is set already
    await settled(world)
    assert await wait(world, 100_000) == 0
    async with world.engine("escalate").connect() as connection:
        open_gates = await connection.scalar(
            text(
                "SELECT count(*) FROM severity_gates WHERE incident_id = :id AND closed_at IS NULL"
            ),
            {"id": about("2507")["incident_id"]},
        )
    assert open_gates == 0
