"""Brings the store's locks in line with holds and retentions, after the fact and until it is so.

The order matters for nobody: the rules of `domain/` refuse a disposal from the event on. What is
done twice is done once; a kill in between repeats it.
"""

import structlog

from services.cases.evidence.locks import wanted
from services.cases.evidence.queries import EvidenceQueries
from services.cases.evidence.store import BlobMissingError, EvidenceStore, StoreError
from services.cases.evidence.view import item_of

__all__ = ["LockKeeper"]

BATCH = 200
CHANGES = frozenset(
    {
        "EvidenceCollected",
        "EvidenceLegalHoldPlaced",
        "EvidenceLegalHoldReleased",
        "EvidenceRetentionSet",
    }
)

log = structlog.get_logger()


class LockKeeper:
    """`once` follows the chains of custody from where it has come to."""

    def __init__(self, blobs: EvidenceStore, queries: EvidenceQueries) -> None:
        self._blobs, self._queries = blobs, queries

    async def once(self) -> int:
        """Look at the next entries; return how many there were."""
        entries = await self._queries.passed(BATCH)
        if not entries:
            return 0
        try:
            for sha256 in {e.sha256 for e in entries if e.type in CHANGES and e.sha256}:
                await self._protect(sha256)
        except StoreError as error:
            log.warning("the locks of the evidence store wait", error=str(error))
            return 0
        await self._queries.locked(entries[-1].position)
        return len(entries)

    async def _protect(self, sha256: str) -> None:
        until, held = wanted(map(item_of, await self._queries.sharing(sha256)))
        try:
            await self._blobs.protect(sha256, until=until, held=held)
        except BlobMissingError as error:
            log.warning("there are no bytes to lock", sha256=sha256, error=str(error))
