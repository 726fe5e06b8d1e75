"""An append that finds itself inside another's transaction is not acknowledged."""

from typing import Any

import pytest

from services.cases.domain.events import NoteAdded
from services.cases.postgres import PostgresStore
from shared.db import create_engine, is_transient
from shared.ids import uuid7
from tests.support.incidents import NOW, SR
from tests.support.world import World

pytestmark = pytest.mark.integration


async def test_nothing_is_acknowledged_that_is_not_committed(world: World) -> None:
    engine = create_engine(world.service_dsn("cases"), "cases", pool_size=1)
    store, stream, command = PostgresStore(engine, world.vault), uuid7(), uuid7()
    note = NoteAdded(actor=SR, at=NOW, note_id=uuid7(), text="kept or refused")

    async def append() -> int:
        done = await store.append(stream, [note], expected=0, command_id=command, digest="d")
        return done.last_version

    # The connection kept from the group before, on which something went wrong unnoticed.
    store._kept = await engine.connect()
    driver: Any = (await store._kept.get_raw_connection()).driver_connection
    await driver.transaction().start()
    with pytest.raises(Exception, match="another's transaction") as refused:
        await append()
    assert is_transient(refused.value)  # 503: the caller repeats it
    assert (await store.read(stream)).version == 0
    assert await append() == 1
    other = PostgresStore(world.engine("cases"), world.vault)
    assert (await other.read(stream)).version == 1
    await store.close()
    await engine.dispose()
