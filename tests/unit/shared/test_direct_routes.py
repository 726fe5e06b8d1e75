"""Hot routes that the framework never sees have its edge all the same."""

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from shared.http import ServiceState, service_app
from shared.settings import ServiceSettings
from shared.trace import trace_id

pytestmark = pytest.mark.unit


class Settings(ServiceSettings):
    service: ClassVar[str] = "direct"


async def hot(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    if message["body"] == b"fail":
        raise ValueError("secret")
    await send({"type": "http.response.start", "status": 202, "headers": []})
    await send({"type": "http.response.body", "body": str(trace_id()).encode()})
    if message["body"] == b"fail late":
        raise ValueError("secret")


def client() -> httpx.AsyncClient:
    def unused(_: FastAPI) -> AbstractAsyncContextManager[ServiceState]:
        raise NotImplementedError

    app = service_app("direct", Settings(), unused, description="", direct={("POST", "/hot"): hot})
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x")


async def test_it_has_an_id_and_goes_on_with_the_trace() -> None:
    trace = "a" * 32
    async with client() as door:
        given = await door.post("/hot", headers={"traceparent": f"00-{trace}-{'b' * 16}-01"})
        begun = await door.post("/hot", headers={"traceparent": "no trace"})
        assert (await door.get("/hot")).status_code == 404
    assert (given.status_code, given.text) == (202, trace)
    assert len(begun.text) == 32
    assert len({given.headers["x-request-id"], begun.headers["x-request-id"]}) == 2
    assert given.headers["x-content-type-options"] == "nosniff"


async def test_an_unforeseen_error_is_a_problem_that_tells_nothing() -> None:
    async with client() as door:
        answer = await door.post("/hot", content=b"fail")
        with pytest.raises(ValueError, match="secret"):  # the server breaks the connection off
            await door.post("/hot", content=b"fail late")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
