"""What happened in a post-incident review.

Every event names the incident, so that each can be read alone. Stored for ever: a field is only
ever added with a default (services.cases.domain.events says the same of incidents).
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.cases.domain.personal import FreeText, Person, Plain, PlainTable
from services.cases.domain.values import Actor
from services.cases.domain.vocabulary import AttackVector, Severity
from services.cases.review.domain.vocabulary import ItemTarget, LessonCategory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    actor: Actor
    at: datetime
    incident_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewTimelineFrozen(_Fact):
    """The review is of the incident's log up to ``incident_version``; the log proves the rest."""

    incident_version: int
    severity: Severity | None = None
    started_by: Plain = ""
    open_actions: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSummaryRecorded(_Fact):
    """The sequence of events and the technical summary, with its actors (§8)."""

    version: int
    sequence: FreeText
    technical_summary: FreeText
    threat_actors: tuple[FreeText, ...] = ()
    unknown_vectors: tuple[FreeText, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonRecorded(_Fact):
    """A lapse, or a vector that was not known; what detect makes a rule proposal of (R14b)."""

    lesson_id: UUID
    category: LessonCategory
    text: FreeText
    attack_vector: AttackVector = AttackVector.UNKNOWN
    techniques: tuple[Plain, ...] = ()
    no_item_reason: FreeText = ""
    proposed_rule: FreeText = ""
    rule_ids: tuple[Plain, ...] = ()
    detection_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseEvaluated(_Fact):
    sufficient: bool
    complete: bool
    text: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementItemCreated(_Fact):
    item_id: UUID
    text: FreeText
    owner: Person
    due: datetime
    target: ItemTarget
    lesson_id: UUID | None = None
    action_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementItemRescheduled(_Fact):
    item_id: UUID
    owner: Person
    due: datetime
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementItemDone(_Fact):
    """``reference`` is where the change can be seen."""

    item_id: UUID
    reference: FreeText
    result: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSubmitted(_Fact):
    no_lessons_reason: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSentBack(_Fact):
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewCompleted(_Fact):
    """Signed off by somebody who did not write it; ``checklist`` is what held then."""

    submitted_by: Plain
    checklist: PlainTable
    note: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewWaived(_Fact):
    reason: FreeText


ReviewEvent = (
    ReviewTimelineFrozen
    | ReviewSummaryRecorded
    | LessonRecorded
    | ResponseEvaluated
    | ImprovementItemCreated
    | ImprovementItemRescheduled
    | ImprovementItemDone
    | ReviewSubmitted
    | ReviewSentBack
    | ReviewCompleted
    | ReviewWaived
)
