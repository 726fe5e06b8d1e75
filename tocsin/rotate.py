"""`tocsin cases rotate-keys`: a new master key, without touching what is sealed."""

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from services.cases.sealing.kek import Keks
from services.cases.sealing.rotation import rotate
from shared.db import create_engine
from shared.errors import UserError

__all__ = ["rotate_keys"]


async def rotate_keys(url: str, keks: Keks) -> int:
    """Return how many data keys were wrapped anew; UserError when the database does not answer."""
    engine = create_engine(url, "cases", pool_size=1)
    try:
        return await rotate(engine, keks)
    except (TimeoutError, OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
        raise UserError(f"not all keys were wrapped anew; run it again: {error}") from error
    finally:
        await engine.dispose()
