"""What comes in by a door becomes a report at the desk: once for one thing, anew after its end."""

import hashlib
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.doors.alert import Alert
from services.escalate.doors.register import Door
from services.escalate.support.case import Note, RefusedError
from services.escalate.support.desk import Desk, Report
from shared.ids import derived_id

__all__ = ["MOST_NEW", "TooManyReportsError", "take"]

# Each new thing pages somebody. What a tool cannot group itself in this number is no report.
MOST_NEW, SPAN = 60, timedelta(minutes=1)

log = structlog.get_logger()

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
_KNOWN = text(
    "SELECT generation, case_id, resolved FROM door_reports WHERE door = :door AND key = :key"
)
_KEEP = text(
    "INSERT INTO door_reports (door, key, generation, case_id, last_at)"
    " VALUES (:door, :key, :generation, :case, :now) ON CONFLICT (door, key) DO UPDATE SET"
    " generation = EXCLUDED.generation, case_id = EXCLUDED.case_id, resolved = false, times = 1,"
    " last_at = EXCLUDED.last_at"
)
_AGAIN = text(
    "UPDATE door_reports SET times = times + 1, last_at = :now WHERE door = :door AND key = :key"
)
_LATELY = text(
    "SELECT count(*) FROM door_reports WHERE door = :door AND times = 1 AND last_at > :since"
)
_OVER = text(
    "UPDATE door_reports SET resolved = true, last_at = :now WHERE door = :door AND key = :key"
)


class TooManyReportsError(Exception):
    """The door has told of 60 new things within a minute; nothing was kept."""


async def take(
    connection: AsyncConnection,
    desk: Desk,
    door: Door,
    alert: Alert,
    now: datetime,
    reporter: str = "",
) -> UUID | None:
    """Open a report for what is new; count what is known; note what its sender calls over.

    Returns the case if it was opened. *reporter*: who the door says it is, if not itself.

    TooManyReportsError when that would be too many. What nobody has heard of needs neither an
    acknowledgement nor an end, so those are let go.
    """
    key = hashlib.sha256(alert.key.encode("utf-8", "replace")).hexdigest()
    about = {"door": door.name, "key": key, "now": now}
    await connection.execute(_LOCK, {"key": f"door {door.name} {key}"})
    known = (
        await connection.execute(_KNOWN, {"door": door.name, "key": key})
    ).one_or_none()  # fmt: skip
    actor = f"door:{door.name}"
    if alert.action == "trigger":
        if known is not None and not known.resolved:
            await connection.execute(_AGAIN, about)
            return None
        if await connection.scalar(_LATELY, {**about, "since": now - SPAN}) >= MOST_NEW:
            raise TooManyReportsError
        generation = known.generation + 1 if known else 1
        case_id = derived_id("report-of-door", door.name, key, generation)
        report = Report(
            source_kind=door.source_kind,
            title=alert.title,
            statement=alert.statement,
            reporter=reporter or actor,
            tenant=door.tenant,
            services=door.services or alert.services,
            regions=door.regions,
        )
        await desk.open(connection, case_id, report, key, now)
        await connection.execute(_KEEP, {**about, "generation": generation, "case": case_id})
        return case_id
    if known is None or known.resolved:
        return None
    try:
        if alert.action == "acknowledge":
            await desk.acknowledge(connection, known.case_id, actor, now)
            return None
        await connection.execute(_OVER, about)
        said = Note(text="The sender says that it is over.")
        await desk.do(connection, known.case_id, said, actor, now, f"over:{known.generation}")
    except RefusedError as refused:
        log.info("nobody waits for this", case_id=str(known.case_id), code=refused.code)
    return None
