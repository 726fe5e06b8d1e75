"""Escalate's composition root."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from services.escalate import api, api_policies, api_triage
from services.escalate.assembly import AssemblyWatch
from services.escalate.consumer import (
    CASES_CONSUMER,
    DETECTIONS_CONSUMER,
    NOTIFICATIONS_CONSUMER,
    CasesHandler,
    CustomersHandler,
    DetectionHandler,
)
from services.escalate.doors import api as doors_api
from services.escalate.doors.imap import ImapDoor
from services.escalate.doors.letters import Letters
from services.escalate.doors.maildir import Maildir
from services.escalate.doors.register import DoorBook, load_doors
from services.escalate.extension import extend_one
from services.escalate.files import Files
from services.escalate.migrations import HEAD
from services.escalate.oncall import (
    api_acknowledge,
    api_engagements,
    api_oncall,
    api_pagerduty,
    api_severity,
    api_slack,
)
from services.escalate.oncall.api_pagerduty import PagerDutyHook
from services.escalate.oncall.api_slack import SlackApp
from services.escalate.oncall.chains import Chains
from services.escalate.oncall.channels.secrets import Secrets
from services.escalate.oncall.channels.wiring import channels_of, poster_of
from services.escalate.oncall.clocks import CLOCKS_CONSUMER, ClockHandler
from services.escalate.oncall.coverage_watch import CoverageWatch
from services.escalate.oncall.follow_ups import FollowUps
from services.escalate.oncall.links import Links
from services.escalate.oncall.undelivered import UNDELIVERABLE_CONSUMER, UndeliverableHandler
from services.escalate.paging import LogChannel, Pager
from services.escalate.policy_versions import PolicyBook
from services.escalate.proposal import Policies
from services.escalate.retention import Retention
from services.escalate.settings import Settings, load_policies, mailbox_of
from services.escalate.silence import SilenceWatch
from services.escalate.sources import SOURCES_CONSUMER, SourcesHandler
from services.escalate.state import State
from services.escalate.support import api as support_api
from services.escalate.support.desk import Desk
from services.escalate.support.watch import Watch
from services.escalate.triage_decisions import wake_one
from services.escalate.watched import watched_files
from shared.bus import Bus
from shared.clock import Clock, utc_now
from shared.consume import consume, consume_batches
from shared.db import create_engine, database_problem
from shared.errors import UserError
from shared.http import ServiceState, background, service_app
from shared.outbox import Relay
from shared.reconcile import Reconciler
from shared.settings import SettingsError, require
from shared.topology import ESCALATIONS, consumer

__all__ = ["create_app"]


def create_app(settings: Settings, *, clock: Clock = utc_now) -> FastAPI:
    """Return the escalate service; SettingsError when it lacks what it cannot do without."""
    database_url = require(settings, "database_url")
    policies = load_policies(settings)
    mailbox = mailbox_of(settings)
    try:
        verified = settings.mail_authserv_id is not None
        doors = DoorBook(load_doors(settings.doors_file, verified=verified))
    except UserError as error:
        raise SettingsError(str(error)) from error

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[ServiceState]:
        engine = create_engine(database_url, "escalate", pool_size=6)
        seed = settings.nats_nkey_seed
        links = Links(settings.public_url)
        book = PolicyBook(engine, policies)

        def in_force() -> Policies:
            return book.current

        files = Files(watched_files(settings, book, doors))

        async def look_at_policies() -> int:
            await book.refresh(clock())
            return 0

        async with (
            Bus(settings.nats_url, "escalate", seed.get_secret_value() if seed else None) as bus,
            poster_of(settings) as poster,
        ):
            channels = channels_of(settings, poster, links, clock)
            outbox = Reconciler("outbox", Relay(engine, bus, ESCALATIONS.name).once, 0.5)
            pager = Pager(
                engine,
                channels,
                clock,
                outbox.wake,
                lambda: pages.wake(),
                socket.gethostname(),  # a container that is started again keeps its name
            )

            async def send() -> int:
                await links.load(engine)
                return await pager.send_due()

            pages = Reconciler("pages", send, 0.25)
            timers = Chains(engine, in_force, clock)

            async def advance() -> int:
                done = await timers.advance()
                if done:
                    pages.wake()
                    outbox.wake()
                return done

            follow_ups = FollowUps(engine, poster, Secrets(settings.paging_secrets_file), clock)
            signing = settings.slack_signing_secret
            slack = SlackApp(signing.get_secret_value(), poster) if signing else None
            hook = settings.pagerduty_webhook_secret
            pagerduty = PagerDutyHook(hook.get_secret_value()) if hook else None
            followed = Reconciler("follow-ups", follow_ups.once, 1.0)

            # A step is due to the second, and whatever an instance that died had armed is due here.
            chains = Reconciler("chains", advance, 0.25)
            watch = Reconciler("coverage", CoverageWatch(engine, in_force, clock).look, 3600.0)

            async def extend() -> int:
                done = await extend_one(engine, clock, settings.extend_seconds)
                if done:
                    outbox.wake()
                return done

            extensions = Reconciler("extensions", extend, min(1.0, settings.extend_seconds))

            def went_out() -> None:
                outbox.wake()
                chains.wake()
                followed.wake()

            kept = timedelta(days=settings.triage_days)
            retention = Retention(engine, clock, kept, policies.rules.half_life)
            desk = Desk(in_force, LogChannel.name, timedelta(minutes=settings.acknowledge_minutes))
            unacknowledged = Reconciler(
                "support cases", Watch(engine, desk, clock, went_out).once, 1.0
            )
            silence = SilenceWatch(
                engine,
                in_force,
                LogChannel.name,
                timedelta(minutes=settings.severity_minutes),
                clock,
                went_out,
            )
            unset = Reconciler("severities", silence.once, 1.0)
            assembly = AssemblyWatch(
                engine,
                in_force,
                LogChannel.name,
                settings.v_team_minutes,
                clock,
                went_out,
            )
            letters = Letters(
                engine, desk, doors, clock, went_out, settings.mail_authserv_id
            )  # fmt: skip
            mails = []
            if settings.maildir is not None:
                mails.append(Reconciler("maildir", Maildir(settings.maildir, letters).once, 2.0))
            if mailbox is not None:
                door = ImapDoor(mailbox, letters)
                mails.append(Reconciler("imap", door.once, settings.imap_seconds))
            on_detection = DetectionHandler(
                engine, in_force, LogChannel.name, clock, went_out, extensions.wake
            )
            on_case = CasesHandler(engine, in_force, LogChannel.name, clock, went_out)
            on_customers = CustomersHandler(engine, in_force, LogChannel.name, clock, went_out)

            on_source = SourcesHandler(engine, in_force, LogChannel.name, clock, went_out)

            async def wake() -> int:
                done = await wake_one(engine, in_force(), LogChannel.name, clock)
                if done:
                    went_out()
                return done

            on_clock = ClockHandler(engine, in_force, LogChannel.name, clock, went_out)
            on_unreached = UndeliverableHandler(engine, in_force, LogChannel.name, clock, went_out)
            async with background(
                outbox.run(),
                chains.run(),
                pages.run(),
                followed.run(),
                watch.run(),
                extensions.run(),
                unacknowledged.run(),
                unset.run(),
                Reconciler("v-teams", assembly.once, 1.0).run(),
                *(mail.run() for mail in mails),
                Reconciler("policies", look_at_policies, 2.0).run(),
                Reconciler("files", files.look, 1.0).run(),
                Reconciler("snoozes", wake, 1.0).run(),
                Reconciler("retention", retention.once, 3600.0).run(),
                consume_batches(bus, consumer(DETECTIONS_CONSUMER), on_detection),
                consume(bus, consumer(CASES_CONSUMER), on_case),
                consume(bus, consumer(NOTIFICATIONS_CONSUMER), on_customers),
                consume(bus, consumer(CLOCKS_CONSUMER), on_clock),
                consume(bus, consumer(UNDELIVERABLE_CONSUMER), on_unreached),
                consume(bus, consumer(SOURCES_CONSUMER), on_source),
            ):
                yield State(
                    checks={
                        "database": lambda: database_problem(engine, "escalate", HEAD),
                        "broker": bus.problem,
                    },
                    notices=files.notices,
                    engine=engine,
                    book=book,
                    desk=desk,
                    doors=doors,
                    clock=clock,
                    links=links,
                    slack=slack,
                    pagerduty=pagerduty,
                    wake=went_out,
                )
            await pager.stop()
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
    app.include_router(api_oncall.router)
    app.include_router(api_acknowledge.router)
    app.include_router(api_engagements.router)
    app.include_router(api_severity.router)
    app.include_router(api_slack.router)
    app.include_router(api_pagerduty.router)
    app.include_router(doors_api.router)
    return app
