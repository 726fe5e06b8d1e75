"""What was measured of each source, from memory into PostgreSQL every few seconds.

Statistics: what a killed process had measured since the last write is missing here. What was
accepted is counted by the ledger, which loses nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.sources import Source
from services.ingest.watch.measure import Measure, Measured, Requirement, merge, skew
from services.ingest.watch.requirements import Requirements
from shared.clock import Clock, parse_instant

__all__ = ["Activity"]

_SEEN = text(
    "INSERT INTO source_activity AS a (source_id, events, batches, last_received_at,"
    " newest_event_at, ahead_events, ahead_seconds, skew_seconds) VALUES (:source, :events,"
    " :batches, :received, :newest, :ahead, :ahead_seconds, :skew)"
    " ON CONFLICT (source_id) DO UPDATE SET events = a.events + excluded.events,"
    " batches = a.batches + excluded.batches,"
    " last_received_at = greatest(a.last_received_at, excluded.last_received_at),"
    " newest_event_at = coalesce(excluded.newest_event_at, a.newest_event_at),"
    " ahead_events = a.ahead_events + excluded.ahead_events,"
    " ahead_seconds = greatest(a.ahead_seconds, excluded.ahead_seconds),"
    " skew_seconds = coalesce(excluded.skew_seconds, a.skew_seconds)"
)
_ADDED = (
    "(SELECT coalesce(jsonb_object_agg(key, n), '{}') FROM (SELECT key, sum(value::bigint) AS n"
    " FROM (SELECT * FROM jsonb_each_text(c.COLUMN) UNION ALL SELECT * FROM"
    " jsonb_each_text(excluded.COLUMN)) AS summands GROUP BY key) AS summed)"
)
_CONFORMED = text(
    "INSERT INTO source_conformance AS c (source_id, day, service, version, events,"  # noqa: S608
    " nonconformant, late, batches, nonconformant_batches, missing, seen) VALUES (:source, :day,"
    " :service, :version, :events, :nonconformant, :late, :batches, :nonconformant_batches,"
    " CAST(:missing AS jsonb), CAST(:seen AS jsonb))"
    " ON CONFLICT (source_id, day, service, version) DO UPDATE SET"
    " events = c.events + excluded.events,"
    " nonconformant = c.nonconformant + excluded.nonconformant, late = c.late + excluded.late,"
    " batches = c.batches + excluded.batches,"
    " nonconformant_batches = c.nonconformant_batches + excluded.nonconformant_batches,"
    f" missing = {_ADDED.replace('COLUMN', 'missing')}, seen = {_ADDED.replace('COLUMN', 'seen')}"
)


class Activity:
    """Gathers what batches measured; one entry a source and requirement, so it stays small."""

    def __init__(self, engine: AsyncEngine, requirements: Requirements, clock: Clock) -> None:
        self._engine, self._requirements, self._clock = engine, requirements, clock
        self._gathered: dict[tuple[str, Requirement | None], Measured] = {}

    def measure(self, source: Source, now: datetime) -> Measure:
        """Return what to measure a batch of *source* with."""
        return Measure(self._requirements.of(source.service), now)

    def note(self, source: Source, measure: Measure) -> None:
        """Count a batch that has been accepted."""
        found = measure.result
        if not found.events:
            return
        if (ahead := skew(found)) is not None:
            found.ahead_seconds = max(0.0, ahead)
        key = (source.id, measure.requirement)
        known = self._gathered.setdefault(key, found)
        if known is not found:
            merge(known, found)

    async def write_once(self) -> int:
        """Write what was gathered; when that fails it is kept for the next time."""
        gathered, self._gathered = self._gathered, {}
        if not gathered:
            return 0
        try:
            async with self._engine.begin() as connection:
                # In one order everywhere, so that replicas do not wait for each other in a ring.
                for (source, requirement), found in sorted(gathered.items(), key=_order):
                    await connection.execute(_SEEN, _seen(source, found))
                    if requirement is not None:
                        values = _conformed(source, requirement, found, self._clock())
                        await connection.execute(_CONFORMED, values)
        except Exception:
            for key, found in self._gathered.items():
                known = gathered.setdefault(key, found)
                if known is not found:
                    merge(known, found)
            self._gathered = gathered
            raise
        return 0


def _order(entry: tuple[tuple[str, Requirement | None], Measured]) -> tuple[str, str, int]:
    source, requirement = entry[0]
    return (source, requirement.service, requirement.version) if requirement else (source, "", 0)


def _seen(source: str, found: Measured) -> dict[str, Any]:
    return {
        "source": source,
        "events": found.events,
        "batches": found.batches,
        "received": found.received,
        "newest": parse_instant(found.newest) if found.newest else None,
        "ahead": found.ahead,
        "ahead_seconds": found.ahead_seconds,
        "skew": skew(found),
    }


def _conformed(source: str, asked: Requirement, found: Measured, now: datetime) -> dict[str, Any]:
    return {
        "source": source,
        "day": now.date(),
        "service": asked.service,
        "version": asked.version,
        "events": found.events,
        "nonconformant": found.nonconformant,
        "late": found.late,
        "batches": found.batches,
        "nonconformant_batches": found.nonconformant_batches,
        "missing": _json(found.missing, asked.required_fields),
        "seen": _json(found.seen, sorted(asked.event_types)),
    }


def _json(counts: Any, names: Sequence[str]) -> str:
    return orjson.dumps({name: counts[name] for name in names if name in counts}).decode()
