"""What happened to an item of evidence: its chain of custody.

Every event names the incident, so that each can be read alone. Stored for ever: a field is only
ever added with a default (services.cases.domain.events says the same of incidents). The names all
begin with "Evidence": that is what tells them from an incident's in the one log.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.cases.domain.personal import FreeText, Person, Plain
from services.cases.domain.values import Actor
from services.cases.evidence.domain.vocabulary import EvidenceKind, RetentionClass

__all__ = [
    "EvidenceAccessed", "EvidenceCollected", "EvidenceCopyAnalysed", "EvidenceCustodyTransferred",
    "EvidenceDisposalRequested", "EvidenceDisposed", "EvidenceEvent", "EvidenceIntegrityFailed",
    "EvidenceIntegrityVerified", "EvidenceLegalHoldPlaced", "EvidenceLegalHoldReleased",
    "EvidenceLossAcceptanceRequested", "EvidenceLossAccepted",
    "EvidenceRegistered", "EvidenceReleased", "EvidenceRetentionSet", "EvidenceSealed",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    actor: Actor
    at: datetime
    incident_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRegistered(_Fact):
    """Somebody announces an item; until its bytes are here it is a promise and nothing more."""

    kind: EvidenceKind
    collector: Person
    tool: Plain
    tool_version: Plain
    method: FreeText
    source_asset: FreeText
    volatility_rank: int
    acquired_at: datetime
    clock_offset_ms: int = 0
    """Clock of the source minus UTC, so that times inside the item can be read."""
    copy_of: UUID | None = None
    file_name: FreeText = ""
    """What somebody called it: told again as it is, never a path (CVE-2026-22783)."""
    declared_sha256: Plain | None = None
    description: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceCollected(_Fact):
    """The bytes are on disk; what is told of the collection is complete in this one event."""

    kind: EvidenceKind
    collector: Person
    tool: Plain
    tool_version: Plain
    method: FreeText
    source_asset: FreeText
    volatility_rank: int
    acquired_at: datetime
    clock_offset_ms: int
    copy_of: UUID | None
    file_name: FreeText
    sha256: Plain
    size: int
    storage_ref: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSealed(_Fact):
    sha256: Plain
    note: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceCustodyTransferred(_Fact):
    from_person: Person
    to_person: Person
    purpose: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceAccessed(_Fact):
    """Recorded before the first byte leaves."""

    purpose: FreeText
    content: bool = True
    """Whether the bytes left through Tocsin, or somebody looked at the item elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceCopyAnalysed(_Fact):
    copy_sha256: Plain
    tool: Plain
    tool_version: Plain
    method: FreeText
    findings: FreeText
    purpose: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceIntegrityVerified(_Fact):
    sha256: Plain
    reason: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceIntegrityFailed(_Fact):
    expected_sha256: Plain
    found_sha256: Plain | None
    """None when the bytes are gone."""
    reason: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceLegalHoldPlaced(_Fact):
    hold: Plain
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceLegalHoldReleased(_Fact):
    hold: Plain
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRetentionSet(_Fact):
    retention_class: RetentionClass
    until: datetime
    reason: FreeText = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceReleased(_Fact):
    """The item was handed to somebody outside, who has custody from now on."""

    from_person: Person
    to_person: Person
    purpose: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceDisposalRequested(_Fact):
    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceDisposed(_Fact):
    """Both persons stand in the event that ends the item."""

    requested_by: Person
    reason: FreeText
    sha256: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceLossAcceptanceRequested(_Fact):
    """The custodian says that the bytes of a frozen item are lost for good."""

    reason: FreeText


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceLossAccepted(_Fact):
    """Both persons stand in it. The item stays frozen, and holds and retention stay on it."""

    requested_by: Person
    reason: FreeText
    sha256: Plain
    """Of the bytes that were collected and are lost."""


EvidenceEvent = (
    EvidenceRegistered
    | EvidenceCollected
    | EvidenceSealed
    | EvidenceCustodyTransferred
    | EvidenceAccessed
    | EvidenceCopyAnalysed
    | EvidenceIntegrityVerified
    | EvidenceIntegrityFailed
    | EvidenceLegalHoldPlaced
    | EvidenceLegalHoldReleased
    | EvidenceRetentionSet
    | EvidenceReleased
    | EvidenceDisposalRequested
    | EvidenceDisposed
    | EvidenceLossAcceptanceRequested
    | EvidenceLossAccepted
)
