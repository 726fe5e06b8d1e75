"""The log cannot be changed: not by its service, and not quietly by an administrator (§4.2)."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from services.cases.postgres import PostgresStore
from shared.ids import uuid7
from tests.support.incidents import story
from tests.support.world import World

pytestmark = pytest.mark.integration

COUNT = "SELECT count(*) FROM cases.{table}"
CHANGES = [
    "UPDATE cases.{table} SET command_id = gen_random_uuid()",
    "DELETE FROM cases.{table}",
    "TRUNCATE cases.{table}",
]


@pytest_asyncio.fixture(loop_scope="session")
async def written(world: World) -> World:
    store = PostgresStore(world.engine("cases"), world.vault)
    await store.append(uuid7(), story(), expected=0, command_id=uuid7(), digest="d")
    return world


@pytest_asyncio.fixture(params=["service", "superuser", "replica"], loop_scope="session")
async def session(
    request: pytest.FixtureRequest, written: World
) -> AsyncIterator[tuple[Any, World]]:
    by = written.service_dsn("cases") if request.param == "service" else written.admin_dsn
    connection = await asyncpg.connect(by)
    if request.param == "replica":  # passes ordinary triggers by
        await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


@pytest.mark.parametrize("table", ["events", "commands"])
@pytest.mark.parametrize("change", CHANGES)
async def test_i10_what_is_written_stays(session: Any, change: str, table: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await session.execute(change.format(table=table))
    assert await session.fetchval(COUNT.format(table=table)) > 0


async def test_i10_the_service_writes_through_append_alone(written: World) -> None:
    connection = await asyncpg.connect(written.service_dsn("cases"))
    try:
        for statement in (
            "INSERT INTO cases.events SELECT * FROM cases.events",
            "UPDATE cases.log_head SET position = 0",
            "INSERT INTO cases.commands SELECT * FROM cases.commands",
            "ALTER TABLE cases.events DISABLE TRIGGER ALL",
            "DROP TABLE cases.events",
            "DELETE FROM cases.incident_numbers",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
