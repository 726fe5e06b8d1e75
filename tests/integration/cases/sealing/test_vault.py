"""Keys in a real database: made once, looked up together, refused when they cannot be opened."""

import asyncio
import json
import os
import sys
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.codec import SCHEMA
from services.cases.domain import events as e
from services.cases.postgres import PostgresStore
from services.cases.sealing.box import AlteredBoxError
from services.cases.sealing.kek import Keks, WrongKekError, load_keks
from services.cases.sealing.vault import Vault
from services.cases.store import Recorded
from shared.ids import uuid7
from tests.support.incidents import NOW, SR, story
from tests.support.world import World

pytestmark = pytest.mark.integration


def note(text: str) -> e.NoteAdded:
    return e.NoteAdded(actor=SR, at=NOW, note_id=uuid7(), text=text)


async def append(store: PostgresStore, stream: UUID, *events: e.Event, expected: int = 0) -> None:
    await store.append(stream, events, expected=expected, command_id=uuid7(), digest="d")


async def sql(world: World, statement: str, *values: Any) -> list[asyncpg.Record]:
    """Ask as the administrator, whom only triggers hold back."""
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        found: list[asyncpg.Record] = await connection.fetch(statement, *values)
        return found
    finally:
        await connection.close()


def stranger(engine: AsyncEngine, world: World) -> Vault:
    """Return a vault that remembers nothing."""
    return Vault(engine, load_keks(world.master_key_file))


async def test_no_personal_text_is_in_the_log(world: World) -> None:
    store, stream = PostgresStore(world.engine("cases"), world.vault), uuid7()
    events = [*story(), note("the password was hunter2")]
    await append(store, stream, *events)
    rows = await sql(world, "SELECT schema, data FROM cases.events WHERE stream_id = $1", stream)
    stored = "".join(row["data"] for row in rows)
    assert {row["schema"] for row in rows} == {SCHEMA}
    opened = events[0]
    assert isinstance(opened, e.IncidentOpened)
    for text in ("hunter2", opened.title):
        assert text not in stored
    fresh = PostgresStore(world.engine("cases"), stranger(world.engine("cases"), world))
    assert (await fresh.read(stream)).events == tuple(events)


async def test_events_of_before_are_read_as_they_are(world: World) -> None:
    store, stream = PostgresStore(world.engine("cases"), world.vault), uuid7()
    old = e.NoteAdded(actor=SR, at=NOW, note_id=uuid7(), text="from the old days")
    data = json.dumps({"actor": {"id": "rita", "kind": "person"}, "at": "2026-11-23T09:00:00Z",
                       "note_id": str(old.note_id), "text": old.text})  # fmt: skip
    connection = await asyncpg.connect(world.service_dsn("cases"))
    try:
        await connection.execute("SET search_path = cases")
        await connection.execute(
            "SELECT * FROM append($1, 0, $2, 'd', ARRAY[$3::uuid], ARRAY['NoteAdded.v1'],"
            " ARRAY[1], ARRAY[$4::text], ARRAY['rita'], ARRAY[now()])",
            stream, uuid7(), uuid7(), data,
        )  # fmt: skip
    finally:
        await connection.close()
    await append(store, stream, note("new"), expected=1)
    texts = [x.text for x in (await store.read(stream)).events if isinstance(x, e.NoteAdded)]
    assert texts == ["from the old days", "new"]


async def test_a_page_of_many_incidents_costs_one_look(world: World) -> None:
    engine = world.engine("cases")
    store = PostgresStore(engine, world.vault)
    before = (await sql(world, "SELECT max(position) AS p FROM cases.events"))[0]["p"] or 0
    for n in range(40):
        await append(store, uuid7(), note(f"a{n}"), note(f"b{n}"))
    vault = stranger(engine, world)
    reader = PostgresStore(engine, vault)
    page = await reader.after(before, 500)
    assert len(page) == 80
    assert vault.looks <= 2  # the keys, and what was destroyed meanwhile
    await reader.after(before, 500)
    assert vault.looks <= 3
    looks = vault.looks
    stream = uuid7()
    await append(reader, stream, note("first"))
    made = vault.looks - looks
    for n in range(20):
        await append(reader, stream, note("more"), expected=n + 1)
    assert made <= 3
    assert vault.looks - looks == made  # a key that is known costs nothing


async def test_more_keys_than_are_remembered(world: World) -> None:
    """What a page needs is opened, however little room there is for it in memory."""
    engine, streams = world.engine("cases"), [uuid7() for _ in range(8)]
    vault = Vault(engine, load_keks(world.master_key_file), remembered=3)
    store = PostgresStore(engine, vault)
    start = (await sql(world, "SELECT position FROM cases.log_head"))[0]["position"]
    for version, text in enumerate(("first", "second", "third")):
        for stream in streams:
            await append(store, stream, note(text), expected=version)
    for _ in range(2):
        found = await store.after(start, 100)
        texts = [r.event.text for r in found if isinstance(r.event, e.NoteAdded)]
        assert texts == ["first"] * 8 + ["second"] * 8 + ["third"] * 8
    with pytest.raises(AlteredBoxError, match="nor ever was"):
        await vault.keys([str(uuid7())])


async def test_two_who_make_a_key_at_once_get_the_same(world: World) -> None:
    engine, incident = world.engine("cases"), uuid7()
    vaults = [stranger(engine, world) for _ in range(6)]
    found = await asyncio.gather(
        *(vault.for_sealing(incident, incident, {"", "bob"}) for vault in vaults)
    )
    assert all(each == found[0] for each in found)
    uses = await sql(world, "SELECT * FROM cases.key_uses WHERE stream_id = $1", incident)
    assert len(uses) == 1


async def test_names_are_not_in_the_table_of_keys(world: World) -> None:
    incident = uuid7()
    await world.vault.for_sealing(incident, incident, {"", "mallory@example.com"})
    rows = await sql(world, "SELECT subject, wrapped FROM cases.data_keys")
    assert not any(b"mallory" in row["subject"] + row["wrapped"] for row in rows)


async def test_a_tampered_box_stops_the_reader(world: World) -> None:
    store, stream = PostgresStore(world.engine("cases"), world.vault), uuid7()
    await append(store, stream, note("one"), note("two"))
    (first, second) = await store.stream_after(stream, 0, 10)
    assert isinstance(first, Recorded)
    rows = await sql(
        world, "SELECT * FROM cases.events WHERE stream_id = $1 ORDER BY version", stream
    )
    # The database's administrator puts the text of the second event into the first.
    boxes = json.loads(rows[1]["data"])["sealed"]
    forged = json.dumps({**json.loads(rows[0]["data"]), "sealed": boxes})
    await sql(world, "ALTER TABLE cases.events DISABLE TRIGGER USER")
    try:
        await sql(
            world, "UPDATE cases.events SET data = $1 WHERE event_id = $2", forged, first.event_id
        )
        with pytest.raises(AlteredBoxError):
            await store.read(stream)
        assert second.position > first.position
    finally:
        await sql(
            world, "UPDATE cases.events SET data = $1 WHERE event_id = $2",
            rows[0]["data"], first.event_id,
        )  # fmt: skip
        await sql(world, "ALTER TABLE cases.events ENABLE ALWAYS TRIGGER events_append_only")
        await sql(world, "ALTER TABLE cases.events ENABLE ALWAYS TRIGGER events_no_truncate")


async def test_another_master_key_is_refused_with_a_sentence(world: World) -> None:
    engine = world.engine("cases")
    await world.vault.check()
    with pytest.raises(WrongKekError, match="TOCSIN_CASES_MASTER_KEY_FILE"):
        await Vault(engine, Keks([bytes(32)])).check()
    assert await Vault(engine, Keks([bytes(32)])).problem() is not None
    assert await world.vault.problem() is None


async def test_the_service_does_not_start_with_another_master_key(world: World) -> None:
    await world.vault.check()
    wrong = world.master_key_file.with_name("wrong.key")
    wrong.write_text("00" * 32)
    for path, told in ((wrong, "not in the file"), (wrong.with_name("none"), "No such file")):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cases",
            env={
                **os.environ,
                "TOCSIN_CASES_DATABASE_URL": world.service_dsn("cases"),
                "TOCSIN_CASES_MASTER_KEY_FILE": str(path),
                "TOCSIN_CASES_PORT": "0",
            },
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 1
        (line,) = out.decode().strip().splitlines()
        assert "TOCSIN_CASES_MASTER_KEY_FILE" in line
        assert told in line


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE data_keys SET wrapped = NULL",
        "DELETE FROM data_keys",
        "TRUNCATE data_keys",
        "DELETE FROM key_uses",
    ],
)
async def test_the_service_cannot_take_a_key_away_by_itself(world: World, statement: str) -> None:
    connection = await asyncpg.connect(world.service_dsn("cases"))
    try:
        await connection.execute("SET search_path = cases")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_even_the_administrator_cannot_change_whose_key_it_is(world: World) -> None:
    await world.vault.check()
    for statement in (
        "UPDATE cases.data_keys SET subject = 'x'",
        "UPDATE cases.data_keys SET key_id = gen_random_uuid()",
        "DELETE FROM cases.data_keys",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await sql(world, statement)
