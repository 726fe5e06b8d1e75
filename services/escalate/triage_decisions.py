"""What people decide in triage: suppress with expiry, snooze; each is an event (R05)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.desk import Verdict
from services.escalate.group_codec import from_row
from services.escalate.proposal import Policies
from services.escalate.store import GROUP_COLUMNS
from services.escalate.triage import propose_all
from shared.clock import Clock
from shared.cloudevents import outgoing
from shared.contracts.escalate import TriageDecidedV1, TriageDecision
from shared.ids import derived_id
from shared.outbox import enqueue

__all__ = ["MOST_SUPPRESSIONS", "end_suppression", "snooze", "suppress", "wake_one"]

MOST_SUPPRESSIONS = 1_000

_COUNT = text(
    "SELECT count(*) FROM triage_suppressions WHERE ended_at IS NULL AND expires_at > :now"
)
_SUPPRESS = text(
    "INSERT INTO triage_suppressions (id, rule_id, kind, value, tenant, reason, created_by,"
    " created_at, expires_at) VALUES (:id, :rule_id, :kind, :value, :tenant, :reason, :who, :now,"
    " :expires_at)"
)
_END = text(
    "UPDATE triage_suppressions SET ended_at = :now, ended_by = :who"
    " WHERE id = :id AND ended_at IS NULL AND expires_at > :now"
)
_SNOOZE = text(
    "UPDATE detection_groups SET snoozed_until = :until, snoozed_by = :who,"
    " snooze_reason = :reason, tell_after = CASE WHEN proposed_at IS NULL THEN tell_after"
    " ELSE CAST(:until AS timestamptz) END"
    " WHERE id = :id AND merged_into IS NULL AND closed_at IS NULL"
)
_AWAKE = text(
    f"SELECT {GROUP_COLUMNS} FROM detection_groups AS g"  # noqa: S608 - our own names
    " WHERE g.snoozed_until <= :now AND g.proposed_at IS NULL AND g.merged_into IS NULL"
    " AND g.closed_at IS NULL AND g.risk >= :threshold"
    " ORDER BY g.snoozed_until LIMIT 1 FOR UPDATE OF g SKIP LOCKED"
)


async def suppress(engine: AsyncEngine, row: dict[str, Any]) -> bool:
    """Keep a suppression and tell of it; False where there are too many in force."""
    async with engine.begin() as connection:
        if (await connection.scalar(_COUNT, {"now": row["now"]}) or 0) >= MOST_SUPPRESSIONS:
            return False
        await connection.execute(_SUPPRESS, row)
        named = {k: row[k] for k in ("rule_id", "kind", "value", "tenant") if row[k] is not None}
        await _tell(
            connection, "suppressed", row["id"], row["who"], row["reason"], row["now"],
            until=row["expires_at"], matching=named,
        )  # fmt: skip
    return True


async def end_suppression(
    engine: AsyncEngine, suppression_id: UUID, who: str, reason: str, now: datetime
) -> bool:
    """End a suppression before its time; False if none of that id is in force."""
    async with engine.begin() as connection:
        row = {"id": suppression_id, "who": who, "now": now}
        if (await connection.execute(_END, row)).rowcount == 0:
            return False
        await _tell(connection, "suppression_ended", suppression_id, who, reason, now)
    return True


async def snooze(
    engine: AsyncEngine, group_id: UUID, until: datetime, who: str, reason: str, now: datetime
) -> bool:
    """Let a group rest: it goes on counting, and is neither proposed nor told of until then.

    False if there is no such open group. An instant that is not after *now* wakes it.
    """
    decision: TriageDecision = "snoozed" if until > now else "woken"
    async with engine.begin() as connection:
        row = {"id": group_id, "until": until, "who": who, "reason": reason}
        if (await connection.execute(_SNOOZE, row)).rowcount == 0:
            return False
        await _tell(connection, decision, group_id, who, reason, now, until=until)
    return True


async def wake_one(engine: AsyncEngine, policies: Policies, channel: str, clock: Clock) -> int:
    """Propose one group whose rest is over and that is over the threshold; return how many."""
    rules = policies.rules
    async with engine.begin() as connection:
        now = clock()
        due = {"now": now, "threshold": rules.threshold}
        row = (await connection.execute(_AWAKE, due)).one_or_none()
        if row is None:
            return 0
        group = from_row(row)
        weightiest = min(group.tallies, key=lambda rule: (-group.tallies[rule].top, rule))
        verdict = Verdict(group, "group", weightiest)
        await propose_all(connection, [verdict], {}, policies, channel, now)
    return 1


async def _tell(
    connection: AsyncConnection,
    decision: TriageDecision,
    subject: UUID,
    who: str,
    reason: str,
    now: datetime,
    *,
    until: datetime | None = None,
    matching: dict[str, str] | None = None,
) -> None:
    event = TriageDecidedV1(
        event_id=derived_id("triage-decided", decision, subject, who, now.isoformat()),
        occurred_at=now,
        subject_id=subject,
        decision=decision,
        decided_by=who,
        reason=reason,
        until=until,
        matching=matching or {},
    )
    await enqueue(connection, [outgoing(event, source="escalate")])
