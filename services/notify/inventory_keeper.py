"""The inventory in use: the newest revision in PostgreSQL, brought in line with the file.

What the file, an import or a sync says becomes the next revision first and is in use then, so that
every replica runs the same. A file that cannot be taken changes nothing: it is logged, counted and
shown (`problem`), and the running version stays.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notify import inventory_store as store
from services.notify.inventory import EMPTY, Inventory, Tenant
from services.notify.inventory_diff import difference
from services.notify.inventory_file import InventoryError, parse, read_file, refuse
from services.notify.inventory_import import Change, Draft, apply
from services.notify.inventory_store import MovedOnError, Recorded
from shared.clock import Clock

__all__ = ["InventoryKeeper", "InventoryProblem", "Outcome"]

log = structlog.get_logger()
_refused = Counter("tocsin_notify_inventory_refused_total", "Inventory files not taken")
_bad = Gauge("tocsin_notify_inventory_bad", "1 while the inventory file cannot be taken")

KEPT = 2  # old versions held in memory
MOVES = 5  # revisions of others that a look at the file follows; then the next look does

_DOCUMENT = text("SELECT document FROM inventories WHERE version = :version")
_NEWEST_DOCUMENT = text(
    "SELECT i.document FROM inventories i JOIN inventory_loads l USING (version)"
    " ORDER BY l.position DESC LIMIT 1"
)
_DOCUMENT_AT = text(
    "SELECT version FROM inventory_loads WHERE loaded_at <= :at ORDER BY position DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class InventoryProblem:
    """Why the file as it is now was not taken."""

    line: int
    why: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import came to: what it would make, and whether that is what runs now."""

    change: Change
    taken: bool


class InventoryKeeper:
    """Holds the running inventory; `refresh` is the work of a reconciler."""

    def __init__(
        self,
        file: Path | None,
        engine: AsyncEngine,
        clock: Clock,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._file, self._engine, self._clock = file, engine, clock
        self._on_change = on_change
        self._seen: tuple[int, int, int] | None = None
        self._secrets: Mapping[str, str] = {}
        self._versions: dict[str, Inventory] = {}
        self._turn = asyncio.Lock()
        self.reading = asyncio.Lock()
        """Held by whoever has a document in memory: one at a time."""
        self._newest: tuple[Inventory, Recorded] | None = None
        self.current: Inventory | None = None
        self.recorded: Recorded | None = None
        self.problem: InventoryProblem | None = None

    async def refresh(self) -> int:
        """Run the newest revision, and make the file the next one if it changed."""
        async with self._turn:
            for _ in range(MOVES):
                await self._follow()
                if await self._read_file():
                    self._run()  # not before: what ran last is not what the file says
                    break
        return 0

    @property
    def from_file(self) -> bool:
        """Tell whether a file says what runs; then nothing else may."""
        return self._file is not None

    async def bring_in(
        self,
        draft: Draft,
        *,
        whole: bool,
        skip_rejected: bool = False,
        dry_run: bool = False,
        source: str,
        by: str,
    ) -> Outcome:
        """Make *draft* the next revision and run it, unless rows are rejected that nobody skips.

        *whole*: each kind in it is all there is of it; else its rows are merged into what is there.

        MovedOnError when another replica recorded one in between; asking again is right then.
        """
        async with self._turn:
            await self._follow()
            self._run()
            change = await asyncio.to_thread(apply, self._base, draft, replace=whole)
            if dry_run or (change.rejected and not skip_rejected):
                return Outcome(change, taken=False)
            await self._record(change, source, by)
            self._run()
            return Outcome(change, taken=True)

    async def missing(self) -> str | None:
        """Return why a named inventory could not be taken, or None (a readiness check).

        A platform whose operator names no inventory is ready: scopes wait until there is one.
        """
        if self.current is not None or self._file is None:
            return None
        return "no inventory was imported yet" if self.problem is None else self.problem.why

    async def by_version(self, connection: AsyncConnection, version: str) -> Inventory:
        """Return a recorded version, so that an old resolution can be explained and repeated."""
        if self.current is not None and self.current.version == version:
            return self.current
        if version not in self._versions:
            found = await store.revision_of(connection, version)
            if found is None:
                document = (await connection.execute(_DOCUMENT, {"version": version})).scalar_one()
                inventory = await asyncio.to_thread(parse, document, stored=True)
                self._remember(version, replace(inventory, version=version))
            else:
                self._remember(version, await store.load(connection, found))
        return self._versions[version]

    async def known_at(self, connection: AsyncConnection, at: datetime) -> str | None:
        """Return the version that was the newest at an instant; None before the first."""
        found = await store.known_at(connection, at)
        if found is not None:
            return found.version
        return (await connection.execute(_DOCUMENT_AT, {"at": at})).scalar_one_or_none()

    async def tenants(
        self, connection: AsyncConnection, version: str, names: Iterable[str]
    ) -> Mapping[str, Tenant]:
        """Return those tenants as *version* has them, without reading all the rest of it."""
        if self.current is not None and self.current.version == version:
            return self.current.tenants
        if version in self._versions:
            return self._versions[version].tenants
        found = await store.revision_of(connection, version)
        if found is None:
            return (await self.by_version(connection, version)).tenants
        return await store.tenants(connection, found, names)

    def webhook_secret(self, tenant: str) -> str | None:
        """Return the secret that stands in the running file for *tenant*, if one does."""
        return self._secrets.get(tenant)

    @property
    def _base(self) -> Inventory:
        return self._newest[0] if self._newest else EMPTY

    async def _follow(self) -> None:
        """Read the newest revision that there is, whoever recorded it."""
        document = None
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            newest = await store.head(connection)
            if newest is None:
                document = (await connection.execute(_NEWEST_DOCUMENT)).scalar_one_or_none()
            else:
                self._newest = await self._read(connection, newest), newest
        if document is not None:
            # Stored in one piece, before there were rows.
            inventory = await asyncio.to_thread(parse, document, stored=True)
            changes = difference(EMPTY, inventory.entries, inventory.placements)
            await self._record(Change(EMPTY, inventory, changes, ()), "document", "notify")

    async def _read(self, connection: AsyncConnection, newest: Recorded) -> Inventory:
        """Return *newest*: by what differs from what is known, if that is still part of it."""
        if self._newest is not None:
            known, recorded = self._newest
            if recorded.version == newest.version:
                return known
            # None where the database was put back to an earlier state.
            if await store.revision_of(connection, recorded.version) == recorded:
                return await store.advance(connection, known, recorded, newest)
        return await store.load(connection, newest)

    async def _record(self, change: Change, source: str, by: str) -> None:
        if self._newest is not None and not change.difference:
            return
        async with self._engine.begin() as connection:
            done = await store.record(
                connection,
                change.inventory,
                change.difference,
                after=self._newest[1].revision if self._newest else 0,
                source=source,
                by=by,
                at=self._clock(),
            )
        self._newest = change.inventory, done

    def _run(self) -> None:
        """Put the newest revision to use."""
        if self._newest is None or self._newest[1] == self.recorded:
            return
        if self.current is not None:
            self._remember(self.current.version, self.current)
        inventory, recorded = self._newest
        self.current, self.recorded = inventory, recorded
        log.info(
            "inventory loaded",
            version=inventory.version,
            revision=recorded.revision,
            source=recorded.source,
            **inventory.counts(),
        )
        self._on_change()

    async def _read_file(self) -> bool:
        """Make what the file says the newest revision; False when another replica was faster."""
        if self._file is None:
            return True
        seen = None
        try:
            state = await asyncio.to_thread(self._file.stat)
            seen = (state.st_mtime_ns, state.st_size, state.st_ino)
            if seen == self._seen:
                return True
            draft = await asyncio.to_thread(_read, self._file, state.st_size)
            change = await asyncio.to_thread(apply, self._base, draft, replace=True)
            refuse(change.rejected)
        except OSError as error:
            self._refuse(InventoryError(0, f"{self._file}: {error.strerror}"))
            self._seen = None
            return True
        except InventoryError as error:
            self._refuse(error)
            self._seen = seen
            return True
        try:
            await self._record(change, "file", self._file.name)
        except MovedOnError:
            return False  # what it recorded is what this file is to be compared with
        _bad.set(0)
        self.problem, self._seen = None, seen
        hooks = {name: t.contacts.webhook for name, t in change.inventory.tenants.items()}
        self._secrets = {name: h.secret for name, h in hooks.items() if h and h.secret}
        return True

    def _refuse(self, error: InventoryError) -> None:
        if self.problem and (self.problem.line, self.problem.why) == (error.line, error.why):
            return
        _refused.inc()
        _bad.set(1)
        self.problem = InventoryProblem(error.line, error.why, self._clock())
        running = self.current.version if self.current else None
        log.error("inventory refused", line=error.line, why=error.why, still_running=running)

    def _remember(self, version: str, inventory: Inventory) -> None:
        self._versions[version] = inventory
        while len(self._versions) > KEPT:
            del self._versions[next(iter(self._versions))]


def _read(file: Path, size: int) -> Draft:
    with file.open("rb") as stream:
        return read_file(stream, size)
