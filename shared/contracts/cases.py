"""What cases publishes: one message an event of an incident, mapped by ``services.cases.publish``.

``ce-subject`` is the incident id, ``ce-sequence`` the version within the incident (20 digits),
``ce-position`` the gapless global position in the log.
"""

from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Contract, Instant, Part

__all__ = [
    "ERASED", "ClockSetV1", "ConfirmationRetractedV1", "ContainmentLostV1", "EvidenceRecordedV1",
    "IncidentClosedV1", "IncidentConfirmedV1", "IncidentContainedV1", "IncidentDismissedV1",
    "IncidentErasedV1", "IncidentEscalatedV1", "IncidentEvent", "IncidentMergedV1",
    "IncidentOpenedV1", "IncidentReopenedV1", "IncidentSplitV1", "IncidentUnmergedV1",
    "IncidentUpdatedV1", "LessonLearnedV1", "LogCheckpointV1", "PriorityRef", "ReviewEvent",
    "ReviewRecordedV1", "Scope", "ScopeSelector", "ScopeSetV1", "SeveritySetV1", "VTeamFormedV1",
]  # fmt: skip

ERASED = "[erased]"
"""What stands in the place of a text that was erased, wherever it was copied to."""


class IncidentEvent(Contract):
    """What every message of an incident carries."""

    incident_id: UUID
    number: str = Field(description="what people say: TOCSIN-2026-0001")
    version: int = Field(ge=1)
    position: int = Field(ge=1)
    actor: str

    @property
    def about(self) -> str:
        return str(self.incident_id)


class IncidentOpenedV1(IncidentEvent):
    """An incident began; its severity is only proposed."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.opened"

    title: str
    source_kind: str
    detected_at: Instant
    services: list[str] = Field(default_factory=list)
    regions: list[str] = Field(default_factory=list)


class SeveritySetV1(IncidentEvent):
    """The service team set the severity (R23), or it was set anew."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.severity_set"

    level: Literal["SEV0", "SEV1", "SEV2", "SEV3", "SEV4"]
    previous: str | None = None
    services: list[str] = Field(default_factory=list)
    regions: list[str] = Field(default_factory=list)
    inputs: dict[str, Any] = Field(default_factory=dict)


class IncidentEscalatedV1(IncidentEvent):
    """Security response owns it."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.escalated"

    escalation_id: UUID
    owning_team: str


class VTeamFormedV1(IncidentEvent):
    """The v-team is together (R25)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.v_team_formed"

    lead: str
    kinds: dict[str, int] = Field(description="membership kind → number of members")


class PriorityRef(Part):
    """Priority at the time of the event, if set."""

    priority: str


class IncidentConfirmedV1(IncidentEvent):
    """The v-team confirmed that it is real (R26a). ``aware_at`` starts the legal clocks."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.confirmed"

    confirmed_at: Instant
    aware_at: Instant
    detected_at: Instant
    severity: str
    inputs: dict[str, Any] = Field(default_factory=dict, description="of the severity policy")
    title: str
    summary: str
    potential_impact: str
    rule_ids: list[str] = Field(default_factory=list, description="of the detections behind it")


class IncidentDismissedV1(IncidentEvent):
    """It was no incident."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.dismissed"

    classification: str
    reason: str
    rule_ids: list[str] = Field(default_factory=list)


class IncidentContainedV1(IncidentEvent):
    """The attack is contained (R32a)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.contained"

    contained_at: Instant


class ScopeSelector(Part):
    """Levels inside one selector are AND; a list of selectors is OR (§5)."""

    region: str | None = None
    datacenter: str | None = None
    service: str | None = None
    server_farm: str | None = None
    server: str | None = None
    tenant: str | None = None
    tags: dict[str, str] | None = Field(
        None, description="labels and cloud tags; all of them have to stand on what is selected"
    )


class Scope(Part):
    """Which part of the platform was affected, and when: half-open [window_from, window_to)."""

    include: list[ScopeSelector]
    exclude: list[ScopeSelector] = Field(default_factory=list)
    window_from: Instant | None = None
    window_to: Instant | None = None
    follow_dependencies: Literal["none", "direct", "transitive"] = "none"


class ScopeSetV1(IncidentEvent):
    """Security response or the service team said what was affected."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.scope_set"

    scope: Scope
    scope_version: int
    set_by: str


class IncidentClosedV1(IncidentEvent):
    """All duties done."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.closed"

    disposition: str


class IncidentMergedV1(IncidentEvent):
    """It goes on as another incident; what it brought with it stays readable under its own id."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.merged"

    target_id: UUID
    former: str = Field(description="the state before")


class IncidentUnmergedV1(IncidentEvent):
    """It is an incident of its own again."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.unmerged"

    target_id: UUID
    state: str


class IncidentSplitV1(IncidentEvent):
    """Some of its detections are followed up as another incident."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.split"

    new_id: UUID
    detection_ids: list[UUID]


class IncidentReopenedV1(IncidentEvent):
    """It is under investigation again; its clocks are those that it had (I5)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.reopened"

    former: str


class ConfirmationRetractedV1(IncidentEvent):
    """The verdict was taken back: what was owed has to be evaluated anew, notices corrected."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.confirmation_retracted"


class ContainmentLostV1(IncidentEvent):
    """The attack goes on after all."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.containment_lost"

    new_assets: list[str] = Field(default_factory=list)
    indicator_ids: list[UUID] = Field(default_factory=list)


class ClockSetV1(IncidentEvent):
    """An instant from which duties run was set, or corrected if it supersedes another (I5)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.clock_set"

    clock: str
    instant: Instant
    supersedes: Instant | None = None


class IncidentErasedV1(IncidentEvent):
    """What is personal in the incident was erased: whoever copied it erases the copy, too.

    It names no person: of one who was erased, only the incidents are told in which that was. All
    of them have ended, and no copy is needed to work on. What is published again of earlier events
    says ``[erased]``.
    """

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.erased"

    erasure_id: UUID = Field(description="the same in every incident that it touched")
    scope: Literal["incident", "person"] = Field(
        description="incident: every free text and name in it; person: what names one person"
    )
    basis: str = Field(description="data_subject_request, retention_ended, court_order, …")
    reference: str = Field("", description="number in the register of whoever asked for it")


class IncidentUpdatedV1(IncidentEvent):
    """Any other event of the log, by name only: its content is read through the API."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.incident.updated"

    event: str


class LogCheckpointV1(Contract):
    """The operator signed the log's root. ``ce-position`` is where it stands in the stream.

    A monitor that keeps the newest and asks for a consistency proof from it to the next one notices
    a changed past and a restored backup. Not every checkpoint is published, always the newest.
    """

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.log.checkpoint"

    origin: str = Field(description="the log's name, to be pinned together with its key")
    size: int = Field(ge=1, description="events that it covers: positions 1 to size")
    root: str = Field(description="base64 of the RFC 6962 root")
    note: str = Field(description="the C2SP signed note, word for word")

    @property
    def about(self) -> str:
        return self.origin


class EvidenceRecordedV1(Contract):
    """Something happened to an item of evidence, by name; the rest is read through the API.

    ``ce-subject`` is the evidence id and ``ce-sequence`` the version of the item: it is an
    aggregate of its own, in the same log.
    """

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.evidence.recorded"

    evidence_id: UUID
    incident_id: UUID
    version: int = Field(ge=1)
    position: int = Field(ge=1)
    actor: str
    event: str = Field(description="EvidenceCollected, EvidenceIntegrityFailed, …")
    sha256: str | None = Field(None, description="of the bytes, with EvidenceCollected")
    size: int | None = Field(None, description="bytes, with EvidenceCollected")

    @property
    def about(self) -> str:
        return str(self.evidence_id)


class ReviewEvent(Contract):
    """What every message of a post-incident review carries.

    ``ce-subject`` is the review's id and ``ce-sequence`` the version of the review: it is an
    aggregate of its own, in the same log.
    """

    review_id: UUID
    incident_id: UUID
    version: int = Field(ge=1)
    position: int = Field(ge=1)
    actor: str

    @property
    def about(self) -> str:
        return str(self.review_id)


class ReviewRecordedV1(ReviewEvent):
    """Something happened in a review, by name; its content is read through the API."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.review.recorded"

    event: str = Field(description="ReviewTimelineFrozen, ImprovementItemDone, …")


class LessonLearnedV1(ReviewEvent):
    """A review recorded a lesson; detect makes a rule proposal of one that can be (R14b)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.cases.lesson.learned"

    lesson_id: UUID
    category: Literal[
        "technical_lapse",
        "procedural_failure",
        "manual_error",
        "process_flaw",
        "communication",
        "new_vector",
    ]
    text: str
    attack_vector: str = "unknown"
    techniques: list[str] = Field(default_factory=list, description="ATT&CK ids")
    proposed_rule: str | None = Field(None, description="Sigma, as somebody wrote it: unchecked")
    rule_ids: list[str] = Field(default_factory=list, description="that failed, or were too loud")
    detection_ids: list[UUID] = Field(default_factory=list)
