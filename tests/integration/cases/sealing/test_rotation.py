"""A new master key: everything is read as before, and the old one opens nothing."""

import os
import subprocess
import sys

import pytest

from services.cases.postgres import PostgresStore
from services.cases.sealing.kek import Keks, WrongKekError, load_keks
from services.cases.sealing.rotation import rotate
from services.cases.sealing.vault import Vault
from shared.ids import uuid7
from tests.support.incidents import story
from tests.support.world import World

pytestmark = pytest.mark.integration


async def test_after_a_rotation_only_the_new_key_opens(world: World) -> None:
    engine, stream = world.engine("cases"), uuid7()
    store = PostgresStore(engine, world.vault)
    events = tuple(story())
    await store.append(stream, events, expected=0, command_id=uuid7(), digest="d")
    old = world.master_key_file.read_text().strip()
    new = "ab" * 32
    both = world.master_key_file.with_name("both.key")
    both.write_text(f"{new}\n{old}\n")
    # Without the old key nothing is wrapped anew, and nothing is lost.
    with pytest.raises(WrongKekError):
        await rotate(engine, Keks([bytes.fromhex(new)]))
    assert (await PostgresStore(engine, Vault(engine, load_keks(both))).read(stream)).version
    told = subprocess.run(
        [sys.executable, "-m", "tocsin", "cases", "rotate-keys",
         "--database-url", world.admin_dsn],
        env={**os.environ, "TOCSIN_CASES_MASTER_KEY_FILE": str(both)},
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert await rotate(engine, load_keks(both)) == 0  # again is nothing
    now = Vault(engine, Keks([bytes.fromhex(new)]))
    await now.check()
    assert (await PostgresStore(engine, now).read(stream)).events == events
    with pytest.raises(WrongKekError):
        await Vault(engine, Keks([bytes.fromhex(old)])).check()
    # Who runs with what they have opened goes on, and seals for those who come with the new file.
    await store.append(stream, events[:1], expected=len(events), command_id=uuid7(), digest="d")
    fresh = PostgresStore(engine, Vault(engine, Keks([bytes.fromhex(new)])))
    assert (await fresh.read(stream)).version == len(events) + 1
