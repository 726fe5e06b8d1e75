"""Log sources over the API: registered, described, given keys; what was measured of each (R12)."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.ingest import registry
from services.ingest.sources import Source
from services.ingest.watch import report
from services.ingest.watch.requirements import LoggingRequirement, add, newest, versions
from shared.auth import Principal, Role, allow
from shared.clock import rfc3339
from shared.contracts.ingest import Logsource
from shared.problems import ProblemError

__all__ = ["router"]

router = APIRouter(tags=["sources"])
Looker = Annotated[
    Principal,
    allow(
        Role.OPERATOR, Role.AUDITOR, Role.SECURITY_RESPONSE, Role.DETECTION_ENGINEER,
        Role.POLICY_ADMIN, Role.SERVICE_TEAM,
    ),
]  # fmt: skip
Registrar = Annotated[Principal, allow(Role.OPERATOR, Role.POLICY_ADMIN)]
SecurityTeam = Annotated[Principal, allow(Role.SECURITY_RESPONSE, Role.POLICY_ADMIN)]
SourceId = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
KeyId = Annotated[str, Path(pattern="^[a-z0-9]{1,32}$")]
Service = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9._-]{0,62}$")]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Kind = Literal[
    "server", "network", "router", "firewall", "load_balancer", "operating_system", "application",
    "identity", "other",
]  # fmt: skip

DoorName = Literal[
    "native", "elasticsearch", "hec", "otlp", "loki", "cloudevents", "firehose"
]  # fmt: skip


class SourceBody(BaseModel):
    """A log source as it is registered; what is left out is empty."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind = "other"
    tenant: Label | None = None
    region: Label | None = None
    datacenter: Label | None = None
    service: Label | None = None
    server: Label | None = None
    logsource: Logsource = Field(default_factory=Logsource)
    max_silence_seconds: int | None = Field(
        None, ge=60, le=2_678_400, description="None: what its service's requirement says"
    )


class KeyBody(BaseModel):
    """A key to be issued."""

    model_config = ConfigDict(extra="forbid")

    scopes: list[DoorName] = Field(
        default_factory=list, description="doors that it opens; none named: all"
    )
    expires_in_days: int | None = Field(None, ge=1, le=3660)


class RotationBody(BaseModel):
    """A key to take another's place."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: int = Field(86_400, ge=0, le=2_678_400, description="both keys work so long")
    expires_in_days: int | None = Field(None, ge=1, le=3660)


@router.get("/v1/sources", summary="Log sources: labels, last event, silence, clock, conformance")
async def list_sources(
    request: Request,
    _: Looker,
    days: Annotated[int, Query(ge=1, le=366, description="conformance of so long")] = 7,
    silent: Annotated[bool | None, Query(description="only the silent ones, or the others")] = None,
) -> dict[str, Any]:
    items = await _report(request, days)
    return {"items": [i for i in items if silent is None or i["silent"] is silent]}


@router.get("/v1/sources/{source_id}", summary="One log source, with its keys")
async def get_source(
    request: Request,
    source_id: SourceId,
    _: Looker,
    days: Annotated[int, Query(ge=1, le=366)] = 7,
) -> dict[str, Any]:
    found = [i for i in await _report(request, days) if i["source_id"] == source_id]
    if not found:
        raise _unknown()
    return {**found[0], "keys": await registry.keys_of(request.state.engine, source_id)}


@router.put("/v1/sources/{source_id}", summary="Register a log source, or change its labels")
async def put_source(
    request: Request, source_id: SourceId, principal: Registrar, body: Annotated[SourceBody, Body()]
) -> dict[str, Any]:
    """Labels of events already accepted stay what they were. A disabled source is enabled."""
    source = Source(id=source_id, **{n: getattr(body, n) for n in registry.LABELS},
                    logsource=body.logsource)  # fmt: skip
    await registry.put(
        request.state.engine, source, body.kind, body.max_silence_seconds, principal.id,
        request.state.clock(),
    )  # fmt: skip
    return {"source_id": source_id, **body.model_dump()}


@router.delete("/v1/sources/{source_id}", status_code=204, summary="Disable a log source")
async def disable(request: Request, source_id: SourceId, principal: Registrar) -> Response:
    """Its keys open nothing any more; what it sent stays."""
    now = request.state.clock()
    if not await registry.disable(request.state.engine, source_id, principal.id, now):
        raise _unknown()
    return Response(status_code=204)


@router.post("/v1/sources/{source_id}/keys", status_code=201, summary="Issue a key")
async def issue(
    request: Request, source_id: SourceId, principal: Registrar, body: Annotated[KeyBody, Body()]
) -> dict[str, Any]:
    """The key is in this answer and nowhere else."""
    now = request.state.clock()
    pepper = request.state.settings.key_pepper.get_secret_value()
    expires = _expiry(now, body.expires_in_days)
    key = await registry.issue(
        request.state.engine, source_id, pepper, now, expires, list(body.scopes), principal.id
    )
    if key is None:
        raise _unknown()
    shown = rfc3339(expires) if expires else None
    return {"key_id": key.id, "key": str(key), "scopes": body.scopes, "expires_at": shown}


@router.post(
    "/v1/sources/{source_id}/keys/{key_id}/rotate", status_code=201, summary="Replace a key"
)
async def rotate(
    request: Request,
    source_id: SourceId,
    key_id: KeyId,
    principal: Registrar,
    body: Annotated[RotationBody, Body()],
) -> dict[str, Any]:
    """The new key has the old one's scopes; both work during the overlap, then the old one ends."""
    now = request.state.clock()
    pepper = request.state.settings.key_pepper.get_secret_value()
    ends = now + timedelta(seconds=body.overlap_seconds)
    expires = _expiry(now, body.expires_in_days)
    key = await registry.rotate(
        request.state.engine, source_id, key_id, pepper, now, ends, expires, principal.id
    )
    if key is None:
        raise ProblemError(404, "not_found", "There is no such key in force.")
    shown = rfc3339(expires) if expires else None
    return {"key_id": key.id, "key": str(key), "expires_at": shown,
            "replaces": key_id, "replaced_until": rfc3339(ends)}  # fmt: skip


@router.delete("/v1/sources/{source_id}/keys/{key_id}", status_code=204, summary="Revoke a key")
async def revoke(request: Request, source_id: SourceId, key_id: KeyId, _: Registrar) -> Response:
    """Every replica notices within TOCSIN_INGEST_KEY_CACHE_SECONDS."""
    if not await registry.revoke(request.state.engine, source_id, key_id, request.state.clock()):
        raise ProblemError(404, "not_found", "There is no such key in force.")
    return Response(status_code=204)


@router.get("/v1/logging-requirements", summary="What is asked of every service's logs")
async def list_requirements(request: Request, _: Looker) -> dict[str, Any]:
    return {"items": [_shown(row) for row in await newest(request.state.engine)]}


@router.get("/v1/logging-requirements/{service}", summary="All versions of one service's")
async def get_requirement(
    request: Request, service: Service, _: Looker, response: Response
) -> dict[str, Any]:
    found = await versions(request.state.engine, service)
    if not found:
        raise ProblemError(404, "not_found", "Nothing is asked of that service.")
    response.headers["ETag"] = f'"{found[-1].version}"'
    return {"service": service, "versions": [_shown(row) for row in reversed(found)]}


@router.put("/v1/logging-requirements/{service}", summary="Ask something else of a service's logs")
async def put_requirement(
    request: Request,
    service: Service,
    principal: SecurityTeam,
    body: Annotated[LoggingRequirement, Body()],
    if_match: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """A new version; If-Match names the one it replaces, "0" the first. In force within 10 s."""
    if if_match is None:
        raise ProblemError(428, "version_missing", "This needs If-Match with the version read.")
    base = if_match.strip('W/"')
    if not base.isdecimal():
        raise ProblemError(412, "stale_version", "If-Match names no version.")
    now = request.state.clock()
    version = await add(request.state.engine, service, int(base), body, principal.id, now)
    return {"service": service, "version": version, **body.model_dump()}


async def _report(request: Request, days: int) -> list[dict[str, Any]]:
    kept = request.state.settings.store_retention_days
    return await report.sources(request.state.engine, request.state.clock, kept, days)


def _shown(row: Any) -> dict[str, Any]:
    return {
        "service": row.service, "version": row.version, **row.body, "set_by": row.set_by,
        "set_at": rfc3339(row.set_at),
    }  # fmt: skip


def _expiry(now: datetime, days: int | None) -> datetime | None:
    return now + timedelta(days=days) if days else None


def _unknown() -> ProblemError:
    return ProblemError(404, "not_found", "There is no such log source.")
