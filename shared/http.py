"""What every service's HTTP side has: problems, request ids, body bounds, probes and metrics."""

import asyncio
import math
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.auth import JwksFile, JwtVerifier, OidcKeys, public
from shared.clock import Clock, utc_now
from shared.identity import LOCAL_ISSUER
from shared.ids import uuid7_text
from shared.openapi import describe
from shared.problems import ProblemError, install_problem_handlers, unexpected
from shared.settings import ServiceSettings
from shared.trace import traced

__all__ = ["BodyBound", "Check", "ServiceState", "background", "service_app", "token_verifier"]

MAX_BODY = 1 << 20
READY_CACHE = 0.5
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")

Check = Callable[[], Awaitable[str | None]]
"""A readiness check: what is missing, or None."""

log = structlog.get_logger()
_requests = Counter("tocsin_http_requests_total", "Answers", ["service", "method", "status"])
_duration = Histogram("tocsin_http_request_seconds", "Time to answer", ["service"])


class ServiceState(TypedDict):
    """What a lifespan yields at least; handlers find it on ``request.state``."""

    checks: Mapping[str, Check]
    notices: NotRequired[Callable[[], Mapping[str, str]]]
    """What is wrong though the service can work, by name: a changed file that was refused."""
    verifier: NotRequired[JwtVerifier | None]


@dataclass(frozen=True, slots=True)
class BodyBound:
    """A route whose bodies are streamed, and so may be larger than those that lie in memory."""

    method: str
    path: re.Pattern[str]
    max_body: int


class _Metrics:
    """The counters of one service; the children are looked up once."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._seconds = _duration.labels(service)
        self._answers: dict[tuple[str, int], Counter] = {}

    def count(self, method: str, status: int, seconds: float) -> None:
        answers = self._answers.get((method, status))
        if answers is None:
            answers = _requests.labels(self._service, method, status)
            self._answers[method, status] = answers
        answers.inc()
        self._seconds.observe(seconds)


class _Edge:
    """Request id, trace, body bound and metrics around an ASGI application."""

    def __init__(
        self, app: ASGIApp, service: str, max_body: int, bounds: Sequence[BodyBound] = ()
    ) -> None:
        self._app, self._max_body, self._bounds = app, max_body, bounds
        self._metrics = _Metrics(service)

    def _bound(self, scope: Scope) -> int:
        for bound in self._bounds:
            if scope["method"] == bound.method and bound.path.fullmatch(scope["path"]):
                return bound.max_body
        return self._max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received, max_body = 0, self._bound(scope)

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_body:
                raise ProblemError(413, "too_large", f"A body is at most {max_body} bytes.")
            return message

        await _noted(self._app, self._metrics, scope, bounded, send)


async def _noted(
    app: ASGIApp, metrics: _Metrics, scope: Scope, receive: Receive, send: Send
) -> None:
    """Let *app* answer, under a request id, in a trace, and counted."""
    begun = time.perf_counter()
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
    scope["tocsin_headers"] = headers
    request_id = scope["tocsin_request_id"] = uuid7_text()

    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            scope["tocsin_status"] = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", request_id.encode()),
                _NO_SNIFFING,
            ]
        await send(message)

    try:
        with traced(headers):
            await app(scope, receive, noted)
    finally:
        status = scope.get("tocsin_status", 500)
        metrics.count(scope["method"], status, time.perf_counter() - begun)


class _Service(FastAPI):
    """An application with hot routes, *direct*, that the framework never sees."""

    def __init__(
        self, service: str, direct: Mapping[tuple[str, str], ASGIApp], **options: Any
    ) -> None:
        super().__init__(**options)
        self._direct, self._metrics = direct, _Metrics(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = self._direct.get((scope.get("method", ""), scope.get("path", "")))
        if direct is None:
            await super().__call__(scope, receive, send)
            return
        try:
            await _noted(direct, self._metrics, scope, receive, send)
        except Exception as error:
            if "tocsin_status" in scope:  # its answer has begun: break it off
                raise
            await (await unexpected(Request(scope), error))(scope, receive, send)


@asynccontextmanager
async def background(*coroutines: Any) -> AsyncIterator[None]:
    """Run *coroutines* as tasks for as long as the block lasts, then cancel and await them."""
    tasks = [asyncio.create_task(c) for c in coroutines]
    for task in tasks:
        task.add_done_callback(_end_with)
    try:
        yield
    finally:
        await _cancelled(tasks)


async def _cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* until they have ended.

    Once may not do: in Python 3.11 `wait_for` forgets a cancellation that meets its own time-out.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=1)


def _end_with(task: asyncio.Task[Any]) -> None:
    """End the process with a background task that failed: half a service looks healthy and is not.

    Whoever watches over the process starts it again.
    """
    if not task.cancelled() and (error := task.exception()):
        log.critical("background task failed", error=repr(error), exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


def token_verifier(settings: ServiceSettings, clock: Clock = utc_now) -> JwtVerifier | None:
    """Return the verifier that *settings* describe; None when no issuer is configured."""
    common: dict[str, Any] = {
        "audience": settings.audience,
        "roles_claim": settings.roles_claim,
        "role_map": settings.role_map,
        "clock": clock,
    }
    if settings.oidc_issuer:
        issuer = settings.oidc_issuer
        return JwtVerifier(OidcKeys(issuer), issuer=issuer, **common)
    if settings.jwks_file:
        return JwtVerifier(JwksFile(settings.jwks_file), issuer=LOCAL_ISSUER, **common)
    return None


async def _missing(checks: Mapping[str, Check]) -> dict[str, str]:
    missing = {}
    for name, check in checks.items():
        try:
            answer = await asyncio.wait_for(check(), 3)
        except TimeoutError:
            answer = "no answer within 3 s"
        if answer is not None:
            missing[name] = answer
    return missing


def service_app(
    service: str,
    settings: ServiceSettings,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[ServiceState]],
    *,
    description: str,
    clock: Clock = utc_now,
    max_body: int = MAX_BODY,
    bounds: Sequence[BodyBound] = (),
    direct: Mapping[tuple[str, str], ASGIApp] | None = None,
) -> FastAPI:
    """Return the FastAPI application of *service* with all that services have in common.

    *bounds* are the exceptions to *max_body*. *direct* are plain ASGI applications by method and
    path, which are reached without the framework's routing; they bound their bodies and answer
    their refusals themselves.
    """

    @asynccontextmanager
    async def with_verifier(app: FastAPI) -> AsyncIterator[ServiceState]:
        async with AsyncExitStack() as stack:
            state = await stack.enter_async_context(lifespan(app))
            state["verifier"] = token_verifier(settings, clock)
            app.state.started = True
            yield state
            app.state.started = False

    app = _Service(
        service,
        direct or {},
        title=f"Tocsin {service}",
        description=description,
        version="1",
        lifespan=with_verifier,
        docs_url=None,  # Swagger's page loads scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
    )
    app.state.started = False
    app.state.draining = False
    install_problem_handlers(app)
    describe(app)
    app.add_middleware(_Edge, service=service, max_body=max_body, bounds=tuple(bounds))

    @app.get("/livez", tags=["probes"], summary="Is the process alive?")
    @public
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/startupz", tags=["probes"], summary="Has it started?")
    @public
    async def startupz() -> Response:
        started = app.state.started
        return JSONResponse(
            {"status": "started" if started else "starting"}, 200 if started else 503
        )

    asked: dict[str, str] = {}
    asked_at = -math.inf
    asking = asyncio.Lock()

    @app.get("/readyz", tags=["probes"], summary="Can it work? Names what is missing.")
    @public
    async def readyz(request: Request) -> Response:
        nonlocal asked, asked_at
        # Anybody may ask, so the parts are asked at most twice a second.
        async with asking:
            if time.monotonic() - asked_at > READY_CACHE:
                asked = await _missing(request.state.checks)
                asked_at = time.monotonic()
        missing = dict(asked)
        if app.state.draining:
            missing["process"] = "shutting down"
        ready = not missing
        body: dict[str, Any] = {"status": "ready" if ready else "not ready", "missing": missing}
        if (notices := getattr(request.state, "notices", None)) and (found := notices()):
            body["notices"] = dict(found)
        return JSONResponse(body, 200 if ready else 503)

    @app.get("/metrics", tags=["probes"], summary="Prometheus metrics")
    @public
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/openapi.json", include_in_schema=False)
    @public
    async def openapi() -> dict[str, Any]:
        return app.openapi()

    return app
