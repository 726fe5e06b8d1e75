"""An ingest service for tests: a source, its key, a client at its door, and what was stored."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import create_async_engine

from services.ingest.app import create_app
from services.ingest.keys import ApiKey
from services.ingest.settings import Settings
from services.ingest.sources import Source, issue_key, register
from shared.clock import utc_now
from shared.contracts.ingest import QuarantinedV1, decode_block
from tests.support.waiting import until
from tests.support.world import World


async def make_key(world: World, source: Source, expires: datetime | None = None) -> ApiKey:
    """Register *source* and return a key of it."""
    engine = create_async_engine(world.admin_dsn.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await register(connection, source, utc_now())
        key = await issue_key(connection, source.id, "", utc_now(), expires)
    await engine.dispose()
    return key


@asynccontextmanager
async def at_the_door(
    world: World, source: str = "web", **settings: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, ApiKey]]:
    """Yield a client without credentials and a key that it may use, once ingest is ready."""
    key = await make_key(world, Source(id=source, tenant="t1", region="eu-west", service="mail"))
    async with world.running(create_app(world.settings(Settings, **settings))) as client:
        await until(lambda: is_ready(client))
        yield client, key


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def events_of(world: World) -> list[dict[str, Any]]:
    """Return every envelope stored, oldest first."""
    return [
        envelope
        for _, headers, body in await world.messages("EVENTS")
        for envelope in decode_block(headers, body)
    ]


async def quarantined_of(world: World) -> list[QuarantinedV1]:
    """Return every item in quarantine, oldest first, as if each stood alone."""
    messages = [QuarantinedV1.from_json(m[2]) for m in await world.messages("QUARANTINE")]
    return [
        each
        for first in messages
        for each in (first, *(first.model_copy(update=dict(item)) for item in first.more))
    ]


class Stored:
    """What came in since this was made."""

    def __init__(self, world: World, events: int, quarantined: int) -> None:
        self._world, self._events, self._quarantined = world, events, quarantined

    @classmethod
    async def now(cls, world: World) -> "Stored":
        return cls(world, len(await events_of(world)), len(await quarantined_of(world)))

    async def events(self) -> list[dict[str, Any]]:
        return (await events_of(self._world))[self._events :]

    async def quarantined(self) -> list[QuarantinedV1]:
        return (await quarantined_of(self._world))[self._quarantined :]

    async def wait_for(self, count: int, timeout: float = 60) -> list[dict[str, Any]]:  # noqa: ASYNC109
        """Return the events once there are *count* of them."""

        async def enough() -> list[dict[str, Any]] | None:
            found = await self.events()
            return found if len(found) >= count else None

        found: list[dict[str, Any]] = await until(enough, timeout)
        return found


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
