"""Verdicts on incidents become verdicts on the rules that opened them (R04a)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.detect.detection import RISK, level_of
from services.detect.lifecycle.domain import Event, Managed
from services.detect.lifecycle.precision import Precision
from services.detect.lifecycle.store import change_in
from services.detect.rules.load import LoadReport

__all__ = ["precision_of", "ranked", "record_verdicts"]

_VERDICT = text(
    "INSERT INTO rule_verdicts (rule_id, incident_id, malicious, at)"
    " VALUES (:rule, :incident, :malicious, :at) ON CONFLICT (rule_id, incident_id)"
    " DO UPDATE SET malicious = excluded.malicious, at = excluded.at"
)
_COUNTS = (
    "SELECT rule_id, count(*) FILTER (WHERE malicious) AS malicious,"
    " count(*) FILTER (WHERE NOT malicious) AS benign FROM rule_verdicts"
)
_ALL = text(f"{_COUNTS} GROUP BY rule_id")
_ONE = text(f"{_COUNTS} WHERE rule_id = :rule GROUP BY rule_id")


async def precision_of(connection: AsyncConnection, rule_id: str) -> Precision:
    """Return the verdicts on one rule."""
    row = (await connection.execute(_ONE, {"rule": rule_id})).one_or_none()
    return Precision(row.malicious, row.benign) if row else Precision(0, 0)


async def record_verdicts(
    connection: AsyncConnection, rule_ids: Sequence[str], incident: UUID, malicious: bool,
    at: datetime,
) -> None:  # fmt: skip
    """Record what an incident turned out to be for the rules behind it, as events of each rule.

    In the caller's transaction. The verdict on an incident may change; it counts once.
    """
    for rule_id in sorted(set(rule_ids)):
        before = await precision_of(connection, rule_id)
        await connection.execute(
            _VERDICT, {"rule": rule_id, "incident": incident, "malicious": malicious, "at": at}
        )
        after = await precision_of(connection, rule_id)
        if before == after or not _is_uuid(rule_id):
            continue
        event = Event(
            "precision_changed", "detect", at,
            {
                "incident_id": str(incident), "malicious": malicious, "real": after.real,
                "false": after.false, "lower_bound": round(after.lower_bound, 4),
                "before": round(before.lower_bound, 4),
            },
        )  # fmt: skip

        def tell(_: Managed, event: Event = event) -> Event:
            return event

        await change_in(connection, rule_id, tell)


async def ranked(engine: AsyncEngine, report: LoadReport) -> list[dict[str, Any]]:
    """Return the rules in force by rank: the impact they claim, weighed by their precision."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_ALL)).all()
    precisions = {row.rule_id: Precision(row.malicious, row.benign) for row in rows}
    items = []
    for rule in report.loaded:
        if rule.id in report.plan.silent:
            continue
        precision = precisions.get(rule.id, Precision(0, 0))
        items.append(
            {
                "rule_id": rule.id,
                "title": rule.title,
                "level": level_of(rule.level),
                "real": precision.real,
                "false": precision.false,
                "precision": precision.share,
                "lower_bound": round(precision.lower_bound, 4),
                "rank": precision.rank(RISK[level_of(rule.level)]),
            }
        )
    return sorted(items, key=lambda item: (-item["rank"], item["rule_id"]))


def _is_uuid(text_: str) -> bool:
    try:
        UUID(text_)
    except ValueError:
        return False
    return True
