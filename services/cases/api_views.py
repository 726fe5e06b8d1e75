"""GET: what is known of incidents, the workflow they follow, and the log itself for auditors."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from services.cases.api_commands import actor_of
from services.cases.domain.incident import fold
from services.cases.domain.vocabulary import ActionStatus
from services.cases.moves import moves
from services.cases.need_to_know import CLEARED_ROLES, viewer
from services.cases.privilege import entry_for, event_for
from services.cases.queries import Queries
from services.cases.spread import spread
from services.cases.surroundings import around_of
from services.cases.views import Document
from services.cases.views.indicators import analysis
from services.cases.workflows import workflow as described
from shared.auth import Principal, Role, allow
from shared.problems import ProblemError

__all__ = ["AUDITORS", "READERS", "AfterVersion", "Limit", "Reader", "router", "unknown"]

READERS = (
    Role.SERVICE_TEAM,
    Role.SECURITY_RESPONSE,
    Role.INCIDENT_COMMUNICATIONS,
    Role.SUBJECT_MATTER_EXPERT,
    Role.LEGAL,
    Role.EXECUTIVE_INCIDENT_MANAGER,
    Role.DUTY_MANAGER,
    Role.AUDITOR,
)
AUDITORS = (Role.AUDITOR, Role.SECURITY_RESPONSE)

Reader = Annotated[Principal, allow(*READERS)]
Auditor = Annotated[Principal, allow(*AUDITORS)]
Sealed = Annotated[bool, Query(description="`data` as they are stored, which proofs are over")]
Limit = Annotated[int, Query(ge=1, le=500)]
After = Annotated[int, Query(ge=0, le=2**62)]
AfterVersion = Annotated[int, Query(ge=0, lt=2**31)]

router = APIRouter(tags=["views"])


def unknown() -> ProblemError:
    """Return the refusal of what is not there, or not for the one who asks."""
    return ProblemError(404, "not_found", "There is no such incident for you.")


@router.get("/v1/workflow", summary="The state machines, as data (R10)")
async def workflow(_: Reader) -> dict[str, Any]:
    """Of the incident, and under ``aggregates`` of reviews and items of evidence beside it."""
    return described()


@router.get("/v1/events", summary="The log, in its one order")
async def log(
    request: Request,
    principal: Auditor,
    after: After = 0,
    limit: Limit = 100,
    sealed: Sealed = False,
) -> dict[str, Any]:
    found: list[Document] = await request.state.queries.log(after, limit, sealed=sealed)
    shown = await request.state.sight.withheld(principal, found, request.state.clock())
    items = [event_for(principal, event) for event in shown]
    return {"items": items, "next_after": found[-1]["position"] if found else after}


@router.get(
    "/v1/incidents/{incident_id}/analysis",
    summary="Its indicators by attack vector, and how often they were right (R28)",
)
async def indicator_analysis(
    request: Request, response: Response, incident_id: UUID, principal: Reader
) -> dict[str, Any]:
    """Counts are of other incidents: this one is what they are to help with. Advice only."""
    queries: Queries = request.state.queries
    document = await queries.incident(incident_id)
    if document is None:
        raise unknown()
    response.headers["ETag"] = f'"{document["version"]}"'
    return analysis(document, await queries.record(incident_id, viewer(principal)))


@router.get(
    "/v1/incidents/{incident_id}/related",
    summary="Its links, and incidents that share its indicators or hosts (R31d)",
)
async def related(
    request: Request, incident_id: UUID, principal: Reader, limit: Limit = 20
) -> dict[str, Any]:
    queries: Queries = request.state.queries
    document = await queries.incident(incident_id)
    if document is None:
        raise unknown()
    linked = {row["incident_id"] for row in document["links"]}
    suggested = await queries.sharing(incident_id, viewer(principal), limit)
    return {
        "links": document["links"],
        "merged_from": document["merged_from"],
        "suggestions": [
            {**row.document, "shared_indicators": row.key}
            for row in suggested
            if row.document["incident_id"] not in linked
        ],
    }


@router.get("/v1/incidents/{incident_id}/actions", summary="Its actions (R30a, R31e)")
async def actions(
    request: Request,
    response: Response,
    incident_id: UUID,
    _: Reader,
    v_team: Annotated[
        bool, Query(description="only those that a member of the v-team recorded or owns")
    ] = False,
    open_: Annotated[bool, Query(alias="open", description="only those under way")] = False,
) -> dict[str, Any]:
    document: Document | None = await request.state.queries.incident(incident_id)
    if document is None:
        raise unknown()
    response.headers["ETag"] = f'"{document["version"]}"'
    members = {member["person"] for member in (document["v_team"] or {}).get("members", ())}
    items = [
        row
        for row in document["actions"]
        if (not v_team or {row["by"], row["owner"]} & members)
        and (not open_ or ActionStatus(row["status"]).is_open)
    ]
    return {"items": items}


@router.get(
    "/v1/incidents/{incident_id}/spread",
    summary="What is under attack, what protects it, and where it may spread (R32)",
)
async def spread_watch(
    request: Request, response: Response, incident_id: UUID, principal: Reader, limit: Limit = 50
) -> dict[str, Any]:
    """The watch list is of other incidents that share indicators or hosts with this one."""
    queries: Queries = request.state.queries
    document = await queries.incident(incident_id)
    if document is None:
        raise unknown()
    response.headers["ETag"] = f'"{document["version"]}"'
    sharing = await queries.sharing(incident_id, viewer(principal), limit)
    return spread(document, [(row.key, row.document) for row in sharing])


@router.get("/v1/incidents/{incident_id}/timeline", summary="A sentence an event")
async def timeline(
    request: Request,
    incident_id: UUID,
    principal: Reader,
    after: AfterVersion = 0,
    limit: Limit = 200,
) -> dict[str, Any]:
    rows = await request.state.queries.timeline(incident_id, after, limit)
    if not rows and await request.state.queries.incident(incident_id) is None:
        raise unknown()
    return {
        "items": [entry_for(principal, row.document) for row in rows],
        "next_after": rows[-1].key if rows else after,
    }


@router.get(
    "/v1/incidents/{incident_id}/reads", summary="Who read it while restricted, or its evidence"
)
async def reads(
    request: Request,
    incident_id: UUID,
    _: Annotated[Principal, allow(*CLEARED_ROLES)],
    after: After = 0,
    limit: Limit = 200,
) -> dict[str, Any]:
    if not (await request.state.store.read(incident_id)).version:
        raise unknown()
    found: list[Document] = await request.state.sight.reads(incident_id, after, limit)
    return {"items": found, "next_after": found[-1]["read_id"] if found else after}


@router.get("/v1/incidents/{incident_id}/events", summary="Its events, with all that they say")
async def events(
    request: Request,
    incident_id: UUID,
    principal: Auditor,
    after: AfterVersion = 0,
    limit: Limit = 200,
    sealed: Sealed = False,
) -> dict[str, Any]:
    queries: Queries = request.state.queries
    found = await queries.stream(incident_id, after, limit, sealed=sealed)
    if not found and not await queries.stream(incident_id, 0, 1):
        raise unknown()
    items = [event_for(principal, event) for event in found]
    return {"items": items, "next_after": found[-1]["version"] if found else after}


@router.get("/v1/incidents/{incident_id}/moves", summary="What you may do now, and what is missing")
async def possible_moves(
    request: Request, response: Response, incident_id: UUID, principal: Reader
) -> dict[str, Any]:
    history = await request.state.store.read(incident_id)
    if not history.version:
        raise unknown()
    response.headers["ETag"] = f'"{history.version}"'
    now_incident = fold(history.events)
    return {
        "version": history.version,
        "state": now_incident.state.value,
        "moves": [
            {
                "verb": verb,
                "permitted": not unmet,
                "unmet": [{"code": u.code, "detail": u.detail} for u in unmet],
            }
            for verb, unmet in moves(
                now_incident,
                actor_of(principal),
                request.state.clock(),
                request.state.case_policy,
                await around_of(request, incident_id),
            )
        ],
    }
