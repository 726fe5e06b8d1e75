"""Reads a database for `Audit`: one snapshot, built-in operations only, nothing the schema defines.

A function or view of the schema could be made to lie; a table can only hold what it holds.
"""

import asyncio
from typing import Any

import asyncpg

from services.cases.ledger.audit import Audit, Verdict, checkpoints_of
from services.cases.ledger.leaf import LEAF_COLUMNS
from services.cases.ledger.verifier import (
    Checkpoint,
    IncompleteError,
    KeyRing,
    TamperedError,
    VerifyKey,
    ring_of,
)

__all__ = ["audit_database"]

PAGE = 2000

_COLUMNS = ", ".join(f"e.{name}" for name in LEAF_COLUMNS.split(", "))
_EVENTS = (
    f"SELECT {_COLUMNS}, l.hash FROM cases.events e"  # noqa: S608 - constants only
    # Both sides are bounded: else each page reads all leaves in front of it, too.
    " LEFT JOIN cases.leaves l ON l.position = e.position AND l.position > $1"
    " WHERE e.position > $1 ORDER BY e.position LIMIT $2"
)
_CHECKPOINTS = "SELECT size, note FROM cases.checkpoints ORDER BY size"
_NODES = "SELECT level, index, hash FROM cases.tree_nodes"
_HANDED_OVER = "SELECT to_regclass('cases.log_handovers') IS NOT NULL"  # an older database
_HANDOVERS = "SELECT note FROM cases.log_handovers ORDER BY number"
_COUNTS = "SELECT (SELECT max(position) FROM cases.log_head), (SELECT count(*) FROM cases.leaves)"


async def audit_database(
    connection: Any, key: VerifyKey | None, pinned_note: str | None = None
) -> Verdict:
    """Judge the log behind *connection*; TamperedError or IncompleteError when it is not intact.

    Without *key* the rows are still compared with their leaves, but nothing says who made them.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        try:
            ring = await _ring(connection, key) if key else None
            return await _audit(connection, ring, _pinned(pinned_note, ring))
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
            raise IncompleteError(f"this database has no such log: {error}") from error


async def _ring(connection: Any, key: VerifyKey) -> KeyRing:
    """Return the keys that have signed this log, of which *key* has to be one."""
    if not await connection.fetchval(_HANDED_OVER):
        return KeyRing((key,))
    return ring_of(key, [row["note"] for row in await connection.fetch(_HANDOVERS)])


def _pinned(note: str | None, ring: KeyRing | None) -> Checkpoint | None:
    if note is None:
        return None
    if ring is None:
        raise IncompleteError("a checkpoint can only be compared with its key at hand")
    return ring.open_checkpoint(note)


async def _audit(connection: Any, ring: KeyRing | None, pinned: Checkpoint | None) -> Verdict:
    rows = await connection.fetch(_CHECKPOINTS)
    nodes = {(r["level"], r["index"]): r["hash"] for r in await connection.fetch(_NODES)}
    audit = Audit(checkpoints_of(rows, ring) if ring else [], nodes, pinned)
    page = await _page(connection, 0, PAGE)
    while page:
        # The server reads the next page while this one is judged.
        coming = asyncio.ensure_future(_page(connection, page[-1]["position"], PAGE))
        try:
            await asyncio.sleep(0)  # the question goes out now
            for row in page:
                audit.take(row)
        except BaseException:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            raise
        page = await coming
    head, leaves = await connection.fetchrow(_COUNTS)
    verdict = audit.finish(head or 0, leaves)
    if rows and ring is None:
        raise IncompleteError("no key was given, so the signatures were not checked")
    return verdict


async def _page(connection: Any, after: int, limit: int) -> list[Any]:
    """Return the next rows; TamperedError names the first that holds no value of its type."""
    try:
        return list(await connection.fetch(_EVENTS, after, limit))
    except (OverflowError, ValueError) as error:
        if limit == 1:
            raise TamperedError(f"position {after + 1} is nothing we wrote", after + 1) from error
    found: list[Any] = []
    while len(found) < limit and (more := await _page(connection, after + len(found), 1)):
        found += more
        if len(found) % 100 == 0:
            return found
    return found
