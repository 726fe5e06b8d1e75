"""The published description (OpenAPI 3.1): what every guarded operation may refuse, and with what.

FastAPI describes the answers that a route returns; refusals are the same for all routes of one
shape, so they are added here, once: who is not known or not allowed, what is malformed, what is not
there, and for commands what a rule, a stale version or an oversized body is answered with.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shared.problems import MEDIA_TYPE, TITLES

__all__ = ["describe", "refusal"]

_PROBLEM = {
    "title": "Problem",
    "description": "A refusal (RFC 9457); docs/problems.md explains every code.",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:tocsin:problem:"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stable"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "trace_id": {"type": "string"},
        "unmet": {
            "type": "array",
            "description": "with 409: every condition that is not met",
            "items": {
                "type": "object",
                "required": ["code", "detail"],
                "properties": {"code": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "errors": {
            "type": "array",
            "description": "with 422: every place that is malformed",
            "items": {
                "type": "object",
                "required": ["at", "problem"],
                "properties": {"at": {"type": "string"}, "problem": {"type": "string"}},
            },
        },
    },
}
_BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
_METHODS = ("get", "put", "post", "delete", "patch")


def refusal(description: str) -> dict[str, Any]:
    """Return the description of a refusal, for a route that may answer one of its own."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def describe(app: FastAPI) -> None:
    """Make *app* describe its refusals and that it wants a bearer token."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            app.openapi_schema = _described(document)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's manual has it


def _described(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components.setdefault("securitySchemes", {})["bearer"] = _BEARER
    for methods in document["paths"].values():
        for method in _METHODS:
            operation = methods.get(method)
            if operation and "probes" not in operation.get("tags", ()):
                operation.setdefault("security", [{"bearer": []}])
                _add(operation, method)
    return document


def _add(operation: dict[str, Any], method: str) -> None:
    responses = operation["responses"]
    for status in _refusals(operation, method):
        known = responses.get(str(status))
        if known is None or status == 422:  # FastAPI's own 422 is not what is answered here
            responses[str(status)] = refusal(TITLES[status])


def _refusals(operation: Mapping[str, Any], method: str) -> Iterator[int]:
    """Yield what an operation of this shape may be refused with."""
    parameters = {(p["in"], p["name"]) for p in operation.get("parameters", ())}
    yield from (401, 403, 422, 503)
    if any(place == "path" for place, _ in parameters):
        yield 404
    if method != "get":
        yield from (400, 409, 413)
    if ("header", "If-Match") in parameters:
        yield from (412, 428)
