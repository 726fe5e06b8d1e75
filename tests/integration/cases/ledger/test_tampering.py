"""Random mutations of a stored log by a superuser who has switched the triggers off: all found.

    TOCSIN_TAMPER_ROUNDS=2000 make test ARGS="tests/integration/cases/ledger/test_tampering.py"

What an attacker cannot reach are the key and one checkpoint that somebody keeps elsewhere: with
these, `tocsin verify` has to find every mutation, and raise no alarm over an untouched copy.
"""

# ruff: noqa: S311, S608 - dice that guard nothing, and statements made of constants

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from services.cases.domain.events import NoteAdded
from services.cases.ledger.checkpoints import newest_note
from services.cases.ledger.keys import Signer
from services.cases.ledger.leaf import LEAF_COLUMNS, leaf_of
from services.cases.ledger.reading import audit_database
from services.cases.ledger.verifier import TamperedError
from services.cases.postgres import PostgresStore
from shared.ids import uuid7
from tests.support.incidents import NOW, SR
from tests.support.ledger import checkpointer, new_signer, write
from tests.support.world import World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("TOCSIN_TAMPER_ROUNDS", "400"))
SEED = int(os.environ.get("TOCSIN_TAMPER_SEED", "20261124"))
TABLES = ("events", "leaves", "tree_nodes", "checkpoints")


class Log:
    """A signed log and the superuser's connection to it."""

    def __init__(self, connection: Any, signer: Signer, note: str, size: int) -> None:
        self.connection = connection
        self.signer = signer
        self.note = note
        self.size = size

    async def audit(self) -> str:
        verdict = await audit_database(self.connection, self.signer.public, self.note)
        return verdict.sentence()

    @asynccontextmanager
    async def undone(self) -> AsyncIterator[None]:
        """Take back whatever happens inside: the next round finds the log as it was."""
        transaction = self.connection.transaction(isolation="repeatable_read")
        await transaction.start()
        try:
            yield
        finally:
            await transaction.rollback()

    async def run(self, statement: str, *values: object) -> None:
        """Change something; a mutation that changes nothing would prove nothing."""
        done = await self.connection.execute(statement, *values)
        assert int(done.rpartition(" ")[2]) > 0, (statement, values)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def log(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Log]:
    signer = new_signer(tmp_path_factory.mktemp("key"))
    store = PostgresStore(world.engine("cases"), world.vault)
    some = checkpointer(world, signer)
    for _ in range(4):  # several checkpoints, several incidents interleaved, more than one tile
        await write(world, 3)
        one, other = uuid7(), uuid7()
        for version in range(4):
            for stream in (one, other):
                note = NoteAdded(actor=SR, at=NOW, note_id=uuid7(), text=f"note {version} é")
                await store.append(stream, [note], expected=version, command_id=uuid7(), digest="d")
        while await some.once():
            pass
    newest = await newest_note(world.engine("cases"))
    assert newest is not None
    connection = await asyncpg.connect(world.admin_dsn)
    for table in TABLES:
        await connection.execute(f"ALTER TABLE cases.{table} DISABLE TRIGGER ALL")
    # A superuser drops what stands in the way of a rewritten row.
    for constraint in await connection.fetch(
        "SELECT conrelid::regclass::text AS t, conname FROM pg_constraint"
        " WHERE connamespace = 'cases'::regnamespace AND contype IN ('p', 'u', 'c')"
        " AND conrelid::regclass::text = ANY($1)",
        [f"cases.{table}" for table in TABLES],
    ):
        await connection.execute(
            f"ALTER TABLE {constraint['t']} DROP CONSTRAINT {constraint['conname']}"
        )
    yield Log(connection, signer, newest[1], newest[0])
    await connection.close()


# --- one-bit flips, in any column of any of the log's tables ---


async def flip_number(log: Log, dice: random.Random) -> None:
    column, bits = dice.choice([("position", 62), ("version", 31), ("schema", 31)])
    bit = dice.randrange(bits)
    kind = "bigint" if column == "position" else "integer"
    await log.run(
        f"UPDATE cases.events SET {column} = {column} # (1::{kind} << {bit}) WHERE position = $1",
        dice.randint(1, log.size),
    )


async def flip_uuid(log: Log, dice: random.Random) -> None:
    column, bit = dice.choice(["stream_id", "event_id", "command_id"]), dice.randrange(128)
    await log.run(
        f"UPDATE cases.events SET {column} = encode(set_bit(uuid_send({column}), {bit},"
        f" 1 - get_bit(uuid_send({column}), {bit})), 'hex')::uuid WHERE position = $1",
        dice.randint(1, log.size),
    )


async def flip_text(log: Log, dice: random.Random) -> None:
    column, position = dice.choice(["type", "data", "actor"]), dice.randint(1, log.size)
    text = await log.connection.fetchval(
        f"SELECT {column} FROM cases.events WHERE position = $1", position
    )
    await log.run(
        f"UPDATE cases.events SET {column} = $2 WHERE position = $1", position, flipped(text, dice)
    )


def flipped(text: str, dice: random.Random) -> str:
    """Return *text* with one bit changed, such that PostgreSQL can still hold it."""
    while True:
        raw = bytearray(text.encode())
        raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        try:
            changed = raw.decode()
        except UnicodeDecodeError:
            continue
        if "\0" not in changed:
            return changed


async def flip_time(log: Log, dice: random.Random) -> None:
    column, position = dice.choice(["occurred_at", "recorded_at"]), dice.randint(1, log.size)
    sign = dice.choice("+-")
    await log.run(
        f"UPDATE cases.events SET {column} = {column} {sign} $2::interval WHERE position = $1",
        position,
        timedelta(microseconds=1 << dice.randrange(57)),
    )


async def flip_hash(log: Log, dice: random.Random) -> None:
    bit = dice.randrange(256)
    flip = f"hash = set_bit(hash, {bit}, 1 - get_bit(hash, {bit}))"
    if dice.random() < 0.3:
        await log.run(f"UPDATE cases.tree_nodes SET {flip}")
    else:
        await log.run(
            f"UPDATE cases.leaves SET {flip} WHERE position = $1", dice.randint(1, log.size)
        )


async def flip_checkpoint(log: Log, dice: random.Random) -> None:
    row = dice.choice(await log.connection.fetch("SELECT size, note FROM cases.checkpoints"))
    if dice.random() < 0.2:
        await log.run(
            f"UPDATE cases.checkpoints SET size = size # (1::bigint << {dice.randrange(62)})"
            " WHERE size = $1",
            row["size"],
        )
    else:
        await log.run(
            "UPDATE cases.checkpoints SET note = $2 WHERE size = $1",
            row["size"],
            flipped(row["note"], dice),
        )


async def flip_place(log: Log, dice: random.Random) -> None:
    """In the keys of the smaller tables."""
    statement = dice.choice([
        f"UPDATE cases.log_head SET position = position # (1::bigint << {dice.randrange(62)})",
        f"UPDATE cases.tree_nodes SET level = level # {1 << dice.randrange(30)}",
        f"UPDATE cases.tree_nodes SET index = index # (1::bigint << {dice.randrange(62)})",
        f"UPDATE cases.leaves SET position = position # (1::bigint << {dice.randrange(62)})"
        f" WHERE position = {dice.randint(1, log.size)}",
    ])  # fmt: skip
    await log.run(statement)


# --- whole rows ---


async def renumber(log: Log, after: int, by: int) -> None:
    for table in ("events", "leaves"):
        await log.connection.execute(
            f"UPDATE cases.{table} SET position = position + $2 WHERE position > $1", after, by
        )
    await log.connection.execute("UPDATE cases.log_head SET position = position + $1", by)


async def recompute(log: Log) -> None:
    """Make every leaf fit its event again, as whoever knows the program can."""
    rows = await log.connection.fetch(f"SELECT {LEAF_COLUMNS} FROM cases.events")
    await log.connection.execute("DELETE FROM cases.leaves")
    await log.connection.executemany(
        "INSERT INTO cases.leaves VALUES ($1, $2)", [(r["position"], leaf_of(r)) for r in rows]
    )
    await log.connection.execute("DELETE FROM cases.tree_nodes")


async def delete(log: Log, dice: random.Random) -> None:
    position, care = dice.randint(1, log.size), dice.randrange(4)
    for table in ("events", "leaves")[: 1 + (care > 0)]:
        await log.run(f"DELETE FROM cases.{table} WHERE position = $1", position)
    if care > 1:
        await renumber(log, position, -1)
    if care > 2:
        await recompute(log)


async def reorder(log: Log, dice: random.Random) -> None:
    one, other = dice.sample(range(1, log.size + 1), 2)
    tables = dice.choice([("events",), ("leaves",), ("events", "leaves")])
    for table in tables:
        await log.run(
            f"UPDATE cases.{table} SET position = CASE position WHEN $1 THEN $2::bigint"
            " ELSE $1::bigint END WHERE position IN ($1, $2)",
            one,
            other,
        )
    if "events" in tables and dice.random() < 0.4:  # of leaves alone it would be the repair
        await recompute(log)


async def insert(log: Log, dice: random.Random) -> None:
    position, source = dice.randint(0, log.size), dice.randint(1, log.size)
    care = dice.randrange(3)
    if care:
        await renumber(log, position, 1)
        source += source > position
    await log.run(
        "INSERT INTO cases.events SELECT $1, stream_id, version + $3, gen_random_uuid(), type,"
        " schema, data, actor, occurred_at, recorded_at, command_id FROM cases.events"
        " WHERE position = $2",
        position + 1,
        source,
        dice.choice([0, 1]),
    )
    if care > 1:
        await recompute(log)


async def truncate_tail(log: Log, dice: random.Random) -> None:
    keep, care = dice.randint(0, log.size - 1), dice.randrange(3)
    await log.run("DELETE FROM cases.events WHERE position > $1", keep)
    if care > 0:
        await log.run("DELETE FROM cases.leaves WHERE position > $1", keep)
        await log.run("UPDATE cases.log_head SET position = $1", keep)
    if care > 1:
        await log.connection.execute("DELETE FROM cases.tree_nodes")


async def roll_back(log: Log, dice: random.Random) -> None:
    """Restore an older state that was whole: only the checkpoint kept elsewhere tells."""
    sizes = [r["size"] for r in await log.connection.fetch("SELECT size FROM cases.checkpoints")]
    keep = dice.choice([0, *sorted(sizes)[:-1]])
    for table in ("events", "leaves"):
        await log.run(f"DELETE FROM cases.{table} WHERE position > $1", keep)
    await log.run("DELETE FROM cases.checkpoints WHERE size > $1", keep)
    await log.run("UPDATE cases.log_head SET position = $1", keep)
    await log.connection.execute(
        "DELETE FROM cases.tree_nodes WHERE (index + 1) << level > $1", keep
    )


async def rewrite(log: Log, dice: random.Random) -> None:
    """Change an event and everything that follows from it, except what needs the key."""
    position = dice.randint(1, log.size)
    await log.run("UPDATE cases.events SET actor = actor || 'x' WHERE position = $1", position)
    await recompute(log)
    if dice.random() < 0.5:
        await log.run("DELETE FROM cases.checkpoints WHERE size >= $1", position)


async def drop_checkpoint(log: Log, dice: random.Random) -> None:
    sizes = [r["size"] for r in await log.connection.fetch("SELECT size FROM cases.checkpoints")]
    await log.run("DELETE FROM cases.checkpoints WHERE size = $1", dice.choice(sizes))


MUTATIONS = (
    flip_number, flip_uuid, flip_text, flip_text, flip_time, flip_hash, flip_checkpoint, flip_place,
    delete, reorder, insert, truncate_tail, roll_back, rewrite, drop_checkpoint,
)  # fmt: skip


async def test_every_mutation_is_found_and_an_untouched_log_is_not_accused(log: Log) -> None:
    untouched = await log.audit()
    dice, missed, located = random.Random(SEED), [], 0
    for number in range(ROUNDS):
        mutate = MUTATIONS[number % len(MUTATIONS)]
        async with log.undone():
            await mutate(log, dice)
            try:
                missed.append((number, mutate.__name__, await log.audit()))
            except TamperedError as found:
                located += found.position is not None
        if number % 50 == 0:
            assert await log.audit() == untouched
    assert missed == []
    assert located > ROUNDS // 2
    assert await log.audit() == untouched
    print(f"\n{ROUNDS} mutations found, {located} with their first bad position")


async def test_the_first_bad_position_is_named(log: Log) -> None:
    async with log.undone():
        await log.run("UPDATE cases.events SET actor = 'eve' WHERE position IN (17, 30)")
        with pytest.raises(TamperedError, match="position 17 was altered") as found:
            await log.audit()
        assert found.value.position == 17


async def test_another_key_is_not_believed(log: Log, tmp_path_factory: Any) -> None:
    strange = new_signer(tmp_path_factory.mktemp("strange")).public
    with pytest.raises(TamperedError, match="has not signed"):
        await audit_database(log.connection, strange)
