"""From an event of a review to the public contract: a lesson in full, all else by name."""

from typing import Any

from services.cases.review.domain import events as e
from services.cases.store import RecordedReview
from shared.contracts.cases import LessonLearnedV1, ReviewRecordedV1

__all__ = ["review_contract"]


def review_contract(recorded: RecordedReview) -> LessonLearnedV1 | ReviewRecordedV1:
    """Return what integrators are told of *recorded*."""
    event = recorded.event
    common: dict[str, Any] = {
        "event_id": recorded.event_id,
        "occurred_at": event.at,
        "review_id": recorded.stream_id,
        "incident_id": event.incident_id,
        "version": recorded.version,
        "position": recorded.position,
        "actor": event.actor.id,
    }
    if isinstance(event, e.LessonRecorded):
        return LessonLearnedV1(
            **common,
            lesson_id=event.lesson_id,
            category=event.category.value,
            text=event.text,
            attack_vector=event.attack_vector.value,
            techniques=list(event.techniques),
            proposed_rule=event.proposed_rule or None,
            rule_ids=list(event.rule_ids),
            detection_ids=list(event.detection_ids),
        )
    return ReviewRecordedV1(**common, event=recorded.type.removesuffix(".v1"))
