"""Escalate's composition root."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from services.escalate import api, api_policies, api_triage
from services.escalate.consumer import (
    CASES_CONSUMER,
    DETECTIONS_CONSUMER,
    NOTIFICATIONS_CONSUMER,
    CasesHandler,
    CustomersHandler,
    DetectionHandler,
)
from services.escalate.extension import extend_one
from services.escalate.migrations import HEAD
from services.escalate.paging import LogChannel, Pager
from services.escalate.policy_versions import PolicyBook
from services.escalate.proposal import Policies
from services.escalate.settings import Settings, load_policies
from services.escalate.state import State
from services.escalate.support import api as support_api
from services.escalate.support.desk import Desk
from services.escalate.support.watch import Watch
from services.escalate.triage_decisions import wake_one
from shared.bus import Bus
from shared.clock import Clock, utc_now
from shared.consume import consume, consume_batches
from shared.db import create_engine, database_problem
from shared.http import ServiceState, background, service_app
from shared.outbox import Relay
from shared.reconcile import Reconciler
from shared.settings import require
from shared.topology import ESCALATIONS, consumer

__all__ = ["create_app"]


def create_app(settings: Settings, *, clock: Clock = utc_now) -> FastAPI:
    """Return the escalate service; SettingsError when it lacks what it cannot do without."""
    database_url = require(settings, "database_url")
    policies = load_policies(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[ServiceState]:
        engine = create_engine(database_url, "escalate")
        seed = settings.nats_nkey_seed
        log_channel = LogChannel()
        book = PolicyBook(engine, policies)

        def in_force() -> Policies:
            return book.current

        async def look_at_policies() -> int:
            await book.refresh(clock())
            return 0

        async with Bus(
            settings.nats_url, "escalate", seed.get_secret_value() if seed else None
        ) as bus:
            outbox = Reconciler("outbox", Relay(engine, bus, ESCALATIONS.name).once, 0.5)
            pager = Pager(engine, {log_channel.name: log_channel}, clock, outbox.wake)
            pages = Reconciler("pages", pager.send_one, 1.0)

            async def extend() -> int:
                done = await extend_one(engine, clock, settings.extend_seconds)
                if done:
                    outbox.wake()
                return done

            extensions = Reconciler("extensions", extend, min(1.0, settings.extend_seconds))

            def went_out() -> None:
                outbox.wake()
                pages.wake()

            desk = Desk(in_force, log_channel.name, timedelta(minutes=settings.acknowledge_minutes))
            unacknowledged = Reconciler(
                "support cases", Watch(engine, desk, clock, went_out).once, 1.0
            )
            on_detection = DetectionHandler(
                engine, in_force, log_channel.name, clock, went_out, extensions.wake
            )
            on_case = CasesHandler(engine, in_force, log_channel.name, clock, went_out)
            on_customers = CustomersHandler(engine, in_force, clock, went_out)

            async def wake() -> int:
                done = await wake_one(engine, in_force(), log_channel.name, clock)
                if done:
                    went_out()
                return done

            async with background(
                outbox.run(),
                pages.run(),
                extensions.run(),
                unacknowledged.run(),
                Reconciler("policies", look_at_policies, 2.0).run(),
                Reconciler("snoozes", wake, 1.0).run(),
                consume_batches(bus, consumer(DETECTIONS_CONSUMER), on_detection),
                consume(bus, consumer(CASES_CONSUMER), on_case),
                consume(bus, consumer(NOTIFICATIONS_CONSUMER), on_customers),
            ):
                yield State(
                    checks={
                        "database": lambda: database_problem(engine, "escalate", HEAD),
                        "broker": bus.problem,
                    },
                    engine=engine,
                    book=book,
                    desk=desk,
                    clock=clock,
                    wake=went_out,
                )
        await engine.dispose()

    app = service_app(
        "escalate",
        settings,
        lifespan,
        description="Groups detections into proposals, computes severity and priority, escalates.",
        clock=clock,
        bounds=support_api.BOUNDS,
    )
    app.include_router(api.router)
    app.include_router(api_policies.router)
    app.include_router(api_triage.router)
    app.include_router(support_api.router)
    return app
