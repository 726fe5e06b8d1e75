"""The data keys: made when first needed, looked up many at a time, remembered, and then forgotten.

A key that was destroyed is noticed by every process within FRESH seconds, and by an append and a
projection at once, so that nothing is sealed under it and nothing that it sealed is shown again.
"""

import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.ledger.checkpoints import driver_of
from services.cases.sealing.box import INCIDENT, AlteredBoxError, Keys, Subject
from services.cases.sealing.kek import KEY_BYTES, Keks, WrongKekError
from shared.db import is_transient
from shared.ids import uuid7

__all__ = ["Vault"]

FRESH = 1.0
REMEMBERED = 50_000  # keys; about 200 bytes each
_INDEX = b"persons"

_LOOK = "SELECT key_id, kek, wrapped FROM data_keys WHERE key_id = ANY($1)"
_GONE = "SELECT key_id, destroyed_at FROM data_keys WHERE destroyed_at >= $1 ORDER BY destroyed_at"
_OLDEST = (
    "SELECT DISTINCT ON (kek) key_id, kek, wrapped FROM data_keys WHERE destroyed_at IS NULL"
    " ORDER BY kek, key_id"
)
_NOW = "SELECT clock_timestamp() - interval '1 minute'"
_ALIVE = (
    "SELECT scope, subject, key_id, kek, wrapped FROM data_keys WHERE destroyed_at IS NULL"
    " AND (scope, subject) IN (SELECT * FROM unnest($1::text[], $2::bytea[]))"
)
_MAKE = (
    "INSERT INTO data_keys (key_id, scope, subject, kek, wrapped)"
    " SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[], $5::bytea[])"
    " ON CONFLICT DO NOTHING"
)
_USE = (
    "INSERT INTO key_uses (key_id, stream_id) SELECT * FROM unnest($1::uuid[], $2::uuid[])"
    " ON CONFLICT DO NOTHING"
)

log = structlog.get_logger()

_Place = tuple[str, bytes]  # scope and subject as they are stored
_Held = tuple[str, bytes | None]  # a key's id, and the key unless it was destroyed
K = TypeVar("K")
V = TypeVar("V")


class Vault:
    """Knows the data keys of one database; ``looks`` counts the questions it has asked there."""

    def __init__(self, engine: AsyncEngine, keks: Keks, remembered: int = REMEMBERED) -> None:
        """*remembered*: how many keys; those that were not used for longest are forgotten."""
        self._engine, self.keks, self._most = engine, keks, remembered
        self._keys: OrderedDict[str, bytes | None] = OrderedDict()
        self._alive: OrderedDict[_Place, str] = OrderedDict()
        self._used: OrderedDict[tuple[str, UUID], None] = OrderedDict()
        self._index: bytes | None = None
        self._since: Any = None
        self._fresh = float("-inf")
        self.looks = 0

    async def check(self) -> None:
        """Look whether the keys can be opened; WrongKekError when they cannot, ever.

        A database that does not answer yet says nothing about them: whoever asks next finds out.
        """
        try:
            await self._index_key()
            async with driver_of(self._engine) as driver:
                for row in await driver.fetch(_OLDEST):  # one of each key that wraps
                    self.keks.unwrap(row["kek"], row["wrapped"], str(row["key_id"]).encode())
        except Exception as error:
            if not is_transient(error):
                raise

    async def problem(self) -> str | None:
        """Return what keeps the keys from being used, or None (a readiness check)."""
        try:
            await self.check()
        except WrongKekError as error:
            log.error("data keys cannot be opened", error=str(error))  # noqa: TRY400 - it says it all
            return "the data keys cannot be opened; the log says why"
        return None

    # --- reading ---

    async def keys(self, ids: Iterable[str], driver: Any = None, *, now: bool = False) -> Keys:
        """Return the keys of *ids*, asking for all that are not known at once.

        In the transaction of *driver*, if given. *now*: nothing that is destroyed already counts.
        """
        if driver is None:
            async with driver_of(self._engine) as own:
                return await self.keys(ids, own, now=now)
        wanted = set(ids)
        await self._forget(driver, FRESH if not now else 0)
        found = {key_id: _used(self._keys, key_id) for key_id in wanted if key_id in self._keys}
        if missing := wanted - found.keys():
            self.looks += 1
            for row in await driver.fetch(_LOOK, list(missing)):
                found[str(row["key_id"])] = self._remember(row)
        if missing := wanted - found.keys():
            raise AlteredBoxError(f"there is no data key {min(missing)}, nor ever was")
        return found

    def _remember(self, row: Any) -> bytes | None:
        key_id = str(row["key_id"])
        if key_id in self._keys:  # destroyed, perhaps, since the row was read
            return _used(self._keys, key_id)
        key = None
        if row["wrapped"] is not None:
            key = self.keks.unwrap(row["kek"], row["wrapped"], key_id.encode())
        self._keep(self._keys, key_id, key)
        return key

    def _keep(self, known: OrderedDict[K, V], key: K, value: V) -> None:
        known[key] = value
        known.move_to_end(key)
        while len(known) > self._most:
            known.popitem(last=False)

    async def _forget(self, driver: Any, age: float) -> None:
        """Forget the keys that were destroyed, unless that was looked up *age* seconds ago."""
        asked = time.monotonic()
        if asked - self._fresh < age:
            return
        self.looks += 1
        if self._since is None:
            self._since = await driver.fetchval(_NOW)
        # From the last one seen on, that one included: two may bear the same instant.
        for row in await driver.fetch(_GONE, self._since):
            self._since = row["destroyed_at"]
            self._drop(str(row["key_id"]))
        self._fresh = asked

    def _drop(self, key_id: str) -> None:
        self._keys[key_id] = None
        for place in [place for place, held in self._alive.items() if held == key_id]:
            del self._alive[place]

    # --- sealing ---

    async def for_sealing(
        self, incident_id: UUID, stream_id: UUID, persons: Collection[Subject]
    ) -> Mapping[Subject, tuple[str, bytes]]:
        """Return the keys under which an event is sealed, made now if there are none yet.

        Where a person's key is used is noted before it is used, so that an erasure finds it.
        """
        names = [name for name in persons if name != INCIDENT]
        index = await self._index_key() if names else b""
        places: dict[Subject, _Place] = {INCIDENT: ("incident", incident_id.bytes)}
        places |= {name: ("person", blind(index, name)) for name in names}
        async with _lazily(self._engine) as connect:
            found = self._known(places.values())
            if found is None:
                found = await self._find_or_make(await connect(), list(places.values()))
            uses = [(found[places[name]][0], stream_id) for name in names]
            if new := [use for use in uses if use not in self._used]:
                driver = await connect()
                await driver.execute(_USE, [UUID(k) for k, _ in new], [s for _, s in new])
                for use in new:
                    self._keep(self._used, use, None)
        held = {name: found[place] for name, place in places.items()}
        return {name: (key_id, key) for name, (key_id, key) in held.items() if key is not None}

    def _known(self, places: Iterable[_Place]) -> dict[_Place, _Held] | None:
        """Return the living keys of *places*, None unless all of them are remembered."""
        found: dict[_Place, _Held] = {}
        for place in places:
            key_id = self._alive.get(place)
            if key_id is None or self._keys.get(key_id) is None:
                return None
            found[place] = _used(self._alive, place), _used(self._keys, key_id)
        return found

    async def _find_or_make(self, driver: Any, places: list[_Place]) -> dict[_Place, _Held]:
        """Return the living key of each of *places*; two who make one at once get the same."""
        found = await self._find(driver, places)
        if missing := [place for place in places if place not in found]:
            keys = [(uuid7(), os.urandom(KEY_BYTES)) for _ in missing]
            await driver.execute(
                _MAKE,
                [key_id for key_id, _ in keys],
                [scope for scope, _ in missing],
                [subject for _, subject in missing],
                [self.keks.current for _ in keys],
                [self.keks.wrap(key, str(key_id).encode()) for key_id, key in keys],
            )
            found |= await self._find(driver, missing)
        return found

    async def _find(self, driver: Any, places: list[_Place]) -> dict[_Place, _Held]:
        self.looks += 1
        scopes, subjects = [scope for scope, _ in places], [subject for _, subject in places]
        found: dict[_Place, _Held] = {}
        for row in await driver.fetch(_ALIVE, scopes, subjects):
            place, key_id = (row["scope"], bytes(row["subject"])), str(row["key_id"])
            found[place] = key_id, self._remember(row)
            self._keep(self._alive, place, key_id)
        return found

    def destroyed(self) -> None:
        """Take nothing for granted any more: somebody said that a key was destroyed, or asks."""
        self._fresh = float("-inf")
        self._alive.clear()

    async def _index_key(self) -> bytes:
        """Return the key of the hashes by which persons' keys are found."""
        if self._index is None:
            place = ("index", _INDEX)
            async with driver_of(self._engine) as driver:
                self._index = (await self._find_or_make(driver, [place]))[place][1]
        return self._index or b""

    async def digest(self, digest: str) -> str:
        """Return the digest of a command as it is stored: no text can be tried out on it."""
        return blind(await self._index_key(), digest).hex()

    async def person(self, name: Subject) -> bytes:
        """Return as what a person is looked up in the table of keys."""
        return blind(await self._index_key(), name)


def blind(index: bytes, name: str) -> bytes:
    """Return the keyed hash of a name: nobody without the key can try names out on it."""
    return hmac.digest(index, name.encode("utf-8", "surrogatepass"), hashlib.sha256)


def _used(known: OrderedDict[K, V], key: K) -> V:
    """Return what is *known* of *key*; it is forgotten later than what is not asked for."""
    known.move_to_end(key)
    return known[key]


@asynccontextmanager
async def _lazily(engine: AsyncEngine) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Yield what connects the first time that it is called: most of the time nobody has to."""
    async with AsyncExitStack() as stack:
        driver: Any = None

        async def connect() -> Any:
            nonlocal driver
            if driver is None:
                driver = await stack.enter_async_context(driver_of(engine))
            return driver

        yield connect
