"""Detect's composition root."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from services.detect import api, api_noise
from services.detect.consumer import BlockHandler
from services.detect.correlation.beside import CountingProcess
from services.detect.correlation.process import Begin
from services.detect.correlation.publisher import MatchPublisher
from services.detect.correlation.worker import Correlator
from services.detect.evaluated import report_once
from services.detect.evaluators import Evaluators, evaluating
from services.detect.lifecycle import api as lifecycle
from services.detect.lifecycle.backtest import Backtests
from services.detect.lifecycle.incidents import CasesHandler
from services.detect.lifecycle.managed import ManagedFolder
from services.detect.migrations import HEAD
from services.detect.replays import ReplayHandler
from services.detect.retention import forget
from services.detect.ruleset import PACK, Ruleset
from services.detect.settings import Settings
from services.detect.suppressions import forget_counts
from shared.bus import Bus
from shared.clock import Clock, utc_now
from shared.consume import consume
from shared.db import create_engine, database_problem
from shared.http import ServiceState, background, service_app
from shared.ids import uuid7
from shared.outbox import Relay
from shared.reconcile import Reconciler
from shared.settings import require
from shared.topology import DETECTIONS, consumer

__all__ = ["create_app"]

BOOKKEEPING_SECONDS = 900.0


class State(ServiceState):
    """What handlers find on ``request.state``."""

    engine: AsyncEngine
    ruleset: Ruleset
    outbox: Reconciler
    managed: Reconciler
    clock: Clock


def create_app(settings: Settings, *, clock: Clock = utc_now) -> FastAPI:
    """Return the detect service; SettingsError when it lacks what it cannot do without."""
    database_url = require(settings, "database_url")
    pack = [PACK] if settings.shipped_pack else []
    # Rules that live in the database lie beside those of files, in a folder of this process.
    folder = Path(tempfile.gettempdir(), f"tocsin-rules-{uuid7().hex}")
    ruleset = Ruleset([folder, *pack, *settings.rule_directories], settings.cache_directory)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[ServiceState]:
        engine = create_engine(database_url, "detect")
        seed = settings.nats_nkey_seed
        evaluators = Evaluators(
            ruleset, settings.workers, settings.reload_seconds, settings.correlation_partitions
        )
        bus_of_detect = Bus(settings.nats_url, "detect", seed.get_secret_value() if seed else None)
        async with evaluating(evaluators), bus_of_detect as bus:
            outbox = Reconciler("outbox", Relay(engine, bus, DETECTIONS.name).once, 0.5)
            managed_folder = ManagedFolder(engine, folder)

            async def refresh() -> int:
                # Nothing is evaluated by rules that were retired, or without those in force.
                if not managed_folder.written:
                    await managed_folder.once()
                return await ruleset.refresh()

            rules = Reconciler("rules", refresh, settings.reload_seconds)
            managed = Reconciler("managed rules", managed_folder.once, settings.reload_seconds)
            counts = Reconciler(
                "throttle counts",
                lambda: forget_counts(engine, clock() - timedelta(days=1)),
                3600.0,
            )
            kept = timedelta(days=settings.bookkeeping_days)
            bookkeeping = Reconciler(
                "bookkeeping", lambda: forget(engine, clock() - kept), BOOKKEEPING_SECONDS
            )
            evaluated = Reconciler("evaluated", lambda: report_once(engine, clock), 1.0)
            correlation = _correlation(settings, engine, bus, ruleset, outbox, clock)
            matches = MatchPublisher(
                bus, correlation.follow if isinstance(correlation, CountingProcess) else None
            )
            handler = BlockHandler(engine, ruleset, evaluators, outbox, clock, matches)
            replays = ReplayHandler(
                engine,
                ruleset,
                evaluators,
                outbox,
                clock,
                matches,
                Backtests(engine, ruleset, clock),
            )
            async with background(
                managed.run(),
                counts.run(),
                bookkeeping.run(),
                rules.run(),
                outbox.run(),
                evaluated.run(),
                correlation.run(),
                # Two blocks a process: one is evaluated while another one's answer is recorded.
                *(
                    consume(bus, consumer("detect-events"), handler)
                    for _ in range(max(1, 2 * settings.workers))
                ),
                consume(bus, consumer("detect-replays"), replays),
                consume(bus, consumer("detect-cases"), CasesHandler(engine, ruleset, clock)),
            ):
                yield State(
                    checks={
                        "database": lambda: database_problem(engine, "detect", HEAD),
                        "broker": bus.problem,
                        "rules": ruleset.problem,
                    },
                    engine=engine,
                    ruleset=ruleset,
                    outbox=outbox,
                    managed=managed,
                    clock=clock,
                )
        await engine.dispose()
        shutil.rmtree(folder, ignore_errors=True)

    app = service_app(
        "detect",
        settings,
        lifespan,
        description="Evaluates every accepted event against the rules and says why one fired.",
        clock=clock,
    )
    app.include_router(api.router)
    app.include_router(api_noise.router)
    app.include_router(lifecycle.router)
    return app


def _correlation(
    settings: Settings,
    engine: AsyncEngine,
    bus: Bus,
    ruleset: Ruleset,
    outbox: Reconciler,
    clock: Clock,
) -> Correlator | CountingProcess:
    """Return what counts: a process, or this one's threads where no processes are wanted."""
    if settings.workers == 0:
        return Correlator(
            engine,
            bus,
            ruleset,
            outbox.wake,
            clock,
            partitions=settings.correlation_partitions,
            lateness=settings.correlation_lateness_seconds,
            groups=settings.correlation_groups,
        )
    seed = settings.nats_nkey_seed
    begin = Begin(
        database_url=require(settings, "database_url"),
        nats_url=settings.nats_url,
        nkey_seed=seed.get_secret_value() if seed else None,
        partitions=settings.correlation_partitions,
        lateness=settings.correlation_lateness_seconds,
        groups=settings.correlation_groups,
    )
    return CountingProcess(begin, ruleset, outbox.wake)
