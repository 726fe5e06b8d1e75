"""What every event store has to do: one suite, run on memory and on PostgreSQL."""

import asyncio
from typing import Any

import pytest

from services.cases.domain.events import Event, NoteAdded
from services.cases.domain.values import Actor
from services.cases.postgres import PostgresStore
from services.cases.store import (
    Appended,
    CommandReusedError,
    EventStore,
    OverloadedError,
    VersionConflict,
)
from shared.ids import uuid7
from tests.support.incidents import NOW, SR, story
from tests.support.memory_store import MemoryStore
from tests.support.world import World

pytestmark = pytest.mark.integration


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> EventStore:
    if request.param == "memory":
        return MemoryStore()
    world: World = request.getfixturevalue("world")
    return PostgresStore(world.engine("cases"), world.vault)


def note(text: str = "hm") -> Event:
    return NoteAdded(actor=SR, at=NOW, note_id=uuid7(), text=text)


async def append(store: EventStore, stream: Any, *events: Event, expected: int) -> Appended:
    return await store.append(stream, events, expected=expected, command_id=uuid7(), digest="d")


async def test_what_is_appended_is_read_back(store: EventStore) -> None:
    stream, events = uuid7(), story()
    assert (await store.read(stream)).version == 0
    appended = await append(store, stream, *events, expected=0)
    history = await store.read(stream)
    assert list(history.events) == events
    assert (
        (appended.first_version, appended.last_version)
        == (1, len(events))
        == (
            1,
            history.version,
        )
    )
    types = await store.types(stream, 2, 3)
    assert types == ("DetectionsAttached.v1", "IndicatorLinked.v1")
    assert [r.version for r in await store.stream_after(stream, 3, 2)] == [4, 5]


async def test_positions_have_no_holes_over_all_streams(store: EventStore) -> None:
    start = (await append(store, uuid7(), note(), expected=0)).last_position
    for _ in range(5):
        await append(store, uuid7(), note(), note(), expected=0)
    found = await store.after(start, 100)
    assert [r.position for r in found] == list(range(start + 1, start + 11))
    assert len({r.event_id for r in found}) == 10


async def test_a_stale_version_is_refused_and_named(store: EventStore) -> None:
    stream = uuid7()
    await append(store, stream, note(), note(), expected=0)
    for stale in (0, 1, 3):
        with pytest.raises(VersionConflict) as conflict:
            await append(store, stream, note(), expected=stale)
        assert conflict.value.current == 2
    assert (await store.read(stream)).version == 2


async def test_a_command_is_done_once(store: EventStore) -> None:
    stream, command = uuid7(), uuid7()
    assert await store.find(command, "d") is None
    first = await store.append(stream, [note(), note()], expected=0, command_id=command, digest="d")
    again = await store.append(stream, [note()], expected=9, command_id=command, digest="d")
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.first_version, again.last_version) == (1, 2)
    assert again.last_position == first.last_position
    assert await store.find(command, "d") == again
    assert (await store.read(stream)).version == 2


async def test_a_command_id_means_one_thing(store: EventStore) -> None:
    stream, command = uuid7(), uuid7()
    await store.append(stream, [note()], expected=0, command_id=command, digest="d")
    with pytest.raises(CommandReusedError):
        await store.find(command, "other")
    with pytest.raises(CommandReusedError):
        await store.append(stream, [note()], expected=1, command_id=command, digest="other")
    with pytest.raises(CommandReusedError):
        await store.append(uuid7(), [note()], expected=0, command_id=command, digest="d")


async def test_a_command_that_changes_nothing_is_remembered_too(store: EventStore) -> None:
    stream, command = uuid7(), uuid7()
    await append(store, stream, note(), expected=0)
    nothing = await store.append(stream, [], expected=1, command_id=command, digest="d")
    assert (nothing.first_version, nothing.last_version) == (2, 1)
    assert await store.types(stream, 2, 1) == ()
    assert await store.find(command, "d") is not None


async def test_of_sixteen_writers_exactly_one_wins_each_version(store: EventStore) -> None:
    stream, rounds = uuid7(), 6
    start = (await append(store, uuid7(), note(), expected=0)).last_position

    async def attempt(version: int) -> bool:
        try:
            await append(store, stream, note(), expected=version)
        except VersionConflict:
            return False
        return True

    for version in range(rounds):
        won = await asyncio.gather(*(attempt(version) for _ in range(16)))
        assert won.count(True) == 1
    positions = [r.position for r in await store.after(start, 100)]
    assert positions == list(range(start + 1, start + rounds + 1))


async def test_sixteen_writers_leave_no_hole_and_a_reader_misses_nothing(
    store: EventStore,
) -> None:
    start = (await append(store, uuid7(), note(), expected=0)).last_position
    writers, each = 16, 8
    seen: list[int] = []
    finished = asyncio.Event()

    async def write() -> None:
        stream = uuid7()
        for version in range(each):
            await append(store, stream, note(), expected=version)

    async def read() -> None:
        last = False
        while not last:
            last = finished.is_set()
            position = seen[-1] if seen else start
            seen.extend(r.position for r in await store.after(position, 50))
            last = last and len(seen) == writers * each

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write() for _ in range(writers)))
    finished.set()
    await asyncio.wait_for(reader, 60)
    assert seen == list(range(start + 1, start + writers * each + 1))


async def test_numbers_are_never_given_twice(store: EventStore) -> None:
    drawn = await asyncio.gather(*(store.draw_number(2026) for _ in range(30)))
    assert len(set(drawn)) == 30
    assert await store.draw_number(2027) == 1


async def test_too_many_waiting_appends_are_refused(world: World) -> None:
    store = PostgresStore(world.engine("cases"), world.vault, max_waiting=2)
    results = await asyncio.gather(
        *(append(store, uuid7(), note(), expected=0) for _ in range(8)), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, OverloadedError)]
    assert refused
    assert len([r for r in results if isinstance(r, Appended)]) == len(results) - len(refused)


async def test_appends_that_go_together_are_judged_one_by_one(world: World) -> None:
    """In one transaction: winners, losers, an echo, an impostor, and one that cannot be stored."""
    store, stream, other, known = (
        PostgresStore(world.engine("cases"), world.vault),
        uuid7(),
        uuid7(),
        uuid7(),
    )
    # What both are sealed under is known from here on: nobody overtakes another looking it up.
    await append(store, stream, note(), expected=0)
    first = await store.append(other, [note()], expected=0, command_id=known, digest="d")
    blocker = asyncio.create_task(append(store, uuid7(), note(), expected=0))
    await asyncio.sleep(0)  # what follows is submitted while this one is being committed
    bad = NoteAdded(actor=Actor(id="nul\0", roles=("service_team",)), at=NOW, note_id=uuid7(),
                    text="")  # fmt: skip
    results = await asyncio.gather(
        append(store, stream, note(), note(), expected=1),
        append(store, stream, note(), expected=1),
        append(store, stream, note(), expected=3),
        append(store, stream, note(), expected=9),
        store.append(other, [note()], expected=7, command_id=known, digest="d"),
        store.append(other, [note()], expected=1, command_id=known, digest="x"),
        append(store, other, bad, expected=1),
        append(store, other, note(), expected=1),
        append(store, uuid7(), expected=0),
        return_exceptions=True,
    )
    await blocker
    won, lost, then, ahead, echo, impostor, refused, after, nothing = results
    assert isinstance(won, Appended)
    assert isinstance(then, Appended)
    assert (won.first_version, won.last_version, then.last_version) == (2, 3, 4)
    assert isinstance(lost, VersionConflict)
    assert isinstance(ahead, VersionConflict)
    assert lost.current >= 3
    assert isinstance(echo, Appended)
    assert (echo.replayed, echo.last_position) == (True, first.last_position)
    assert isinstance(impostor, CommandReusedError)
    assert isinstance(refused, Exception)
    assert not isinstance(refused, VersionConflict)
    assert isinstance(after, Appended)
    assert after.last_version == 2
    assert isinstance(nothing, Appended)
    assert nothing.last_version == 0
    assert (await store.read(stream)).version == 4
    positions = [r.position for r in await store.after(first.last_position, 100)]
    assert positions == list(range(positions[0], positions[0] + 5))


async def test_of_many_who_want_one_place_one_wins_and_the_others_seal_nothing(
    world: World,
) -> None:
    store, stream = PostgresStore(world.engine("cases"), world.vault), uuid7()
    results = await asyncio.gather(
        *(append(store, stream, note(), expected=0) for _ in range(12)), return_exceptions=True
    )
    assert len([r for r in results if isinstance(r, Appended)]) == 1
    assert [r.current for r in results if isinstance(r, VersionConflict)] == [1] * 11


async def test_a_command_that_was_obeyed_is_answered_the_same_however_late(world: World) -> None:
    store, stream, command = PostgresStore(world.engine("cases"), world.vault), uuid7(), uuid7()
    first = await store.append(stream, [note()], expected=0, command_id=command, digest="d")
    await append(store, stream, note(), expected=1)
    again = await store.append(stream, [note()], expected=0, command_id=command, digest="d")
    assert (again.replayed, again.last_position) == (True, first.last_position)
    with pytest.raises(CommandReusedError):
        await store.append(stream, [note()], expected=0, command_id=command, digest="other")


async def test_what_is_remembered_of_a_stream_never_decides(world: World) -> None:
    """After a restore the log is shorter than a process remembers: its word counts."""
    store, stream = PostgresStore(world.engine("cases"), world.vault), uuid7()
    store._reached(stream, 7)
    assert (await append(store, stream, note(), expected=0)).last_version == 1
