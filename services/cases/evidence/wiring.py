"""What the service holds for evidence, and the work it does in the background."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.cases.evidence.blob_keys import BlobKeys
from services.cases.evidence.keeper import Janitor, Scrub
from services.cases.evidence.lock_keeper import LockKeeper
from services.cases.evidence.locks import Lock
from services.cases.evidence.queries import EvidenceQueries
from services.cases.evidence.store import EvidenceStore
from services.cases.evidence.store_local import LocalStore
from services.cases.evidence.store_sealed import SealedStore
from services.cases.projector import Projector
from services.cases.sealing.kek import Keks
from services.cases.settings import Settings
from services.cases.store import EventStore
from shared.clock import Clock
from shared.reconcile import Reconciler
from shared.settings import SettingsError

__all__ = ["Evidence", "Keeping", "evidence_store", "keeping"]

UPLOADS = 8  # at the same time; each holds about 2 MiB, and 16 MiB on its way to a bucket
JANITOR_SECONDS = 3600.0
SCRUB_SECONDS = 60.0
LOCK_SECONDS = 60.0


@dataclass(slots=True)
class Evidence:
    """What the routes of evidence find on ``request.state.evidence``."""

    queries: EvidenceQueries
    max_bytes: int
    store: EvidenceStore | None = None
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS))
    clear_away: Callable[[], None] = lambda: None
    noticed: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Keeping:
    """The state, and what has to run beside it."""

    state: Evidence
    work: list[Coroutine[Any, Any, None]] = field(default_factory=list)


def evidence_store(settings: Settings, clock: Clock) -> EvidenceStore | None:
    """Return the store that *settings* name, before anything is sealed in it; None if none.

    SettingsError if they name two.
    """
    if settings.evidence_url is None:
        return LocalStore(settings.evidence_dir) if settings.evidence_dir else None
    if settings.evidence_dir is not None:
        raise SettingsError(
            "TOCSIN_CASES_EVIDENCE_DIR and TOCSIN_CASES_EVIDENCE_URL: set one of them"
        )
    keys = (settings.evidence_s3_key_id, settings.evidence_s3_secret)
    if (keys[0] is None) != (keys[1] is None):
        raise SettingsError(
            "TOCSIN_CASES_EVIDENCE_S3_KEY_ID and TOCSIN_CASES_EVIDENCE_S3_SECRET: set both or none"
        )
    # Tens of megabytes, for those who keep evidence in a bucket.
    from services.cases.evidence.bucket import Bucket, parse_place
    from services.cases.evidence.store_s3 import S3Store

    place = parse_place(
        settings.evidence_url,
        endpoint=settings.evidence_s3_endpoint,
        region=settings.evidence_s3_region,
        key_id=keys[0].get_secret_value() if keys[0] else None,
        secret=keys[1].get_secret_value() if keys[1] else None,
    )
    lock = Lock(mode=settings.evidence_lock, days=settings.evidence_lock_days)
    return S3Store(Bucket(place), lock, clock)


def keeping(
    settings: Settings,
    engine: AsyncEngine,
    keks: Keks,
    store: EventStore,
    projector: Projector,
    clock: Clock,
) -> Keeping:
    """Return what evidence needs; without a store there is no work, and routes answer 503."""
    queries = EvidenceQueries(engine)
    state = Evidence(queries, settings.evidence_max_bytes)
    bare = evidence_store(settings, clock)
    if bare is None:
        return Keeping(state)
    blobs = SealedStore(bare, BlobKeys(engine, keks), seals=settings.evidence_encryption)
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
    locking = Reconciler("cases-evidence-locks", LockKeeper(blobs, queries).once, LOCK_SECONDS)
    state.noticed = locking.wake
    return Keeping(state, [janitor.run(), scrubbing.run(), locking.run()])
