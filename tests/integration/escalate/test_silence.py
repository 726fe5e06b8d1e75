"""Nobody sets the severity: the team is reminded, then the duty manager acts for it (R23)."""

from datetime import timedelta
from functools import partial
from operator import add

import httpx
import pytest
from sqlalchemy import text

from services.escalate.silence import MOST_STEPS, SilenceWatch
from shared.clock import utc_now
from shared.ids import derived_id
from tests.integration.escalate.test_severity_gate import opened, settled, severity, tell
from tests.support.world import World
from tests.unit.escalate.test_proposal import POLICIES

pytestmark = pytest.mark.integration


async def remind(world: World, minutes: float) -> int:
    """Run a watch that was not there when the incident was opened; return how often it paged."""
    watch = SilenceWatch(
        world.engine("escalate"),
        lambda: POLICIES,
        "log",
        timedelta(minutes=15),
        partial(add, utc_now(), timedelta(minutes=minutes)),
        lambda: None,
    )
    done = 0
    while await watch.once():
        done += 1
    return done


async def pages(world: World, name: str) -> list[tuple[str, str]]:
    """Return who was begun to be paged for what, in order; the pages themselves come when due."""
    async with world.engine("escalate").connect() as connection:
        rows = await connection.execute(
            text(
                "SELECT team, reason FROM page_chains WHERE incident_id = :id ORDER BY started_at"
            ),
            {"id": derived_id("test-incident", name)},
        )
        return [(row.team, row.reason) for row in rows]


async def test_r23_silence_reminds_the_team_then_the_duty_manager_acts_for_it(
    world: World, escalate: httpx.AsyncClient
) -> None:
    quiet = opened("0901").model_copy(update={"services": ["id"]})
    await tell(world, quiet, opened("0902"), severity("0902", "SEV4"))
    await settled(world)
    assert await remind(world, 14) == 0
    assert await remind(world, 16) == 1
    assert await remind(world, 16) == 0  # once, whoever asks
    assert await remind(world, 31) == 1
    (team, reminder), (manager, act) = await pages(world, "0901")
    assert (team, manager) == ("identity", "dm")
    assert reminder == "set the severity of TOCSIN-2026-0901: Title 0901"
    assert act.startswith("act for identity, who did not: set the severity")
    assert await pages(world, "0902") == []  # its severity is set
    assert await remind(world, 100_000) == MOST_STEPS - 2
    await tell(world, severity("0901", "SEV3"))
    await settled(world)
    assert await remind(world, 200_000) == 0
