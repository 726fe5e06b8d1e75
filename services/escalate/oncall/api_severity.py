"""The severity by the link in a page: the proposal with its reasons, and one button (R23)."""

from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from services.escalate.oncall.links import LinkError
from services.escalate.oncall.severity_choice import Choice, ChoiceError, choose, look
from services.escalate.oncall.small_page import page, table
from shared.auth import public
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["pages"])
_STATUS = {"not_found": 404, "malformed": 422, "link_used": 410}  # others: 410, it is settled


# A look at the link changes nothing: mail gateways follow every link before people do.
@router.get("/v1/set-severity/{token}", summary="The proposed severity, with its reasons")
@public
async def look_at_severity(request: Request, token: str) -> Response:
    page_id = await _read(request, token)
    try:
        async with request.state.engine.connect() as connection:
            choice = await look(connection, request.state.book.current, page_id)
    except ChoiceError as error:
        raise _problem(error) from error
    return page(choice.about, _words(choice), _reasons(choice) + _form(choice))


@router.post("/v1/set-severity/{token}", summary="Set the severity by link; works once")
@public
async def set_severity(request: Request, token: str) -> Response:
    """The body is a form: ``level``, and ``reason`` where it differs from the proposal."""
    page_id = await _read(request, token)
    try:
        fields = parse_qs((await request.body()).decode(), max_num_fields=10)
    except ValueError as error:
        raise ProblemError(422, "malformed", "The body is no form.") from error
    level, reason = (" ".join(fields.get(name, [])) for name in ("level", "reason"))
    try:
        async with request.state.engine.begin() as connection:
            choice = await choose(
                connection, request.state.book.current, page_id, level, reason,
                request.state.clock(),
            )  # fmt: skip
    except ChoiceError as error:
        raise _problem(error) from error
    request.state.wake()
    if request.headers.get("accept", "").startswith("application/json"):
        return JSONResponse(_shown(choice, level))
    return page(choice.about, f"{level}, by {choice.person}: passed on to the incident.")


async def _read(request: Request, token: str) -> UUID:
    await request.state.links.load(request.state.engine)
    try:
        page_id: UUID = request.state.links.read(token, request.state.clock(), "set-severity")
    except LinkError as error:
        if error.expired:
            raise ProblemError(410, "link_expired", str(error)) from error
        raise ProblemError(404, "not_found", str(error)) from error
    return page_id


def _problem(error: ChoiceError) -> ProblemError:
    return ProblemError(_STATUS.get(error.code, 410), error.code, str(error))


def _words(choice: Choice) -> str:
    acting = " You act for the service team." if choice.role == "duty_manager" else ""
    if choice.proposal is None:
        return f"For {choice.person}. Nothing is proposed.{acting}"
    points = choice.proposal.points
    return f"For {choice.person}. Proposed: {choice.proposal.level}, {points} points.{acting}"


def _reasons(choice: Choice) -> str:
    if choice.proposal is None:
        return ""
    rows: list[tuple[str, ...]] = [
        (c.criterion, str(c.value), str(c.points), c.reason)
        for c in sorted(choice.proposal.contributions, key=lambda c: -c.points)
    ]
    rows += [("floor", floor, "", "") for floor in choice.proposal.floors_applied]
    return table(rows)


def _form(choice: Choice) -> str:
    first = choice.proposal.level if choice.proposal else ""
    options = "".join(
        f"<option{' selected' if level == first else ''}>{level}</option>"
        for level in choice.offered
    )
    style = "font:inherit;padding:.4em"
    return (
        f'<form method=post><p><select name=level style="{style}">{options}</select>'
        f' <input name=reason maxlength=500 size=40 style="{style}"'
        f' placeholder="why, if not as proposed"></p><button style="{style}">Set severity'
        "</button></form>"
    )


def _shown(choice: Choice, level: str) -> dict[str, Any]:
    return {
        "incident_id": str(choice.incident_id),
        "page_id": str(choice.page_id),
        "level": level,
        "proposed": choice.proposal.level if choice.proposal else None,
        "by": choice.person,
    }
