"""What is shown of a review: the document, and a sentence for each of its events."""

from typing import Any, assert_never

import msgspec

from services.cases.review.domain import events as e
from services.cases.review.domain.vocabulary import ReviewState
from services.cases.store import RecordedReview

__all__ = ["Document", "entry", "project_review", "started"]

Document = dict[str, Any]


def started(review_id: str, incident_id: str) -> Document:
    """Return the document of a review of which nothing is known but that it was started."""
    return {
        "review_id": review_id,
        "incident_id": incident_id,
        "version": 0,
        "position": 0,
        "updated_at": None,
        "state": "started",
        "timeline": None,
        "summary": None,
        "summaries": [],
        "evaluation": None,
        "lessons": [],
        "improvement_items": [],
        "submission": None,
        "sent_back": None,
        "completion": None,
        "waiver": None,
    }


def project_review(document: Document | None, recorded: RecordedReview) -> Document:
    """Return *document* after *recorded*; None is a review not yet seen."""
    event = recorded.event
    known = document or started(str(recorded.stream_id), str(event.incident_id))
    return {
        **known,
        **_change(known, event),
        "version": recorded.version,
        "position": recorded.position,
        "updated_at": msgspec.to_builtins(event.at),
    }


def _plain(event: e.ReviewEvent) -> Document:
    fields: Document = msgspec.to_builtins(event)
    fields["by"] = fields.pop("actor")["id"]
    del fields["incident_id"]
    return fields


def _change(known: Document, event: e.ReviewEvent) -> Document:
    plain = _plain(event)
    match event:
        case e.ReviewTimelineFrozen():
            return {"state": ReviewState.OPEN.value, "timeline": plain}
        case e.ReviewSummaryRecorded():
            return {"summary": plain, "summaries": [*known["summaries"], plain]}
        case e.LessonRecorded():
            lesson = {**plain, "of_process": event.category.is_of_process}
            return {"lessons": [*known["lessons"], lesson]}
        case e.ResponseEvaluated():
            return {"evaluation": plain}
        case e.ImprovementItemCreated():
            item = {**plain, "done": None, "rescheduled": []}
            return {"improvement_items": [*known["improvement_items"], item]}
        case e.ImprovementItemRescheduled():
            return {"improvement_items": [_moved(i, plain) for i in known["improvement_items"]]}
        case e.ImprovementItemDone():
            done = {"done": plain}
            return {
                "improvement_items": [
                    {**item, **done} if item["item_id"] == plain["item_id"] else item
                    for item in known["improvement_items"]
                ]
            }
        case e.ReviewSubmitted():
            return {
                "state": ReviewState.SUBMITTED.value,
                "submission": plain,
                "sent_back": None,
            }
        case e.ReviewSentBack():
            return {"state": ReviewState.OPEN.value, "submission": None, "sent_back": plain}
        case e.ReviewCompleted():
            return {"state": ReviewState.COMPLETED.value, "completion": plain}
        case e.ReviewWaived():
            return {"state": ReviewState.WAIVED.value, "waiver": plain}
        case _:
            assert_never(event)


def _moved(item: Document, plain: Document) -> Document:
    if item["item_id"] != plain["item_id"]:
        return item
    before = {name: item[name] for name in ("owner", "due")}
    moved = {name: plain[name] for name in ("owner", "due")}
    step = {"before": before, **{name: plain[name] for name in ("reason", "at", "by")}}
    return {**item, **moved, "rescheduled": [*item["rescheduled"], step]}


def entry(recorded: RecordedReview) -> Document:
    """Return what is told of *recorded*: who, when, and a sentence."""
    event = recorded.event
    return {
        "version": recorded.version,
        "position": recorded.position,
        "event_id": str(recorded.event_id),
        "type": recorded.type.removesuffix(".v1"),
        "at": msgspec.to_builtins(event.at),
        "actor": event.actor.id,
        "sentence": _sentence(event),
    }


def _sentence(event: e.ReviewEvent) -> str:
    who = event.actor.id
    match event:
        case e.ReviewTimelineFrozen():
            return f"The timeline under review ends at version {event.incident_version}."
        case e.ReviewSummaryRecorded():
            return f"{who} recorded version {event.version} of the summary."
        case e.LessonRecorded():
            return f"{who} recorded a lesson ({event.category}): {event.text}"
        case e.ResponseEvaluated():
            sufficient = "sufficient" if event.sufficient else "not sufficient"
            complete = "complete" if event.complete else "not complete"
            return f"{who} held the response to be {sufficient} and {complete}: {event.text}"
        case e.ImprovementItemCreated():
            due = msgspec.to_builtins(event.due)
            return f"{who} created an item ({event.target}) for {event.owner}, due {due}."
        case e.ImprovementItemRescheduled():
            due = msgspec.to_builtins(event.due)
            return f"{who} moved an item to {event.owner}, due {due}: {event.reason}"
        case e.ImprovementItemDone():
            return f"{who} marked an item as done: {event.reference}"
        case e.ReviewSubmitted():
            return f"{who} submitted the review for sign-off."
        case e.ReviewSentBack():
            return f"{who} sent the review back: {event.reason}"
        case e.ReviewCompleted():
            return f"{who} signed the review off, which {event.submitted_by} had submitted."
        case e.ReviewWaived():
            return f"{who} waived the review: {event.reason}"
        case _:
            assert_never(event)
