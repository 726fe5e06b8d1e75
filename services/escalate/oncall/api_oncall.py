"""Who is on call, the gaps, what is covered, overrides, calendars (§6)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictStr

from services.escalate.directory import Directory
from services.escalate.oncall.calendars import CalendarError, read_calendar, write_calendar
from services.escalate.oncall.coverage import AHEAD, Finding, coverage, gap_report
from services.escalate.oncall.overrides import (
    NewOverride,
    add_override,
    cancel_override,
    listed,
    overrides,
)
from services.escalate.oncall.roster import Roster
from services.escalate.oncall.rotation import Schedule, shifts
from services.escalate.state import ASSESSORS
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.ids import derived_id, uuid7
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["on call"])
Reader = Annotated[Principal, allow(*ASSESSORS)]
Planner = Annotated[
    Principal,
    allow(
        Role.SERVICE_TEAM, Role.SECURITY_RESPONSE, Role.INCIDENT_COMMUNICATIONS,
        Role.SUBJECT_MATTER_EXPERT, Role.LEGAL, Role.EXECUTIVE_INCIDENT_MANAGER,
        Role.DUTY_MANAGER, Role.POLICY_ADMIN,
    ),
]  # fmt: skip
Days = Annotated[int, Query(ge=1, le=366)]
At = Annotated[AwareDatetime | None, Query(description="RFC 3339; default: now")]
LONGEST = timedelta(days=366)


class OverrideBody(BaseModel):
    """*person* instead of whoever the layers name."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schedule: StrictStr
    person: StrictStr
    start: AwareDatetime = Field(alias="from")
    end: AwareDatetime = Field(alias="to")
    reason: StrictStr = Field(min_length=1, max_length=500)


@router.get("/v1/oncall", summary="First and second on call of every team")
async def who(request: Request, _: Reader, at: At = None) -> dict[str, Any]:
    when = at or request.state.clock()
    roster = await _roster(request, when)
    items = []
    for team in roster.teams.values():
        first, second = roster.on_duty(team, when)
        items.append(
            {
                "team": team.name,
                "kind": team.kind,
                "primary": first,
                "secondary": second,
                "lead": team.lead,
            }
        )
    return {"at": rfc3339(when), "items": items}


@router.get("/v1/oncall/schedules/{name}.ics", summary="The shifts of a schedule as iCalendar")
async def schedule_calendar(request: Request, name: str, _: Reader, days: Days = 90) -> Response:
    now = request.state.clock()
    roster = await _roster(request, now)
    found = shifts(_schedule(roster, name), now, now + timedelta(days=days))
    body = write_calendar(name, found, roster.people, now)
    return Response(body, media_type="text/calendar; charset=utf-8")


@router.get("/v1/oncall/schedules/{name}", summary="The shifts of a schedule")
async def schedule(
    request: Request,
    name: str,
    _: Reader,
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    days: Days = 30,
) -> dict[str, Any]:
    begin = start or request.state.clock()
    roster = await _roster(request, begin)
    found = shifts(_schedule(roster, name), begin, begin + timedelta(days=days))
    return {
        "schedule": name,
        "items": [
            {
                "from": rfc3339(shift.start),
                "to": rfc3339(shift.end),
                "person": shift.person,
                "by": shift.source,
            }
            for shift in found
        ],
    }


@router.get("/v1/oncall/gaps", summary="When nobody is on call in the next 30 days")
async def gap_list(request: Request, _: Reader, days: Days = AHEAD.days) -> dict[str, Any]:
    now, directory = request.state.clock(), _directory(request)
    end = now + timedelta(days=days)
    roster = await _roster(request, now)
    return _findings(gap_report(roster, directory.critical_teams(), now, end), now, end)


@router.get("/v1/oncall/coverage", summary="Components, services, kinds with nobody competent")
async def coverage_list(request: Request, _: Reader, days: Days = AHEAD.days) -> dict[str, Any]:
    now, directory = request.state.clock(), _directory(request)
    end = now + timedelta(days=days)
    roster = await _roster(request, now)
    found = coverage(roster, directory.service_teams, directory.teams, now, end)
    return _findings(found, now, end)


@router.get("/v1/oncall/overrides", summary="Overrides in force and to come, and cancelled ones")
async def override_list(request: Request, _: Reader) -> dict[str, Any]:
    since = request.state.clock() - AHEAD
    async with request.state.engine.connect() as connection:
        return {"items": await listed(connection, since)}


@router.post("/v1/oncall/overrides", status_code=201, summary="Somebody else for a while")
async def override_add(
    request: Request,
    body: OverrideBody,
    principal: Planner,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> dict[str, Any]:
    identity = derived_id("override", principal.id, idempotency_key) if idempotency_key else uuid7()
    wanted = NewOverride(identity, body.schedule, body.person, body.start, body.end, body.reason)
    _check(request, [wanted])
    async with request.state.engine.begin() as connection:
        await add_override(connection, wanted, principal.id, request.state.clock())
    return {"override_id": str(identity)}


@router.delete("/v1/oncall/overrides/{override_id}", status_code=204, summary="Cancel an override")
async def override_cancel(request: Request, override_id: UUID, principal: Planner) -> None:
    async with request.state.engine.begin() as connection:
        now = request.state.clock()
        if not await cancel_override(connection, override_id, principal.id, now):
            raise ProblemError(404, "not_found", "There is no such override in force.")


@router.post(
    "/v1/oncall/schedules/{name}/import",
    summary="Each event of an iCalendar becomes an override; all or none",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"text/calendar": {"schema": {"type": "string"}}},
        }
    },
)
async def calendar_import(request: Request, name: str, principal: Planner) -> dict[str, Any]:
    roster = _directory(request).roster
    zone = _schedule(roster, name).layers[0].zone
    try:
        entries = read_calendar(await request.body(), roster.people, zone)
    except CalendarError as error:
        raise ProblemError(422, "malformed", f"{error}.") from error
    wanted = [
        NewOverride(
            derived_id("override", name, e.uid, e.person, rfc3339(e.start), rfc3339(e.end)),
            name,
            e.person,
            e.start,
            e.end,
            "imported from a calendar",
        )
        for e in entries
    ]
    _check(request, wanted)
    added = 0
    async with request.state.engine.begin() as connection:
        for one in wanted:
            added += await add_override(connection, one, principal.id, request.state.clock())
    return {"events": len(wanted), "added": added}


def _check(request: Request, wanted: Sequence[NewOverride]) -> None:
    roster = _directory(request).roster
    for override in wanted:
        problem = None
        if override.schedule not in roster.schedules:
            problem = ("body.schedule", f"there is no schedule {override.schedule!r}")
        elif override.person not in roster.people:
            problem = ("body.person", f"there is no person {override.person!r}")
        elif not override.start < override.end <= override.start + LONGEST:
            problem = ("body.to", "must be after `from`, within a year")
        if problem:
            at, why = problem
            raise ProblemError(
                422, "malformed", f"{at}: {why}.", errors=[{"at": at, "problem": why}]
            )


def _directory(request: Request) -> Directory:
    directory: Directory = request.state.book.current.directory
    return directory


async def _roster(request: Request, since: datetime) -> Roster:
    async with request.state.engine.connect() as connection:
        return _directory(request).roster.with_overrides(await overrides(connection, since))


def _schedule(roster: Roster, name: str) -> Schedule:
    if name not in roster.schedules:
        raise ProblemError(404, "not_found", "There is no such schedule.")
    return roster.schedules[name]


def _findings(found: Sequence[Finding], start: datetime, end: datetime) -> dict[str, Any]:
    return {
        "from": rfc3339(start),
        "to": rfc3339(end),
        "items": [
            {
                "what": finding.what,
                "name": finding.name,
                "why": finding.why,
                "spans": [{"from": rfc3339(a), "to": rfc3339(b)} for a, b in finding.spans],
            }
            for finding in found
        ],
    }
