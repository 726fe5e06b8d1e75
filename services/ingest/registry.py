"""Log sources and keys as the service itself adds, changes and ends them."""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.keys import ApiKey, hash_secret
from services.ingest.sources import Source
from shared.clock import rfc3339
from shared.ids import new_secret, uuid7

__all__ = ["LABELS", "disable", "issue", "keys_of", "put", "revoke", "rotate"]

LABELS = ("tenant", "region", "datacenter", "service", "server")

_PUT = text(
    "INSERT INTO sources (id, tenant, region, datacenter, service, server, product, category,"
    " logsource_service, kind, max_silence_seconds, created_at, changed_by, changed_at) VALUES"
    " (:id, :tenant, :region, :datacenter, :service, :server, :product, :category,"
    " :logsource_service, :kind, :silence, :now, :by, :now)"
    " ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, region = excluded.region,"
    " datacenter = excluded.datacenter, service = excluded.service, server = excluded.server,"
    " product = excluded.product, category = excluded.category,"
    " logsource_service = excluded.logsource_service, kind = excluded.kind,"
    " max_silence_seconds = excluded.max_silence_seconds, changed_by = excluded.changed_by,"
    " changed_at = excluded.changed_at, disabled_at = NULL"
)
_DISABLE = text(
    "UPDATE sources SET disabled_at = coalesce(disabled_at, :now), changed_by = :by,"
    " changed_at = :now WHERE id = :id RETURNING id"
)
_EXISTS = text("SELECT 1 FROM sources WHERE id = :id AND disabled_at IS NULL")
_ISSUE = text(
    "INSERT INTO keys (id, source_id, hash, created_at, expires_at, scopes, issued_by, replaces)"
    " VALUES (:id, :source, :hash, :now, :expires, :scopes, :by, :replaces)"
)
_IN_FORCE = (
    " WHERE id = :key AND source_id = :source AND revoked_at IS NULL"
    " AND (expires_at IS NULL OR expires_at > :now)"
)
_HELD = text("SELECT scopes FROM keys" + _IN_FORCE + " FOR UPDATE")  # noqa: S608
_END = text("UPDATE keys SET expires_at = least(coalesce(expires_at, :ends), :ends)" + _IN_FORCE)  # noqa: S608
_REVOKE = text("UPDATE keys SET revoked_at = :now" + _IN_FORCE + " RETURNING id")  # noqa: S608
_KEYS = text(
    "SELECT id, scopes, issued_by, replaces, created_at, expires_at, revoked_at FROM keys"
    " WHERE source_id = :source ORDER BY created_at, id"
)


async def put(
    engine: AsyncEngine, source: Source, kind: str, silence: int | None, by: str, now: datetime
) -> None:
    """Register *source*, or change what is known of it."""
    values = {name: getattr(source, name) for name in LABELS} | {
        "id": source.id, "product": source.logsource.product, "kind": kind, "silence": silence,
        "category": source.logsource.category, "logsource_service": source.logsource.service,
        "by": by, "now": now,
    }  # fmt: skip
    async with engine.begin() as connection:
        await connection.execute(_PUT, values)


async def disable(engine: AsyncEngine, source_id: str, by: str, now: datetime) -> bool:
    """Disable the source; return whether there is one."""
    async with engine.begin() as connection:
        values = {"id": source_id, "by": by, "now": now}
        return (await connection.execute(_DISABLE, values)).one_or_none() is not None


async def issue(
    engine: AsyncEngine,
    source_id: str,
    pepper: str,
    now: datetime,
    expires: datetime | None,
    scopes: list[str],
    by: str,
) -> ApiKey | None:
    """Return a new key of the source, None if there is none that is enabled."""
    async with engine.begin() as connection:
        if (await connection.execute(_EXISTS, {"id": source_id})).one_or_none() is None:
            return None
        key, values = _new(source_id, pepper, now, expires, scopes, by, None)
        await connection.execute(_ISSUE, values)
    return key


async def rotate(
    engine: AsyncEngine,
    source_id: str,
    key_id: str,
    pepper: str,
    now: datetime,
    ends: datetime,
    expires: datetime | None,
    by: str,
) -> ApiKey | None:
    """Return the key that follows on *key_id*, which works until *ends*; None if it is not in
    force."""
    which = {"key": key_id, "source": source_id, "now": now}
    async with engine.begin() as connection:
        held = (await connection.execute(_HELD, which)).one_or_none()
        if held is None:
            return None
        await connection.execute(_END, {**which, "ends": ends})
        key, values = _new(source_id, pepper, now, expires, list(held.scopes), by, key_id)
        await connection.execute(_ISSUE, values)
    return key


async def revoke(engine: AsyncEngine, source_id: str, key_id: str, now: datetime) -> bool:
    """End the key now; return whether it was in force."""
    async with engine.begin() as connection:
        values = {"key": key_id, "source": source_id, "now": now}
        return (await connection.execute(_REVOKE, values)).one_or_none() is not None


async def keys_of(engine: AsyncEngine, source_id: str) -> list[dict[str, Any]]:
    """Return the keys of the source without their secrets, oldest first."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_KEYS, {"source": source_id})).all()
    return [
        {
            "key_id": row.id,
            "scopes": list(row.scopes),
            "issued_by": row.issued_by,
            "replaces": row.replaces,
            "created_at": rfc3339(row.created_at),
            "expires_at": rfc3339(row.expires_at) if row.expires_at else None,
            "revoked_at": rfc3339(row.revoked_at) if row.revoked_at else None,
        }
        for row in rows
    ]


def _new(
    source_id: str,
    pepper: str,
    now: datetime,
    expires: datetime | None,
    scopes: list[str],
    by: str,
    replaces: str | None,
) -> tuple[ApiKey, dict[str, Any]]:
    key = ApiKey(uuid7().hex, new_secret())
    return key, {
        "id": key.id, "source": source_id, "hash": hash_secret(key.secret, pepper), "now": now,
        "expires": expires, "scopes": scopes, "by": by, "replaces": replaces,
    }  # fmt: skip
