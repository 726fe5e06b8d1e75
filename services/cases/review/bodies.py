"""The bodies of the verbs on reviews, each with the command that it gives."""

from abc import abstractmethod
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from services.cases.bodies.base import Name, Part, Text, Utc, Who
from services.cases.domain.vocabulary import AttackVector
from services.cases.review.domain import commands as c
from services.cases.review.domain.vocabulary import ItemTarget, LessonCategory
from shared.ids import derived_id

__all__ = ["VERBS", "FreezeTimeline", "ReviewBody"]

Long = Annotated[str, Field(max_length=50_000)]
Technique = Annotated[str, Field(max_length=20)]


class FreezeTimeline(Part):
    """Take in what the incident's log has gained since the review began."""


class ReviewBody(Part):
    """A request body; ``COMMAND`` decides the route's name and roles."""

    COMMAND: ClassVar[type[c.ReviewCommand]]

    @abstractmethod
    def order(self, who: Who) -> c.ReviewCommand: ...


class RecordSummary(ReviewBody):
    """The sequence of events, and the technical summary with its actors; a new version each."""

    COMMAND = c.RecordReviewSummary
    sequence: Long
    technical_summary: Long
    threat_actors: list[Name] = Field(default_factory=list, max_length=50)
    unknown_vectors: list[Name] = Field(
        default_factory=list, max_length=50, description="ways in or through that stay unexplained"
    )

    def order(self, who: Who) -> c.RecordReviewSummary:
        return c.RecordReviewSummary(
            actor=who.actor,
            now=who.now,
            sequence=self.sequence,
            technical_summary=self.technical_summary,
            threat_actors=tuple(self.threat_actors),
            unknown_vectors=tuple(self.unknown_vectors),
        )


class RecordLesson(ReviewBody):
    """A lapse or a new vector; a Sigma rule that is proposed with it goes on to detect."""

    COMMAND = c.RecordLesson
    category: LessonCategory
    text: Text
    attack_vector: AttackVector = AttackVector.UNKNOWN
    techniques: list[Technique] = Field(default_factory=list, max_length=50)
    no_item_reason: Text = Field("", description="why nothing is to be changed, if so")
    proposed_rule: Long = Field("", description="Sigma")
    rule_ids: list[Name] = Field(default_factory=list, max_length=100)
    detection_ids: list[UUID] = Field(default_factory=list, max_length=100)

    def order(self, who: Who) -> c.RecordLesson:
        return c.RecordLesson(
            actor=who.actor,
            now=who.now,
            lesson_id=derived_id("lesson", who.command_id),
            category=self.category,
            text=self.text,
            attack_vector=self.attack_vector,
            techniques=tuple(self.techniques),
            no_item_reason=self.no_item_reason,
            proposed_rule=self.proposed_rule,
            rule_ids=tuple(self.rule_ids),
            detection_ids=tuple(self.detection_ids),
        )


class EvaluateResponse(ReviewBody):
    """Was the response sufficient and complete?"""

    COMMAND = c.EvaluateResponse
    sufficient: bool
    complete: bool
    text: Text

    def order(self, who: Who) -> c.EvaluateResponse:
        return c.EvaluateResponse(actor=who.actor, now=who.now, **self.model_dump())


class CreateImprovementItem(ReviewBody):
    """What is to be better; with ``action_id`` an open action of the incident goes on as it."""

    COMMAND = c.CreateImprovementItem
    text: Text
    owner: Name
    due: Utc
    target: ItemTarget
    lesson_id: UUID | None = None
    action_id: UUID | None = None

    def order(self, who: Who) -> c.CreateImprovementItem:
        return c.CreateImprovementItem(
            actor=who.actor,
            now=who.now,
            item_id=derived_id("improvement-item", who.command_id),
            text=self.text,
            owner=self.owner,
            due=self.due,
            target=self.target,
            lesson_id=self.lesson_id,
            action_id=self.action_id,
        )


class RescheduleImprovementItem(ReviewBody):
    """Another owner or another date, with the reason."""

    COMMAND = c.RescheduleImprovementItem
    item_id: UUID
    owner: Name
    due: Utc
    reason: Text

    def order(self, who: Who) -> c.RescheduleImprovementItem:
        return c.RescheduleImprovementItem(
            actor=who.actor,
            now=who.now,
            item_id=self.item_id,
            owner=self.owner,
            due=self.due,
            reason=self.reason,
        )


class CompleteImprovementItem(ReviewBody):
    """It is done; ``reference`` is where the change can be seen."""

    COMMAND = c.CompleteImprovementItem
    item_id: UUID
    reference: Name
    result: Text = ""

    def order(self, who: Who) -> c.CompleteImprovementItem:
        return c.CompleteImprovementItem(
            actor=who.actor,
            now=who.now,
            item_id=self.item_id,
            reference=self.reference,
            result=self.result,
        )


class Submit(ReviewBody):
    """Ask for the sign-off; nothing is changed meanwhile."""

    COMMAND = c.SubmitReview
    no_lessons_reason: Text = ""

    def order(self, who: Who) -> c.SubmitReview:
        return c.SubmitReview(
            actor=who.actor, now=who.now, no_lessons_reason=self.no_lessons_reason
        )


class SendBack(ReviewBody):
    """It is not good enough yet."""

    COMMAND = c.SendBackReview
    reason: Text

    def order(self, who: Who) -> c.SendBackReview:
        return c.SendBackReview(actor=who.actor, now=who.now, reason=self.reason)


class SignOff(ReviewBody):
    """By somebody who wrote none of it; of a SEV0 or SEV1 by an executive incident manager."""

    COMMAND = c.CompleteReview
    note: Text = ""

    def order(self, who: Who) -> c.CompleteReview:
        return c.CompleteReview(actor=who.actor, now=who.now, note=self.note)


class Waive(ReviewBody):
    """No review is held; not by who started it."""

    COMMAND = c.WaiveReview
    reason: Text

    def order(self, who: Who) -> c.WaiveReview:
        return c.WaiveReview(actor=who.actor, now=who.now, reason=self.reason)


VERBS: tuple[type[ReviewBody], ...] = (
    RecordSummary,
    RecordLesson,
    EvaluateResponse,
    CreateImprovementItem,
    RescheduleImprovementItem,
    CompleteImprovementItem,
    Submit,
    SendBack,
    SignOff,
    Waive,
)
