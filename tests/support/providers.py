"""Providers of pages on loopback, each as strict as its documentation; they can be down."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.support.waiting import until


@dataclass
class Providers:
    """``taken``: (path, key, body) of what was accepted. ``down``: everything answers 503.

    ``busy``: by path, the `Retry-After` of the 429 that it answers to everything. ``turned_away``:
    the paths that were asked while they were down or busy.
    """

    secret: str = ""
    taken: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    down: bool = False
    busy: dict[str, str] = field(default_factory=dict)
    turned_away: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keys(self, path: str) -> list[str]:
        return [key for where, key, _ in self.taken if where == path]

    async def answer(self, request: Request) -> Response:
        path, raw = request.url.path, await request.body()
        if self.down or path in self.busy:
            self.turned_away.append(path)
        if self.down:
            return PlainTextResponse("down", 503)
        if path in self.busy:
            return PlainTextResponse("rate limited", 429, {"Retry-After": self.busy[path]})
        try:
            body = json.loads(raw)
            answer, key = {
                "/slack": _slack, "/teams": _teams, "/pagerduty": _pagerduty,
                "/webhook": self._webhook, "/any": _any,
            }[path](request, raw, body)  # fmt: skip
        except (AssertionError, KeyError, ValueError, WebhookVerificationError) as error:
            self.refused.append(f"{path}: {error!r}")
            return PlainTextResponse("invalid_payload", 400)
        if body.get("event_action") in ("acknowledge", "resolve"):
            path = f"{path}/{body['event_action']}"
        self.taken.append((path, key, body))
        return answer

    def _webhook(self, request: Request, raw: bytes, body: Any) -> tuple[Response, str]:
        Webhook(self.secret).verify(raw, dict(request.headers))
        assert set(body) == {"type", "timestamp", "data"}
        return Response(status_code=204), request.headers["webhook-id"]


def _any(_: Request, __: bytes, body: Any) -> tuple[Response, str]:
    """Whatever is posted, as Slack's response_url and Apprise's json:// are."""
    return PlainTextResponse("ok"), str(body.get("text", body.get("title", "")))


def _slack(_: Request, __: bytes, body: Any) -> tuple[Response, str]:
    """Limits of Block Kit: 50 blocks, 10 fields of 2,000 characters, URLs of 3,000."""
    assert isinstance(body["text"], str)
    assert 0 < len(body["blocks"]) <= 50
    section, actions = body["blocks"]
    assert section["type"] == "section"
    assert section["text"]["type"] == "mrkdwn"
    assert 0 < len(section["text"]["text"]) <= 3000
    assert 0 < len(section["fields"]) <= 10
    assert all(0 < len(f["text"]) <= 2000 for f in section["fields"])
    assert 1 <= len(actions["elements"]) <= 25
    assert len({b["action_id"] for b in actions["elements"]}) == len(actions["elements"])
    for button in actions["elements"]:
        assert button["type"] == "button"
        assert button["text"]["type"] == "plain_text"
        assert len(button["text"]["text"]) <= 75
        assert len(button.get("url", "")) <= 3000
        assert len(button.get("value", "")) <= 2000
    assert len(actions["block_id"]) <= 255
    return PlainTextResponse("ok"), actions["block_id"].removeprefix("page:")


def _teams(_: Request, __: bytes, body: Any) -> tuple[Response, str]:
    """A message with one adaptive card, as the workflow template "webhook request" takes it."""
    assert body["type"] == "message"
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert [b["type"] for b in card["body"]] == ["TextBlock", "FactSet"]
    assert 1 <= len(card["actions"]) <= 6
    assert {action["type"] for action in card["actions"]} == {"Action.OpenUrl"}
    facts = {fact["title"]: fact["value"] for fact in card["body"][1]["facts"]}
    return Response(status_code=202), facts["Page"]


def _pagerduty(_: Request, __: bytes, body: Any) -> tuple[Response, str]:
    """Events API v2: what it demands, and the words it knows."""
    assert len(body["routing_key"]) == 32
    assert 0 < len(body["dedup_key"]) <= 255
    if body["event_action"] != "trigger":
        assert body["event_action"] in ("acknowledge", "resolve")
        return JSONResponse({"status": "success", "dedup_key": body["dedup_key"]}, 202), body[
            "dedup_key"
        ]
    payload = body["payload"]
    assert 0 < len(payload["summary"]) <= 1024
    assert payload["source"]
    assert payload["severity"] in {"critical", "warning", "error", "info"}
    answer = {"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]}
    return JSONResponse(answer, 202), body["dedup_key"]


@asynccontextmanager
async def providers(secret: str) -> AsyncIterator[Providers]:
    """Serve all of them until the block ends."""
    found = Providers(secret)
    app = Starlette(routes=[Route("/{path:path}", found.answer, methods=["POST"])])
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    )
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        found.port = server.servers[0].sockets[0].getsockname()[1]
        yield found
    finally:
        server.should_exit = True
        await task
