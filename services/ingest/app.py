"""Ingest's composition root."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest import api, ledger, sources_api
from services.ingest.doors.gate import Intake
from services.ingest.doors.routes import doors, mount
from services.ingest.doors.syslog_listener import SyslogListener, tls_context
from services.ingest.doors.syslog_senders import Senders, SendersError
from services.ingest.fill import Fill
from services.ingest.log_store import LogStore, running_store
from services.ingest.migrations import HEAD
from services.ingest.rate import RateLimits
from services.ingest.refusals import RefusedLately
from services.ingest.replay import api as replay_api
from services.ingest.search import api as search_api
from services.ingest.search import saved
from services.ingest.search.service import SearchService
from services.ingest.settings import Settings
from services.ingest.sources import SourceDirectory
from services.ingest.store import api as store_api
from services.ingest.watch.activity import Activity
from services.ingest.watch.requirements import Requirements
from services.ingest.watch.silence import Silence
from services.ingest.writer import BlockWriter
from shared.bus import Bus
from shared.clock import Clock, utc_now
from shared.consume import consume
from shared.db import create_engine, database_problem
from shared.http import ServiceState, background, service_app
from shared.reconcile import Reconciler
from shared.settings import SettingsError, require
from shared.topology import consumer

__all__ = ["create_app"]


class State(ServiceState):
    """What handlers find on ``request.state``."""

    intake: Intake
    bus: Bus
    syslog: SyslogListener
    settings: Settings
    clock: Clock
    engine: AsyncEngine
    search: SearchService | None
    replays: Reconciler | None


def create_app(settings: Settings, *, clock: Clock = utc_now) -> FastAPI:
    """Return the ingest service; SettingsError when it lacks what it cannot do without."""
    database_url = require(settings, "database_url")
    try:
        Senders(settings.syslog_senders)
    except SendersError as error:
        raise SettingsError(str(error)) from error
    if settings.syslog_tls_port is not None:
        tls_context(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[ServiceState]:
        engine = create_engine(database_url, "ingest")
        seed = settings.nats_nkey_seed
        async with Bus(
            settings.nats_url, "ingest", seed.get_secret_value() if seed else None
        ) as bus:
            writer = BlockWriter(bus, clock, settings.max_in_flight_bytes)
            pepper = settings.key_pepper.get_secret_value()
            fill = Fill(bus, settings.stream_volume)
            rate = settings.source_events_per_second
            requirements = Requirements(engine)
            activity = Activity(engine, requirements, clock)
            silence = Silence(engine, bus, requirements, clock)
            intake = Intake(
                settings=settings,
                sources=SourceDirectory(engine, pepper, clock, settings.key_cache_seconds),
                writer=writer,
                bus=bus,
                clock=clock,
                refused=RefusedLately(),
                activity=activity,
                rates=RateLimits(rate) if rate else None,
                full=fill.reason,
            )
            filling = Reconciler("fill", fill.look_once, 15.0)
            syslog = SyslogListener(intake)
            totals = ledger.LedgerUpdates(engine, clock)
            measured = Reconciler("ledger", lambda: ledger.measure_once(engine, bus), 15.0)
            watching = (
                Reconciler("requirements", requirements.read_once, 10.0),
                Reconciler("activity", activity.write_once, settings.activity_seconds),
                Reconciler("silence", silence.look_once, settings.activity_seconds),
            )
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(
                    background(
                        writer.run(),
                        filling.run(),
                        measured.run(),
                        *(each.run() for each in watching),
                        consume(bus, consumer("ingest-ledger"), totals),
                    )
                )
                store: LogStore | None = None
                if settings.store_url:
                    store = await stack.enter_async_context(
                        running_store(settings, bus, engine, clock)
                    )
                await stack.enter_async_context(syslog.running())
                yield State(
                    checks={
                        "database": lambda: database_problem(engine, "ingest", HEAD),
                        "broker": bus.problem,
                    },
                    intake=intake,
                    bus=bus,
                    syslog=syslog,
                    settings=settings,
                    clock=clock,
                    engine=engine,
                    search=store.search if store else None,
                    replays=store.replays if store else None,
                )
        await engine.dispose()

    paths = doors(settings)
    app = service_app(
        "ingest",
        settings,
        lifespan,
        description="Takes in log events. A 2xx answer means that they are on disk.",
        clock=clock,
        max_body=settings.max_body_bytes + 1,  # the door itself says 413 in its own words
        direct={(m, p.path): p.app for p in paths if "{" not in p.path for m in p.methods},
    )
    app.include_router(api.router)
    mount(app, paths)
    for module in (search_api, saved, replay_api, ledger, store_api, sources_api):
        app.include_router(module.router)
    return app
