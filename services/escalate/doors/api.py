"""The doors over HTTP: Alertmanager's webhook v4 and PagerDuty's Events API v2."""

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from services.escalate.doors.alert import (
    Alert,
    AlertmanagerBody,
    PagerDutyBody,
    from_alertmanager,
    from_pagerduty,
)
from services.escalate.doors.register import Door, Register
from services.escalate.doors.take import TooManyReportsError, take
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["doors"])


async def _alertmanager_door(request: Request) -> Door:
    """Return the door that the key opens; it comes as bearer token or as basic password."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    key = given.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    register: Register = request.state.doors.current
    door = register.door("alertmanager", key) if key else None
    if door is None:
        raise ProblemError(
            401,
            "key_invalid",
            "This door needs its key, as bearer token or basic password.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return door


async def _pagerduty_event(request: Request) -> tuple[Door, PagerDutyBody]:
    """Return event and door: the routing key in the body is the credential."""
    try:
        body = PagerDutyBody.model_validate_json(await request.body())
    except ValidationError as error:
        found = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()]
        raise _InvalidEventError(400, found[:20]) from error
    register: Register = request.state.doors.current
    door = register.door("pagerduty", body.routing_key)
    if door is None:
        raise _InvalidEventError(401, ["routing_key is not one of ours"])
    return door, body


class _InvalidEventError(ProblemError):
    """A refusal in the words of the Events API, beside ours."""

    def __init__(self, status: int, errors: list[str]) -> None:
        code = "malformed" if status == 400 else "key_invalid"
        super().__init__(
            status, code, "The event is not accepted.", message="Event object is invalid",
            errors=errors,
        )  # fmt: skip


# The keys are these routes' guard: a door opens to one sender and to one kind of report.
_alertmanager_door.__tocsin_guard__ = frozenset({"door"})  # type: ignore[attr-defined]  # is_guarded
_pagerduty_event.__tocsin_guard__ = frozenset({"door"})  # type: ignore[attr-defined]  # is_guarded


@router.post("/v1/alerts/alertmanager", summary="Alertmanager's and Grafana's webhook, version 4")
async def alertmanager(
    request: Request, body: AlertmanagerBody, door: Annotated[Door, Depends(_alertmanager_door)]
) -> dict[str, Any]:
    await _take(request, door, from_alertmanager(body))
    return {"status": "success"}


@router.post("/v2/enqueue", status_code=202, summary="PagerDuty's Events API v2")
async def pagerduty(
    request: Request, event: Annotated[tuple[Door, PagerDutyBody], Depends(_pagerduty_event)]
) -> JSONResponse:
    door, body = event
    try:
        alert = from_pagerduty(body)
    except ValueError as error:
        raise _InvalidEventError(400, [str(error)]) from error
    await _take(request, door, alert)
    answer = {"status": "success", "message": "Event processed", "dedup_key": alert.key}
    return JSONResponse(answer, 202)


async def _take(request: Request, door: Door, alert: Alert) -> None:
    try:
        async with request.state.engine.begin() as connection:
            await take(connection, request.state.desk, door, alert, request.state.clock())
    except TooManyReportsError as error:
        raise ProblemError(
            429,
            "rate_limited",
            "This door tells of more new things than people could look at; repeat it later.",
            headers={"Retry-After": "60"},
        ) from error
    request.state.wake()
