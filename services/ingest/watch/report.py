"""Each source as measured: last event, silence, clock, and per cent of what was asked (R12)."""

from collections import Counter
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.watch.measure import AHEAD_SECONDS, Requirement
from services.ingest.watch.requirements import newest, requirement_of
from shared.clock import Clock, rfc3339

__all__ = ["sources"]

_SOURCES = text(
    "SELECT s.*, a.events, a.last_received_at, a.newest_event_at, a.ahead_events, a.ahead_seconds,"
    " a.skew_seconds, a.silent_since, r.days FROM sources s"
    " LEFT JOIN source_activity a ON a.source_id = s.id"
    " LEFT JOIN store_retention r ON r.source_id = s.id ORDER BY s.id"
)
_CONFORMANCE = text("SELECT * FROM source_conformance WHERE day >= :first")


async def sources(
    engine: AsyncEngine, clock: Clock, retention_days: int, days: int
) -> list[dict[str, Any]]:
    """Return all sources, conformance being that of the last *days* and of the requirement in
    force; *retention_days* is how long the store keeps events of sources without their own."""
    asked = {r.service: requirement_of(r.service, r.version, r.body) for r in await newest(engine)}
    first = (clock() - timedelta(days=days - 1)).date()
    async with engine.connect() as connection:
        rows = (await connection.execute(_SOURCES)).all()
        measured = (await connection.execute(_CONFORMANCE, {"first": first})).all()
    by_source: dict[str, list[Any]] = {}
    for row in measured:
        by_source.setdefault(row.source_id, []).append(row)
    return [
        _shown(row, asked.get(row.service), by_source.get(row.id, []), row.days or retention_days)
        for row in rows
    ]


def _shown(
    row: Any, asked: Requirement | None, measured: list[Any], kept_days: int
) -> dict[str, Any]:
    names = {"product": row.product, "category": row.category, "service": row.logsource_service}
    limit = row.max_silence_seconds or (asked.max_silence_seconds if asked else None)
    return {
        "source_id": row.id,
        "kind": row.kind,
        **{n: getattr(row, n) for n in ("tenant", "region", "datacenter", "service", "server")},
        "logsource": {name: value for name, value in names.items() if value},
        "disabled": row.disabled_at is not None,
        "events": row.events or 0,
        "last_received_at": rfc3339(row.last_received_at) if row.events else None,
        "max_silence_seconds": limit,
        "silent": row.silent_since is not None and row.disabled_at is None,
        "silent_since": rfc3339(row.silent_since) if row.silent_since else None,
        "clock": {
            "newest_event_at": rfc3339(row.newest_event_at) if row.newest_event_at else None,
            "skew_seconds": row.skew_seconds,
            "ahead": (row.skew_seconds or 0.0) > AHEAD_SECONDS,
            "ahead_events": row.ahead_events or 0,
            "most_ahead_seconds": row.ahead_seconds or 0.0,
        },
        "conformance": _conformance(asked, measured, kept_days) if asked else None,
    }


def _conformance(asked: Requirement, measured: list[Any], kept_days: int) -> dict[str, Any]:
    rows = [r for r in measured if (r.service, r.version) == (asked.service, asked.version)]
    missing: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for row in rows:
        missing.update(row.missing)
        seen.update(row.seen)
    events = sum(r.events for r in rows)
    wrong = sum(r.nonconformant for r in rows)
    return {
        "requirement_version": asked.version,
        "events": events,
        "nonconformant": wrong,
        "conformant_percent": round(100 * (events - wrong) / events, 2) if events else None,
        "batches": sum(r.batches for r in rows),
        "nonconformant_batches": sum(r.nonconformant_batches for r in rows),
        "late": sum(r.late for r in rows),
        "missing_fields": dict(missing),
        "seen_event_types": dict(seen),
        "unseen_event_types": sorted(asked.event_types - set(seen)),
        "retention_days": kept_days,
        "retention_conforms": asked.retention_days is None or kept_days >= asked.retention_days,
    }
