"""Views of the queue by name: those that come with Tocsin, one's own, and those that are shared."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.cases.api_queue import MOST, page_of
from services.cases.api_views import Reader
from services.cases.edge import IfMatch, expected_version
from services.cases.narrowing import Narrowing
from services.cases.saved import (
    MOST_VIEWS,
    SHIPPED,
    NameTakenError,
    SavedView,
    SavedViews,
    TooManyError,
)
from shared.auth import Principal
from shared.clock import rfc3339
from shared.ids import uuid7
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["views"])


def _plain(text: str) -> str:
    if "\0" in text or not text.strip():
        raise ValueError("a name has letters, and no NUL character")
    text.encode()  # half a surrogate pair is a ValueError
    return text.strip()


class ViewBody(BaseModel):
    """A view as it is sent; a shared one is seen by everybody who reads incidents."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_plain)]
    shared: bool = False
    filters: Narrowing


def _shown(view: SavedView, principal: Principal) -> dict[str, Any]:
    return {
        "view_id": str(view.view_id),
        "name": view.name,
        "owner": view.owner,
        "shared": view.shared,
        "yours": view.owner == principal.id,
        "shipped": False,
        "filters": view.narrowing.model_dump(mode="json", exclude_none=True),
        "version": view.version,
        "updated_at": rfc3339(view.updated_at),
    }


def _shipped(key: str) -> dict[str, Any]:
    name, narrowing = SHIPPED[key]
    return {
        "view_id": key,
        "name": name,
        "owner": None,
        "shared": True,
        "yours": False,
        "shipped": True,
        "filters": narrowing.model_dump(mode="json", exclude_none=True),
    }


async def _saved(request: Request, view_id: str, principal: Principal) -> SavedView:
    """Return a view that is kept in the database; 404 for one that is not there for this person."""
    try:
        key = UUID(view_id)
    except ValueError as error:
        raise _unknown() from error
    found: SavedView | None = await request.state.saved_views.one(key, principal.id)
    if found is None:
        raise _unknown()
    return found


async def _own(request: Request, view_id: str, principal: Principal) -> SavedView:
    """Return a view that this person may change; 403 for one that another person shares."""
    if view_id in SHIPPED:
        raise ProblemError(403, "not_owner", "A view that comes with Tocsin is not changed.")
    found = await _saved(request, view_id, principal)
    if found.owner != principal.id:
        raise ProblemError(403, "not_owner", "Only its owner changes a view.")
    return found


def _unknown() -> ProblemError:
    return ProblemError(404, "not_found", "There is no such view for you.")


def _taken(error: NameTakenError) -> ProblemError:
    return ProblemError(409, "name_taken", f"You have a view named {error}.")


def _version(if_match: str | None, view: SavedView) -> int:
    version = expected_version(if_match)
    if version != view.version:
        raise ProblemError(
            412,
            "stale_version",
            "The view was changed since.",
            current_version=view.version,
        )
    return view.version


@router.get("/v1/views", summary="Saved views: shipped, your own, and those that others share")
async def views(request: Request, principal: Reader) -> dict[str, Any]:
    kept = await request.state.saved_views.seen_by(principal.id)
    items = [_shipped(key) for key in SHIPPED]
    return {"items": [*items, *(_shown(view, principal) for view in kept)]}


@router.post("/v1/views", status_code=201, summary="Save a view")
async def save(
    request: Request, response: Response, body: ViewBody, principal: Reader
) -> dict[str, Any]:
    view = SavedView(
        view_id=uuid7(),
        owner=principal.id,
        name=body.name,
        shared=body.shared,
        narrowing=body.filters,
        version=1,
        updated_at=request.state.clock(),
    )
    kept: SavedViews = request.state.saved_views
    try:
        await kept.add(view)
    except NameTakenError as error:
        raise _taken(error) from error
    except TooManyError as error:
        raise ProblemError(
            409, "too_many_views", f"You keep {MOST_VIEWS} views; remove one first."
        ) from error
    response.headers["ETag"] = '"1"'
    response.headers["Location"] = f"/v1/views/{view.view_id}"
    return _shown(view, principal)


@router.get("/v1/views/{view_id}", summary="A view")
async def view(
    request: Request, response: Response, view_id: str, principal: Reader
) -> dict[str, Any]:
    if view_id in SHIPPED:
        return _shipped(view_id)
    found = await _saved(request, view_id, principal)
    response.headers["ETag"] = f'"{found.version}"'
    return _shown(found, principal)


@router.put("/v1/views/{view_id}", summary="Change your view")
async def change(
    request: Request,
    response: Response,
    view_id: str,
    body: ViewBody,
    principal: Reader,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    found = await _own(request, view_id, principal)
    version = _version(if_match, found)
    changed = SavedView(
        view_id=found.view_id,
        owner=principal.id,
        name=body.name,
        shared=body.shared,
        narrowing=body.filters,
        version=version + 1,
        updated_at=request.state.clock(),
    )
    try:
        became = await request.state.saved_views.change(changed, version)
    except NameTakenError as error:
        raise _taken(error) from error
    if became is None:
        raise ProblemError(412, "stale_version", "The view was changed since.")
    response.headers["ETag"] = f'"{became}"'
    return _shown(changed, principal)


@router.delete("/v1/views/{view_id}", status_code=204, summary="Remove your view")
async def remove(
    request: Request, view_id: str, principal: Reader, if_match: IfMatch = None
) -> None:
    found = await _own(request, view_id, principal)
    version = _version(if_match, found)
    if not await request.state.saved_views.remove(found.view_id, principal.id, version):
        raise ProblemError(412, "stale_version", "The view was changed since.")


@router.get("/v1/views/{view_id}/incidents", summary="The queue as this view narrows it")
async def incidents(
    request: Request,
    response: Response,
    view_id: str,
    principal: Reader,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> dict[str, Any]:
    """`me` in a view is whoever asks: the same shared view shows each person their own."""
    if view_id in SHIPPED:
        narrowing = SHIPPED[view_id][1]
    else:
        narrowing = (await _saved(request, view_id, principal)).narrowing
    filters = narrowing.filters(principal.id, request.state.clock())
    return await page_of(request, response, principal, filters, cursor, limit)
