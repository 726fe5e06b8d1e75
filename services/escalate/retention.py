"""What triage forgets in time: groups that came to nothing or are over, and risk that has faded.

An incident that is open keeps its group and all that was merged into it, storms as well. Of the
others a group goes with its detections and its members once nothing was written to it for so many
days, unless its incident is under legal hold; the incident's log has the proposal and its evidence,
detect has the detections. Suppressions stay as long after their end, and so long it is remembered
which messages were handled, one by one; before that, by their time. Pages, support cases and
escalations are records: they stay.
"""

from datetime import timedelta
from typing import Any

from prometheus_client import Counter
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.standing import FADED
from shared.clock import Clock

__all__ = ["AT_ONCE", "Retention"]

AT_ONCE = 2_000
"""Rows of one kind in one transaction."""
GROUPS = 200

_forgotten = Counter("tocsin_escalate_forgotten_total", "Rows forgotten by age", ["table"])

# A group that is chosen is closed first, so that nothing joins it while it goes: that may take many
# transactions, as a storm has thousands of members.
_CLOSE = text(
    "UPDATE detection_groups SET closed_at = :now FROM (SELECT id FROM detection_groups"
    " WHERE merged_into IS NULL AND closed_at IS NULL AND proposed_at IS NULL"
    " AND changed_at < :before AND (snoozed_until IS NULL OR snoozed_until < :now)"
    " ORDER BY changed_at LIMIT :n FOR UPDATE SKIP LOCKED) AS old"
    " WHERE detection_groups.id = old.id"
)
_OVER = text(
    "SELECT id FROM detection_groups WHERE merged_into IS NULL AND closed_at IS NOT NULL"
    " AND changed_at < :before AND (proposed_at IS NULL OR closed_at < :before)"
    # What legal holds of an incident stays, however long ago it ended.
    " AND NOT EXISTS (SELECT FROM incidents AS i WHERE i.id = incident_id"
    " AND i.facts::jsonb ->> 'legal_hold' = 'true')"
    " ORDER BY changed_at LIMIT :groups FOR UPDATE SKIP LOCKED"
)
_DETECTIONS = text(
    "DELETE FROM detections WHERE id IN (SELECT d.id FROM detections AS d"
    " JOIN detection_groups AS g ON g.id = d.group_id"
    " WHERE g.id = ANY(CAST(:ids AS uuid[])) OR g.merged_into = ANY(CAST(:ids AS uuid[])) LIMIT :n)"
)
_MEMBERS = text(
    "DELETE FROM detection_groups WHERE id IN (SELECT id FROM detection_groups"
    " WHERE merged_into = ANY(CAST(:ids AS uuid[])) LIMIT :n)"
)
_GROUPS = text("DELETE FROM detection_groups WHERE id = ANY(CAST(:ids AS uuid[]))")
_OTHERS = (
    (
        # Faded so far that it adds nothing: whoever is detected again begins as one that is new.
        "entity_risk",
        text(
            "DELETE FROM entity_risk WHERE key IN (SELECT key FROM entity_risk"
            " WHERE risk_at < :before AND (risk + 1) * power(0.5, CAST(extract(epoch FROM"
            " CAST(:now AS timestamptz) - risk_at) AS float8) / CAST(:half_life AS float8))"
            " < CAST(:faded AS float8) LIMIT :n FOR UPDATE SKIP LOCKED)"
        ),
    ),
    (
        "triage_suppressions",
        text(
            "DELETE FROM triage_suppressions WHERE id IN (SELECT id FROM triage_suppressions"
            " WHERE expires_at < :before LIMIT :n)"
        ),
    ),
    (
        # The broker keeps nothing for longer than 30 days; what it is filled with anew, having lost
        # its data, is known by when it happened. The day is for clocks that differ.
        "inbox",
        text(
            "WITH old AS (SELECT consumer, event_id FROM inbox"
            " WHERE received_at < CAST(:before AS timestamptz) - interval '1 day' LIMIT :n),"
            " floors AS (INSERT INTO inbox_floors AS f (consumer, until)"
            " SELECT DISTINCT consumer, CAST(:before AS timestamptz) FROM old"
            " ON CONFLICT (consumer) DO UPDATE SET until = greatest(f.until, EXCLUDED.until))"
            " DELETE FROM inbox USING old"
            " WHERE inbox.consumer = old.consumer AND inbox.event_id = old.event_id"
        ),
    ),
)


class Retention:
    """The work of a reconciler: forgets a little at a time."""

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Clock,
        kept: timedelta,
        half_life: timedelta,
        at_once: int = AT_ONCE,
    ) -> None:
        self._engine, self._clock, self._at_once = engine, clock, at_once
        self._kept, self._half_life = kept, half_life

    async def once(self) -> int:
        """Forget at most so many rows of each kind; return how many it was."""
        now = self._clock()
        given: dict[str, Any] = {
            "now": now,
            "before": now - self._kept,
            "n": self._at_once,
            "groups": min(GROUPS, self._at_once),
            "half_life": self._half_life.total_seconds(),
            "faded": FADED,
        }
        async with self._engine.begin() as connection:
            await connection.execute(_CLOSE, _for(_CLOSE, given))
            done = await self._forget_groups(connection, given)
        for table, statement in _OTHERS:
            async with self._engine.begin() as connection:
                done += await self._delete(connection, table, statement, given)
        return done

    async def _forget_groups(self, connection: AsyncConnection, given: dict[str, Any]) -> int:
        """Forget detections, then members, then the groups themselves, as many as at once."""
        ids = (await connection.execute(_OVER, _for(_OVER, given))).scalars().all()
        done = 0
        for table, statement in (
            ("detections", _DETECTIONS),
            ("detection_groups", _MEMBERS),
            ("detection_groups", _GROUPS),
        ):
            rows = await self._delete(connection, table, statement, {**given, "ids": ids})
            done += rows
            if rows >= self._at_once and statement is not _GROUPS:
                break  # there may be more, and what refers to a row goes before it
        return done

    async def _delete(
        self, connection: AsyncConnection, table: str, statement: TextClause, given: dict[str, Any]
    ) -> int:
        rows = (await connection.execute(statement, _for(statement, given))).rowcount
        if rows:
            _forgotten.labels(table).inc(rows)
        return rows


def _for(statement: TextClause, given: dict[str, Any]) -> dict[str, Any]:
    """Return of *given* what *statement* names."""
    return {name: given[name] for name in statement.compile().params}
