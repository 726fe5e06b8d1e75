"""The inventory in use: read from the file when it changes, kept in PostgreSQL by version.

A file that cannot be taken changes nothing: it is logged, counted and shown (`problem`), and the
running version stays.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notify.inventory import Inventory
from services.notify.inventory_file import InventoryError, canonical, parse
from shared.clock import Clock

__all__ = ["InventoryKeeper", "InventoryProblem"]

log = structlog.get_logger()
_refused = Counter("tocsin_notify_inventory_refused_total", "Inventory files not taken")
_bad = Gauge("tocsin_notify_inventory_bad", "1 while the inventory file cannot be taken")

KEPT = 4  # old versions held in memory

_KNOWN = text("SELECT 1 FROM inventories WHERE version = :version")
_STORE = text(
    "INSERT INTO inventories (version, document, imported_at)"
    " VALUES (:version, :document, :at) ON CONFLICT DO NOTHING"
)
_LOADED = text("INSERT INTO inventory_loads (version, loaded_at) VALUES (:version, :at)")
_BY_VERSION = text("SELECT document FROM inventories WHERE version = :version")
_NEWEST = text(
    "SELECT i.document FROM inventories i JOIN inventory_loads l USING (version)"
    " ORDER BY l.position DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class InventoryProblem:
    """Why the file as it is now was not taken."""

    line: int
    why: str
    seen_at: datetime


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
        self._unstored: Inventory | None = None
        self._versions: dict[str, Inventory] = {}
        self.current: Inventory | None = None
        self.loaded_at: datetime | None = None
        self.problem: InventoryProblem | None = None

    async def refresh(self) -> int:
        """Take the file if it changed, else what was imported last; store what is new."""
        await self._read_file()
        if self.current is None:
            await self._recall()
        if self._unstored is not None:
            inventory = self._unstored
            async with self._engine.begin() as connection:
                await self.store(connection, inventory)
                at = self._clock()
                await connection.execute(_LOADED, {"version": inventory.version, "at": at})
            self._unstored = None
        return 0

    @property
    def from_file(self) -> bool:
        """Tell whether a file says what runs; then nothing else may."""
        return self._file is not None

    async def take_over(self, inventory: Inventory) -> None:
        """Store *inventory* and run it from now on, as if the file had said so."""
        async with self._engine.begin() as connection:
            await self.store(connection, inventory)
            at = self._clock()
            await connection.execute(_LOADED, {"version": inventory.version, "at": at})
        self._take(inventory)
        self._unstored = None

    async def missing(self) -> str | None:
        """Return why a named inventory could not be taken, or None (a readiness check).

        A platform whose operator names no inventory is ready: scopes wait until there is one.
        """
        if self.current is not None or self._file is None:
            return None
        return "no inventory was imported yet" if self.problem is None else self.problem.why

    async def store(self, connection: AsyncConnection, inventory: Inventory) -> None:
        """Make sure that *inventory* can be named by what is written in this transaction."""
        version = {"version": inventory.version}
        if (await connection.execute(_KNOWN, version)).first() is None:
            document = await asyncio.to_thread(canonical, inventory)
            await connection.execute(_STORE, {**version, "document": document, "at": self._clock()})

    async def by_version(self, connection: AsyncConnection, version: str) -> Inventory:
        """Return a stored version, so that an old resolution can be explained and repeated."""
        if self.current is not None and self.current.version == version:
            return self.current
        if version not in self._versions:
            document = (await connection.execute(_BY_VERSION, {"version": version})).scalar_one()
            self._remember(await asyncio.to_thread(parse, document, stored=True))
        return self._versions[version]

    def webhook_secret(self, tenant: str) -> str | None:
        """Return the secret that stands in the running file for *tenant*, if one does."""
        known = self.current.tenants.get(tenant) if self.current else None
        hook = known.contacts.webhook if known else None
        return hook.secret if hook else None

    async def _read_file(self) -> None:
        if self._file is None:
            return
        try:
            state = await asyncio.to_thread(self._file.stat)
            seen = (state.st_mtime_ns, state.st_size, state.st_ino)
            if seen == self._seen:
                return
            content = await asyncio.to_thread(self._file.read_bytes)
        except OSError as error:
            self._refuse(InventoryError(0, f"{self._file}: {error.strerror}"))
            self._seen = None
            return
        self._seen = seen
        try:
            inventory = await asyncio.to_thread(lambda: parse(content.decode("utf-8")))
        except UnicodeDecodeError:
            self._refuse(InventoryError(1, f"{self._file} is not UTF-8"))
        except InventoryError as error:
            self._refuse(error)
        else:
            self._take(inventory)

    def _refuse(self, error: InventoryError) -> None:
        if self.problem and (self.problem.line, self.problem.why) == (error.line, error.why):
            return
        _refused.inc()
        _bad.set(1)
        self.problem = InventoryProblem(error.line, error.why, self._clock())
        running = self.current.version if self.current else None
        log.error("inventory refused", line=error.line, why=error.why, still_running=running)

    def _take(self, inventory: Inventory) -> None:
        _bad.set(0)
        self.problem = None
        if self.current is not None:
            self._remember(self.current)
            if self.current.version == inventory.version:
                self.current = inventory  # a webhook secret may be new
                return
        self.current = self._unstored = inventory
        self.loaded_at = self._clock()
        log.info("inventory loaded", version=inventory.version, **inventory.counts())
        self._on_change()

    async def _recall(self) -> None:
        async with self._engine.connect() as connection:
            document = (await connection.execute(_NEWEST)).scalar_one_or_none()
        if document is not None:
            self.current = await asyncio.to_thread(parse, document, stored=True)
            self.loaded_at = self._clock()
            log.info("inventory recalled", version=self.current.version)
            self._on_change()

    def _remember(self, inventory: Inventory) -> None:
        self._versions[inventory.version] = inventory
        while len(self._versions) > KEPT:
            del self._versions[next(iter(self._versions))]
