"""The paths of all doors, hottest first, and how OpenAPI describes them.

They are plain ASGI applications, so FastAPI cannot describe them: `describe` does it by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp

from services.ingest.doors import elastic_handshake
from services.ingest.doors.cloudevents import CloudEvents, allow_webhook
from services.ingest.doors.elastic import Elastic
from services.ingest.doors.exchange import Bounds
from services.ingest.doors.firehose import Firehose
from services.ingest.doors.gate import Desk, Gate
from services.ingest.doors.hec import Hec, Receipts, acknowledge, health
from services.ingest.doors.loki import Loki
from services.ingest.doors.native import Native
from services.ingest.doors.otlp import Otlp
from services.ingest.settings import Settings
from shared.ids import seed

__all__ = ["describe", "doors", "mount"]


@dataclass(frozen=True, slots=True)
class Path:
    """A path of a door."""

    path: str
    methods: Sequence[str]
    app: ASGIApp
    tag: str
    summary: str
    success: int = 200


def doors(settings: Settings) -> list[Path]:
    """Return the paths of every door, in the order they are tried."""
    bounds = Bounds(
        settings.max_items, settings.max_event_bytes, settings.max_body_bytes, settings.max_ratio
    )
    hec = Hec(bounds, Receipts(settings.key_pepper.get_secret_value(), seed(29)))
    elastic = Elastic(bounds)
    events, bulk, collector = Gate(Native(bounds)), Gate(elastic), Gate(hec)
    cloud = CloudEvents(bounds)
    hello = Desk(elastic, partial(elastic_handshake.handshake, settings.elastic_version))
    post = ("POST",)
    return [
        Path("/v1/events", post, events, "events", "Send log events", 202),
        Path("/_bulk", ("POST", "PUT"), bulk, "elasticsearch", "Send documents"),
        Path("/services/collector/event", post, collector, "hec", "Send events"),
        Path("/services/collector", post, collector, "hec", "Send events"),
        Path("/v1/logs", post, Gate(Otlp(bounds)), "otlp", "Export log records"),
        Path("/loki/api/v1/push", post, Gate(Loki(bounds)), "loki", "Push streams", 204),
        Path("/v1/cloudevents", post, Gate(cloud), "cloudevents", "Send CloudEvents", 202),
        Path("/v1/firehose", post, Gate(Firehose(bounds)), "firehose", "Deliver records"),
        Path("/services/collector/event/1.0", post, collector, "hec", "Send events"),
        Path("/services/collector/raw", post, collector, "hec", "Send lines"),
        Path("/services/collector/raw/1.0", post, collector, "hec", "Send lines"),
        *(
            Path(path, ("GET",), Desk(hec, health, public=True), "hec", "Is the collector healthy?")
            for path in ("/services/collector/health", "/services/collector/health/1.0")
        ),
        Path(
            "/services/collector/ack",
            post,
            Desk(hec, partial(acknowledge, hec)),
            "hec",
            "Which receipts are durable?",
        ),
        Path(
            "/v1/cloudevents",
            ("OPTIONS",),
            Desk(cloud, allow_webhook, public=True),
            "cloudevents",
            "May this origin send? (webhook handshake)",
        ),
        *(
            Path(path, ("GET", "PUT", "POST"), hello, "elasticsearch", f"Handshake: {summary}")
            for path, summary in elastic_handshake.PATHS.items()
        ),
        Path("/{index}/_bulk", ("POST", "PUT"), bulk, "elasticsearch", "Send documents"),
        Path("/{index}/{type}/_bulk", ("POST", "PUT"), bulk, "elasticsearch", "Send documents"),
    ]


def mount(app: FastAPI, paths: Sequence[Path]) -> None:
    """Put *paths* before the other routes of *app*, and into its description."""
    app.router.routes[:0] = [
        Route(p.path, p.app, methods=list(p.methods), name=f"{p.tag}:{p.path}") for p in paths
    ]

    described = app.openapi

    def openapi() -> dict[str, Any]:
        first = app.openapi_schema is None
        document = described()
        if first:
            for path, operations in describe(paths).items():
                document["paths"].setdefault(path, {}).update(operations)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def describe(paths: Sequence[Path]) -> Mapping[str, Mapping[str, Any]]:
    """Return the OpenAPI path items of *paths*."""
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        for method in path.methods:
            answers = {str(path.success): {"description": "Everything is on disk"}}
            if isinstance(path.app, Gate):
                answers |= {
                    "400": {"description": "It cannot be told where the items begin and end"},
                    "401": {"description": "No API key of a log source"},
                    "413": {"description": "Over a bound"},
                    "429": {"description": "Too fast, or too much is waiting: Retry-After"},
                    "503": {"description": "Nothing can be stored now: Retry-After"},
                }
            else:
                answers = {"200": {"description": "The answer that this protocol expects"}}
            names = [p.strip("{}").removesuffix(":path") for p in path.path.split("/") if "{" in p]
            found.setdefault(path.path.replace(":path", ""), {})[method.lower()] = {
                "tags": [path.tag],
                "summary": path.summary,
                "parameters": [
                    {"name": n, "in": "path", "required": True, "schema": {"type": "string"}}
                    for n in names
                ],
                "responses": answers,
            }
    return found
