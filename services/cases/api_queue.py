"""GET: the queue: which incidents there are, narrowed, searched, counted."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from services.cases.api_views import Reader
from services.cases.cursors import cursor_of, numbers_of
from services.cases.filters import Filters
from services.cases.narrowing import Narrowing
from services.cases.need_to_know import viewer
from shared.auth import Principal

__all__ = ["page_of", "router"]

MOST = 500

router = APIRouter(tags=["views"])


class Asked(Narrowing):
    """The filters, and which page."""

    cursor: Annotated[str | None, Field(max_length=64)] = None
    limit: Annotated[int, Field(ge=1, le=MOST)] = 50


async def page_of(
    request: Request,
    response: Response,
    principal: Principal,
    filters: Filters,
    cursor: str | None,
    limit: int,
) -> dict[str, Any]:
    """Return a page of the queue, and name the next one in a Link header."""
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


@router.get("/v1/incidents", summary="The queue: newest first, page by page")
async def incidents(
    request: Request, response: Response, principal: Reader, asked: Annotated[Asked, Query()]
) -> dict[str, Any]:
    filters = asked.filters(principal.id, request.state.clock())
    return await page_of(request, response, principal, filters, asked.cursor, asked.limit)


@router.get("/v1/counts", summary="How many incidents, by state and severity")
async def counts(
    request: Request, principal: Reader, asked: Annotated[Narrowing, Query()]
) -> dict[str, Any]:
    """The same filters as the queue; ``severity`` is null where none was set yet."""
    filters = asked.filters(principal.id, request.state.clock())
    found = await request.state.queries.counts(filters, viewer(principal))
    return {
        "total": sum(n for _, _, n in found),
        "items": [
            {"state": state, "severity": severity, "count": n}
            for state, severity, n in sorted(found, key=lambda row: (row[0], row[1] or ""))
        ],
    }
