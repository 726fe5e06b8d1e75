"""Logging requirements: what the security team asks of each service's logs, in versions (R12b)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.watch.measure import Requirement
from shared.problems import ProblemError

__all__ = ["LoggingRequirement", "Requirements", "add", "newest", "versions"]

_NEWEST = text(
    "SELECT DISTINCT ON (service) service, version, body, set_by, set_at"
    " FROM logging_requirements ORDER BY service, version DESC"
)
_VERSIONS = text("SELECT * FROM logging_requirements WHERE service = :service ORDER BY version")
_ADD = text(
    "INSERT INTO logging_requirements (service, version, body, set_by, set_at)"
    " VALUES (:service, :version, CAST(:body AS jsonb), :by, :now)"
)


class LoggingRequirement(BaseModel):
    """What a service has to log. A field is a name or a dotted path."""

    model_config = ConfigDict(extra="forbid")

    event_types: list[str] = Field(
        default_factory=list, max_length=200, description="that must be logged"
    )
    event_type_field: str | None = Field(
        None, max_length=200, description="where an event's type stands; None: the usual places"
    )
    required_fields: list[str] = Field(
        default_factory=list, max_length=100, description="that every event must have"
    )
    retention_days: int | None = Field(None, ge=1, le=3660)
    max_delay_seconds: float | None = Field(
        None, gt=0, le=2_678_400, description="from an event to its receipt"
    )
    max_silence_seconds: int | None = Field(
        None, ge=60, le=2_678_400, description="without any event of a source of this service"
    )


def requirement_of(service: str, version: int, body: Mapping[str, Any]) -> Requirement:
    """Return what is measured with."""
    return Requirement(
        service=service,
        version=version,
        event_types=frozenset(body.get("event_types", ())),
        event_type_field=body.get("event_type_field"),
        required_fields=tuple(body.get("required_fields", ())),
        max_delay_seconds=body.get("max_delay_seconds"),
        max_silence_seconds=body.get("max_silence_seconds"),
        retention_days=body.get("retention_days"),
    )


class Requirements:
    """The newest requirement of every service, read again every few seconds."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._known: dict[str, Requirement] = {}

    def of(self, service: str | None) -> Requirement | None:
        """Return what is asked of *service* now."""
        return self._known.get(service) if service else None

    async def read_once(self) -> int:
        """Read them; a reconciler's work."""
        self._known = {
            row.service: requirement_of(row.service, row.version, row.body)
            for row in await newest(self._engine)
        }
        return 0


async def newest(engine: AsyncEngine) -> list[Any]:
    """Return the newest version of every service."""
    async with engine.connect() as connection:
        return list((await connection.execute(_NEWEST)).all())


async def versions(engine: AsyncEngine, service: str) -> list[Any]:
    """Return every version of *service*, oldest first."""
    async with engine.connect() as connection:
        return list((await connection.execute(_VERSIONS, {"service": service})).all())


async def add(
    engine: AsyncEngine, service: str, base: int, asked: LoggingRequirement, by: str, now: datetime
) -> int:
    """Return the new version of *service*; 412 unless *base* is the newest one (0: none yet)."""
    known = await versions(engine, service)
    current = known[-1].version if known else 0
    if base != current:
        raise _stale(current)
    values = {
        "service": service, "version": base + 1, "body": asked.model_dump_json(), "by": by,
        "now": now,
    }  # fmt: skip
    try:
        async with engine.begin() as connection:
            await connection.execute(_ADD, values)
    except IntegrityError as error:
        raise _stale(current + 1) from error
    return base + 1


def _stale(current: int) -> ProblemError:
    return ProblemError(
        412, "stale_version", "Somebody has changed it meanwhile.", current_version=current
    )
