"""What notify publishes."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.contracts.base import Contract, Instant

__all__ = [
    "AffectedCustomersIdentifiedV1", "CustomersNotifiedV1", "NotificationCorrectedV1",
    "NotificationSentV1", "NotificationUndeliverableV1", "ObligationDecidedV1",
    "ObligationDueSoonV1", "ObligationEvent", "ObligationIdentifiedV1", "ObligationMetV1",
    "ObligationOverdueV1", "ObligationReopenedV1", "ObligationWaivedV1",
]  # fmt: skip


class AffectedCustomersIdentifiedV1(Contract):
    """A scope was resolved to tenants (§5); an empty list is a result too."""

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.affected_list.identified"

    list_id: UUID
    incident_id: UUID
    version: int
    inventory_version: str
    confirmed: int
    probable: int
    possible: int
    tenants: list[str] = Field(description="the first 5,000; the counts are of all")

    @property
    def about(self) -> str:
        return str(self.incident_id)


class ObligationIdentifiedV1(Contract):
    """Something is owed to somebody by some time (§4)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.obligation.identified"

    obligation_id: UUID
    incident_id: UUID
    regime: str
    phase: str
    recipient: str
    tenant: str | None = None
    clock: str
    clock_at: Instant
    due_at: Instant
    basis: str = Field(description="the arithmetic in words")
    state: Literal["undecided", "triggered"] = Field(
        "triggered", description="undecided: cannot be ruled out; a person has to decide it (I7)"
    )

    @property
    def about(self) -> str:
        return str(self.incident_id)


class NotificationSentV1(Contract):
    """A message reached its channel; the proof names what the other side answered."""

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.notification.sent"

    notification_id: UUID
    incident_id: UUID
    tenant: str
    channel: Literal["email", "webhook"]
    recipient: str
    attempt: int
    sent_at: Instant
    proof: str = Field(description="Message-ID and SMTP reply, or webhook-id and HTTP status")

    @property
    def about(self) -> str:
        return str(self.incident_id)


class CustomersNotifiedV1(Contract):
    """Every tenant of an approved list version has been sent its notice."""

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.customers.notified"

    list_id: UUID
    incident_id: UUID
    version: int
    tenants: int
    sent: int
    completed_at: Instant
    nobody_reason: str = Field("", description="why no customer is affected, if none is (R34)")

    @property
    def about(self) -> str:
        return str(self.incident_id)


class ObligationEvent(Contract):
    """What every message of an obligation carries that was identified before."""

    obligation_id: UUID
    incident_id: UUID
    regime: str
    phase: str
    recipient: str
    tenant: str | None = None

    @property
    def about(self) -> str:
        return str(self.incident_id)


class ObligationDecidedV1(ObligationEvent):
    """A person decided what could not be ruled out (I7)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.obligation.decided"

    decision: Literal["required", "not_required"]
    reason: str
    decided_by: str


class ObligationMetV1(ObligationEvent):
    """The phase was submitted to its recipient; late, if ``late_reason`` is given."""

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.obligation.met"

    met_at: Instant
    due_at: Instant | None = None
    reference: str = Field("", description="of the submission: portal number, Message-ID, …")
    late_reason: str = ""
    document_sha256: str = Field("", description="of the form (PDF) that was approved for it")


class ObligationReopenedV1(ObligationEvent):
    """It counted as met by a notice that came back, and nobody else received one: its clock runs.

    The ``obligation.met`` before it stays true as what was known then; another one may follow.
    """

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.obligation.reopened"

    reason: str
    met_at: Instant = Field(description="when it had counted as met")
    reference: str = Field("", description="of the notice that it had counted as met by")
    due_at: Instant
    state: str = Field(description="where it stands now: triggered, undecided, not_required, …")


class ObligationWaivedV1(ObligationEvent):
    """It is not met, on purpose: ``approver`` is another person than ``owner`` (I6)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.obligation.waived"

    reason: str
    owner: str
    approver: str


class ObligationDueSoonV1(ObligationEvent):
    """A part of its time is over and it is not met (§4.1)."""

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.obligation.due_soon"

    level: Literal["half", "four_fifths", "two_hours"]
    due_at: Instant
    state: str
    reopened: int = Field(0, description="how often it had counted as met by what came back")


class ObligationOverdueV1(ObligationEvent):
    """Its deadline has passed and it is not met."""

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.obligation.overdue"

    due_at: Instant
    reopened: int = Field(0, description="how often it had counted as met by what came back")


class NotificationCorrectedV1(Contract):
    """A notice that was sent is superseded by another one."""

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.notification.corrected"

    notification_id: UUID
    supersedes: UUID
    incident_id: UUID
    tenant: str
    reason: str
    sent_at: Instant

    @property
    def about(self) -> str:
        return str(self.incident_id)


class NotificationUndeliverableV1(Contract):
    """A message reached none of the tenant's contacts by a channel, alternates included.

    Nothing is tried any more by itself: a person has to find another way.
    """

    SUBJECT: ClassVar[str] = "tocsin.v1.notify.notification.undeliverable"

    notification_id: UUID
    incident_id: UUID
    tenant: str
    channel: Literal["email", "webhook"]
    contacts: int = Field(description="addresses tried, alternates included")
    given_up_at: Instant

    @property
    def about(self) -> str:
        return str(self.incident_id)
