"""The log store, put together: intake, housekeeping, search and replays of one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.replay.runner import Replayer, ReplayRequests
from services.ingest.search.pool import Searchers
from services.ingest.search.service import SearchService
from services.ingest.settings import Settings
from services.ingest.store.batch import Store
from services.ingest.store.intake import Batching, Intake
from services.ingest.store.keeper import Keeper
from services.ingest.store.place import S3Access
from services.ingest.store.process import StoreProcess
from shared.bus import Bus
from shared.clock import Clock
from shared.consume import consume
from shared.http import background
from shared.reconcile import Reconciler
from shared.topology import consumer

__all__ = ["LogStore", "running_store"]

KEEP_EVERY = 30.0
REPLAYS_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class LogStore:
    """What the routes need of it."""

    search: SearchService
    replays: Reconciler


@asynccontextmanager
async def running_store(
    settings: Settings, bus: Bus, engine: AsyncEngine, clock: Clock
) -> AsyncIterator[LogStore]:
    """Run everything of the store for as long as the block lasts."""
    store = Store(
        settings.store_url,
        settings.store_cache,
        settings.store_cache_bytes,
        settings.store_memory_mib,
        S3Access(
            settings.store_s3_endpoint,
            settings.store_s3_region,
            settings.store_s3_key_id.get_secret_value() if settings.store_s3_key_id else None,
            settings.store_s3_secret.get_secret_value() if settings.store_s3_secret else None,
        ),
    )
    writing, keeping = StoreProcess(), StoreProcess(seconds=600.0)
    batching = Batching(settings.store_batch_seconds, settings.store_batch_events)
    intake = Intake(bus, engine, store, writing, batching, clock)
    keeper = Keeper(engine, store, keeping, settings.store_retention_days, clock)
    searchers = Searchers(
        replace(store, memory_mib=settings.search_memory_mib),
        settings.search_processes,
        settings.search_threads,
        settings.search_seconds,
    )
    search = SearchService(engine, searchers, settings.search_max_bytes, clock)
    replayer = Replayer(engine, bus, search, settings.replay_events_per_second, clock)
    replays = Reconciler("replays", replayer.once, REPLAYS_EVERY)
    requests = ReplayRequests(engine, replays, clock)
    try:
        async with background(
            intake.run(),
            Reconciler("store", keeper.once, KEEP_EVERY).run(),
            replays.run(),
            consume(bus, consumer("ingest-replays"), requests),
        ):
            yield LogStore(search, replays)
    finally:
        searchers.close()
        writing.close()
        keeping.close()
