"""A rebuild stands beside the live views: they move on, nobody waits, and a crash costs nothing."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.cases import refold
from services.cases.domain import events as e
from services.cases.domain.vocabulary import State
from services.cases.filters import Filters
from services.cases.fingerprint import VIEWS
from services.cases.postgres import PostgresStore
from services.cases.projector import Projector
from services.cases.queries import Queries
from services.cases.rebuild import RebuildRunsError, rebuild
from shared.ids import uuid7
from tests.integration.cases.test_projector import rows
from tests.support.golden_events import one_of_each
from tests.support.incidents import story
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration

INDEXES = """
    SELECT indexname, replace(indexdef, 'cases_next.', 'cases.') FROM pg_indexes
    WHERE schemaname = 'cases' AND tablename = ANY($1) ORDER BY 1
"""
GRANTS = """
    SELECT relname, relacl::text FROM pg_class
    WHERE relnamespace = 'cases'::regnamespace AND relname = ANY($1) ORDER BY 1
"""


async def asked(world: World, query: str, *values: Any) -> list[Any]:
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        return [tuple(row) for row in await connection.fetch(query, *values)]
    finally:
        await connection.close()


async def happens(world: World, count: int = 1) -> int:
    """Append *count* incidents and bring the views there; return the last position."""
    engine, vault = world.engine("cases"), world.vault
    store, projector = PostgresStore(engine, vault), Projector(engine, vault)
    position = 0
    for _ in range(count):
        appended = await store.append(uuid7(), story(), expected=0, command_id=uuid7(), digest="d")
        position = appended.last_position
    assert await projector.reached(position)
    return position


@asynccontextmanager
async def held_in_the_middle(world: World) -> AsyncIterator[None]:
    """Hold the lock that a rebuild needs once its tables are filled."""
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM cases.projections WHERE name = 'next' FOR UPDATE")
            yield
    finally:
        await connection.close()


async def waits(world: World) -> bool:
    """Tell whether a rebuild waits for the lock of `held_in_the_middle`."""
    found = await asked(
        world,
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND query LIKE 'UPDATE projections SET position = $2%' AND datname = current_database()",
    )
    return bool(found)


async def filled(world: World) -> bool:
    """Tell whether a rebuild has begun its tables."""
    return bool(await asked(world, "SELECT 1 FROM pg_tables WHERE schemaname = 'cases_next'"))


async def test_every_view_is_one_that_a_rebuild_makes(world: World) -> None:
    names = await asked(world, "SELECT name FROM cases.projected_views")
    assert {name for (name,) in names} == set(VIEWS)


async def test_pages_of_any_size_make_the_same_rows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams that are cut by a page's end, and links between incidents on different pages."""
    engine, vault = world.engine("cases"), world.vault
    store, projector = PostgresStore(engine, vault), Projector(engine, vault)
    keys = [uuid7() for _ in range(6)]
    at = dict.fromkeys(keys, 0)
    each = one_of_each()
    linked, merged = each["IncidentLinked.v1"], each["IncidentMerged.v1"]
    restricted = each["AccessRestricted.v1"]
    assert isinstance(linked, e.IncidentLinked)
    assert isinstance(merged, e.IncidentMerged)
    unmerged = each["IncidentUnmerged.v1"]
    assert isinstance(unmerged, e.IncidentUnmerged)
    told = story(State.CONFIRMED)
    plan: list[tuple[int, list[e.Event]]] = [(n, told[:5]) for n in range(6)]
    plan += [(n, told[5:]) for n in (5, 3, 1, 0, 2, 4)]
    plan += [
        (0, [replace(linked, other_id=keys[5])]),
        (5, [replace(linked, other_id=keys[0]), restricted]),
        (2, [replace(merged, target_id=keys[1])]),
        (4, [replace(merged, target_id=keys[1])]),
        (4, [replace(unmerged, target_id=keys[1])]),
    ]
    position = 0
    for n, events in plan:
        appended = await store.append(
            keys[n], events, expected=at[keys[n]], command_id=uuid7(), digest="d"
        )
        at[keys[n]], position = appended.last_version, appended.last_position
        await projector.once()
    assert await projector.reached(position)
    live = await rows(world)
    shape = [await asked(world, query, list(VIEWS)) for query in (INDEXES, GRANTS)]
    for size in (1, 7, 5_000):
        monkeypatch.setattr(refold, "PAGE", size)
        made = await rebuild(world.engine("cases"), world.vault)
        assert (made.events, made.differing) == (position, [])
        assert await rows(world) == live
    assert [await asked(world, query, list(VIEWS)) for query in (INDEXES, GRANTS)] == shape
    assert not await filled(world)


async def test_people_read_and_live_views_move_while_it_runs(world: World) -> None:
    before = await happens(world, 3)
    queries = Queries(world.engine("cases"), world.vault)
    async with held_in_the_middle(world):
        running = asyncio.create_task(rebuild(world.engine("cases"), world.vault))
        await until(lambda: waits(world))
        moved = await happens(world, 2)  # the live views follow the log all the while
        assert moved > before
        assert await queries.projected() == moved
        with pytest.raises(RebuildRunsError):
            await rebuild(world.engine("cases"), world.vault)
    made = await running
    assert (made.events, made.differing) == (moved, [])
    assert len(await queries.incidents(Filters(), person="*", before=None, limit=500)) >= 5


async def test_readers_and_writers_never_fail_at_the_swap(world: World) -> None:
    position = await happens(world, 4)
    engine, vault = world.engine("cases"), world.vault
    queries, projector = Queries(engine, vault), Projector(engine, vault)
    store = PostgresStore(engine, vault)
    stop = asyncio.Event()
    reads = 0

    async def read() -> None:
        nonlocal reads
        while not stop.is_set():
            found = await queries.incidents(Filters(), person="*", before=None, limit=500)
            assert len(found) >= 4
            assert await queries.timeline(UUID(found[-1].document["incident_id"]), 0, 10)
            reads += 1

    async def write() -> None:
        while not stop.is_set():
            appended = await store.append(
                uuid7(), story(), expected=0, command_id=uuid7(), digest="d"
            )
            assert await projector.reached(appended.last_position)

    working = [asyncio.create_task(work()) for work in (read, read, write)]
    try:
        for _ in range(5):
            made = await rebuild(world.engine("cases"), world.vault)
            assert made.differing == []
            assert made.events >= position
            position = made.events
    finally:
        stop.set()
        await asyncio.gather(*working)
    assert reads > 5
    live = await rows(world)
    await rebuild(world.engine("cases"), world.vault)
    assert await rows(world) == live


async def test_killed_in_the_middle_it_leaves_the_live_views_untouched(world: World) -> None:
    await happens(world, 2)
    live = await rows(world)
    async with held_in_the_middle(world):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tocsin", "cases", "rebuild",
            "--database-url", world.admin_dsn,
            env={**os.environ, "TOCSIN_CASES_MASTER_KEY_FILE": str(world.master_key_file)},
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await until(lambda: waits(world))
        assert await filled(world)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert await rows(world) == live
    position = await happens(world)  # and they go on
    live = await rows(world)
    await until(lambda: _made(world, position))  # what was begun is cleared away by the next
    assert await rows(world) == live
    assert not await filled(world)


async def _made(world: World, position: int) -> bool:
    try:
        made = await rebuild(world.engine("cases"), world.vault)
    except RebuildRunsError:  # the server has not noticed yet that the other one is gone
        return False
    return (made.events, made.differing) == (position, [])


async def test_of_two_who_claim_an_id_the_first_in_the_log_has_it_again(world: World) -> None:
    """Whatever the order of the streams: the first by position, as in the live views."""
    engine, vault = world.engine("cases"), world.vault
    store, projector = PostgresStore(engine, vault), Projector(engine, vault)
    split = one_of_each()["IncidentSplit.v1"]
    position = 0
    for key in (UUID(int=(1 << 127) + 1), UUID(int=5)):  # the later one is the smaller one
        events = [*story(), split]  # the same review and the same new incident in both
        appended = await store.append(key, events, expected=0, command_id=uuid7(), digest="d")
        position = appended.last_position
    assert await projector.reached(position)
    live = await rows(world)
    assert (await rebuild(world.engine("cases"), world.vault)).differing == []
    assert await rows(world) == live
