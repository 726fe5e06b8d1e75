"""A review as decisions see it, and how its events change it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never
from uuid import UUID

from services.cases.domain.vocabulary import Severity
from services.cases.review.domain import events as e
from services.cases.review.domain.vocabulary import ItemTarget, LessonCategory, ReviewState

__all__ = ["UNKNOWN", "Item", "Lesson", "Review", "evolve", "fold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A lesson; ``no_item_reason`` says why nothing is to be changed, if so."""

    category: LessonCategory
    no_item_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something that is to be better, tracked until it is done."""

    text: str
    owner: str
    due: datetime
    target: ItemTarget
    lesson_id: UUID | None = None
    action_id: UUID | None = None
    reference: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One review of one incident."""

    state: ReviewState = ReviewState.UNKNOWN
    incident_id: UUID | None = None
    incident_version: int = 0
    severity: Severity | None = None
    started_by: str = ""
    open_actions: frozenset[UUID] = frozenset()
    summary: e.ReviewSummaryRecorded | None = None
    evaluation: e.ResponseEvaluated | None = None
    lessons: Mapping[UUID, Lesson] = field(default_factory=dict)
    items: Mapping[UUID, Item] = field(default_factory=dict)
    authors: frozenset[str] = frozenset()
    submitted_by: str = ""
    no_lessons_reason: str = ""
    sent_back: str = ""

    @property
    def covered(self) -> frozenset[UUID]:
        """Return the incident's actions that go on as improvement items (I6)."""
        return frozenset(i.action_id for i in self.items.values() if i.action_id is not None)

    def without_item(self) -> tuple[UUID, ...]:
        """Return the lessons that came to nothing, and without a reason for it."""
        followed = {item.lesson_id for item in self.items.values()}
        return tuple(
            key
            for key, lesson in self.lessons.items()
            if key not in followed and not lesson.no_item_reason
        )


UNKNOWN = Review()


def fold(events: Iterable[e.ReviewEvent]) -> Review:
    """Return the review that *events* made."""
    review = UNKNOWN
    for event in events:
        review = evolve(review, event)
    return review


def evolve(review: Review, event: e.ReviewEvent) -> Review:
    """Return *review* after *event*; never refuses, since it has happened."""
    match event:
        case e.ReviewTimelineFrozen():
            return replace(
                review,
                state=ReviewState.OPEN,
                incident_id=event.incident_id,
                incident_version=event.incident_version,
                severity=event.severity,
                started_by=event.started_by,
                open_actions=frozenset(event.open_actions),
            )
        case e.ReviewSummaryRecorded():
            return replace(review, summary=event, authors=review.authors | {event.actor.id})
        case e.LessonRecorded():
            lesson = Lesson(category=event.category, no_item_reason=event.no_item_reason)
            return replace(review, lessons={**review.lessons, event.lesson_id: lesson})
        case e.ResponseEvaluated():
            return replace(review, evaluation=event, authors=review.authors | {event.actor.id})
        case e.ImprovementItemCreated():
            item = Item(
                text=event.text,
                owner=event.owner,
                due=event.due,
                target=event.target,
                lesson_id=event.lesson_id,
                action_id=event.action_id,
            )
            return replace(review, items={**review.items, event.item_id: item})
        case e.ImprovementItemRescheduled():
            known = review.items.get(event.item_id)
            if known is None:  # nothing to change, and nothing to refuse
                return review
            moved = replace(known, owner=event.owner, due=event.due)
            return replace(review, items={**review.items, event.item_id: moved})
        case e.ImprovementItemDone():
            known = review.items.get(event.item_id)
            if known is None:
                return review
            done = replace(known, done=True, reference=event.reference)
            return replace(review, items={**review.items, event.item_id: done})
        case e.ReviewSubmitted():
            return replace(
                review,
                state=ReviewState.SUBMITTED,
                submitted_by=event.actor.id,
                no_lessons_reason=event.no_lessons_reason,
                sent_back="",
            )
        case e.ReviewSentBack():
            return replace(review, state=ReviewState.OPEN, submitted_by="", sent_back=event.reason)
        case e.ReviewCompleted():
            return replace(review, state=ReviewState.COMPLETED)
        case e.ReviewWaived():
            return replace(review, state=ReviewState.WAIVED)
        case _:
            assert_never(event)
