"""Data keys wrapped anew under the file's first key, so that an older one can be thrown away."""

from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.ledger.checkpoints import driver_of
from services.cases.sealing.kek import Keks

__all__ = ["rotate"]

PAGE = 500

_OLD = (
    "SELECT key_id, kek, wrapped FROM data_keys WHERE destroyed_at IS NULL AND kek <> $1"
    " ORDER BY key_id LIMIT $2"
)
_REWRAP = "SELECT rewrap_keys($1, $2, $3, $4)"


async def rotate(engine: AsyncEngine, keks: Keks) -> int:
    """Wrap every data key under the current key; return how many were wrapped anew.

    WrongKekError, and nothing lost, when one was wrapped by a key that the file does not have. No
    event is touched, and a service that runs goes on: it has opened its keys, or opens them with
    the same file. Again is nothing.
    """
    done = 0
    async with driver_of(engine) as driver:
        while rows := await driver.fetch(_OLD, keks.current, PAGE):
            names = [str(row["key_id"]).encode() for row in rows]
            keys = [
                keks.unwrap(row["kek"], row["wrapped"], name)
                for row, name in zip(rows, names, strict=True)
            ]
            done += await driver.fetchval(
                _REWRAP,
                [row["key_id"] for row in rows],
                [row["wrapped"] for row in rows],
                keks.current,
                [keks.wrap(key, name) for key, name in zip(keys, names, strict=True)],
            )
    return done
