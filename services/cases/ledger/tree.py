"""The stored tree: roots and proofs out of leaf hashes and the larger subtrees kept beside them."""

from collections.abc import Iterable, Sequence
from typing import Any

from services.cases.ledger.merkle import (
    Range,
    Subtree,
    combine,
    consistency_ranges,
    decompose,
    inclusion_ranges,
    root_of,
)

__all__ = ["STRIDE", "LedgerError", "StoredTree"]

STRIDE = 8  # every eighth level is stored: 1/255 more rows, and at most 256 rows for one hash

_LEAVES = (
    "SELECT position, hash FROM leaves WHERE position > $1 AND position <= $2 ORDER BY position"
)
_NODES = (
    "SELECT hash FROM tree_nodes WHERE level = $1 AND index >= $2 AND index < $3 ORDER BY index"
)
_HEAD = "SELECT position FROM log_head WHERE id = 1"


class LedgerError(Exception):
    """What is stored does not agree with itself: nothing is signed until a person has looked."""


class StoredTree:
    """Reads over one connection of asyncpg, for one question; keeps what it has read."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._seen: dict[Subtree, bytes] = {}
        self._tiles: dict[int, Sequence[bytes]] = {}

    async def size(self) -> int:
        """Return how many events the log has."""
        return int(await self._driver.fetchval(_HEAD))

    async def leaf(self, position: int) -> bytes:
        return (await self._leaves(position - 1, position))[0]

    async def root(self, size: int) -> bytes:
        return await self._range((0, size))

    async def frontier(self, size: int) -> list[bytes]:
        """Return the right edge of the tree of *size*, for `Tree` to go on from."""
        return [await self._subtree(part) for part in decompose(0, size)]

    async def inclusion(self, position: int, size: int) -> list[bytes]:
        """Return the proof that the event at *position* is in the log of *size*."""
        return await self._all(inclusion_ranges(position - 1, size))

    async def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the log of *second* only adds to that of *first*."""
        return await self._all(consistency_ranges(first, second))

    async def _all(self, ranges: Iterable[Range]) -> list[bytes]:
        return [await self._range(part) for part in ranges]

    async def _range(self, part: Range) -> bytes:
        return combine([await self._subtree(subtree) for subtree in decompose(*part)])

    async def _subtree(self, subtree: Subtree) -> bytes:
        if subtree not in self._seen:
            self._seen[subtree] = await self._look_up(*subtree)
        return self._seen[subtree]

    async def _look_up(self, level: int, index: int) -> bytes:
        for stored in range(level // STRIDE * STRIDE, 0, -STRIDE):
            up = level - stored
            rows = await self._driver.fetch(_NODES, stored, index << up, index + 1 << up)
            if len(rows) == 1 << up:
                return root_of(row["hash"] for row in rows)
        if level > STRIDE:  # not stored yet, as no checkpoint has come so far
            halves = [await self._subtree((level - 1, 2 * index + side)) for side in (0, 1)]
            return combine(halves)
        return root_of(await self._leaves(index << level, index + 1 << level))

    async def _leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Return leaves that lie within one tile of 256."""
        tile = start >> STRIDE
        if tile not in self._tiles:
            rows = await self._driver.fetch(_LEAVES, tile << STRIDE, tile + 1 << STRIDE)
            if [row["position"] for row in rows] != list(
                range((tile << STRIDE) + 1, (tile << STRIDE) + len(rows) + 1)
            ):
                raise LedgerError(f"leaves are missing after position {tile << STRIDE}")
            self._tiles[tile] = [row["hash"] for row in rows]
        found = self._tiles[tile][start - (tile << STRIDE) : end - (tile << STRIDE)]
        if len(found) != end - start:
            raise LedgerError(f"leaves are missing between positions {start + 1} and {end}")
        return found
