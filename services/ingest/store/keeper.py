"""Housekeeping: small files become large ones, old ones go, what lies there is checked.

One replica at a time does it (an advisory lock of PostgreSQL); every step is decided from the
manifest and committed there, so it may be cut off anywhere.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.store.batch import Merge, Store, digest, discard, merge, strays
from services.ingest.store.manifest import insert_files, remove_files
from services.ingest.store.process import StoreProcess
from shared.clock import Clock

__all__ = ["Keeper"]

MANY_FILES = 12  # of one hour and source, while it is still being written
FULL_ROWS = 1_000_000  # a file that large stays as it is
SETTLED = timedelta(minutes=10)
GRACE = timedelta(minutes=15)  # a search that began before may still be reading
STRAY_AGE = timedelta(hours=2)
STRAYS_EVERY = timedelta(hours=6)
CHECK_EVERY = timedelta(days=7)
BLOCKS_KEPT = timedelta(days=9)  # EVENTS delivers nothing again that is older than 7

log = structlog.get_logger()
_merged = Counter("tocsin_ingest_store_files_merged_total", "Files that became part of another")
_problems = Gauge("tocsin_ingest_store_damaged_files", "Files that are not what they were")

_SMALL = text(
    "SELECT source_id, hour FROM store_files WHERE removed_at IS NULL AND rows < :full"
    " AND problem IS NULL GROUP BY source_id, hour HAVING count(*) >= :many"
    " OR (count(*) > 1 AND max(stored_at) < :settled) ORDER BY count(*) DESC LIMIT 1"
)
_FILES = text(
    "SELECT path, sha256, rows, raw_bytes, first_seq, last_seq, paths, others, stored_at"
    " FROM store_files WHERE removed_at IS NULL AND rows < :full AND problem IS NULL"
    " AND source_id = :source AND hour = :hour ORDER BY rows, path LIMIT 200"
)
_EXPIRE = text(
    "UPDATE store_files f SET removed_at = :now WHERE removed_at IS NULL AND stored_at < CAST(:now"
    " AS timestamptz) - make_interval(days => coalesce((SELECT days FROM store_retention r"
    " WHERE r.source_id = f.source_id), :days))"
)
_GONE = text("SELECT path FROM store_files WHERE removed_at < :before LIMIT 500")
_FORGET = text("DELETE FROM store_files WHERE path = ANY(:paths) AND removed_at IS NOT NULL")
_FORGET_BLOCKS = text(
    "DELETE FROM store_blocks WHERE id IN"
    " (SELECT id FROM store_blocks WHERE stored_at < :before LIMIT 20000)"
)
_LISTED = text("SELECT path FROM store_files WHERE path = ANY(:paths)")
_COUNT = text("SELECT count(*) FROM store_files")
_TO_CHECK = text(
    "SELECT path, sha256 FROM store_files WHERE removed_at IS NULL AND stored_at < :settled"
    " AND (checked_at IS NULL OR checked_at < :before) ORDER BY checked_at NULLS FIRST LIMIT 1"
)
_CHECKED = text("UPDATE store_files SET checked_at = :now, problem = :problem WHERE path = :path")
_DAMAGED = text("SELECT count(*) FROM store_files WHERE removed_at IS NULL AND problem IS NOT NULL")


class _ExpiredMeanwhileError(Exception):
    """A file left the store while it was being merged: next time without it."""


class Keeper:
    """Does one step at a time; a reconciler calls it."""

    def __init__(
        self,
        engine: AsyncEngine,
        store: Store,
        process: StoreProcess,
        retention_days: int,
        clock: Clock,
    ) -> None:
        self._engine, self._store, self._process = engine, store, process
        self._days, self._clock = retention_days, clock
        self._strays_after: datetime | None = None

    async def once(self) -> int:
        """Do what is due; return 0 once nothing more is, or another replica is at it."""
        async with self._alone() as alone:
            if not alone:
                return 0
            now = self._clock()
            done = await self._merge_one(now)
            await self._expire(now)
            await self._delete(now)
            await self._sweep(now)
            done += await self._check_one(now)
        if not done:
            self._process.close()  # it holds memory, and may have nothing to do for hours
        return done

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[bool]:
        async with self._engine.connect() as raw:
            connection = await raw.execution_options(isolation_level="AUTOCOMMIT")
            key = {"key": "ingest log store keeper"}
            take = text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
            held = bool(await connection.scalar(take, key))
            try:
                yield held
            finally:
                if held:
                    give = text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))")
                    await connection.execute(give, key)

    async def _merge_one(self, now: datetime) -> int:
        async with self._engine.connect() as connection:
            values = {"full": FULL_ROWS, "many": MANY_FILES, "settled": now - SETTLED}
            found = (await connection.execute(_SMALL, values)).one_or_none()
            if found is None:
                return 0
            where = {"full": FULL_ROWS, "source": found.source_id, "hour": found.hour}
            files = _that_fit((await connection.execute(_FILES, where)).all())
        if len(files) < 2:
            return 0
        others = [set(f.others) for f in files if f.others is not None]
        wanted = Merge(
            source_id=found.source_id,
            hour=found.hour,
            keys=[(f.path, f.sha256) for f in files],
            first_seq=min(f.first_seq for f in files),
            last_seq=max(f.last_seq for f in files),
            raw_bytes=sum(f.raw_bytes for f in files),
            paths=sorted({path for f in files for path in f.paths}),
            others=sorted(set().union(*others)) if len(others) == len(files) else None,
        )
        made = await self._process.run(merge, self._store, wanted)
        async with self._engine.begin() as connection:
            paths = [f.path for f in files]
            if await remove_files(connection, paths, now) != len(paths):
                raise _ExpiredMeanwhileError(found.source_id)  # the merged file is a stray
            await insert_files(connection, [made], max(f.stored_at for f in files))
        _merged.inc(len(files))
        return len(files)

    async def _expire(self, now: datetime) -> None:
        async with self._engine.begin() as connection:
            values = {"now": now, "days": self._days}
            if expired := (await connection.execute(_EXPIRE, values)).rowcount:
                log.info("retention", files=expired)

    async def _delete(self, now: datetime) -> None:
        async with self._engine.connect() as connection:
            gone = (await connection.execute(_GONE, {"before": now - GRACE})).scalars().all()
        if gone:
            await self._process.run(discard, self._store, list(gone))
        async with self._engine.begin() as connection:
            await connection.execute(_FORGET, {"paths": list(gone)})
            await connection.execute(_FORGET_BLOCKS, {"before": now - BLOCKS_KEPT})

    async def _sweep(self, now: datetime) -> None:
        """Delete files that no manifest names: what a crash left before its commit."""
        if self._strays_after is not None and now < self._strays_after:
            return
        found = await self._process.run(strays, self._store, now - STRAY_AGE)
        async with self._engine.connect() as connection:
            listed = set((await connection.execute(_LISTED, {"paths": found})).scalars())
            known = int(await connection.scalar(_COUNT) or 0)
        unknown = [key for key in found if key not in listed]
        # A database that was lost or restored must not take the events with it.
        if len(unknown) > max(20, known // 10):
            log.error("many files that no manifest names; none deleted", files=len(unknown))
        elif unknown:
            log.warning("deleting files that were never committed", files=len(unknown))
            await self._process.run(discard, self._store, unknown)
        self._strays_after = now + STRAYS_EVERY

    async def _check_one(self, now: datetime) -> int:
        async with self._engine.connect() as connection:
            values = {"settled": now - SETTLED, "before": now - CHECK_EVERY}
            found = (await connection.execute(_TO_CHECK, values)).one_or_none()
        if found is None:
            return 0
        try:
            actual = await self._process.run(digest, self._store, found.path)
            problem = None if actual == found.sha256 else "its SHA-256 is another"
        except FileNotFoundError:
            problem = "it is not there"
        if problem:
            log.error("a file of the store is damaged", file=found.path, problem=problem)
        async with self._engine.begin() as connection:
            told = {"now": now, "problem": problem, "path": found.path}
            await connection.execute(_CHECKED, told)
            _problems.set(int(await connection.scalar(_DAMAGED) or 0))
        return 1


def _that_fit(files: Sequence[Any]) -> list[Any]:
    """Return the smallest of *files* that together make a full one."""
    taken: list[Any] = []
    rows = 0
    for file in files:
        if len(taken) >= 2 and rows + file.rows > FULL_ROWS:
            break
        taken.append(file)
        rows += file.rows
    return taken
