"""The composition root of cases."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases import (
    api_commands,
    api_erasures,
    api_incident,
    api_log,
    api_metrics,
    api_queue,
    api_saved,
    api_snapshot,
    api_stream,
    api_views,
    api_work,
)
from services.cases.case_policy import SHIPPED, load
from services.cases.consumer import Consumer
from services.cases.domain.values import Policy
from services.cases.durations import Durations
from services.cases.evidence import api as api_evidence
from services.cases.evidence import api_content
from services.cases.evidence.wiring import Evidence, keeping
from services.cases.history import History
from services.cases.leader import Leader
from services.cases.ledger.checkpoints import Checkpointer, newest_note
from services.cases.ledger.keys import load_signer
from services.cases.migrations import HEAD
from services.cases.need_to_know import Sight, need_to_know
from services.cases.phases import Phases
from services.cases.postgres import PostgresStore
from services.cases.projector import Projector
from services.cases.queries import Queries
from services.cases.relay import LEADER_KEY, Relay
from services.cases.review import api as api_review
from services.cases.review.opener import Opener
from services.cases.review.queries import ReviewQueries
from services.cases.saved import SavedViews
from services.cases.scrub import Scrub
from services.cases.sealing.eraser import Eraser
from services.cases.sealing.kek import load_keks
from services.cases.sealing.vault import Vault
from services.cases.settings import Settings
from services.cases.snapshot import Snapshots
from services.cases.split import Splitter
from services.cases.store import EventStore
from services.cases.worklist import WorkLists
from shared.bus import Bus
from shared.clock import Clock, utc_now
from shared.consume import consume
from shared.db import create_engine, database_problem
from shared.http import ServiceState, background, service_app
from shared.reconcile import Reconciler
from shared.settings import require
from shared.topology import consumer

__all__ = ["State", "check_keys", "create_app"]

ERASER_SECONDS = 10.0  # the same: an erasure is finished by whoever asked for it
SPLIT_SECONDS = 10.0  # only after a crash there is anything to do
DESCRIPTION = (
    "The incident: an append-only log of what happened, the commands that add to it, and the views"
    " projected from it."
)


class State(ServiceState):
    """What handlers find on ``request.state``."""

    engine: AsyncEngine
    bus: Bus
    clock: Clock
    vault: Vault
    store: EventStore
    queries: Queries
    history: History
    snapshots: Snapshots
    saved_views: SavedViews
    work_lists: WorkLists
    durations: Durations
    sight: Sight
    eraser: Eraser
    projector: Projector
    noticed: Callable[[], None]
    checkpointer: Checkpointer
    case_policy: Policy
    phases: Phases
    evidence: Evidence
    reviews: ReviewQueries


async def check_keys(settings: Settings) -> None:
    """Refuse (SettingsError) a master key that opens none of the keys in the database."""
    engine = create_engine(require(settings, "database_url"), "cases", pool_size=1)
    try:
        await Vault(engine, load_keks(settings.master_key_file)).check()
    finally:
        await engine.dispose()


def create_app(settings: Settings, *, clock: Clock = utc_now) -> FastAPI:
    """Return the service that *settings* describe; SettingsError without a database or key.

    CasePolicyError for a case-management policy that cannot be taken.
    """
    database_url = require(settings, "database_url")
    case_policy = load(settings.case_policy_file or SHIPPED)
    seed = settings.nats_nkey_seed.get_secret_value() if settings.nats_nkey_seed else None
    key_file = settings.log_key_file
    keks = load_keks(settings.master_key_file)
    signer = load_signer(settings.log_origin, key_file) if key_file else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        engine = create_engine(database_url, "cases")
        vault = Vault(engine, keks)
        store = PostgresStore(engine, vault, settings.max_waiting_appends)
        projector = Projector(engine, vault)
        try:
            async with (
                Bus(settings.nats_url, "cases", seed) as bus,
                Leader(engine, LEADER_KEY) as leader,
            ):
                checkpointer = Checkpointer(engine, signer, settings.checkpoint_seconds)
                sign = Reconciler("cases-checkpoints", checkpointer.once, 1.0)
                publish = Relay(store, bus, leader, lambda: newest_note(engine))
                relay = Reconciler("cases-relay", publish.once, settings.relay_seconds)
                scrub = Scrub(engine, store, bus, publish, clock)
                project = Reconciler("cases-projector", projector.once, settings.project_seconds)

                def noticed() -> None:
                    relay.wake()
                    project.wake()
                    sign.wake()

                queries = Queries(engine, vault)
                sight = Sight(engine, store)
                retention = timedelta(days=settings.record_retention_days)
                eraser = Eraser(engine, vault, store, projector, sight, retention, noticed)
                splitter = Splitter(store, queries, noticed)
                reviews = ReviewQueries(engine)
                opener = Opener(store, reviews, noticed)
                told = Consumer(store, clock, noticed)
                kept = keeping(settings, engine, keks, store, projector, clock)
                async with background(
                    relay.run(),
                    project.run(),
                    sign.run(),
                    Reconciler("cases-scrub", scrub.once, settings.scrub_seconds).run(),
                    *kept.work,
                    Reconciler("cases-eraser", eraser.once, ERASER_SECONDS).run(),
                    Reconciler("cases-splitter", splitter.once, SPLIT_SECONDS).run(),
                    Reconciler("cases-reviews", opener.once, SPLIT_SECONDS).run(),
                    consume(bus, consumer("cases-escalations"), told.on_escalations),
                    consume(bus, consumer("cases-notifications"), told.on_notifications),
                ):
                    yield State(
                        checks={
                            "database": lambda: database_problem(engine, "cases", HEAD),
                            "broker": bus.problem,
                            "keys": vault.problem,
                        },
                        engine=engine,
                        bus=bus,
                        clock=clock,
                        vault=vault,
                        store=store,
                        queries=queries,
                        history=History(engine, vault),
                        snapshots=Snapshots(engine, vault),
                        saved_views=SavedViews(engine),
                        work_lists=WorkLists(engine),
                        durations=Durations(engine),
                        sight=sight,
                        eraser=eraser,
                        projector=projector,
                        noticed=noticed,
                        checkpointer=checkpointer,
                        case_policy=case_policy,
                        phases=Phases(case_policy, store),
                        evidence=kept.state,
                        reviews=reviews,
                    )
        finally:
            await projector.close()
            await store.close()
            await engine.dispose()

    app = service_app(
        "cases",
        settings,
        lifespan,
        description=DESCRIPTION,
        clock=clock,
        bounds=[api_content.content_bound(settings.evidence_max_bytes)],
    )
    for part in (
        api_commands,
        api_erasures,
        api_queue,
        api_incident,
        api_views,
        api_stream,
        api_snapshot,
        api_saved,
        api_work,
        api_metrics,
        api_log,
        api_evidence,
        api_content,
        api_review,
    ):
        app.include_router(part.router, dependencies=[Depends(need_to_know)])
    return app
