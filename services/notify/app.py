"""Notify's composition root."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from services.notify import (
    api,
    api_board,
    api_corrections,
    api_deliveries,
    api_drafts,
    api_forms,
    api_inventory,
    api_obligation_steps,
    api_obligations,
    api_portal,
    api_scopes,
)
from services.notify.bounce_drop import BounceReader, smtp_drop
from services.notify.bounce_mailbox import MailboxReader
from services.notify.consumer import DURABLE, CasesConsumer
from services.notify.dispatcher import Dispatcher
from services.notify.email import EmailChannel
from services.notify.erasure import Eraser
from services.notify.forms.fonts import load_fonts
from services.notify.inventory_intake import MAX_DOCUMENT
from services.notify.inventory_keeper import InventoryKeeper
from services.notify.inventory_sync import InventorySync
from services.notify.migrations import HEAD
from services.notify.obligations.alarm_clock import AlarmClock
from services.notify.obligations.book import ObligationBook
from services.notify.obligations.profile import operator_profile
from services.notify.obligations.regime_file import load_regimes
from services.notify.secrets import WebhookSecrets
from services.notify.settings import Settings
from services.notify.state import State
from services.notify.webhook import WebhookChannel
from services.notify.wording.catalogue_file import load_wording
from services.notify.wording.keeper import WordingKeeper
from shared.bus import Bus
from shared.clock import Clock, utc_now
from shared.consume import consume
from shared.db import create_engine, database_problem
from shared.egress import AllowList, Resolver, system_resolver
from shared.http import BodyBound, ServiceState, background, service_app
from shared.outbox import Relay
from shared.reconcile import Reconciler
from shared.settings import require
from shared.topology import NOTIFICATIONS, consumer

__all__ = ["create_app"]


def create_app(
    settings: Settings,
    *,
    clock: Clock = utc_now,
    resolve: Resolver = system_resolver,
    on_bounce_port: Callable[[int | None], None] = lambda _: None,
) -> FastAPI:
    """Return the notify service; SettingsError when it lacks what it cannot do without."""
    database_url = require(settings, "database_url")
    regimes = load_regimes(settings.regimes_files, settings.regimes_enabled)
    operator = operator_profile(settings)
    known = [row.id for row in regimes.rows]
    wording = WordingKeeper(
        settings.templates_dir,
        lambda: load_wording(settings.templates_dir, known, settings.default_locale),
    )
    load_fonts(settings.form_fonts)  # refused now, not when a form is wanted

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[ServiceState]:
        engine = create_engine(database_url, "notify")
        seed = settings.nats_nkey_seed
        async with Bus(
            settings.nats_url, "notify", seed.get_secret_value() if seed else None
        ) as bus:
            outbox = Reconciler("outbox", Relay(engine, bus, NOTIFICATIONS.name).once, 0.5)
            keeper = InventoryKeeper(
                settings.inventory_file, engine, clock, on_change=lambda: scopes.wake()
            )
            book = ObligationBook(keeper, operator, regimes)
            proof = timedelta(days=settings.proof_retention_days)
            erasures = Reconciler("erasures", Eraser(engine, clock, proof).once, 3600)
            cases = CasesConsumer(engine, keeper, book, wording, clock, outbox.wake, erasures.wake)
            dispatcher = Dispatcher(
                engine,
                {
                    "email": EmailChannel(settings),
                    "webhook": WebhookChannel(
                        allow=AllowList.parse(settings.webhook_allow),
                        resolve=resolve,
                        secret_of=WebhookSecrets(
                            settings.webhook_secrets_file, keeper.webhook_secret
                        ),
                        clock=clock,
                        ca_file=settings.webhook_ca_file,
                    ),
                },
                clock,
                settings.lease_seconds,
                book,
                outbox.wake,
            )
            scopes = Reconciler("scopes", cases.compile_waiting, 30)
            workers = [
                Reconciler("dispatch", dispatcher.dispatch_once, settings.dispatch_interval)
                for _ in range(settings.dispatch_workers)
            ]

            def wake() -> None:
                for reconciler in (outbox, alarms, *workers):
                    reconciler.wake()

            alarm_clock = AlarmClock(engine, clock, outbox.wake)
            alarms = Reconciler("obligation-alarms", alarm_clock.ring, settings.alarm_seconds)
            inventory = Reconciler("inventory", keeper.refresh, 2)
            sync = InventorySync(
                settings.inventory_sync,
                keeper,
                engine,
                clock,
                allow=AllowList.parse(settings.inventory_sync_allow),
                resolve=resolve,
                ca_file=settings.inventory_sync_ca_file,
            )
            syncs = Reconciler("inventory-sync", sync.once, 5)
            reader = BounceReader(
                engine, clock, book, settings.bounce_address or "", settings.bounce_maildir, wake
            )
            maildir = Reconciler("bounces", reader.read_maildir, 5)
            mailboxes = []
            if access := settings.bounce_mailbox:
                mailbox = MailboxReader(engine, clock, book, access, wake)
                seconds = settings.bounce_imap_seconds
                mailboxes.append(
                    # Servers lock out who knocks too often.
                    Reconciler("bounce-mailbox", mailbox.once, seconds, pauses=(seconds, 900)).run()
                )
            drop = smtp_drop(reader, settings.bounce_smtp_host, settings.bounce_smtp_port)
            async with (
                drop as bounce_port,
                background(
                    inventory.run(),
                    Reconciler("templates", wording.look, 2).run(),
                    syncs.run(),
                    outbox.run(),
                    scopes.run(),
                    alarms.run(),
                    maildir.run(),
                    erasures.run(),
                    *mailboxes,
                    *(worker.run() for worker in workers),
                    consume(bus, consumer(DURABLE), cases.handle),
                ),
            ):
                on_bounce_port(bounce_port)
                yield State(
                    checks={
                        "database": lambda: database_problem(engine, "notify", HEAD),
                        "broker": bus.problem,
                        "inventory": keeper.missing,
                    },
                    settings=settings,
                    engine=engine,
                    keeper=keeper,
                    sync=sync,
                    book=book,
                    operator=operator,
                    regimes=regimes,
                    wording=wording,
                    notices=wording.notices,
                    clock=clock,
                    wake=wake,
                )
        await engine.dispose()

    app = service_app(
        "notify",
        settings,
        lifespan,
        description="Finds the affected customers, reckons what is owed, tells them, keeps proof.",
        clock=clock,
        bounds=[BodyBound("POST", api_inventory.IMPORTS, MAX_DOCUMENT)],
    )
    for router in (
        api.router,
        api_obligations.router,
        api_obligation_steps.router,
        api_drafts.router,
        api_forms.router,
        api_board.router,
        api_scopes.router,
        api_inventory.router,
        api_deliveries.router,
        api_corrections.router,
        api_portal.router,
    ):
        app.include_router(router)
    return app
