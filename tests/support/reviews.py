"""Builders for reviews, told step by step.

`python -m tests.support.reviews` writes the golden fixtures that are missing; it never changes one
that is there.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from services.cases.aggregates import name_of
from services.cases.codec import SCHEMA
from services.cases.domain.errors import NotAllowed
from services.cases.domain.values import SYSTEM, Actor
from services.cases.domain.vocabulary import AttackVector, Severity
from services.cases.review.domain import commands as c
from services.cases.review.domain.decide import decide
from services.cases.review.domain.events import ReviewEvent
from services.cases.review.domain.review import Review, evolve, fold
from services.cases.review.domain.vocabulary import (
    ItemTarget,
    LessonCategory,
    ReviewRole,
    ReviewState,
)
from tests.support.incidents import ACTION, EM, NOW, SR, ST
from tests.support.sealing import write_golden

GOLDEN = Path(__file__).resolve().parents[1] / "unit" / "cases" / "review" / "golden"

INCIDENT, LESSON, ITEM = UUID(int=7), UUID(int=101), UUID(int=102)
ROB = Actor(id="rob", roles=("security_response",))
DE = Actor(id="dan", roles=("detection_engineer",))
ALL = Actor(id="rita", roles=tuple(role.value for role in ReviewRole))
OTHER_ALL = Actor(id="emil", roles=ALL.roles)
LATER = NOW + timedelta(days=30)
REVIEWED = c.Reviewed(
    incident_id=INCIDENT,
    version=40,
    severity=Severity.SEV2,
    started_by="rita",
    open_actions=(ACTION,),
)

Order = TypeVar("Order", bound=c.ReviewCommand)

_FIELDS: dict[type[Any], dict[str, Any]] = {
    c.FreezeTimeline: {"reviewed": REVIEWED},
    c.RecordReviewSummary: {
        "sequence": "Guessed at 01:00, root at 01:20.",
        "technical_summary": "A weak password on m1.",
        "threat_actors": ("unknown",),
        "unknown_vectors": ("how m2 was reached",),
    },
    c.RecordLesson: {
        "lesson_id": LESSON,
        "category": LessonCategory.NEW_VECTOR,
        "text": "Nothing watches sshd on the bastion.",
        "attack_vector": AttackVector.ATTRITION,
        "techniques": ("T1110.001",),
        "proposed_rule": "title: sshd on the bastion",
        "rule_ids": ("rule-ssh",),
        "detection_ids": (UUID(int=1001),),
    },
    c.EvaluateResponse: {"sufficient": True, "complete": False, "text": "m2 was seen late."},
    c.CreateImprovementItem: {
        "item_id": ITEM,
        "text": "Ship the bastion's log",
        "owner": "sam",
        "due": LATER,
        "target": ItemTarget.LOGGING_REQUIREMENT,
        "lesson_id": LESSON,
        "action_id": ACTION,
    },
    c.RescheduleImprovementItem: {
        "item_id": ITEM,
        "owner": "dan",
        "due": LATER + timedelta(days=7),
        "reason": "Sam is away.",
    },
    c.CompleteImprovementItem: {"item_id": ITEM, "reference": "change 77", "result": "shipped"},
    c.SubmitReview: {},
    c.SendBackReview: {"reason": "Name the actor."},
    c.CompleteReview: {"note": "good"},
    c.WaiveReview: {"reason": "The same as yesterday's."},
}


def order(kind: type[Order], actor: Actor = ALL, /, **changed: Any) -> Order:
    """Return a good command of the type *kind*; *changed* fields differ."""
    return kind(**{"actor": actor, "now": NOW, **_FIELDS[kind], **changed})


STORY: Sequence[tuple[ReviewState, tuple[c.ReviewCommand, ...]]] = (
    (ReviewState.OPEN, (order(c.FreezeTimeline, SYSTEM),)),
    (
        ReviewState.SUBMITTED,
        (
            order(c.RecordReviewSummary, ST),
            order(c.RecordLesson, DE),
            order(c.CreateImprovementItem, SR),
            order(c.EvaluateResponse, SR),
            order(c.SubmitReview, SR),
        ),
    ),
    (ReviewState.COMPLETED, (order(c.CompleteReview, ROB),)),
)


def told(until: ReviewState) -> list[ReviewEvent]:
    """Return the events of one review up to the moment when it enters *until*."""
    happened: list[ReviewEvent] = []
    if until is ReviewState.UNKNOWN:
        return happened
    if until is ReviewState.WAIVED:
        happened = told(ReviewState.OPEN)
        return [*happened, *decide(fold(happened), order(c.WaiveReview, EM))]
    for state, commands in STORY:
        for step in commands:
            happened += decide(fold(happened), step)
        if state is until:
            break
    return happened


class Told:
    """A review that *events* and then *steps* made."""

    def __init__(self, state: ReviewState, *steps: c.ReviewCommand) -> None:
        self.review: Review = fold(told(state))
        for step in steps:
            for event in decide(self.review, step):
                self.review = evolve(self.review, event)

    def when(self, command: c.ReviewCommand) -> list[ReviewEvent]:
        """Return what *command* causes; NotAllowed if a rule refuses it."""
        return list(decide(self.review, command))

    def refuses(self, command: c.ReviewCommand) -> set[str]:
        """Return the codes of every unmet condition; AssertionError if it is allowed."""
        try:
            events = decide(self.review, command)
        except NotAllowed as refusal:
            return {unmet.code for unmet in refusal.unmet}
        raise AssertionError(f"allowed, and caused {events}")


def one_of_each() -> dict[str, ReviewEvent]:
    """Return type name → an event of that type, the same ones every time."""
    submitted = Told(ReviewState.SUBMITTED)
    found: list[ReviewEvent] = [
        *told(ReviewState.COMPLETED),
        *told(ReviewState.WAIVED),
        *submitted.when(order(c.SendBackReview, ROB)),
        *submitted.when(order(c.RescheduleImprovementItem, SR)),
        *submitted.when(order(c.CompleteImprovementItem, ST)),
    ]
    return {name_of(event): event for event in found}


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, event in one_of_each().items():
        write_golden(GOLDEN / f"{name}-{SCHEMA}.json", event)


if __name__ == "__main__":
    main()
