"""Who acknowledges in PagerDuty has acknowledged here: its V3 webhooks, signed.

PagerDuty signs the body with the secret of the subscription, `v1=` and HMAC-SHA256 in hex, one for
each secret while they change (developer.pagerduty.com, "Verifying Signatures"). It tells of an
event at least once; a page keeps its first answer, so a repeat changes nothing.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, ValidationError

from services.escalate.oncall.acknowledgement import acknowledge
from services.escalate.sighting import printable
from shared.problems import ProblemError

__all__ = ["PagerDutyHook", "router", "signature_of"]

router = APIRouter(tags=["pages"])
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PagerDutyHook:
    """The webhook subscription at PagerDuty, by its secret."""

    secret: str


class _Agent(BaseModel):
    id: str = Field(max_length=100)
    type: str


class _Incident(BaseModel):
    """``incident_key`` is the ``dedup_key`` of what began it: the id of a page, if it is ours."""

    incident_key: str | None = None


class _Event(BaseModel):
    """What happened; further fields are not looked at."""

    event_type: str
    agent: _Agent | None = None
    data: _Incident


class _Webhook(BaseModel):
    event: _Event


def signature_of(secret: str, body: bytes) -> str:
    """Return what PagerDuty puts into X-PagerDuty-Signature."""
    return f"v1={hmac.new(secret.encode(), body, sha256).hexdigest()}"


async def _signed(request: Request) -> _Event:
    """Return the event; 404 without a subscription, 401 for what is not signed with its secret."""
    hook: PagerDutyHook | None = request.state.pagerduty
    if hook is None:
        raise ProblemError(404, "not_found", "No webhook of PagerDuty is set up.")
    body = await request.body()
    wanted = signature_of(hook.secret, body).encode()
    given = request.headers.get("x-pagerduty-signature", "").encode().split(b",")
    if not any(hmac.compare_digest(wanted, one.strip()) for one in given):
        raise ProblemError(401, "signature_invalid", "PagerDuty has not signed this.")
    try:
        return _Webhook.model_validate_json(body).event
    except ValidationError as error:
        raise ProblemError(422, "malformed", "The body is no event of webhooks V3.") from error


# The signature is the route's guard; who acknowledged has to be in the directory besides.
_signed.__tocsin_guard__ = frozenset({"pagerduty"})  # type: ignore[attr-defined]  # is_guarded


@router.post("/v1/pagerduty/webhooks", summary="An acknowledgement in PagerDuty is one here")
async def webhook(request: Request, event: Annotated[_Event, Depends(_signed)]) -> Response:
    """Take ``incident.acknowledged`` by a user whom the directory names; the rest is nothing to us.

    What an integration acknowledged is what we told PagerDuty ourselves.
    """
    agent, page_id = event.agent, _page_of(event.data)
    if (
        event.event_type != "incident.acknowledged"
        or agent is None
        or agent.type != "user_reference"
        or page_id is None
    ):
        return Response()
    directory = request.state.book.current.directory
    person = directory.roster.by_pagerduty(agent.id)
    if person is None:
        log.warning("acknowledged by somebody unknown", pagerduty_user=printable(agent.id, 100))
        return Response()
    async with request.state.engine.begin() as connection:
        now = request.state.clock()
        await acknowledge(connection, directory, page_id, person.id, now)
    request.state.wake()
    return Response()


def _page_of(incident: _Incident) -> UUID | None:
    """Return the page that the incident is of; None for one that is not ours."""
    try:
        return UUID(incident.incident_key or "")
    except ValueError:
        return None
