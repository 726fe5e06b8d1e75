"""GET: what waits for whoever asks."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from services.cases.api_views import Limit, Reader
from services.cases.need_to_know import viewer
from services.cases.worklist import WorkLists

__all__ = ["router"]

Kind = Literal[
    "action", "v_team", "severity", "severity_reassessment", "v_team_to_form", "plan_approval",
    "recommendation", "obligation", "improvement_item",
]  # fmt: skip

router = APIRouter(tags=["views"])


@router.get("/v1/work", summary="What waits for you: what is due first comes first")
async def work(
    request: Request,
    principal: Reader,
    kind: Annotated[list[Kind] | None, Query(max_length=20, description="any of these")] = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Your open actions and improvement items, incidents whose v-team you are on, and what any
    holder of your roles may do now: set a severity, form a v-team, approve a plan that another
    person wrote, decide a recommendation or an obligation. ``counts`` are of everything.
    """
    lists: WorkLists = request.state.work_lists
    items, counts = await lists.of(
        me=principal.id,
        roles=[role.value for role in principal.roles],
        person=viewer(principal),
        kinds=kind,
        now=request.state.clock(),
        limit=limit,
    )
    return {"items": items, "counts": counts}
