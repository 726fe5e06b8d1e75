"""From an event of evidence to the public contract: that it happened, never what is in it."""

from services.cases.evidence.domain import events as e
from services.cases.store import RecordedEvidence
from shared.contracts.cases import EvidenceRecordedV1

__all__ = ["evidence_contract"]


def evidence_contract(recorded: RecordedEvidence) -> EvidenceRecordedV1:
    """Return what integrators are told of *recorded*."""
    event = recorded.event
    collected = event if isinstance(event, e.EvidenceCollected) else None
    return EvidenceRecordedV1(
        event_id=recorded.event_id,
        occurred_at=event.at,
        evidence_id=recorded.stream_id,
        incident_id=event.incident_id,
        version=recorded.version,
        position=recorded.position,
        actor=event.actor.id,
        event=recorded.type.removesuffix(".v1"),
        sha256=collected.sha256 if collected else None,
        size=collected.size if collected else None,
    )
