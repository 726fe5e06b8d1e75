"""The log is signed, only after it was read again, and the same size always the same way."""

from pathlib import Path
from typing import Any

import asyncpg
import nats
import pytest

from services.cases.domain.events import NoteAdded
from services.cases.ledger.checkpoints import Checkpointer, LedgerError, newest_note
from services.cases.ledger.keys import Signer
from services.cases.ledger.leaf import LEAF_COLUMNS, leaf_of
from services.cases.ledger.merkle import root_of
from services.cases.ledger.tree import StoredTree
from services.cases.ledger.verifier import (
    open_note,
    parse_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from services.cases.postgres import PostgresStore
from services.cases.relay import STREAM, Relay
from shared.contracts.cases import IncidentClosedV1, LogCheckpointV1
from shared.ids import uuid7
from tests.support.incidents import NOW, SR
from tests.support.ledger import checkpointer, new_signer, write
from tests.support.world import World
from tocsin.bootstrap import bootstrap

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return new_signer(tmp_path_factory.mktemp("key"))


async def newest(world: World) -> tuple[int, str]:
    found = await newest_note(world.engine("cases"))
    assert found is not None
    return found


async def drain(some: Checkpointer | Relay) -> None:
    while await some.once():
        pass


async def admin(world: World) -> Any:
    return await asyncpg.connect(world.admin_dsn)


async def test_sql_and_python_make_the_same_leaf(world: World) -> None:
    texts = ["", 'a"b\\c/\b\f\n\r\t', "\x01\x1f\x7f\u2028\ud7ff\U0001f600é", "'; DROP TABLE events"]
    store, stream = PostgresStore(world.engine("cases"), world.vault), uuid7()
    notes = [NoteAdded(actor=SR, at=NOW, note_id=uuid7(), text=text) for text in texts]
    await store.append(stream, notes, expected=0, command_id=uuid7(), digest="d")
    await write(world)
    connection = await admin(world)
    try:
        rows = await connection.fetch(
            f"SELECT {LEAF_COLUMNS}, hash FROM cases.events JOIN cases.leaves USING (position)"  # noqa: S608 - constants only
        )
    finally:
        await connection.close()
    assert len(rows) > 20
    assert all(leaf_of(row) == row["hash"] for row in rows)


async def test_a_checkpoint_covers_the_log_and_says_so_once(world: World, signer: Signer) -> None:
    size = await write(world)
    await drain(checkpointer(world, signer))
    first = await newest(world)
    checkpoint = parse_checkpoint(open_note(first[1], signer.public))
    connection = await admin(world)
    try:
        leaves = await connection.fetch("SELECT hash FROM cases.leaves ORDER BY position")
    finally:
        await connection.close()
    assert (checkpoint.size, checkpoint.root) == (size, root_of(r["hash"] for r in leaves))
    assert signer.sign(checkpoint.text()) == first[1]
    await drain(checkpointer(world, signer))  # another replica, or the same after a crash
    assert await newest(world) == first


async def test_proofs_out_of_the_stored_tree(world: World, signer: Signer) -> None:
    await write(world, 25)
    await drain(checkpointer(world, signer))
    size = await write(world, 1)  # beyond the newest checkpoint: not all nodes are stored
    assert size > 600
    async with world.engine("cases").connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        tree = StoredTree(driver)
        root = await tree.root(size)
        for position in (1, 2, 255, 256, 257, 512, 513, size - 1, size):
            path = await StoredTree(driver).inclusion(position, size)
            assert verify_inclusion(await tree.leaf(position), position - 1, size, path, root)
        for first in (1, 255, 256, 300, 512, size - 1, size):
            path = await StoredTree(driver).consistency(first, size)
            assert verify_consistency(first, size, await tree.root(first), root, path)


async def test_a_closure_is_signed_at_once(world: World, signer: Signer) -> None:
    rare = Checkpointer(world.engine("cases"), signer, 3600)
    await drain(rare)
    store = PostgresStore(world.engine("cases"), world.vault)
    note = NoteAdded(actor=SR, at=NOW, note_id=uuid7(), text="hm")
    await store.append(uuid7(), [note], expected=0, command_id=uuid7(), digest="d")
    before = await newest(world)
    await drain(rare)
    assert await newest(world) == before
    size = await write(world)  # a story that ends closed
    await drain(rare)
    assert (await newest(world))[0] == size


async def test_nothing_is_signed_over_an_altered_event(
    world: World, signer: Signer, tmp_path: Path
) -> None:
    await drain(checkpointer(world, signer))
    before = await newest(world)
    size = await write(world)
    connection = await admin(world)
    change = "UPDATE cases.events SET data = replace(data, $2, $3) WHERE position = $1"
    try:
        await connection.execute("ALTER TABLE cases.events DISABLE TRIGGER ALL")
        assert await connection.execute(change, size, "rita", "rick") == "UPDATE 1"
        with pytest.raises(LedgerError, match=f"position {size} was altered"):
            await drain(checkpointer(world, signer))
        assert await newest(world) == before
        await connection.execute(change, size, "rick", "rita")
        await drain(checkpointer(world, signer))
        assert (await newest(world))[0] == size
    finally:
        await connection.execute(
            "ALTER TABLE cases.events ENABLE ALWAYS TRIGGER events_append_only"
        )
        await connection.execute(
            "ALTER TABLE cases.events ENABLE ALWAYS TRIGGER events_no_truncate"
        )
        await connection.close()


@pytest.mark.parametrize("table", ["leaves", "tree_nodes", "checkpoints"])
@pytest.mark.parametrize("who", ["service", "replica"])
async def test_what_is_signed_stays(world: World, signer: Signer, table: str, who: str) -> None:
    await write(world, 25)
    await drain(checkpointer(world, signer))
    by = world.service_dsn("cases") if who == "service" else world.admin_dsn
    connection = await asyncpg.connect(by)
    try:
        if who == "replica":
            await connection.execute("SET session_replication_role = replica")
        changed = {"checkpoints": "UPDATE cases.{} SET note = ''"}
        for change in (
            "DELETE FROM cases.{}",
            "TRUNCATE cases.{}",
            changed.get(table, "UPDATE cases.{} SET hash = hash"),
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change.format(table))
        if who == "service":
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("INSERT INTO cases.leaves SELECT * FROM cases.leaves")
    finally:
        await connection.close()


async def test_checkpoints_stand_between_the_events_and_disturb_nothing(
    world: World, signer: Signer
) -> None:
    async def read() -> tuple[int, str] | None:
        return await newest_note(world.engine("cases"))

    async with world.bus("cases") as bus:
        for _ in range(2):
            await write(world)
            await drain(checkpointer(world, signer))
            # A new relay each time: what it knows, it knows from the stream.
            await drain(Relay(PostgresStore(world.engine("cases"), world.vault), bus, None, read))
        size = await write(world)
        await drain(Relay(PostgresStore(world.engine("cases"), world.vault), bus, None, read))
        messages = await world.messages(STREAM)
        events = [m for m in messages if m[0] != LogCheckpointV1.SUBJECT]
        notes = [m for m in messages if m[0] == LogCheckpointV1.SUBJECT]
        assert [int(m[1]["ce-position"]) for m in events] == list(range(1, size + 1))
        assert len(notes) == 2
        told = [LogCheckpointV1.from_json(m[2]) for m in notes]
        assert told[-1].note == (await newest(world))[1]
        before = messages[messages.index(notes[-1]) - 1]
        assert before[0] == IncidentClosedV1.SUBJECT
        assert before[1]["ce-position"] == notes[-1][1]["ce-position"] == str(told[-1].size)

        await _wipe(world)
        await drain(Relay(PostgresStore(world.engine("cases"), world.vault), bus, None, read))
        again = await world.messages(STREAM)
        assert [m[1]["Nats-Msg-Id"] for m in again if m[0] != LogCheckpointV1.SUBJECT] == [
            m[1]["Nats-Msg-Id"] for m in events
        ]
        assert [m[2] for m in again if m[0] == LogCheckpointV1.SUBJECT] == [notes[-1][2]]


async def _wipe(world: World) -> None:
    client = await nats.connect(
        world.nats_url, nkeys_seed_str=world.seeds["bootstrap"], inbox_prefix="_INBOX_bootstrap"
    )
    try:
        await client.jetstream().delete_stream(STREAM)
    finally:
        await client.close()
    await bootstrap(world.nats_url, world.seeds["bootstrap"])
