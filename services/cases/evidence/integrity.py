"""Are the bytes still those that were collected? Asked before each read and by the scrub."""

from uuid import UUID

import structlog
from prometheus_client import Counter

from services.cases.domain.values import Actor
from services.cases.domain.vocabulary import ActorKind
from services.cases.evidence.domain.commands import VerifyIntegrity
from services.cases.evidence.domain.vocabulary import EvidenceRole
from services.cases.evidence.handle import change
from services.cases.evidence.store import BlobMissingError, EvidenceStore
from services.cases.once import Done
from services.cases.store import EventStore
from shared.clock import Clock
from shared.ids import uuid7

__all__ = ["KEEPER", "found_digest", "report"]

KEEPER = Actor(id="tocsin", roles=(EvidenceRole.SYSTEM.value,), kind=ActorKind.SYSTEM)

log = structlog.get_logger()
failures = Counter(
    "tocsin_cases_evidence_integrity_failures_total",
    "Items whose bytes were not those that were collected",
)


async def found_digest(
    blobs: EvidenceStore, sha256: str, bytes_per_second: int | None = None
) -> str | None:
    """Return the digest of the bytes that are stored as *sha256*; None if they are gone.

    StoreError when they cannot be read now: that says nothing about them.
    """
    try:
        async with blobs.open(sha256) as reading:
            return await reading.digest(bytes_per_second)
    except BlobMissingError:
        return None


async def report(
    store: EventStore, clock: Clock, evidence_id: UUID, found: str | None, reason: str
) -> Done:
    """Write what a check by the system found into the item's chain."""
    done = await change(
        store,
        evidence_id,
        VerifyIntegrity(actor=KEEPER, now=clock(), found_sha256=found, reason=reason),
        command_id=uuid7(),
        digest="",
    )
    if "EvidenceIntegrityFailed" in done.events:
        failures.inc()
        log.error(
            "evidence is not what was collected",
            evidence_id=str(evidence_id),
            found_sha256=found,
            reason=reason,
        )
    return done
