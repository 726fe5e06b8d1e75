"""The views follow the log, and are the same when they are made anew."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.cases.domain import events as e
from services.cases.domain.vocabulary import State
from services.cases.postgres import PostgresStore
from services.cases.projector import GapError, Projector
from services.cases.queries import Queries
from services.cases.rebuild import rebuild as make_anew
from services.cases.sealing.kek import load_keks
from services.cases.views import Document
from shared.ids import uuid7
from tests.support.golden_events import one_of_each
from tests.support.incidents import story
from tests.support.world import World
from tocsin.rebuild import rebuild

pytestmark = pytest.mark.integration


ROWS = "SELECT * FROM cases.{} ORDER BY 1, 2"
TABLES = (
    "incidents", "timeline", "incident_indicators", "incident_access", "splits",
    "projections WHERE name = 'incidents'",
)  # fmt: skip


async def rows(world: World) -> list[list[Any]]:
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        return [
            [tuple(row) for row in await connection.fetch(ROWS.format(table))] for table in TABLES
        ]
    finally:
        await connection.close()


async def test_made_anew_the_views_are_the_same(world: World) -> None:
    store, projector = (
        PostgresStore(world.engine("cases"), world.vault),
        Projector(world.engine("cases"), world.vault),
    )
    events = story()
    streams = [uuid7() for _ in range(8)]
    position = 0
    for at in range(0, len(events), 5):  # interleaved, projected in unequal steps
        for stream in streams:
            part = events[at : at + 5]
            position = (
                await store.append(stream, part, expected=at, command_id=uuid7(), digest="d")
            ).last_position
        await projector.once()
    assert await projector.reached(position)
    live = await rows(world)
    assert len(live[0]) == len(streams)
    assert len(live[1]) == position == len(streams) * len(events)
    rebuilt = await make_anew(world.engine("cases"), world.vault)
    assert (rebuilt.events, rebuilt.differing) == (position, [])
    assert await rows(world) == live


async def test_both_ends_of_links_and_merges_are_the_same_made_anew(world: World) -> None:
    store, projector = (
        PostgresStore(world.engine("cases"), world.vault),
        Projector(world.engine("cases"), world.vault),
    )
    one, two, three = uuid7(), uuid7(), uuid7()
    at = dict.fromkeys((one, two, three), 0)

    async def happens(stream: UUID, *events: e.Event) -> None:
        appended = await store.append(
            stream, events, expected=at[stream], command_id=uuid7(), digest="d"
        )
        at[stream] = appended.last_version
        assert await projector.reached(appended.last_position)

    def to(event: str, **changed: Any) -> e.Event:
        return replace(one_of_each()[f"{event}.v1"], **changed)

    for stream in at:
        await happens(stream, *story(State.OPENED))
    await happens(one, to("IncidentLinked", other_id=two), to("IncidentLinked", other_id=three))
    await happens(one, to("IncidentUnlinked", other_id=three))
    await happens(one, to("IncidentMerged", target_id=two))
    await happens(three, to("IncidentMerged", target_id=two))
    await happens(three, to("IncidentReopened", former=State.MERGED, merged_into=two))
    queries = Queries(world.engine("cases"), world.vault)

    async def document(key: UUID) -> Document:
        found = await queries.incident(key)
        assert found is not None
        return found

    shown = {key: await document(key) for key in at}
    assert [row["incident_id"] for row in shown[two]["merged_from"]] == [str(one)]
    assert [row["made_here"] for row in shown[two]["links"]] == [False]
    assert shown[three]["links"] == []
    assert await queries.canonical(shown[one]) == str(two)
    live = await rows(world)
    await make_anew(world.engine("cases"), world.vault)
    assert await rows(world) == live


async def test_two_projectors_do_not_disturb_each_other(world: World) -> None:
    store = PostgresStore(world.engine("cases"), world.vault)
    several = [Projector(world.engine("cases"), world.vault) for _ in range(3)]
    position = 0
    for _ in range(5):
        appended = await store.append(uuid7(), story(), expected=0, command_id=uuid7(), digest="d")
        position = appended.last_position
        await asyncio.gather(*(projector.once() for projector in several))
    assert all(await asyncio.gather(*(projector.reached(position) for projector in several)))
    live = await rows(world)
    await make_anew(world.engine("cases"), world.vault)
    assert await rows(world) == live


async def test_who_goes_away_does_not_stop_the_step(world: World) -> None:
    """On a busy machine a step takes longer than anybody waits; it must be done all the same."""
    engine = world.engine("cases")
    store, projector = PostgresStore(engine, world.vault), Projector(engine, world.vault)
    done = await store.append(uuid7(), story(), expected=0, command_id=uuid7(), digest="d")
    slow = await asyncpg.connect(world.admin_dsn)
    try:
        async with slow.transaction():
            await slow.execute("SELECT FROM cases.projections FOR UPDATE")
            waiting = [projector.reached(done.last_position, 0.3) for _ in range(4)]
            assert await asyncio.gather(*waiting) == [False] * 4
        assert await projector.moved(done.last_position - 1, 20)  # nobody asked again
        async with slow.transaction():
            await slow.execute("SELECT FROM cases.projections FOR UPDATE")
            further = await store.append(
                uuid7(), story(), expected=0, command_id=uuid7(), digest="d"
            )
            assert not await projector.reached(further.last_position, 0.3)
            await projector.close()
        assert projector.position == done.last_position  # rolled back
        assert await projector.reached(further.last_position, 20)
    finally:
        await slow.close()


async def test_a_hole_stops_the_projection(world: World) -> None:
    connection = await asyncpg.connect(world.admin_dsn)
    projector = Projector(world.engine("cases"), world.vault)
    try:
        await connection.execute("UPDATE cases.log_head SET position = position + 1")
        store = PostgresStore(world.engine("cases"), world.vault)
        appended = await store.append(uuid7(), story(), expected=0, command_id=uuid7(), digest="d")
        before = await rows(world)
        with pytest.raises(GapError):
            await projector.once()
        assert not await projector.reached(appended.last_position)  # answers, does not raise
        assert await rows(world) == before
    finally:
        await connection.close()


async def test_the_command_makes_the_views_anew_and_finds_what_was_altered(world: World) -> None:
    first = await rebuild(world.admin_dsn, load_keks(world.master_key_file))
    assert first.code == 0, first.sentence
    again = await rebuild(world.admin_dsn, load_keks(world.master_key_file))
    assert again.sentence.rsplit(" ", 1)[1] == first.sentence.rsplit(" ", 1)[1]  # the state hash
    live = await rows(world)
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        await connection.execute("UPDATE cases.incidents SET state = 'closed'")
    finally:
        await connection.close()
    altered = await rebuild(world.admin_dsn, load_keks(world.master_key_file))
    assert altered.code == 2
    assert "incidents" in altered.sentence
    assert await rows(world) == live
