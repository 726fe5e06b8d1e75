"""Log sources: who may send, and what their events are labelled with.

Tenant, region, datacenter and service come from the credential, never from a body: they later
answer which customers are affected.
"""

import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.ingest.keys import ApiKey, hash_secret, same_hash
from shared.clock import Clock
from shared.contracts.ingest import Logsource
from shared.db import is_transient
from shared.ids import new_secret, uuid7

__all__ = ["ScopeError", "Source", "SourceDirectory", "issue_key", "register"]

_FIND = text(
    "SELECT s.id, s.tenant, s.region, s.datacenter, s.service, s.server, s.product, s.category,"
    " s.logsource_service, s.disabled_at, k.hash, k.expires_at, k.revoked_at, k.scopes"
    " FROM keys k JOIN sources s ON s.id = k.source_id WHERE k.id = :id"
)
_NAMED = text(
    "SELECT id, tenant, region, datacenter, service, server, product, category, logsource_service,"
    " disabled_at FROM sources WHERE id = :id"
)
_REGISTER = text(
    "INSERT INTO ingest.sources (id, tenant, region, datacenter, service, server, product,"
    " category, logsource_service, created_at) VALUES (:id, :tenant, :region, :datacenter,"
    " :service, :server, :product, :category, :logsource_service, :now)"
    " ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, region = excluded.region,"
    " datacenter = excluded.datacenter, service = excluded.service, server = excluded.server,"
    " product = excluded.product, category = excluded.category,"
    " logsource_service = excluded.logsource_service, disabled_at = NULL"
)
_ISSUE = text(
    "INSERT INTO ingest.keys (id, source_id, hash, created_at, expires_at)"
    " VALUES (:id, :source, :hash, :now, :expires)"
)
CACHE_SIZE = 10_000
STALE_SECONDS = 3600.0
UNKNOWN_SECONDS = 2.0


class ScopeError(Exception):
    """The key is good and does not open this door; ``opens`` names those it does."""

    def __init__(self, opens: list[str]) -> None:
        super().__init__(f"this key opens {', '.join(opens)} only")
        self.opens = opens


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A registered sender and the labels of its events."""

    id: str
    tenant: str | None = None
    region: str | None = None
    datacenter: str | None = None
    service: str | None = None
    server: str | None = None
    logsource: Logsource = field(default_factory=Logsource)

    def __hash__(self) -> int:
        return hash(self.id)  # what is kept for a source is looked up with every request


@dataclass(frozen=True, slots=True)
class _Known:
    source: Source
    hash: bytes
    disabled: bool
    ends: datetime | None
    scopes: frozenset[str]
    read_at: float


class SourceDirectory:
    """Looks keys up; remembers them for a while, longer when PostgreSQL cannot be asked."""

    def __init__(
        self, engine: AsyncEngine, pepper: str, clock: Clock, cache_seconds: float
    ) -> None:
        self._engine, self._pepper, self._clock = engine, pepper, clock
        self._cache_seconds = cache_seconds
        self._cache: OrderedDict[str, _Known] = OrderedDict()
        self._named: dict[str, tuple[Source | None, float]] = {}
        self._unknown: OrderedDict[str, float] = OrderedDict()  # guesses do not reach PostgreSQL

    async def authenticate(self, key: ApiKey, door: str | None = None) -> Source | None:
        """Return whose *key* it is; None for an unknown, wrong, expired, revoked or disabled one.

        ScopeError when it is a good one that does not open *door*.

        Raises what the database raises when it cannot be asked and the key was never seen.
        """
        known = await self._find(key.id)
        given = hash_secret(key.secret, self._pepper)
        if not same_hash(given, known.hash if known else b"\0" * 32) or known is None:
            return None
        if known.disabled or (known.ends is not None and known.ends <= self._clock()):
            return None
        if door is not None and known.scopes and door not in known.scopes:
            raise ScopeError(sorted(known.scopes))
        return known.source

    async def named(self, source_id: str) -> Source | None:
        """Return the source of that name, for senders that are known by address or certificate.

        None when there is none or it is disabled. Raises what the database raises when it cannot
        be asked and the source was never seen.
        """
        known = self._named.get(source_id)
        age = time.monotonic() - known[1] if known else math.inf
        if known and age <= self._cache_seconds:
            return known[0]
        try:
            async with self._engine.connect() as connection:
                row = (await connection.execute(_NAMED, {"id": source_id})).one_or_none()
        except Exception as error:
            if known and age <= STALE_SECONDS and is_transient(error):
                return known[0]
            raise
        source = _source(row) if row is not None and row.disabled_at is None else None
        self._named[source_id] = (source, time.monotonic())  # as many as the settings name
        return source

    async def _find(self, key_id: str) -> _Known | None:
        known, age = self._cache.get(key_id), 0.0
        if known:
            age = time.monotonic() - known.read_at
            if age <= self._cache_seconds:
                return known
        elif time.monotonic() - self._unknown.get(key_id, -math.inf) <= UNKNOWN_SECONDS:
            return None
        try:
            async with self._engine.connect() as connection:
                row = (await connection.execute(_FIND, {"id": key_id})).one_or_none()
        except Exception as error:
            # Senders go on while PostgreSQL is away: raw events need only the broker.
            if known and age <= STALE_SECONDS and is_transient(error):
                return known
            raise
        if row is None:
            self._cache.pop(key_id, None)
            self._unknown[key_id] = time.monotonic()
            while len(self._unknown) > CACHE_SIZE:
                self._unknown.popitem(last=False)
            return None
        source = _source(row)
        ends = min((t for t in (row.expires_at, row.revoked_at) if t is not None), default=None)
        scopes = frozenset(row.scopes)
        disabled = row.disabled_at is not None
        fresh = _Known(source, row.hash, disabled, ends, scopes, time.monotonic())
        self._cache[key_id] = fresh
        self._cache.move_to_end(key_id)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return fresh


def _source(row: Any) -> Source:
    return Source(
        id=row.id,
        tenant=row.tenant,
        region=row.region,
        datacenter=row.datacenter,
        service=row.service,
        server=row.server,
        logsource=Logsource(
            product=row.product, category=row.category, service=row.logsource_service
        ),
    )


async def register(connection: AsyncConnection, source: Source, now: datetime) -> None:
    """Register *source*, or change its labels (the administrator's connection)."""
    await connection.execute(
        _REGISTER,
        {
            "id": source.id,
            "tenant": source.tenant,
            "region": source.region,
            "datacenter": source.datacenter,
            "service": source.service,
            "server": source.server,
            "product": source.logsource.product,
            "category": source.logsource.category,
            "logsource_service": source.logsource.service,
            "now": now,
        },
    )


async def issue_key(
    connection: AsyncConnection,
    source_id: str,
    pepper: str,
    now: datetime,
    expires: datetime | None = None,
) -> ApiKey:
    """Return a new key of *source_id*; it cannot be read again later."""
    key = ApiKey(uuid7().hex, new_secret())
    await connection.execute(
        _ISSUE,
        {
            "id": key.id,
            "source": source_id,
            "hash": hash_secret(key.secret, pepper),
            "now": now,
            "expires": expires,
        },
    )
    return key
