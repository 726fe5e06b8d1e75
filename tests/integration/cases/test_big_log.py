"""The log that benchmarks fill by COPY is a log like any other: verified, projected, extended."""

import pytest

from services.cases.postgres import PostgresStore
from services.cases.projector import Projector
from services.cases.rebuild import rebuild
from shared.ids import uuid7
from tests.support.big_log import fill, long_incident
from tests.support.incidents import story
from tests.support.world import World
from tocsin.verify import verify_database

pytestmark = pytest.mark.integration


async def test_a_log_filled_by_copy_is_intact_and_goes_on(world: World) -> None:
    total = await fill(world.admin_dsn, world.vault, 60, long=40)
    outcome = await verify_database(world.admin_dsn, None, None)
    assert outcome.code == 3, outcome.sentence  # intact, but nobody has signed it
    engine, vault = world.engine("cases"), world.vault
    store, projector = PostgresStore(engine, vault), Projector(engine, vault)
    assert (await store.read(long_incident(60))).version == 40
    appended = await store.append(uuid7(), story(), expected=0, command_id=uuid7(), digest="d")
    assert appended.last_position == total + len(story())
    assert await projector.reached(appended.last_position, 20)
    made = await rebuild(world.engine("cases"), world.vault)
    assert (made.events, made.differing) == (appended.last_position, [])
