"""Sources that have fallen silent, and that are heard again (R12a): told on SOURCES, once each."""

from datetime import datetime
from typing import Any

import structlog
from prometheus_client import Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.watch.requirements import Requirements
from shared.bus import Bus
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.ingest import LogSourceResumedV1, LogSourceSilentV1
from shared.ids import derived_id
from shared.topology import SOURCES

__all__ = ["Silence", "limit_of"]

log = structlog.get_logger()
_silent = Gauge("tocsin_ingest_sources_silent", "Sources beyond their longest silence")

_SOURCES = text(
    "SELECT s.id, s.service, s.tenant, s.region, s.datacenter, s.server, s.kind, s.created_at,"
    " s.max_silence_seconds, a.last_received_at, a.silent_since FROM sources s"
    " LEFT JOIN source_activity a ON a.source_id = s.id WHERE s.disabled_at IS NULL ORDER BY s.id"
)
_MARK = text(
    "INSERT INTO source_activity AS a (source_id, last_received_at, silent_since)"
    " VALUES (:source, :last, :since) ON CONFLICT (source_id) DO UPDATE SET silent_since = :since"
    " WHERE a.last_received_at <= :last"
)
_UNMARK = text("UPDATE source_activity SET silent_since = NULL WHERE source_id = :source")


def limit_of(row: Any, requirements: Requirements) -> int | None:
    """Return after how many seconds the source of *row* counts as silent: its own, else its
    service's; None: never."""
    if row.max_silence_seconds is not None:
        return int(row.max_silence_seconds)
    asked = requirements.of(row.service)
    return asked.max_silence_seconds if asked else None


class Silence:
    """Looks for silence. A message goes out before it is noted that it did, under an id that
    follows from source and last event: a crash in between repeats it, and the broker drops it."""

    def __init__(
        self, engine: AsyncEngine, bus: Bus, requirements: Requirements, clock: Clock
    ) -> None:
        self._engine, self._bus, self._requirements = engine, bus, requirements
        self._clock = clock
        self._began = clock()

    async def look_once(self) -> int:
        """Tell what has changed; return 0."""
        now = self._clock()
        async with self._engine.connect() as connection:
            rows = (await connection.execute(_SOURCES)).all()
        silent = 0
        for row in rows:
            limit = limit_of(row, self._requirements)
            last = row.last_received_at or row.created_at
            # While ingest was down nobody could be heard, so silence counts from its start on.
            quiet = (now - max(last, self._began)).total_seconds()
            is_silent = limit is not None and quiet > limit
            still = row.silent_since is not None and (now - last).total_seconds() > (limit or 0)
            if row.silent_since is None and is_silent:
                await self._tell_silent(row, last, limit or 0, now)
            elif row.silent_since is not None and (limit is None or not still):
                await self._tell_resumed(row, last, now)
            silent += is_silent or (limit is not None and still)
        _silent.set(silent)
        return 0

    async def _tell_silent(self, row: Any, last: datetime, limit: int, now: datetime) -> None:
        log.warning("log source silent", source=row.id, last_event=str(last), limit=limit)
        event = LogSourceSilentV1(
            event_id=derived_id("source-silent", row.id, last.isoformat()),
            occurred_at=now,
            source_id=row.id,
            kind=row.kind,
            service=row.service,
            tenant=row.tenant,
            region=row.region,
            datacenter=row.datacenter,
            server=row.server,
            last_received_at=row.last_received_at,
            silent_since=last,
            max_silence_seconds=limit,
        )
        await self._bus.publish(outgoing(event, source="ingest"), stream=SOURCES.name)
        await self._write(_MARK, {"source": row.id, "last": last, "since": last})

    async def _tell_resumed(self, row: Any, last: datetime, now: datetime) -> None:
        event = LogSourceResumedV1(
            event_id=derived_id("source-resumed", row.id, row.silent_since.isoformat()),
            occurred_at=now,
            source_id=row.id,
            silent_since=row.silent_since,
            last_received_at=last,
        )
        await self._bus.publish(outgoing(event, source="ingest"), stream=SOURCES.name)
        await self._write(_UNMARK, {"source": row.id})

    async def _write(self, statement: Any, values: dict[str, Any]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(statement, values)
