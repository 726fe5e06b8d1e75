"""What the database lets ingest do to sources and keys, and what it does not (ADR 0024)."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services.ingest.sources import Source
from tests.support.ingest import make_key
from tests.support.world import World

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sources",
        "DELETE FROM keys",
        "UPDATE keys SET hash = '\\x00'",
        "UPDATE keys SET source_id = 'other'",
        "UPDATE keys SET scopes = '{}'",
        "UPDATE logging_requirements SET body = '{}'",
        "DELETE FROM logging_requirements",
        "TRUNCATE sources CASCADE",
        "ALTER TABLE keys ADD COLUMN x int",
    ],
)
async def test_ingest_cannot(world: World, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        async with world.engine("ingest").begin() as connection:
            await connection.execute(text(statement))


async def test_ingest_ends_a_key(world: World) -> None:
    key = await make_key(world, Source(id="ended"))
    async with world.engine("ingest").begin() as connection:
        ended = "UPDATE keys SET revoked_at = now() WHERE id = :id"
        assert (await connection.execute(text(ended), {"id": key.id})).rowcount == 1
