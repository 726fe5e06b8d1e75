"""V-teams that nobody forms: the duty manager is paged, once an escalation (R25a, §2.1)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.pages import end_chains, order_page
from services.escalate.proposal import Policies
from services.escalate.sighting import printable
from shared.clock import Clock, rfc3339
from shared.contracts.cases import (
    IncidentClosedV1,
    IncidentDismissedV1,
    IncidentEscalatedV1,
    IncidentEvent,
    IncidentMergedV1,
    IncidentUnmergedV1,
    VTeamFormedV1,
)
from shared.ids import derived_id

__all__ = ["AssemblyWatch", "await_v_team"]

UNTOLD = "SEV2"
"""How urgent an escalation is whose severity has not been heard of: the message was lost."""

_OPEN = text(
    "INSERT INTO v_team_gates (incident_id, opened_at, owning_team) VALUES (:id, :now, :team)"
    " ON CONFLICT DO NOTHING"
)
# Also before it was opened: a lost message that comes again after those that followed it opens
# nothing (ADR 0021).
_CLOSE = text(
    "INSERT INTO v_team_gates AS g (incident_id, opened_at, owning_team, closed_at)"
    " VALUES (:id, :now, '', :now) ON CONFLICT (incident_id) DO UPDATE"
    " SET closed_at = coalesce(g.closed_at, EXCLUDED.closed_at)"
)
_AGAIN = text(
    "UPDATE v_team_gates SET closed_at = NULL, opened_at = :now"
    " WHERE incident_id = :id AND closed_at IS NOT NULL AND told_at IS NULL"
)
_DUE = text(
    "SELECT g.incident_id, g.opened_at, g.owning_team, i.severity,"
    " coalesce(nullif(i.number, ''), g.incident_id::text) AS number"
    " FROM v_team_gates g LEFT JOIN incidents i ON i.id = g.incident_id"
    " JOIN unnest(CAST(:levels AS text[]), CAST(:minutes AS float8[])) AS t (level, minutes)"
    " ON t.level = coalesce(i.severity, :untold)"
    " WHERE g.closed_at IS NULL AND g.told_at IS NULL"
    " AND g.opened_at + t.minutes * interval '1 minute' <= :now"
    " ORDER BY g.opened_at LIMIT 1 FOR UPDATE OF g SKIP LOCKED"
)
_TOLD = text("UPDATE v_team_gates SET told_at = :now WHERE incident_id = :id")


async def await_v_team(connection: AsyncConnection, event: IncidentEvent, now: datetime) -> None:
    """Wait for the v-team from the escalation on, until it is formed or the incident ends.

    From when it was heard of: that is when security response is paged.
    """
    values: dict[str, Any] = {"id": event.incident_id, "now": now}
    match event:
        case IncidentEscalatedV1():
            await connection.execute(_OPEN, {**values, "team": printable(event.owning_team)})
        case VTeamFormedV1():
            await connection.execute(_CLOSE, values)
            await end_chains(connection, event.incident_id, "v-team formed", now, asks="v_team")
        case IncidentDismissedV1() | IncidentClosedV1() | IncidentMergedV1():
            await connection.execute(_CLOSE, values)
            await end_chains(connection, event.incident_id, "incident over", now, asks="v_team")
        case IncidentUnmergedV1(state="escalated"):
            await connection.execute(_AGAIN, values)
        case _:
            return


class AssemblyWatch:
    """The work of a reconciler: one v-team that is waited for a run.

    When it is due follows from the row and from the severity that it has now, so a restart forgets
    nothing and a severity that was raised shortens the wait.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        policies: Callable[[], Policies],
        channel: str,
        minutes: Mapping[str, float],
        clock: Clock,
        on_page: Callable[[], None],
    ) -> None:
        self._engine, self._policies, self._channel = engine, policies, channel
        self._minutes, self._clock, self._on_page = minutes, clock, on_page

    async def once(self) -> int:
        """Page the duty manager for the v-team that is missing longest; return 0 or 1."""
        async with self._engine.begin() as connection:
            now = self._clock()
            values = {
                "levels": list(self._minutes),
                "minutes": list(self._minutes.values()),
                "untold": UNTOLD,
                "now": now,
            }
            row = (await connection.execute(_DUE, values)).one_or_none()
            if row is None:
                return 0
            owner = row.owning_team or "security response"
            await order_page(
                connection,
                derived_id("v-team-missing", row.incident_id),
                row.incident_id,
                self._policies().directory.teams["duty_manager"],
                self._channel,
                f"{row.number} ({row.severity or 'SEV?'}) waits for its v-team since"
                f" {rfc3339(row.opened_at)}: act for {owner}, who did not form it",
                now,
                severity=row.severity,
                asks="v_team",
            )
            await connection.execute(_TOLD, {"id": row.incident_id, "now": now})
        self._on_page()
        return 1
