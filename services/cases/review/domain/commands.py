"""What people and the system ask of a post-incident review."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.cases.domain.values import Actor
from services.cases.domain.vocabulary import AttackVector, Severity
from services.cases.review.domain.vocabulary import ItemTarget, LessonCategory


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """What the shell read of the incident: where its log stands, and what it left open."""

    incident_id: UUID
    version: int
    severity: Severity | None = None
    started_by: str = ""
    open_actions: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    actor: Actor
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeTimeline(_Order):
    """Says what is reviewed: the incident's log up to a version. The first one begins it."""

    reviewed: Reviewed


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReviewSummary(_Order):
    sequence: str
    technical_summary: str
    threat_actors: tuple[str, ...] = ()
    unknown_vectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLesson(_Order):
    """``proposed_rule`` is Sigma text: detect makes it a proposal of its own (R14b)."""

    lesson_id: UUID
    category: LessonCategory
    text: str
    attack_vector: AttackVector = AttackVector.UNKNOWN
    techniques: tuple[str, ...] = ()
    no_item_reason: str = ""
    proposed_rule: str = ""
    rule_ids: tuple[str, ...] = ()
    detection_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateResponse(_Order):
    sufficient: bool
    complete: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateImprovementItem(_Order):
    """``action_id``: an action of the incident that was still open, and goes on as this item."""

    item_id: UUID
    text: str
    owner: str
    due: datetime
    target: ItemTarget
    lesson_id: UUID | None = None
    action_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RescheduleImprovementItem(_Order):
    item_id: UUID
    owner: str
    due: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteImprovementItem(_Order):
    item_id: UUID
    reference: str
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitReview(_Order):
    """Asks for the sign-off; nothing is changed until then, or until it is sent back."""

    no_lessons_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendBackReview(_Order):
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteReview(_Order):
    """The sign-off."""

    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaiveReview(_Order):
    """No review is held, on purpose (I6)."""

    reason: str


ReviewCommand = (
    FreezeTimeline
    | RecordReviewSummary
    | RecordLesson
    | EvaluateResponse
    | CreateImprovementItem
    | RescheduleImprovementItem
    | CompleteImprovementItem
    | SubmitReview
    | SendBackReview
    | CompleteReview
    | WaiveReview
)
