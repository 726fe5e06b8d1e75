"""What detect noted so as not to do a thing twice goes with age; nothing that is needed does."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError
from sqlalchemy import text

from services.detect.retention import forget
from services.detect.settings import Settings
from shared.ids import uuid7
from shared.topology import STREAMS
from tests.support.world import World

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 25, tzinfo=UTC)
OLD, FRESH = NOW - timedelta(days=36), NOW - timedelta(days=34)
BEFORE = NOW - timedelta(days=35)


def begun(at: datetime) -> UUID:
    """Return an id as uuid7 gives it at that time."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | uuid7().int & (1 << 80) - 1)


async def rows(world: World, table: str) -> int:
    async with world.engine("detect").connect() as connection:
        return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)  # noqa: S608


async def test_only_what_is_old_and_told_goes_and_in_portions(world: World) -> None:
    async with world.engine("detect").begin() as connection:
        for at, counted in [*[(OLD, True)] * 8, (OLD, False), *[(FRESH, True)] * 2]:
            await connection.execute(
                text(
                    "INSERT INTO blocks (id, stream_seq, events, detections, evaluated_at, counted)"
                    " VALUES (:id, 1, 1, 0, :at, :counted)"
                ),
                {"id": uuid7(), "at": at, "counted": counted},
            )
        for at in (OLD, FRESH):
            await connection.execute(
                text("INSERT INTO inbox VALUES ('detect-cases', :id, :at)"),
                {"id": uuid7(), "at": at},
            )
            replay = begun(at)
            await connection.execute(
                text("INSERT INTO backtests VALUES (:id, :rule, 'text')"),
                {"id": replay, "rule": uuid7()},
            )
            for _ in range(4):
                await connection.execute(
                    text("INSERT INTO backtest_blocks VALUES (:id, :block, 1, '')"),
                    {"id": replay, "block": uuid7()},
                )
    engine = world.engine("detect")
    counter = ("tocsin_detect_forgotten_total", {"table": "blocks"})
    seen = REGISTRY.get_sample_value(*counter) or 0
    runs = []
    while done := await forget(engine, BEFORE, 3):
        runs.append(done)
    assert len(runs) > 1
    assert all(done <= 3 * 4 for done in runs)
    left = {table: await rows(world, table) for table in ("blocks", "inbox", "backtests")}
    assert left == {"blocks": 3, "inbox": 1, "backtests": 1}
    assert await rows(world, "backtest_blocks") == 4
    assert (REGISTRY.get_sample_value(*counter) or 0) - seen == 8
    async with engine.connect() as connection:
        kept = await connection.execute(text("SELECT counted, evaluated_at FROM blocks"))
        assert sorted(kept.all()) == [(False, OLD), (True, FRESH), (True, FRESH)]


def test_it_is_kept_for_longer_than_any_message() -> None:
    longest = max(stream.max_age for stream in STREAMS)
    assert timedelta(days=Settings().bookkeeping_days) > longest
    with pytest.raises(ValidationError):
        Settings(bookkeeping_days=longest.days)
