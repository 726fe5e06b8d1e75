"""Severities that nobody sets: the service team is reminded, then the duty manager acts (R23)."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.pages import order_page
from services.escalate.proposal import Policies
from services.escalate.sighting import printable
from shared.clock import Clock
from shared.contracts.cases import (
    IncidentClosedV1,
    IncidentDismissedV1,
    IncidentEvent,
    IncidentMergedV1,
    IncidentOpenedV1,
    SeveritySetV1,
)
from shared.ids import derived_id

__all__ = ["MOST_STEPS", "SilenceWatch", "keep_gate", "request_of"]

MOST_STEPS = 6
MOST_TEAMS = 5

_OPEN = text(
    "INSERT INTO severity_gates (incident_id, opened_at) VALUES (:id, :now) ON CONFLICT DO NOTHING"
)
# Also before it was opened: an opening that the broker had lost comes late (ADR 0021).
_CLOSE = text(
    "INSERT INTO severity_gates AS g (incident_id, opened_at, closed_at) VALUES (:id, :now, :now)"
    " ON CONFLICT (incident_id) DO UPDATE SET closed_at = coalesce(g.closed_at, EXCLUDED.closed_at)"
)
_DUE = text(
    "SELECT g.incident_id, g.step, i.number, i.title, i.services, d.proposal FROM severity_gates g"
    " JOIN incidents i ON i.id = g.incident_id"
    " LEFT JOIN detection_groups d ON d.incident_id = g.incident_id"
    " WHERE g.closed_at IS NULL AND g.step < :most"
    " AND g.opened_at + (g.step + 1) * make_interval(secs => :patience) <= :now"
    " ORDER BY g.opened_at LIMIT 1 FOR UPDATE OF g SKIP LOCKED"
)
_STEP = text("UPDATE severity_gates SET step = step + 1 WHERE incident_id = :id")


async def keep_gate(connection: AsyncConnection, event: IncidentEvent, now: datetime) -> None:
    """Wait for the severity from an incident's opening until it is set, or the incident ends."""
    match event:
        case IncidentOpenedV1():
            await connection.execute(_OPEN, {"id": event.incident_id, "now": now})
        case SeveritySetV1() | IncidentDismissedV1() | IncidentClosedV1() | IncidentMergedV1():
            await connection.execute(_CLOSE, {"id": event.incident_id, "now": now})
        case _:
            return


def request_of(number: str, title: str, proposal: str | None, absent: str = "") -> str:
    """Return what is asked of who is paged: the proposal with its reasons, heaviest first."""
    asked = f"set the severity of {number}: {printable(title, 120)}"
    if absent:
        asked = f"act for {absent}, who did not: {asked}"
    if proposal is None:
        return asked
    severity: dict[str, Any] = json.loads(proposal)["severity"]
    told = sorted(severity["contributions"], key=lambda c: -c["points"])
    reasons = [f"{c['criterion']} {c['value']} {c['points']}" for c in told if c["points"]]
    unknown = f"; unknown: {', '.join(found)}" if (found := severity["unknown_inputs"]) else ""
    return f"{asked}. Proposed {severity['level']} ({', '.join(reasons)}{unknown})"


class SilenceWatch:
    """The work of a reconciler: one severity that is waited for a run.

    When it is due follows from the row, so a restart forgets nothing and a reminder is given once.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        policies: Callable[[], Policies],
        channel: str,
        patience: timedelta,
        clock: Clock,
        on_page: Callable[[], None],
    ) -> None:
        self._engine, self._policies, self._channel = engine, policies, channel
        self._patience, self._clock, self._on_page = patience, clock, on_page

    async def once(self) -> int:
        """Remind of the severity that is missing longest; return how many (0 or 1)."""
        async with self._engine.begin() as connection:
            now = self._clock()
            values = {"now": now, "patience": self._patience.total_seconds(), "most": MOST_STEPS}
            row = (await connection.execute(_DUE, values)).one_or_none()
            if row is None:
                return 0
            directory = self._policies().directory
            teams = directory.teams_of(row.services)[:MOST_TEAMS]
            reason = request_of(row.number, row.title, row.proposal)
            if row.step > 0:
                absent = ", ".join(teams)
                reason = request_of(row.number, row.title, row.proposal, absent)
                teams = (directory.teams["duty_manager"],)
            cause = derived_id("severity-missing", row.incident_id, row.step)
            for team in teams:
                await order_page(
                    connection, cause, row.incident_id, team, self._channel, reason, now,
                    asks="severity",
                )  # fmt: skip
            await connection.execute(_STEP, {"id": row.incident_id})
        self._on_page()
        return 1
