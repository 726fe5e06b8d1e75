"""GET: how long things take: between any two events, by any dimension, over the whole log."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, AwareDatetime, Field

from services.cases.api_views import Reader
from services.cases.durations import Asked, Durations
from services.cases.measures import (
    DIMENSIONS,
    MEASURES,
    Anchor,
    AnchorError,
    Pick,
    anchor,
)
from services.cases.narrowing import Narrowing
from services.cases.need_to_know import viewer
from shared.auth import Principal
from shared.problems import ProblemError

__all__ = ["router"]

Dimension = Literal[
    "service", "region", "severity", "priority", "state", "source_kind", "owning_team",
    "attack_vector", "month", "week", "weekday",
]  # fmt: skip
AnchorName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        description="an event type (IncidentConfirmed), fact:<kind> or clock:<name>",
    ),
]


def _once(names: list[str]) -> list[str]:
    if len(set(names)) != len(names):
        raise ValueError("a dimension is named twice")
    return names


class How(Narrowing):
    """Groups, percentiles and the bounds of time, with the filters of the queue."""

    by: Annotated[list[Dimension], Field(max_length=3), AfterValidator(_once)] = Field(
        default_factory=list
    )
    since: AwareDatetime | None = Field(None, description="measured from this instant or later")
    until: AwareDatetime | None = Field(None, description="measured from before this instant")
    percentile: Annotated[
        list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=1, max_length=20)
    ] = Field(default_factory=lambda: [50.0, 75.0, 90.0, 95.0, 99.0])


class Between(How):
    """Any two anchors."""

    from_: Annotated[AnchorName, Field(alias="from")]
    to: AnchorName
    from_pick: Pick = Pick.FIRST
    to_pick: Pick = Pick.FIRST


router = APIRouter(tags=["metrics"])


def _anchor(name: str, where: str) -> Anchor:
    try:
        return anchor(name)
    except AnchorError as error:
        raise ProblemError(422, "malformed", f"{where}: {error}.") from error


async def _measured(
    request: Request, principal: Principal, how: How, ends: tuple[str, Pick, str, Pick]
) -> dict[str, Any]:
    from_, from_pick, to, to_pick = ends
    asked = Asked(
        from_=_anchor(from_, "from"),
        from_pick=from_pick,
        to=_anchor(to, "to"),
        to_pick=to_pick,
        by=how.by,
        since=how.since,
        until=how.until,
        percentiles=how.percentile,
    )
    durations: Durations = request.state.durations
    filters = how.filters(principal.id, request.state.clock())
    return {
        "from": {"anchor": from_, "pick": from_pick},
        "to": {"anchor": to, "pick": to_pick},
        "by": how.by,
        "groups": await durations.between(asked, filters, viewer(principal)),
    }


@router.get("/v1/measures", summary="The measures that have names, and what they mean")
async def measures(_: Reader) -> dict[str, Any]:
    return {
        "items": [
            {
                "measure": key,
                "title": m.title,
                "meaning": m.meaning,
                "from": {"anchor": m.from_, "pick": m.from_pick},
                "to": {"anchor": m.to, "pick": m.to_pick},
            }
            for key, m in MEASURES.items()
        ],
        "dimensions": list(DIMENSIONS),
    }


@router.get("/v1/measures/between", summary="The time between any two events")
async def between(
    request: Request, principal: Reader, asked: Annotated[Between, Query()]
) -> dict[str, Any]:
    """Of each incident the chosen ``from``, and the chosen ``to`` at or after it.

    ``not_yet`` have begun and not got there; ``negative`` are clocks that contradict each other.
    Times are in seconds; percentiles are interpolated (PostgreSQL's percentile_cont).
    """
    ends = (asked.from_, asked.from_pick, asked.to, asked.to_pick)
    return await _measured(request, principal, asked, ends)


@router.get("/v1/measures/{measure}", summary="A measure by its name: ttd, tta, ttr …")
async def named(
    request: Request, principal: Reader, measure: str, how: Annotated[How, Query()]
) -> dict[str, Any]:
    if (found := MEASURES.get(measure)) is None:
        raise ProblemError(404, "not_found", "There is no measure of that name.")
    ends = (found.from_, found.from_pick, found.to, found.to_pick)
    told = await _measured(request, principal, how, ends)
    return {"measure": measure, "title": found.title, "meaning": found.meaning, **told}
