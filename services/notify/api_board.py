"""The clock board: every running obligation with the time left, and calendar feeds of it."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text

from services.notify.obligations.lifecycle import OPEN, alarms
from services.notify.state import READERS, snapshot
from shared.auth import Principal, Role, allow, public
from shared.clock import parse_instant, rfc3339
from shared.ids import new_secret
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["clock board"])

FEED_DAYS = 180
MOST_EVENTS = 2000
_WHERE = (
    " (CAST(:incident AS uuid) IS NULL OR b.incident_id = :incident)"
    " AND (CAST(:tenant AS text) IS NULL OR b.tenant = :tenant)"
    " AND (CAST(:regime AS text) IS NULL OR b.regime = :regime)"
    " AND (:customers OR b.holder = 'provider')"
    " AND b.stage = ANY(:stages)"
)
_BOARD = text(
    "SELECT b.*, i.number, b.tenant IS NOT NULL AND EXISTS (SELECT 1 FROM notifications n"  # noqa: S608 - constants only
    "  WHERE n.incident_id = b.incident_id AND n.tenant = b.tenant"
    "  AND n.undeliverable_at IS NOT NULL) AS undeliverable"
    " FROM obligation_board b JOIN incidents i USING (incident_id)"
    f" WHERE {_WHERE} AND (b.due_at, b.obligation_id) > (:after_due, :after_id)"
    " ORDER BY b.due_at, b.obligation_id LIMIT :limit"
)
_ADD_FEED = text(
    "INSERT INTO calendar_feeds (digest, owner, filters, created_at, expires_at)"
    " VALUES (:digest, :owner, :filters, :at, :expires)"
)
_FEED = text(
    "SELECT filters FROM calendar_feeds WHERE digest = :digest AND revoked_at IS NULL"
    " AND expires_at > :now"
)
_REVOKE = text(
    "UPDATE calendar_feeds SET revoked_at = :now WHERE owner = :owner AND revoked_at IS NULL"
)
_BEGINNING = ("0001-01-01T00:00:00Z", UUID(int=0))


class FeedBody(BaseModel):
    """What a calendar shows; left out is: everything that one may read."""

    model_config = ConfigDict(extra="forbid")

    incident_id: UUID | None = None
    tenant: str | None = Field(None, max_length=200)
    regime: str | None = Field(None, max_length=200)


@router.get("/v1/clock-board", summary="What runs, the most urgent first, with the time left")
async def clock_board(
    request: Request,
    _: Annotated[Principal, allow(*READERS)],
    incident_id: UUID | None = None,
    tenant: Annotated[str | None, Query(max_length=200)] = None,
    regime: Annotated[str | None, Query(max_length=200)] = None,
    customers: Annotated[bool, Query(description="their own duties too")] = False,
    done: Annotated[bool, Query(description="also what no longer runs")] = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    after: Annotated[str | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    stages = [*OPEN, *(("submitted", "acknowledged", "waived") if done else ())]
    now = request.state.clock()
    due, last = _cursor(after)
    values = {
        "incident": incident_id,
        "tenant": tenant,
        "regime": regime,
        "customers": customers,
        "stages": [str(stage) for stage in stages],
        "after_due": due,
        "after_id": last,
        "limit": limit,
    }
    async with snapshot(request.state.engine) as connection:
        rows = (await connection.execute(_BOARD, values)).all()
    full = len(rows) == limit
    return {
        "now": rfc3339(now),
        "items": [_shown(row, now) for row in rows],
        "next": f"{rfc3339(rows[-1].due_at)},{rows[-1].obligation_id}" if full else None,
    }


@router.post("/v1/clock-board/feeds", status_code=201, summary="A secret address for a calendar")
async def make_feed(
    request: Request, body: FeedBody, principal: Annotated[Principal, allow(*READERS)]
) -> dict[str, Any]:
    secret, now = new_secret(32), request.state.clock()
    expires = now + timedelta(days=FEED_DAYS)
    values = {
        "digest": _digest(secret),
        "owner": principal.id,
        "filters": body.model_dump_json(exclude_none=True),
        "at": now,
        "expires": expires,
    }
    async with request.state.engine.begin() as connection:
        await connection.execute(_ADD_FEED, values)
    return {"path": f"/v1/feeds/{secret}.ics", "expires_at": rfc3339(expires)}


@router.delete("/v1/clock-board/feeds", status_code=204, summary="End all your calendar addresses")
async def end_feeds(
    request: Request, principal: Annotated[Principal, allow(*READERS, Role.OPERATOR)]
) -> None:
    values = {"now": request.state.clock(), "owner": principal.id}
    async with request.state.engine.begin() as connection:
        await connection.execute(_REVOKE, values)


@router.get(
    "/v1/feeds/{secret}.ics", summary="iCalendar of the clock board; the address is the key"
)
@public
async def feed(request: Request, secret: str) -> Response:
    now = request.state.clock()
    async with snapshot(request.state.engine) as connection:
        lookup = {"digest": _digest(secret), "now": now}
        found = (await connection.execute(_FEED, lookup)).scalar()
        if found is None:
            raise ProblemError(404, "not_found", "There is no such calendar, or not any more.")
        filters = json.loads(found)
        values = {
            "incident": filters.get("incident_id"),
            "tenant": filters.get("tenant"),
            "regime": filters.get("regime"),
            "customers": False,
            "stages": [str(stage) for stage in OPEN],
            "after_due": parse_instant(_BEGINNING[0]),
            "after_id": _BEGINNING[1],
            "limit": MOST_EVENTS,
        }
        rows = (await connection.execute(_BOARD, values)).all()
    return Response(_calendar(rows, now), media_type="text/calendar; charset=utf-8")


def _shown(row: Any, now: datetime) -> dict[str, Any]:
    span = (row.due_at - row.clock_at).total_seconds()
    used = (now - row.clock_at).total_seconds()
    passed = [level for at, level in alarms(row.clock_at, row.due_at) if at <= now]
    running = row.stage in OPEN
    return {
        "obligation_id": str(row.obligation_id),
        "incident_id": str(row.incident_id),
        "number": row.number,
        "regime": row.regime,
        "phase": row.phase,
        "recipient": row.recipient,
        "tenant": row.tenant,
        "holder": row.holder,
        "stage": row.stage,
        "provisional": row.provisional,
        "internal_target": row.internal_target,
        "held": row.held,
        "late_reason_missing": row.late_reason_missing,
        "clock_at": rfc3339(row.clock_at),
        "due_at": rfc3339(row.due_at),
        "seconds_left": int((row.due_at - now).total_seconds()) if running else None,
        "used": round(min(1.0, used / span), 3) if running and span > 0 else None,
        "warning": passed[-1] if running and passed else None,
        "undeliverable": row.undeliverable,
    }


def _calendar(rows: Any, now: datetime) -> bytes:
    from icalendar import Alarm, Calendar, Event  # slow to load, and few ask for calendars

    calendar = Calendar()
    calendar.add("prodid", "-//Tocsin//clock board//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", "Tocsin: legal clocks")
    for row in rows:
        event = Event()
        event.add("uid", f"{row.obligation_id}@tocsin")
        event.add("dtstamp", now)
        event.add("dtstart", row.due_at)
        whom = row.recipient if row.tenant is None else f"{row.recipient} {row.tenant}"
        event.add("summary", f"{row.number}: {row.regime}/{row.phase} due to {whom}")
        event.add("description", f"{row.stage}{', provisional' if row.provisional else ''}")
        warning = Alarm()
        warning.add("action", "DISPLAY")
        warning.add("description", "due in two hours")
        warning.add("trigger", timedelta(hours=-2))
        event.add_component(warning)
        calendar.add_component(event)
    return bytes(calendar.to_ical())


def _cursor(after: str | None) -> tuple[datetime, UUID]:
    try:
        due, _, last = (after or ",".join(map(str, _BEGINNING))).partition(",")
        return parse_instant(due), UUID(last)
    except ValueError:
        raise ProblemError(422, "malformed", "after is not a cursor of this list.") from None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
