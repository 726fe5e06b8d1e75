"""The button in Slack acknowledges by itself: requests of our application, signed, each once.

Slack signs `v0:timestamp:body` with the application's secret (docs.slack.dev, "Verifying requests
from Slack"); a signature is taken for five minutes, and only once.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import parse_qs
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, BackgroundTasks, Depends, Request, Response
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.escalate.oncall.acknowledgement import acknowledge
from services.escalate.oncall.channels.http import Poster
from services.escalate.paging import ChannelError
from services.escalate.sighting import printable
from shared.clock import rfc3339
from shared.problems import ProblemError

__all__ = ["WINDOW", "SlackApp", "router", "signature_of"]

router = APIRouter(tags=["pages"])
WINDOW = timedelta(minutes=5)
log = structlog.get_logger()

_FIRST = text(
    "INSERT INTO chat_requests (digest, at) VALUES (:digest, :now) ON CONFLICT DO NOTHING"
)
_FORGET = text("DELETE FROM chat_requests WHERE at < :since")


@dataclass(frozen=True, slots=True)
class SlackApp:
    """Our application at Slack: its secret, and what posts answers to it."""

    secret: str
    poster: Poster


class _User(BaseModel):
    id: str = Field(max_length=100)


class _Action(BaseModel):
    action_id: str = ""
    value: str = ""


class _Payload(BaseModel):
    """What Slack sends of a click; further fields are not looked at."""

    type: str
    user: _User
    actions: list[_Action] = Field(default_factory=list, max_length=25)
    response_url: str = Field("", max_length=2000)


@dataclass(frozen=True, slots=True)
class Click:
    """A request whose signature holds; *digest* tells it from every other."""

    payload: _Payload
    digest: str


def signature_of(secret: str, timestamp: str, body: bytes) -> str:
    """Return what Slack puts into X-Slack-Signature."""
    mac = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, sha256)
    return f"v0={mac.hexdigest()}"


async def _signed(request: Request) -> Click:
    """Return the click; 404 without an application, 401 for what is not signed by it just now."""
    app: SlackApp | None = request.state.slack
    if app is None:
        raise ProblemError(404, "not_found", "No Slack application is set up.")
    body = await request.body()
    stamp = request.headers.get("x-slack-request-timestamp", "")
    given = request.headers.get("x-slack-signature", "")
    good = hmac.compare_digest(signature_of(app.secret, stamp, body).encode(), given.encode())
    seconds = int(stamp) if stamp.isascii() and stamp.isdecimal() and len(stamp) < 12 else 0
    age = request.state.clock().timestamp() - seconds
    if not good or abs(age) > WINDOW.total_seconds():
        raise ProblemError(
            401, "signature_invalid", "Slack has not signed this within the last five minutes."
        )
    try:
        (raw,) = parse_qs(body.decode(), max_num_fields=10)["payload"]
        payload = _Payload.model_validate(orjson.loads(raw))
    except (ValueError, KeyError, ValidationError) as error:
        raise ProblemError(422, "malformed", "The body has no payload of a click.") from error
    return Click(payload, sha256(given.encode()).hexdigest())


# The signature is the route's guard; who clicked has to be in the directory besides.
_signed.__tocsin_guard__ = frozenset({"slack"})  # type: ignore[attr-defined]  # is_guarded


@router.post("/v1/slack/interactions", summary="A click in Slack; acknowledges as whoever clicked")
async def interaction(
    request: Request, tasks: BackgroundTasks, click: Annotated[Click, Depends(_signed)]
) -> Response:
    """Slack wants its 200 within three seconds; what there is to say goes to ``response_url``."""
    told = click.payload
    pages = [a.value for a in told.actions if a.action_id == "acknowledge" and a.value]
    if told.type != "block_actions" or not pages:
        return Response()  # a button that is a link is told of, too
    async with request.state.engine.begin() as connection:
        now: datetime = request.state.clock()
        await _need_first(connection, click.digest, now)
        answer = await _answer(request, connection, told.user.id, pages[0], now)
    request.state.wake()
    if told.response_url:
        tasks.add_task(_say, request.state.slack, told.response_url, answer)
    return Response(background=tasks)


async def _need_first(connection: AsyncConnection, digest: str, now: datetime) -> None:
    await connection.execute(_FORGET, {"since": now - 3 * WINDOW})
    if (await connection.execute(_FIRST, {"digest": digest, "now": now})).rowcount == 0:
        detail = "This request was taken before."
        unmet = [{"code": "replayed", "detail": detail}]
        raise ProblemError(409, "replayed", detail, unmet=unmet)


async def _answer(
    request: Request, connection: AsyncConnection, user: str, page: str, now: datetime
) -> dict[str, Any]:
    directory = request.state.book.current.directory
    person = directory.roster.by_slack(user)
    if person is None:
        log.warning("click of somebody unknown", slack_user=printable(user, 100))
        return _aside("The directory knows nobody with your Slack id, so nothing was acknowledged.")
    try:
        page_id = UUID(page)
    except ValueError:
        return _aside("There is no such page.")
    found = await acknowledge(connection, directory, page_id, person.id, now)
    if found is None:
        return _aside("There is no such page.")
    words = f"{found.reason}\nAcknowledged by {found.by} at {rfc3339(found.at)}."
    plain = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"replace_original": True, "text": plain}


def _aside(words: str) -> dict[str, Any]:
    return {"response_type": "ephemeral", "replace_original": False, "text": words}


async def _say(app: SlackApp, url: str, answer: dict[str, Any]) -> None:
    """Tell the chat; what cannot be told is in the page ledger all the same."""
    try:
        await app.poster.post(url, orjson.dumps(answer), {})
    except ChannelError as error:
        log.warning("slack not answered", reason=str(error))
