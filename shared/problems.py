"""Refusals as RFC 9457 problem documents; `docs/problems.md` explains every code.

ProblemError                 a refusal on purpose: status, stable code, one sentence
RequestValidationError  422  the body does not have the documented shape
BusUnavailableError     503  the broker cannot confirm anything now
a transient DB error    503  PostgreSQL cannot be asked now
anything else           500  a bug: says nothing but its request id
"""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared.bus import BusUnavailableError
from shared.db import is_transient
from shared.trace import trace_id

__all__ = [
    "MEDIA_TYPE", "TITLES", "ProblemError", "install_problem_handlers", "problem_document",
    "unexpected",
]  # fmt: skip

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "2"
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Refused by a rule",
    410: "Gone",
    412: "Stale version",
    413: "Too large",
    415: "Unsupported media type",
    422: "Malformed",
    428: "Precondition required",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}

log = structlog.get_logger()


class ProblemError(HTTPException):
    """A refusal. ``code`` is stable and machine-readable, ``detail`` a sentence for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        # An HTTPException, since FastAPI turns any other error met while reading a body into a 400.
        super().__init__(status, detail, dict(headers or {}))
        self.code = code
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.status_code} {self.code}: {self.detail}"


def problem_document(
    status: int, code: str, detail: str, *, request_id: str | None = None, **extra: Any
) -> dict[str, Any]:
    """Return the body of a refusal."""
    document = {
        "type": f"urn:tocsin:problem:{code}",
        "title": TITLES.get(status, "Refused"),
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request_id,
        "trace_id": trace_id(),
        **extra,
    }
    return {key: value for key, value in document.items() if value is not None}


def _response(
    request: Request,
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> JSONResponse:
    request_id = request.scope.get("tocsin_request_id")
    return JSONResponse(
        problem_document(status, code, detail, request_id=request_id, **extra),
        status,
        dict(headers or {}),
        MEDIA_TYPE,
    )


async def unexpected(request: Request, error: Exception) -> JSONResponse:
    """Return the answer to *error*, which nobody foresaw: 503 if a part is away, else a bare 500.

    It is logged here, and nothing of it is told.
    """
    if isinstance(error, BusUnavailableError) or is_transient(error):
        part = "broker" if isinstance(error, BusUnavailableError) else "database"
        log.warning("unavailable", part=part, error=str(error))
        return _response(
            request,
            503,
            f"{part}_unavailable",
            f"The {part} does not answer now; nothing was changed for certain, so retry.",
            {"Retry-After": RETRY_AFTER},
        )
    log.exception("unexpected error", path=request.scope.get("path"))
    return _response(request, 500, "internal", "Something is wrong here, not with the request.")


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error that leaves *app* a problem document."""

    async def on_problem(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, ProblemError):
            raise error
        return _response(
            request, error.status_code, error.code, error.detail, error.headers, **error.extra
        )

    async def on_validation(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            raise error
        errors = [{"at": ".".join(map(str, e["loc"])), "problem": e["msg"]} for e in error.errors()]
        first = errors[0]
        # A body that is no JSON at all cannot be framed (400); a wrong shape is 422.
        if any(e["type"] == "json_invalid" for e in error.errors()):
            return _response(request, 400, "not_json", f"{first['at']}: {first['problem']}")
        return _response(
            request, 422, "malformed", f"{first['at']}: {first['problem']}", errors=errors
        )

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        return _response(request, error.status_code, code, str(error.detail), error.headers)

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    for kind in (BusUnavailableError, OSError, TimeoutError, Exception):
        app.add_exception_handler(kind, unexpected)
