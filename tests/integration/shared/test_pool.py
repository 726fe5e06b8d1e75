"""Whoever takes a connection from the pool gets one on which nobody's transaction is open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db import create_engine
from tests.support.world import World

pytestmark = pytest.mark.integration

LOCK = 20_261_125


@asynccontextmanager
async def pool_of_one(world: World) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(world.service_dsn("cases"), "cases", pool_size=1)
    try:
        yield engine
    finally:
        await engine.dispose()


async def begin_and_go_away(engine: AsyncEngine, *statements: str) -> Any:
    """Give a connection back within a transaction, as a cut off rollback does; return it."""
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.transaction().start()
        for statement in statements:
            try:
                await driver.execute(statement)
            except Exception as error:  # noqa: BLE001 - the transaction is to be an aborted one
                assert "division by zero" in str(error)  # noqa: PT017 - and by nothing else
    return driver


async def save_a_number(engine: AsyncEngine, year: int) -> None:
    """Write as the services do, by the driver's own connection, where each statement commits."""
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("INSERT INTO incident_numbers (year, last) VALUES ($1, 1)", year)


async def saved(world: World, year: int) -> bool:
    async with world.engine("cases").connect() as connection:
        found = await connection.exec_driver_sql(
            f"SELECT count(*) FROM incident_numbers WHERE year = {year}"  # noqa: S608 - our number
        )
        return bool(found.scalar_one())


@pytest.mark.parametrize(
    ("year", "statements"), [(2101, ["SELECT 1"]), (2102, ["SELECT 1 / 0"])], ids=["open", "failed"]
)
async def test_what_the_next_user_writes_is_committed(
    world: World, year: int, statements: list[str]
) -> None:
    async with pool_of_one(world) as engine:
        left = await begin_and_go_away(engine, *statements)
        assert left.is_closed()
        await save_a_number(engine, year)
        assert await saved(world, year)


async def test_a_transaction_that_opens_in_the_pool_is_found_when_it_is_taken_out(
    world: World,
) -> None:
    """The answer to a BEGIN may come after its sender was cut off."""
    async with pool_of_one(world) as engine:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.transaction().start()
        await save_a_number(engine, 2103)
        assert await saved(world, 2103)


async def test_its_locks_end_when_it_is_given_back(world: World) -> None:
    async with pool_of_one(world) as engine:
        await begin_and_go_away(engine, f"SELECT pg_advisory_xact_lock({LOCK})")
        async with world.engine("cases").connect() as connection:
            free = await connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({LOCK})")
            assert free.scalar_one()


async def test_one_who_is_cancelled_within_a_transaction_leaves_nothing_behind(
    world: World,
) -> None:
    """The real way: a task ends in the middle of its transaction, over and over."""
    async with pool_of_one(world) as engine:
        for milliseconds in range(12):

            async def work() -> None:
                async with engine.connect() as connection:
                    driver: Any = (await connection.get_raw_connection()).driver_connection
                    async with driver.transaction():
                        await driver.execute("SELECT pg_sleep(0.004)")

            task = asyncio.create_task(work())
            await asyncio.sleep(milliseconds / 1000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await save_a_number(engine, 2110 + milliseconds)
            assert await saved(world, 2110 + milliseconds)


async def test_a_sound_connection_is_used_again(world: World) -> None:
    async with pool_of_one(world) as engine:
        pids = set[int]()
        for _ in range(3):
            async with engine.connect() as connection:
                answer = await connection.exec_driver_sql("SELECT pg_backend_pid()")
                pids.add(answer.scalar_one())
        assert len(pids) == 1
