"""Which sealed blobs hold the bytes of a digest, and the key of each: rows of the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.evidence.store import StoreError
from services.cases.ledger.checkpoints import driver_of
from services.cases.sealing.kek import Keks, WrongKekError

__all__ = ["BlobKeys", "Sealed"]

_ADD = """
    WITH k AS (
        INSERT INTO data_keys (key_id, scope, subject, kek, wrapped)
        VALUES ($1, 'evidence', $2, $3, $4) RETURNING key_id)
    INSERT INTO evidence_blobs (stored, sha256, key_id) SELECT $5, $6, key_id FROM k
"""
_ALIVE = "FROM evidence_blobs b JOIN data_keys k USING (key_id) WHERE k.destroyed_at IS NULL"
_OF = f"SELECT b.*, k.kek, k.wrapped {_ALIVE} AND b.sha256 = $1 ORDER BY b.put_at"
_OLD = f"SELECT b.sha256 {_ALIVE} GROUP BY b.sha256 HAVING max(b.put_at) < $1"
_YOUNG = f"SELECT DISTINCT b.sha256 {_ALIVE} AND b.put_at >= $1"
_KNOWN = f"SELECT b.stored {_ALIVE} AND b.stored = ANY($1)"
_DESTROY = "SELECT destroy_evidence_key($1)"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A blob: the digest it lies under, since when, and what opens it."""

    stored: str
    put_at: datetime
    key_id: UUID
    key: bytes


class BlobKeys:
    """Knows the keys of evidence; it remembers none, so a destroyed one opens nothing at once."""

    def __init__(self, engine: AsyncEngine, keks: Keks) -> None:
        self._engine, self._keks = engine, keks

    async def add(self, key_id: UUID, key: bytes, stored: str, sha256: str) -> None:
        """Note for good that *stored* holds the bytes of *sha256* under *key*."""
        wrapped = self._keks.wrap(key, str(key_id).encode())
        async with driver_of(self._engine) as driver:
            await driver.execute(
                _ADD, key_id, bytes.fromhex(stored), self._keks.current, wrapped, stored, sha256
            )

    async def of(self, sha256: str) -> list[Sealed]:
        """Return the blobs that hold these bytes, the oldest first; StoreError for a wrong key."""
        async with driver_of(self._engine) as driver:
            rows = await driver.fetch(_OF, sha256)
        try:
            return [
                Sealed(
                    row["stored"],
                    row["put_at"],
                    row["key_id"],
                    self._keks.unwrap(row["kek"], row["wrapped"], str(row["key_id"]).encode()),
                )
                for row in rows
            ]
        except WrongKekError as error:
            raise StoreError(str(error)) from error

    async def digests(self, older_than: datetime) -> tuple[set[str], set[str]]:
        """Return the digests of bytes that were last put before an instant, and of all others."""
        async with driver_of(self._engine) as driver:
            old = await driver.fetch(_OLD, older_than)
            young = await driver.fetch(_YOUNG, older_than)
        return {row["sha256"] for row in old}, {row["sha256"] for row in young}

    async def known(self, stored: Sequence[str]) -> set[str]:
        """Return those of *stored* that are sealed blobs whose key is there."""
        async with driver_of(self._engine) as driver:
            return {row["stored"] for row in await driver.fetch(_KNOWN, list(stored))}

    async def destroy(self, key_id: UUID) -> None:
        """Destroy a key: what it sealed opens never again. Again is nothing."""
        async with driver_of(self._engine) as driver:
            await driver.execute(_DESTROY, key_id)
