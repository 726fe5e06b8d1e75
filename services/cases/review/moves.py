"""Pure: which commands an actor could give to a review now, and what is missing for the others."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from services.cases.domain.errors import NotAllowed, Unmet
from services.cases.domain.values import Actor
from services.cases.review.domain import commands as c
from services.cases.review.domain.decide import decide
from services.cases.review.domain.review import Review
from services.cases.review.domain.rules import RULES
from services.cases.review.domain.vocabulary import ItemTarget, LessonCategory

__all__ = ["review_moves"]

_NOBODY = UUID(int=0)
_TEXT = "…"


def review_moves(
    review: Review, reviewed: c.Reviewed, actor: Actor, now: datetime
) -> list[tuple[str, tuple[Unmet, ...]]]:
    """Return each verb with what it lacks; nothing lacking means that it would be accepted.

    Each is tried on the decider itself, with a body that is as good as a body can be.
    """
    found = []
    for command in _plausible(review, reviewed, actor, now):
        unmet: tuple[Unmet, ...] = ()
        try:
            decide(review, command)
        except NotAllowed as refusal:
            unmet = refusal.unmet
        found.append((RULES[type(command)].verb, unmet))
    return found


def _plausible(
    review: Review, reviewed: c.Reviewed, actor: Actor, now: datetime
) -> Iterator[c.ReviewCommand]:
    later = now + timedelta(days=30)
    undone = next((key for key, item in review.items.items() if not item.done), None)
    item = undone or next(iter(review.items), _NOBODY)
    yield c.FreezeTimeline(actor=actor, now=now, reviewed=reviewed)
    yield c.RecordReviewSummary(actor=actor, now=now, sequence=_TEXT, technical_summary=_TEXT)
    yield c.RecordLesson(
        actor=actor,
        now=now,
        lesson_id=_NOBODY,
        category=LessonCategory.TECHNICAL_LAPSE,
        text=_TEXT,
    )
    yield c.EvaluateResponse(actor=actor, now=now, sufficient=True, complete=True, text=_TEXT)
    yield c.CreateImprovementItem(
        actor=actor,
        now=now,
        item_id=_NOBODY,
        text=_TEXT,
        owner=_TEXT,
        due=later,
        target=ItemTarget.RULE,
    )
    yield c.RescheduleImprovementItem(
        actor=actor, now=now, item_id=item, owner=_TEXT, due=later, reason=_TEXT
    )
    yield c.CompleteImprovementItem(actor=actor, now=now, item_id=item, reference=_TEXT)
    yield c.SubmitReview(actor=actor, now=now, no_lessons_reason=_TEXT)
    yield c.SendBackReview(actor=actor, now=now, reason=_TEXT)
    yield c.CompleteReview(actor=actor, now=now)
    yield c.WaiveReview(actor=actor, now=now, reason=_TEXT)
