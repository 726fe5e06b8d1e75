"""What people and the system ask of an item of evidence."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.cases.domain.values import Actor
from services.cases.evidence.domain.vocabulary import EvidenceKind, RetentionClass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    actor: Actor
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterEvidence(_Order):
    """Announces an item with everything but its bytes."""

    incident_id: UUID
    kind: EvidenceKind
    collector: str
    tool: str
    tool_version: str
    method: str
    source_asset: str
    volatility_rank: int
    acquired_at: datetime
    clock_offset_ms: int = 0
    copy_of: UUID | None = None
    file_name: str = ""
    declared_sha256: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectEvidence(_Order):
    """Says that the bytes are in the store; given only after they are (delivery reference §4.3)."""

    sha256: str
    size: int
    storage_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SealEvidence(_Order):
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCustody(_Order):
    from_person: str
    to_person: str
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAccess(_Order):
    purpose: str
    content: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyseCopy(_Order):
    copy_sha256: str
    tool: str
    tool_version: str
    method: str
    findings: str
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyIntegrity(_Order):
    """``found_sha256`` was just computed from the stored bytes; None if they are gone."""

    found_sha256: str | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceLegalHold(_Order):
    hold: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLegalHold(_Order):
    hold: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRetention(_Order):
    retention_class: RetentionClass
    until: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseEvidence(_Order):
    """``incident_holds``: legal holds on the incident that it belongs to, by name."""

    to_person: str
    purpose: str
    incident_holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDisposal(_Order):
    """``incident_holds``: as of `ReleaseEvidence`."""

    reason: str
    incident_holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DisposeEvidence(_Order):
    """The second person's word; ``incident_holds``: as of `ReleaseEvidence`."""

    incident_holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLossAcceptance(_Order):
    """The custodian's word that the bytes will not come back."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptLoss(_Order):
    """The word of legal, who has to answer for evidence that is not there."""


EvidenceCommand = (
    RegisterEvidence
    | CollectEvidence
    | SealEvidence
    | TransferCustody
    | RecordAccess
    | AnalyseCopy
    | VerifyIntegrity
    | PlaceLegalHold
    | ReleaseLegalHold
    | SetRetention
    | ReleaseEvidence
    | RequestDisposal
    | DisposeEvidence
    | RequestLossAcceptance
    | AcceptLoss
)
