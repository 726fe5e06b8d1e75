"""The log's key is handed over: both verify, the old one signs no more, and a bundle has both."""

import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from services.cases.app import create_app
from services.cases.ledger.checkpoints import driver_of, handovers, newest_note
from services.cases.ledger.handover import hand_over
from services.cases.ledger.keys import Signer, load_signer
from services.cases.ledger.tree import LedgerError
from services.cases.ledger.verifier import TamperedError, VerifyKey, ring_of, verify_bundle
from services.cases.settings import Settings
from shared.db import create_engine
from tests.integration.cases.conversation import People
from tests.support.ledger import ORIGIN, checkpointer, new_signer, write
from tests.support.world import World
from tocsin.verify import verify_database

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keys(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Path]]:
    """Files of keys, each handed over to the next by the command, with checkpoints between."""
    folder = tmp_path_factory.mktemp("handover")
    path = folder / "log.key"
    new_signer(folder)
    found = []
    for _ in range(2):
        signer = load_signer(ORIGIN, path)
        await checkpointer(world, signer).sign_now(await write(world))
        found.append(path.with_name(f"log.key.{signer.public.id.hex()}"))
        done = subprocess.run(
            [sys.executable, "-m", "tocsin", "cases", "rotate-log-key",
             "--database-url", world.admin_dsn, "--key-file", str(path)],
            env={**os.environ, "COLUMNS": "400"}, capture_output=True, text=True, timeout=150,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        assert str(load_signer(ORIGIN, path).public) in done.stdout
    yield [*found, path]


def signer(path: Path) -> Signer:
    return load_signer(ORIGIN, path)


async def test_any_of_the_keys_verifies_the_whole_log(world: World, keys: list[Path]) -> None:
    last = signer(keys[-1])
    await checkpointer(world, last).sign_now(await write(world))
    newest = await newest_note(world.engine("cases"))
    assert newest is not None
    for path in keys:
        outcome = await verify_database(world.admin_dsn, signer(path).public, newest[1])
        assert outcome.code == 0, outcome
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys[1:])


async def test_a_replica_with_the_old_key_signs_no_more(world: World, keys: list[Path]) -> None:
    size = await write(world)
    for path in keys[:-1]:
        with pytest.raises(LedgerError, match="no key to sign"):
            await checkpointer(world, signer(path)).sign_now(size)
    await checkpointer(world, signer(keys[-1])).sign_now(size)
    assert (await verify_database(world.admin_dsn, signer(keys[0]).public, None)).code == 0


async def test_a_strange_key_neither_signs_nor_verifies_nor_takes_over(
    world: World, keys: list[Path], tmp_path: Path
) -> None:
    strange, size = new_signer(tmp_path), await write(world)
    with pytest.raises(TamperedError, match="none of those"):
        await checkpointer(world, strange).sign_now(size)
    assert (await verify_database(world.admin_dsn, strange.public, None)).code == 2
    admin = create_engine(world.admin_dsn, "cases", pool_size=1)
    try:
        with pytest.raises(TamperedError, match="none of those"):
            await hand_over(admin, strange, signer(keys[-1]))
        with pytest.raises(LedgerError, match="is signed by"):
            await hand_over(admin, signer(keys[0]), strange)  # it was handed over before
        with pytest.raises(LedgerError, match="another one"):
            await hand_over(admin, signer(keys[-1]), signer(keys[-1]))
        async with driver_of(admin) as driver:
            before = await handovers(driver)
            await hand_over(admin, signer(keys[-2]), signer(keys[-1]))  # again is nothing
            assert await handovers(driver) == before
    finally:
        await admin.dispose()


async def test_what_an_old_key_signs_after_it_was_handed_over_is_found(
    world: World, keys: list[Path]
) -> None:
    old, last = signer(keys[0]), signer(keys[-1])
    await checkpointer(world, last).sign_now(await write(world))
    newest = await newest_note(world.engine("cases"))
    assert newest is not None
    async with driver_of(world.engine("cases")) as driver:
        notes = await handovers(driver)
    ring = ring_of(old.public, notes)
    assert ring.open_checkpoint(newest[1]).size == newest[0]
    forged = old.sign(newest[1].rpartition("\n\n")[0] + "\n")
    with pytest.raises(TamperedError, match="has not signed"):
        ring.open_checkpoint(forged)
    for broken in (notes[1:], [notes[1], notes[0]], [notes[0].replace("until ", "until 9")]):
        with pytest.raises(TamperedError):
            ring_of(old.public, broken)


async def test_the_service_can_neither_write_nor_change_a_handover(
    world: World, keys: list[Path]
) -> None:
    async with driver_of(world.engine("cases")) as driver:
        for sql in ("INSERT INTO log_handovers VALUES (9, 'x')", "DELETE FROM log_handovers"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await driver.execute(sql)


async def test_a_bundle_leads_from_the_key_that_was_pinned_to_the_present_one(
    world: World, keys: list[Path], tmp_path: Path
) -> None:
    settings = world.settings(Settings, log_key_file=keys[-1])
    async with world.running(create_app(settings)) as client:
        people = People(world, client)
        incident = await people.opened()
        answer = await people.get("anna", f"/v1/incidents/{incident}/bundle")
        assert answer.status_code == 200, answer.text
        told = (await people.get("anna", "/v1/log/checkpoint")).json()
    assert told["key"] == str(signer(keys[-1]).public)
    assert len(told["handovers"]) == 2
    file = tmp_path / "bundle.zip"
    file.write_bytes(answer.content)
    for path in keys:
        assert verify_bundle(file, signer(path).public)
    with pytest.raises(TamperedError, match="is not the one given"):
        verify_bundle(file, new_signer(tmp_path).public)
    with zipfile.ZipFile(file) as whole:
        program = whole.read("verify.py")
    (tmp_path / "verify.py").write_bytes(program)
    alone = subprocess.run(
        [sys.executable, "-I", "verify.py", "bundle.zip", "--key", str(signer(keys[0]).public)],
        cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert (alone.returncode, "intact" in alone.stdout) == (0, True), alone.stdout + alone.stderr
    assert VerifyKey.parse(told["key"]) == signer(keys[-1]).public
