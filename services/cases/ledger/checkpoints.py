"""Signs the log's root: each minute with news, at each closure, and when a bundle asks.

Nothing is signed on the word of the append: every row is read again and its leaf computed anew in
another language, and the new root must extend the one signed last.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.ledger.keys import Signer
from services.cases.ledger.leaf import LEAF_COLUMNS, leaf_of
from services.cases.ledger.merkle import Subtree, Tree
from services.cases.ledger.tree import STRIDE, LedgerError, StoredTree
from services.cases.ledger.verifier import (
    Checkpoint,
    KeyRing,
    TamperedError,
    VerifyKey,
    ring_of,
)

__all__ = ["Checkpointer", "LedgerError", "driver_of", "handovers", "newest_note", "ring_in"]

BATCH = 500
CLOSURES = frozenset({"IncidentClosed.v1"})
LOCK = 7_046_029_254_386_353_409  # two replicas sign one after the other, never two lineages

log = structlog.get_logger()
_size = Gauge("tocsin_cases_checkpoint_size", "Events that the newest checkpoint covers")
_sound = Gauge("tocsin_cases_ledger_sound", "1 unless the stored log contradicts itself")
_signing = Gauge("tocsin_cases_checkpoints_signed", "1 when there is a key to sign with, else 0")

_NEXT = (
    f"SELECT e.*, l.hash FROM (SELECT {LEAF_COLUMNS} FROM events WHERE position > $1"  # noqa: S608 - constants only
    " ORDER BY position LIMIT $2) e LEFT JOIN leaves l USING (position) ORDER BY position"
)
_NEWEST = "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1"
_HANDOVERS = "SELECT note FROM log_handovers ORDER BY number"
_SAVE = "INSERT INTO checkpoints (size, note) VALUES ($1, $2)"
_NODE = "INSERT INTO tree_nodes (level, index, hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"


@asynccontextmanager
async def driver_of(engine: AsyncEngine) -> AsyncIterator[Any]:
    """Yield asyncpg's own connection."""
    async with engine.connect() as connection:
        yield (await connection.get_raw_connection()).driver_connection


async def newest_note(engine: AsyncEngine) -> tuple[int, str] | None:
    """Return size and note of the newest checkpoint."""
    async with driver_of(engine) as driver:
        row = await driver.fetchrow(_NEWEST)
    return None if row is None else (row["size"], row["note"])


async def ring_in(driver: Any, key: VerifyKey) -> KeyRing:
    """Return the keys that sign the log; TamperedError unless *key* is one of them."""
    return ring_of(key, await handovers(driver))


async def handovers(driver: Any) -> list[str]:
    """Return the notes of all handovers of the log's key, the oldest first."""
    return [row["note"] for row in await driver.fetch(_HANDOVERS)]


class Checkpointer:
    """Reads the log once, forward, and signs where it stands; `once` is for a reconciler."""

    def __init__(self, engine: AsyncEngine, signer: Signer | None, seconds: float) -> None:
        self.signer = signer
        self._engine = engine
        self._seconds = seconds
        self._running = asyncio.Lock()
        self._tree: Tree | None = None
        self._nodes: list[tuple[Subtree, bytes]] = []
        self._closing = False
        self._signed_at = float("-inf")
        _signing.set(signer is not None)
        _sound.set(1)

    async def once(self) -> int:
        """Read what is new and sign if it is time; return how much was done."""
        return await self._run(now=False)

    async def sign_now(self, size: int) -> None:
        """See to it that a checkpoint covers the first *size* events."""
        while (newest := await newest_note(self._engine)) is None or newest[0] < size:
            if not await self._run(now=True):
                raise LedgerError(f"there are no {size} events, or no key to sign them with now")

    async def _run(self, *, now: bool) -> int:
        if self.signer is None:
            return 0
        try:
            async with self._running, driver_of(self._engine) as driver:
                tree = self._tree = self._tree or await self._resume(driver, self.signer)
                read = await self._read(driver, tree)
                loop_time = asyncio.get_running_loop().time()
                due = now or self._closing or loop_time - self._signed_at >= self._seconds
                if read == BATCH or not due or not tree.size:
                    return read
                signed = await self._sign(driver, tree, self.signer)
                self._signed_at, self._closing = loop_time, False
                _sound.set(1)
                return read + signed
        except (LedgerError, TamperedError):
            _sound.set(0)
            self._tree = None  # look at everything again: a person may have mended it
            self._nodes = []
            raise

    async def _resume(self, driver: Any, signer: Signer) -> Tree:
        """Return the tree of the newest checkpoint; of nothing, if we have signed none."""
        row = await driver.fetchrow(_NEWEST)
        if row is None:
            return Tree()
        newest = _opened(row, await ring_in(driver, signer.public))
        tree = Tree(newest.size, await StoredTree(driver).frontier(newest.size))
        if tree.root() != newest.root:
            raise LedgerError(f"the leaves do not give the root that was signed at {newest.size}")
        return tree

    async def _read(self, driver: Any, tree: Tree) -> int:
        rows = await driver.fetch(_NEXT, tree.size, BATCH)
        for row in rows:
            if row["position"] != tree.size + 1:
                raise LedgerError(f"position {tree.size + 1} is missing")
            leaf = leaf_of(row)
            if row["hash"] != leaf:
                raise LedgerError(f"the event at position {row['position']} was altered")
            self._nodes += [n for n in tree.append(leaf) if n[0][0] % STRIDE == 0]
            self._closing |= row["type"] in CLOSURES
        return len(rows)

    async def _sign(self, driver: Any, tree: Tree, signer: Signer) -> int:
        async with driver.transaction():
            await driver.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            ring = await ring_in(driver, signer.public)
            _signing.set(ring.keys[-1] == signer.public)
            if ring.keys[-1] != signer.public:
                log.error("the log's key was handed over: restart with the new one",
                          key=ring.keys[-1].id.hex())  # fmt: skip
                return 0
            row = await driver.fetchrow(_NEWEST)
            previous = _opened(row, ring) if row else None
            if previous and previous.size >= tree.size:
                return 0  # another replica was here, or there is nothing new
            if previous and await StoredTree(driver).root(previous.size) != previous.root:
                raise LedgerError(f"the log no longer extends the checkpoint of {previous.size}")
            last = previous.size if previous else 0
            checkpoint = Checkpoint(signer.origin, tree.size, tree.root(), last)
            await driver.executemany(_NODE, [(*place, digest) for place, digest in self._nodes])
            await driver.execute(_SAVE, tree.size, signer.sign(checkpoint.text()))
        self._nodes = []
        _size.set(tree.size)
        log.info("log signed", size=checkpoint.size, root=checkpoint.root.hex())
        return 1


def _opened(row: Any, ring: KeyRing) -> Checkpoint:
    """Return the checkpoint in *row*, after checking that it is ours."""
    found = ring.open_checkpoint(row["note"])
    if found.size != row["size"] or found.origin != ring.keys[0].name:
        raise LedgerError(f"the checkpoint of {row['size']} says that it is another's")
    return found
