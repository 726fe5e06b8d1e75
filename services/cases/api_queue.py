"""GET: the queue: which incidents there are, narrowed, searched, counted."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from services.cases.api_views import Limit, Reader
from services.cases.cursors import cursor_of, numbers_of
from services.cases.domain.vocabulary import Priority, Severity, State
from services.cases.filters import Filters
from services.cases.need_to_know import viewer
from shared.problems import ProblemError

__all__ = ["router"]

Name = Annotated[str, Query(min_length=1, max_length=200)]
Names = Annotated[list[Name] | None, Query(max_length=20, description="any of these")]

router = APIRouter(tags=["views"])


def _filters(
    state: Annotated[list[State] | None, Query(description="any of these")] = None,
    severity: Annotated[list[Severity] | None, Query(description="any of these")] = None,
    priority: Annotated[list[Priority] | None, Query(description="any of these")] = None,
    source_kind: Names = None,
    owning_team: Names = None,
    service: Names = None,
    region: Names = None,
    person: Annotated[
        list[Name] | None,
        Query(max_length=20, description="on the v-team, or owner of an open action: any of these"),
    ] = None,
    q: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=256,
            description='words in it, all of them; "a phrase", `or` and `-not` are understood',
        ),
    ] = None,
) -> Filters:
    asked = (source_kind, owning_team, service, region, person, [q] if q else None)
    if any("\0" in value for values in asked if values for value in values):
        raise ProblemError(422, "malformed", "A filter holds a NUL character.")
    return Filters(
        states=state,
        severities=severity,
        priorities=priority,
        source_kinds=source_kind,
        owning_teams=owning_team,
        services=service,
        regions=region,
        people=person,
        q=q,
    )


Asked = Annotated[Filters, Depends(_filters)]


@router.get("/v1/incidents", summary="The queue: newest first, page by page")
async def incidents(
    request: Request,
    response: Response,
    principal: Reader,
    filters: Asked,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    rows = await request.state.queries.incidents(
        filters,
        person=viewer(principal),
        before=numbers_of(cursor, 1)[0] if cursor else None,
        limit=limit + 1,
    )
    following = None
    if len(rows) > limit:
        following = cursor_of(rows[limit - 1].key)
        link = request.url.include_query_params(cursor=following)
        response.headers["Link"] = f'<{link}>; rel="next"'
    return {"items": [row.document for row in rows[:limit]], "next_cursor": following}


@router.get("/v1/counts", summary="How many incidents, by state and severity")
async def counts(request: Request, principal: Reader, filters: Asked) -> dict[str, Any]:
    """The same filters as the queue; ``severity`` is null where none was set yet."""
    found = await request.state.queries.counts(filters, viewer(principal))
    return {
        "total": sum(n for _, _, n in found),
        "items": [
            {"state": state, "severity": severity, "count": n}
            for state, severity, n in sorted(found, key=lambda row: (row[0], row[1] or ""))
        ],
    }
