"""Background work on the bytes: the scrub hashes them again, the janitor clears away.

Both read the views, act through the same commands as people, and may run in several replicas.
"""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.cases.domain.errors import NotAllowed
from services.cases.evidence.domain.commands import CollectEvidence
from services.cases.evidence.handle import UnknownEvidenceError, change
from services.cases.evidence.integrity import KEEPER, found_digest, report
from services.cases.evidence.queries import EvidenceQueries
from services.cases.evidence.store import EvidenceStore, StoreError, storage_ref
from services.cases.projector import Projector
from services.cases.store import EventStore
from shared.clock import Clock
from shared.ids import derived_id

__all__ = ["ORPHAN_AGE", "Janitor", "Scrub"]

ORPHAN_AGE = timedelta(hours=24)
STALE_UPLOAD = timedelta(hours=1)  # since its last byte
SETTLED = timedelta(minutes=5)  # an upload appends its event well within

log = structlog.get_logger()
_scrubbed = Counter("tocsin_cases_evidence_scrubbed_total", "Items hashed again by the scrub")
_cleared = Counter("tocsin_cases_evidence_cleared_total", "Files cleared away", ["what"])


class Scrub:
    """`once` verifies the item that has waited longest, if it is due."""

    def __init__(
        self,
        store: EventStore,
        blobs: EvidenceStore,
        queries: EvidenceQueries,
        projector: Projector,
        clock: Clock,
        *,
        every: timedelta,
        bytes_per_second: int,
    ) -> None:
        self._store, self._blobs, self._queries = store, blobs, queries
        self._projector, self._clock = projector, clock
        self._every, self._rate = every, bytes_per_second

    async def once(self) -> int:
        """Verify one item; return how many were verified."""
        due = await self._queries.due(self._clock() - self._every)
        if due is None:
            return 0
        try:
            found = await found_digest(self._blobs, due.sha256, self._rate)
            await report(self._store, self._clock, due.evidence_id, found, "scrub")
        except StoreError as error:
            log.warning("evidence cannot be read now", error=str(error))
            return 0
        except NotAllowed:
            # Somebody disposed of it, or froze it, while it was hashed.
            log.info("scrub came too late", evidence_id=str(due.evidence_id))
        _scrubbed.inc()
        # The view says what is due next, so it has to know of this one before the next look.
        while await self._projector.once():
            pass
        return 1


class Janitor:
    """`once` removes what uploads left, links bytes that lost their event, and removes orphans."""

    def __init__(
        self, store: EventStore, blobs: EvidenceStore, queries: EvidenceQueries, clock: Clock
    ) -> None:
        self._store, self._blobs = store, blobs
        self._queries, self._clock = queries, clock

    async def once(self) -> int:
        """Look through everything once; returns 0, as there is nothing to repeat at once."""
        now = self._clock()
        try:
            if swept := await self._blobs.sweep(now - STALE_UPLOAD):
                _cleared.labels("temp").inc(swept)
                log.info("unfinished uploads removed", count=swept)
            for sha256 in await self._orphans(now - SETTLED):
                if await self._link(sha256):
                    _cleared.labels("linked").inc()
                elif await self._blobs.remove(sha256, now - ORPHAN_AGE):
                    _cleared.labels("orphan").inc()
                    log.info("bytes that no item needs were removed", sha256=sha256)
        except StoreError as error:
            log.warning("the evidence store cannot be used now", error=str(error))
        return 0

    async def _orphans(self, older_than: datetime) -> list[str]:
        digests = await self._blobs.digests(older_than)
        # Asked after the listing: what is in step now knows of everything that was listed.
        if not digests or not await self._queries.in_step():
            return []
        live = await self._queries.live(digests)
        return [sha256 for sha256 in digests if sha256 not in live]

    async def _link(self, sha256: str) -> bool:
        """Give the bytes to the items that were announced with their digest (delivery §2.6, 21)."""
        waiting: list[UUID] = await self._queries.waiting_for(sha256)
        if not waiting or await found_digest(self._blobs, sha256) != sha256:
            return False
        async with self._blobs.open(sha256) as reading:
            size = reading.size
        for evidence_id in waiting:
            command = CollectEvidence(
                actor=KEEPER,
                now=self._clock(),
                sha256=sha256,
                size=size,
                storage_ref=storage_ref(sha256),
            )
            try:
                await change(
                    self._store,
                    evidence_id,
                    command,
                    command_id=derived_id("collect", evidence_id, sha256),
                    digest=sha256,
                )
            except (NotAllowed, UnknownEvidenceError):
                continue
            log.info("bytes linked again", evidence_id=str(evidence_id), sha256=sha256)
        return True
