"""The views made anew beside the live ones, which go on, and put in their place at once.

1. The log up to where the live views are is folded stream by stream into tables without indexes.
2. They are indexed, and follow the log until they are one step behind the live ones.
3. Both sets are hashed at the same position, the live one in a snapshot: people go on meanwhile.
4. Under the lock of the live cursor the last events are projected and the tables change places.

Until the last commit nothing that people read was touched, so a crash costs nothing.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.advance import LIVE, NEXT, GapError, advance, cursor_of
from services.cases.fingerprint import VIEWS, Fingerprints, fingerprints
from services.cases.refold import PATIENCE, Folder, Made, others_until, page, rest_until
from services.cases.rows import INSERT_INCIDENT, TIMELINE_COLUMNS, WORK_COLUMNS
from services.cases.sealing.vault import Vault

__all__ = ["RebuildRunsError", "Rebuilt", "rebuild"]

BATCH = 500
ROUNDS = 1_000  # of catching up, before it is said that the log grows faster than it is read
TRIES, PAUSE = 40, 0.25
_LOCK_KEY = 7_046_029_254_386_353_402

log = structlog.get_logger()

_POSITION = "SELECT position FROM projections WHERE name = $1"
_PLACE = "UPDATE projections SET position = $2 WHERE name = $1"
_DESTROYED = "SELECT count(*) FROM data_keys WHERE destroyed_at IS NOT NULL"
_REVISION = "SELECT version_num FROM migrations"


class RebuildRunsError(Exception):
    """Another rebuild is at work; nothing was touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild came to: the events, a hash of each view before and after, and the times."""

    events: int
    before: Fingerprints
    after: Fingerprints
    folded_seconds: float
    hashed_seconds: float

    @property
    def differing(self) -> list[str]:
        """Return the views that were not what the log says."""
        return [view for view in VIEWS if self.before[view] != self.after[view]]


async def rebuild(engine: AsyncEngine, vault: Vault) -> Rebuilt:
    """Make the views anew and put them in the place of the live ones; say whether they differed.

    RebuildRunsError when another one is at work. If it fails, the live views are as they were.
    """
    async with _connection(engine) as reading, _connection(engine) as writing:
        if not await writing.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
            raise RebuildRunsError("another rebuild is at work")
        missing = set(VIEWS) ^ {
            r["name"] for r in await writing.fetch("SELECT * FROM projected_views")
        }
        if missing:
            raise RuntimeError(f"projected_views and VIEWS differ: {sorted(missing)}")
        revision = await writing.fetchval(_REVISION)
        destroyed = await writing.fetchval(_DESTROYED)
        vault.destroyed()  # of the keys that it remembers some may be among those
        began = time.perf_counter()
        await writing.execute("SELECT next_views_begin()")
        try:
            # The names of the views now mean the new tables here; everything else is as it was.
            await writing.execute("SET search_path TO cases_next, cases")
            until = await reading.fetchval(_POSITION, LIVE)
            gc.disable()  # there are no cycles, and looking for them takes a quarter of the time
            try:
                await _fold(reading, writing, vault, until)
            finally:
                gc.enable()
            await writing.execute("SELECT next_views_index()", timeout=PATIENCE)
            await rest_until(reading, vault, writing, until)
            await _follow(reading, writing, vault)
            folded = time.perf_counter()
            before, after = await _compare(reading, writing, vault)
            hashed = time.perf_counter()
            position = await _swap(writing, vault, revision, destroyed)
        except BaseException:
            await asyncio.shield(_drop(engine))
            raise
    log.info("views rebuilt", events=position)
    return Rebuilt(
        events=position,
        before=before,
        after=after,
        folded_seconds=folded - began,
        hashed_seconds=hashed - folded,
    )


@asynccontextmanager
async def _connection(engine: AsyncEngine) -> AsyncIterator[Any]:
    """Yield a driver's connection for long work, which nobody else gets to use afterwards."""
    async with engine.connect() as connection:
        try:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
                " SET lock_timeout = '60s'"
            )
            yield driver
        finally:
            await connection.invalidate()


async def _drop(engine: AsyncEngine) -> None:
    """Drop what was begun, as far as that is possible now; the next rebuild does it, too."""
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT next_views_drop()"))
    except Exception:
        log.warning("what a rebuild began was left behind", exc_info=True)


async def _fold(reading: Any, writing: Any, vault: Vault, until: int) -> None:
    """Fill the new tables with the log up to position *until*."""
    async with reading.transaction():
        folder = Folder(await others_until(reading, vault, until))
    found = await page(reading, vault, (UUID(int=0), 0), until)
    count, made = 0, Made()
    while rows := found.rows:
        count += len(rows)
        last = (rows[-1]["stream_id"], rows[-1]["version"])
        # PostgreSQL writes the page before and looks for the next one while this one is folded.
        made, found, _ = await asyncio.gather(
            asyncio.to_thread(folder.take, found),
            page(reading, vault, last, until),
            _store(writing, made),
        )
    await _store(writing, made)
    await _store(writing, folder.rest())
    if count != until:
        raise GapError(f"the log has {count} events up to position {until}")
    await writing.execute(_PLACE, NEXT, until)


async def _store(driver: Any, made: Made) -> None:
    """Write complete rows into tables without indexes."""
    x = made.incidents
    await driver.executemany(INSERT_INCIDENT, [one.incident() for one in x], timeout=PATIENCE)
    for table, columns, rows in (
        ("timeline", TIMELINE_COLUMNS, made.entries),
        ("work", WORK_COLUMNS, [r for o in x for r in o.work()]),
        ("incident_access", ("incident_id", "person", "until"), [r for o in x for r in o.access()]),
        (
            "incident_indicators",
            ("incident_id", "indicator_id", "attack_vector", "outcome"),
            [r for o in x for r in o.indicators()],
        ),
        *made.evidence.tables(),
    ):
        if rows:
            await driver.copy_records_to_table(
                table, schema_name="cases_next", columns=columns, records=rows, timeout=PATIENCE
            )


async def _follow(reading: Any, writing: Any, vault: Vault) -> None:
    """Bring the new views within one step of the live ones, which move meanwhile."""
    for _ in range(ROUNDS):
        live = await reading.fetchval(_POSITION, LIVE)
        if await _advance_to(writing, vault, live) <= BATCH:
            return
    raise GapError("the log grows faster than it is projected")


async def _advance_to(writing: Any, vault: Vault, position: int) -> int:
    """Project up to *position* exactly; return how many events that were."""
    done = 0
    while (left := position - await writing.fetchval(_POSITION, NEXT)) > 0:
        async with writing.transaction():
            count, _ = await advance(writing, vault, NEXT, min(BATCH, left))
        if not count:
            raise GapError(f"the log ends before position {position}, where the views are")
        done += count
    return done


async def _compare(reading: Any, writing: Any, vault: Vault) -> tuple[Fingerprints, Fingerprints]:
    """Return the hashes of the live views and of the new ones at one position."""
    async with reading.transaction(isolation="repeatable_read", readonly=True):
        await _advance_to(writing, vault, await reading.fetchval(_POSITION, LIVE))
        async with writing.transaction():
            before, after = await asyncio.gather(
                fingerprints(reading, PATIENCE), fingerprints(writing, PATIENCE)
            )
    return before, after


async def _swap(writing: Any, vault: Vault, revision: str, destroyed: int) -> int:
    """Put the new views in the place of the live ones; return their position."""
    for attempt in range(TRIES):
        try:
            async with writing.transaction():
                live = await cursor_of(writing, LIVE)  # the live views stand still from here
                while (left := live - await cursor_of(writing, NEXT)) > 0:
                    await advance(writing, vault, NEXT, min(BATCH, left))
                if await cursor_of(writing, NEXT) != live:
                    raise GapError("the live views were set back meanwhile")
                if await writing.fetchval(_DESTROYED) != destroyed:
                    raise GapError("something was erased meanwhile, and is in the new views")
                if await writing.fetchval(_REVISION) != revision:
                    raise GapError("the schema was migrated meanwhile")
                await writing.execute("SELECT next_views_swap()")
        except asyncpg.LockNotAvailableError:
            if attempt + 1 == TRIES:
                raise
            await asyncio.sleep(PAUSE)  # somebody reads for long; let them
        else:
            return live
    raise AssertionError("unreachable")
