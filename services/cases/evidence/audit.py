"""Judges the bytes of every item of evidence by what the log says was collected."""

from typing import Any

import msgspec

from services.cases.evidence.integrity import found_digest
from services.cases.evidence.store import EvidenceStore, StoreError
from services.cases.ledger.verifier import IncompleteError, TamperedError

__all__ = ["audit_evidence"]

# The log itself, not the views: these could be made to lie.
_KEPT = """
    SELECT c.position, c.stream_id, c.data FROM cases.events c
    WHERE c.type = 'EvidenceCollected.v1' AND NOT EXISTS (
        SELECT FROM cases.events d
        WHERE d.stream_id = c.stream_id AND d.type = 'EvidenceDisposed.v1')
    ORDER BY c.position
"""
_LOST = """
    SELECT DISTINCT ON (stream_id) stream_id, type FROM cases.events
    WHERE type IN ('EvidenceLossAccepted.v1', 'EvidenceIntegrityVerified.v1')
    ORDER BY stream_id, version DESC
"""


async def audit_evidence(connection: Any, store: EvidenceStore) -> str:
    """Return a sentence if all bytes are what was collected.

    TamperedError names the first item that is not, before IncompleteError names one that is gone
    or cannot be read.
    """
    missing: list[str] = []
    intact: dict[str, bool] = {}
    kept = await connection.fetch(_KEPT)
    last = {row["stream_id"]: row["type"] for row in await connection.fetch(_LOST)}
    lost = {stream for stream, type_ in last.items() if type_ == "EvidenceLossAccepted.v1"}
    rows = [row for row in kept if row["stream_id"] not in lost]
    for row in rows:
        sha256 = msgspec.json.decode(row["data"])["sha256"]
        if sha256 not in intact:
            try:
                found = await found_digest(store, sha256)
            except StoreError as error:
                raise IncompleteError(f"evidence cannot be read: {error}") from error
            if found not in (None, sha256):
                raise TamperedError(
                    f"the bytes of evidence {row['stream_id']} were altered", row["position"]
                )
            intact[sha256] = found is not None
        if not intact[sha256]:
            missing.append(str(row["stream_id"]))
    if missing:
        raise IncompleteError(f"the bytes of {len(missing)} items are gone, first {missing[0]}")
    accepted = len(kept) - len(rows)
    tail = f"; {accepted} more were accepted as lost by two persons" if accepted else ""
    return f"the bytes of {len(rows)} items of evidence are what was collected{tail}"
