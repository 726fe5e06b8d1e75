"""What is shown of evidence: the item as a document, and its custody chain, an entry an event."""

from collections.abc import Sequence
from typing import Any

import msgspec

from services.cases.evidence.domain import events as e
from services.cases.evidence.domain.item import UNKNOWN, Item, evolve
from services.cases.store import RecordedEvidence

__all__ = ["custody_entry", "item_of", "project_evidence", "summary"]

Document = dict[str, Any]


def item_of(document: Document) -> Item:
    """Return the item that a stored document is of."""
    return msgspec.convert(document["item"], Item)


def project_evidence(document: Document | None, recorded: RecordedEvidence) -> Document:
    """Return *document* after *recorded*; None is an item not yet seen."""
    item = evolve(item_of(document) if document else UNKNOWN, recorded.event)
    return {
        "evidence_id": str(recorded.stream_id),
        "version": recorded.version,
        "position": recorded.position,
        "updated_at": msgspec.to_builtins(recorded.event.at),
        "original": item.copy_of is None,
        "secured": item.secured,
        "item": msgspec.to_builtins(item),
    }


def custody_entry(recorded: RecordedEvidence) -> Document:
    """Return an entry of the chain; what is passed on names from, to and reason (I9)."""
    event = recorded.event
    fields: Document = msgspec.to_builtins(event)
    actor = fields.pop("actor")
    from_, to, reason = _passed(event)
    return {
        "position": recorded.position,
        "version": recorded.version,
        "event_id": str(recorded.event_id),
        "type": recorded.type.removesuffix(".v1"),
        "at": fields.pop("at"),
        "recorded_at": msgspec.to_builtins(recorded.recorded_at),
        "actor": actor["id"],
        "actor_kind": actor["kind"],
        "from": from_,
        "to": to,
        "reason": reason,
        "details": fields,
    }


def _passed(event: e.EvidenceEvent) -> tuple[str | None, str | None, str]:
    """Return from whom to whom something passed, if it did, and why."""
    match event:
        case e.EvidenceCollected():
            return event.source_asset, event.collector, event.method
        case e.EvidenceCustodyTransferred() | e.EvidenceReleased():
            return event.from_person, event.to_person, event.purpose
        case e.EvidenceAccessed() | e.EvidenceCopyAnalysed():
            return None, event.actor.id, event.purpose
        case e.EvidenceDisposed() | e.EvidenceLossAccepted():
            return event.requested_by, None, event.reason
        case e.EvidenceSealed():
            return None, None, event.note or "sealed"
        case e.EvidenceRegistered():
            return None, None, event.description or "announced"
        case e.EvidenceIntegrityVerified():
            return None, None, event.reason or "verification"
        case e.EvidenceIntegrityFailed():
            return None, None, event.reason or "verification"
        case (
            e.EvidenceLegalHoldPlaced()
            | e.EvidenceLegalHoldReleased()
            | e.EvidenceRetentionSet()
            | e.EvidenceDisposalRequested()
            | e.EvidenceLossAcceptanceRequested()
        ):
            return None, None, event.reason


def summary(documents: Sequence[Document]) -> Document:
    """Return what an incident says of its evidence; ``all_secured`` is what closing needs (I6)."""
    items = [(document["evidence_id"], item_of(document)) for document in documents]
    open_ = [key for key, item in items if not item.secured]
    return {
        "count": len(items),
        "sealed": sum(item.sealed_at is not None for _, item in items),
        "with_retention": sum(item.retention is not None for _, item in items),
        "frozen": [key for key, item in items if item.frozen],
        "not_secured": open_,
        "all_secured": not open_,
    }
