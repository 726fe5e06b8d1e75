"""GET: an incident in full, now or as it was, and what changed between two moments."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from services.cases.api_views import Reader, unknown
from services.cases.case_policy import completeness
from services.cases.evidence.view import summary
from services.cases.history import Moment, NotYetError, Past
from services.cases.privilege import document_for, entry_for
from services.cases.queries import Queries
from services.cases.views.past import changes
from services.cases.views.v_team_proposal import v_team_proposal
from shared.auth import Principal
from shared.problems import ProblemError

__all__ = ["router"]

MOST_EVENTS = 500
_INSTANT = TypeAdapter(AwareDatetime)

router = APIRouter(tags=["views"])


def _moment(text: str, name: str) -> Moment:
    """Return the version (a number) or instant (RFC 3339) that *text* names."""
    if text.isascii() and text.isdecimal():
        version = int(text)
        if not 0 < version < 2**31:
            raise ProblemError(422, "malformed", f"{name}: versions begin at 1.")
        return Moment(version=version)
    try:
        return Moment(at=_INSTANT.validate_python(text))
    except ValidationError as error:
        raise ProblemError(
            422, "malformed", f"{name} is neither a version nor an instant with its offset."
        ) from error


async def _past(request: Request, incident_id: UUID, moment: Moment) -> Past:
    if moment.at is not None and moment.at > request.state.clock():
        raise ProblemError(422, "malformed", "That instant has not come yet.")
    try:
        past: Past = await request.state.history.past(incident_id, moment)
    except NotYetError as error:
        if await request.state.queries.incident(incident_id) is None:
            raise unknown() from error
        raise ProblemError(404, "not_yet", "The incident has nothing at that moment.") from error
    return past


def _shown(request: Request, principal: Principal, past: Past) -> dict[str, Any]:
    return {
        **document_for(principal, past.document),
        "v_team_proposal": v_team_proposal(past.document),
        "evidence": summary(past.evidence),
        "completeness": completeness(request.state.case_policy, past.incident),
    }


@router.get("/v1/incidents/{incident_id}", summary="An incident in full, now or as it was")
async def incident(
    request: Request,
    response: Response,
    incident_id: UUID,
    principal: Reader,
    as_of: Annotated[
        AwareDatetime | None, Query(description="as it was known at this instant (RFC 3339)")
    ] = None,
    seq: Annotated[
        int | None, Query(ge=1, lt=2**31, description="as it was at this version")
    ] = None,
) -> dict[str, Any]:
    """One that was merged answers itself, with ``merged_into``, and names where it goes on.

    ``canonical_id`` and ``Link: rel="canonical"`` name the end of the line, if there are several.
    The past, by ``as_of`` or ``seq``, has neither them nor an ETag: it is not there to be changed.
    """
    if as_of is not None and seq is not None:
        raise ProblemError(422, "malformed", "Give as_of or seq, not both.")
    if as_of is not None or seq is not None:
        return _shown(
            request, principal, await _past(request, incident_id, Moment(version=seq, at=as_of))
        )
    queries: Queries = request.state.queries
    document = await queries.incident(incident_id)
    if document is None:
        raise unknown()
    response.headers["ETag"] = f'"{document["version"]}"'
    canonical = await queries.canonical(document)
    if document["merged_into"] is not None:
        response.headers["Link"] = f'</v1/incidents/{canonical}>; rel="canonical"'
    return {
        **document_for(principal, document),
        "v_team_proposal": v_team_proposal(document),
        # Items are aggregates of their own: told beside the document, not inside its row.
        "evidence": summary(await request.state.evidence.queries.of_incident(incident_id)),
        "canonical_id": canonical,
        "completeness": await request.state.phases.of(incident_id, document["version"]),
    }


@router.get("/v1/incidents/{incident_id}/diff", summary="What changed between two moments")
async def diff(
    request: Request,
    incident_id: UUID,
    principal: Reader,
    from_: Annotated[
        str, Query(alias="from", max_length=64, description="a version or an instant")
    ],
    to: Annotated[str, Query(max_length=64, description="a version or an instant")],
) -> dict[str, Any]:
    """``changes`` by JSON pointer, and the first 500 ``events`` that lie between."""
    old = await _past(request, incident_id, _moment(from_, "from"))
    new = await _past(request, incident_id, _moment(to, "to"))
    first, last = old.document["version"], new.document["version"]
    rows = await request.state.queries.timeline(incident_id, first, MOST_EVENTS)
    return {
        "from_version": first,
        "to_version": last,
        "changes": changes(_shown(request, principal, old), _shown(request, principal, new)),
        "events": [entry_for(principal, row.document) for row in rows if row.key <= last],
    }
