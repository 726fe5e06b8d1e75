"""Reconciler: obligations whose time runs out → warnings; no clock is missed silently (§4.1)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.notify.obligations.lifecycle import alarms
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.base import Contract
from shared.contracts.notify import ObligationDueSoonV1, ObligationOverdueV1
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["AlarmClock"]

BATCH = 200
log = structlog.get_logger()
_given = Counter("tocsin_notify_obligation_alarms_total", "Warnings of obligations", ["level"])
_overdue = Gauge("tocsin_notify_obligations_overdue", "Open obligations past their deadline")

_DUE = text(
    "SELECT obligation_id, incident_id, regime, phase, recipient, tenant, stage, clock_at, due_at,"
    " reopened FROM obligation_board WHERE next_alarm_at <= :now ORDER BY next_alarm_at LIMIT :n"
    " FOR UPDATE SKIP LOCKED"
)
_NEXT = text("UPDATE obligation_board SET next_alarm_at = :next WHERE obligation_id = :id")
_LATE = text(
    "SELECT count(*) FROM obligation_board WHERE holder = 'provider' AND due_at < :now"
    " AND stage IN ('undecided', 'triggered', 'drafted', 'approved')"
)


class AlarmClock:
    """Gives each alarm once for a deadline; after a pause only the most urgent of those passed."""

    def __init__(self, engine: AsyncEngine, clock: Clock, on_outgoing: Callable[[], None]) -> None:
        self._engine, self._clock, self._on_outgoing = engine, clock, on_outgoing

    async def ring(self) -> int:
        """Give the alarms that are due; return how many, 0 when there are none."""
        now = self._clock()
        async with self._engine.begin() as connection:
            rows = (await connection.execute(_DUE, {"now": now, "n": BATCH})).all()
            for row in rows:
                await self._give(connection, row, now)
            if not rows:
                _overdue.set((await connection.execute(_LATE, {"now": now})).scalar_one())
        if rows:
            self._on_outgoing()
        return len(rows)

    async def _give(self, connection: AsyncConnection, row: Any, now: datetime) -> None:
        times = alarms(row.clock_at, row.due_at)
        passed = [level for at, level in times if at <= now]
        coming = [at for at, _ in times if at > now]
        values = {"id": row.obligation_id, "next": coming[0] if coming else None}
        await connection.execute(_NEXT, values)
        if not passed:
            return
        level = passed[-1]
        _given.labels(level).inc()
        log.warning(
            "obligation",
            level=level,
            regime=row.regime,
            phase=row.phase,
            tenant=row.tenant,
            due_at=row.due_at.isoformat(),
        )
        await enqueue(connection, [outgoing(_alarm(row, level, now), source="notify")])


def _alarm(row: Any, level: str, now: datetime) -> Contract:
    common: dict[str, Any] = {
        # The same alarm of the same deadline is the same message, however often it is given.
        # Unless it counted as met in between, and the mail came back: then it is news again.
        "event_id": derived_id(
            "obligation-alarm",
            row.obligation_id,
            row.due_at,
            level,
            *([row.reopened] if row.reopened else []),
        ),
        "occurred_at": now,
        "obligation_id": row.obligation_id,
        "incident_id": row.incident_id,
        "regime": row.regime,
        "phase": row.phase,
        "recipient": row.recipient,
        "tenant": row.tenant,
        "due_at": row.due_at,
        "reopened": row.reopened,
    }
    if level == "overdue":
        return ObligationOverdueV1(**common)
    return ObligationDueSoonV1(**common, level=cast(Any, level), state=row.stage)
