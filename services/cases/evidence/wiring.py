"""What the service holds for evidence, and the work it does in the background."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.evidence.keeper import Janitor, Scrub
from services.cases.evidence.queries import EvidenceQueries
from services.cases.evidence.store import EvidenceStore
from services.cases.evidence.store_local import LocalStore
from services.cases.projector import Projector
from services.cases.settings import Settings
from services.cases.store import EventStore
from shared.clock import Clock
from shared.reconcile import Reconciler

__all__ = ["Evidence", "Keeping", "keeping"]

UPLOADS = 8  # at the same time; each holds about 2 MiB
JANITOR_SECONDS = 3600.0
SCRUB_SECONDS = 60.0


@dataclass(slots=True)
class Evidence:
    """What the routes of evidence find on ``request.state.evidence``."""

    queries: EvidenceQueries
    max_bytes: int
    store: EvidenceStore | None = None
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS))
    clear_away: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Keeping:
    """The state, and what has to run beside it."""

    state: Evidence
    work: list[Coroutine[Any, Any, None]] = field(default_factory=list)


def keeping(
    settings: Settings, engine: AsyncEngine, store: EventStore, projector: Projector, clock: Clock
) -> Keeping:
    """Return what evidence needs; without a directory there is no work, and routes answer 503."""
    queries = EvidenceQueries(engine)
    state = Evidence(queries, settings.evidence_max_bytes)
    if settings.evidence_dir is None:
        return Keeping(state)
    blobs = LocalStore(settings.evidence_dir)
    scrub = Scrub(
        store,
        blobs,
        queries,
        projector,
        clock,
        every=timedelta(days=settings.evidence_scrub_days),
        bytes_per_second=settings.evidence_scrub_bytes_per_second,
    )
    janitor = Reconciler(
        "cases-evidence-janitor", Janitor(store, blobs, queries, clock).once, JANITOR_SECONDS
    )
    state.store = blobs
    state.clear_away = janitor.wake
    scrubbing = Reconciler("cases-evidence-scrub", scrub.once, SCRUB_SECONDS)
    return Keeping(state, [janitor.run(), scrubbing.run()])
