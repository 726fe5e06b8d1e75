"""The bodies of the verbs on evidence, each with the command that it gives."""

from abc import abstractmethod
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from services.cases.bodies.base import Name, Part, Text, Utc, Who
from services.cases.evidence.domain import commands as c
from services.cases.evidence.domain.vocabulary import EvidenceKind, RetentionClass

__all__ = ["VERBS", "EvidenceBody", "Register", "VerifyIntegrity"]

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Purpose = Annotated[str, Field(min_length=1, max_length=1000)]


class Register(Part):
    """Announces an item; its bytes follow with PUT …/content."""

    kind: EvidenceKind
    collector: Name
    tool: Name
    tool_version: Name
    method: Purpose
    source_asset: Name
    volatility_rank: int = Field(ge=1, le=7)
    acquired_at: Utc
    clock_offset_ms: int = Field(0, ge=-(10**12), le=10**12)
    copy_of: UUID | None = None
    file_name: str = Field("", max_length=1000, description="told again as it is; never a path")
    sha256: Digest | None = Field(None, description="what the bytes have to be")
    description: Text = ""

    def order(self, who: Who, incident_id: UUID) -> c.RegisterEvidence:
        """Return the command."""
        return c.RegisterEvidence(
            actor=who.actor,
            now=who.now,
            incident_id=incident_id,
            kind=self.kind,
            collector=self.collector,
            tool=self.tool,
            tool_version=self.tool_version,
            method=self.method,
            source_asset=self.source_asset,
            volatility_rank=self.volatility_rank,
            acquired_at=self.acquired_at,
            clock_offset_ms=self.clock_offset_ms,
            copy_of=self.copy_of,
            file_name=self.file_name,
            declared_sha256=self.sha256,
            description=self.description,
        )


class EvidenceBody(Part):
    """A request body; ``COMMAND`` decides the route's name and roles."""

    COMMAND: ClassVar[type[c.EvidenceCommand]]

    @abstractmethod
    def order(self, who: Who) -> c.EvidenceCommand: ...


class Seal(EvidenceBody):
    """Nothing about the item will change any more but who has it."""

    COMMAND = c.SealEvidence
    note: Text = ""

    def order(self, who: Who) -> c.SealEvidence:
        return c.SealEvidence(actor=who.actor, now=who.now, note=self.note)


class TransferCustody(EvidenceBody):
    """From the person who has it to another one."""

    COMMAND = c.TransferCustody
    from_person: Name
    to_person: Name
    purpose: Purpose

    def order(self, who: Who) -> c.TransferCustody:
        return c.TransferCustody(
            actor=who.actor,
            now=who.now,
            from_person=self.from_person,
            to_person=self.to_person,
            purpose=self.purpose,
        )


class RecordAccess(EvidenceBody):
    """Somebody looked at the item outside Tocsin; a download records itself."""

    COMMAND = c.RecordAccess
    purpose: Purpose

    def order(self, who: Who) -> c.RecordAccess:
        return c.RecordAccess(actor=who.actor, now=who.now, purpose=self.purpose)


class AnalyseCopy(EvidenceBody):
    """An analysis, of a copy that is bit for bit the item."""

    COMMAND = c.AnalyseCopy
    copy_sha256: Digest
    tool: Name
    tool_version: Name
    method: Purpose
    findings: Text = ""
    purpose: Purpose

    def order(self, who: Who) -> c.AnalyseCopy:
        return c.AnalyseCopy(
            actor=who.actor,
            now=who.now,
            copy_sha256=self.copy_sha256,
            tool=self.tool,
            tool_version=self.tool_version,
            method=self.method,
            findings=self.findings,
            purpose=self.purpose,
        )


class VerifyIntegrity(Part):
    """Hash the bytes now. ``reason`` is needed to thaw an item whose bytes were restored."""

    reason: Text = ""


class PlaceLegalHold(EvidenceBody):
    """Nothing is disposed of while a hold lasts."""

    COMMAND = c.PlaceLegalHold
    hold: Name
    reason: Purpose

    def order(self, who: Who) -> c.PlaceLegalHold:
        return c.PlaceLegalHold(actor=who.actor, now=who.now, hold=self.hold, reason=self.reason)


class ReleaseLegalHold(EvidenceBody):
    """The other holds, if any, stay."""

    COMMAND = c.ReleaseLegalHold
    hold: Name
    reason: Purpose

    def order(self, who: Who) -> c.ReleaseLegalHold:
        return c.ReleaseLegalHold(actor=who.actor, now=who.now, hold=self.hold, reason=self.reason)


class SetRetention(EvidenceBody):
    """How long it is kept at least; to shorten it needs a reason."""

    COMMAND = c.SetRetention
    retention_class: RetentionClass
    until: Utc
    reason: Text = ""

    def order(self, who: Who) -> c.SetRetention:
        return c.SetRetention(
            actor=who.actor,
            now=who.now,
            retention_class=self.retention_class,
            until=self.until,
            reason=self.reason,
        )


class Release(EvidenceBody):
    """Hand the item to somebody outside."""

    COMMAND = c.ReleaseEvidence
    to_person: Name
    purpose: Purpose

    def order(self, who: Who) -> c.ReleaseEvidence:
        return c.ReleaseEvidence(
            actor=who.actor, now=who.now, to_person=self.to_person, purpose=self.purpose
        )


class RequestDisposal(EvidenceBody):
    """The first of two persons."""

    COMMAND = c.RequestDisposal
    reason: Purpose

    def order(self, who: Who) -> c.RequestDisposal:
        return c.RequestDisposal(actor=who.actor, now=who.now, reason=self.reason)


class Dispose(EvidenceBody):
    """The second of two persons: the bytes go."""

    COMMAND = c.DisposeEvidence

    def order(self, who: Who) -> c.DisposeEvidence:
        return c.DisposeEvidence(actor=who.actor, now=who.now)


class RequestLossAcceptance(EvidenceBody):
    """The custodian: the bytes of this frozen item are lost for good."""

    COMMAND = c.RequestLossAcceptance
    reason: Purpose

    def order(self, who: Who) -> c.RequestLossAcceptance:
        return c.RequestLossAcceptance(actor=who.actor, now=who.now, reason=self.reason)


class AcceptLoss(EvidenceBody):
    """Legal, as the second person: the incident can be closed without these bytes."""

    COMMAND = c.AcceptLoss

    def order(self, who: Who) -> c.AcceptLoss:
        return c.AcceptLoss(actor=who.actor, now=who.now)


VERBS: tuple[type[EvidenceBody], ...] = (
    Seal,
    TransferCustody,
    RecordAccess,
    AnalyseCopy,
    PlaceLegalHold,
    ReleaseLegalHold,
    SetRetention,
    Release,
    RequestDisposal,
    Dispose,
    RequestLossAcceptance,
    AcceptLoss,
)
