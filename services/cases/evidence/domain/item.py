"""An item of evidence as decisions see it, and how its events change it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never
from uuid import UUID

from services.cases.evidence.domain import events as e
from services.cases.evidence.domain.vocabulary import EvidenceKind, EvidenceState, RetentionClass

__all__ = ["UNKNOWN", "Item", "Retention", "evolve", "fold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long it is kept at least."""

    retention_class: RetentionClass
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item; the fields up to ``description`` never change once it is collected (I9)."""

    state: EvidenceState = EvidenceState.UNKNOWN
    incident_id: UUID | None = None
    kind: EvidenceKind | None = None
    collector: str = ""
    tool: str = ""
    tool_version: str = ""
    method: str = ""
    source_asset: str = ""
    volatility_rank: int = 0
    acquired_at: datetime | None = None
    clock_offset_ms: int = 0
    copy_of: UUID | None = None
    file_name: str = ""
    declared_sha256: str | None = None
    description: str = ""
    registered_by: str = ""
    registered_at: datetime | None = None
    sha256: str | None = None
    size: int | None = None
    storage_ref: str | None = None
    collected_at: datetime | None = None
    custodian: str = ""
    sealed_at: datetime | None = None
    verified_at: datetime | None = None
    frozen: bool = False
    holds: tuple[str, ...] = ()
    retention: Retention | None = None
    disposal_requested_by: str | None = None
    disposal_reason: str = ""
    disposed_at: datetime | None = None
    loss_requested_by: str | None = None
    loss_reason: str = ""
    loss_accepted_at: datetime | None = None

    @property
    def has_bytes(self) -> bool:
        """Tell whether its bytes ought to be in the store."""
        return self.state in (
            EvidenceState.COLLECTED, EvidenceState.SEALED, EvidenceState.RELEASED
        )  # fmt: skip

    @property
    def secured(self) -> bool:
        """Tell whether it is no hindrance to closing the incident (I6).

        Sealed, with retention; or gone by the word of two: disposed of, or accepted as lost.
        """
        if self.state is EvidenceState.DISPOSED or self.loss_accepted_at is not None:
            return True
        sealed = self.state in (EvidenceState.SEALED, EvidenceState.RELEASED)
        return sealed and self.retention is not None and not self.frozen


UNKNOWN = Item()


def fold(events: Iterable[e.EvidenceEvent]) -> Item:
    """Return the item that *events* made."""
    item = UNKNOWN
    for event in events:
        item = evolve(item, event)
    return item


def evolve(item: Item, event: e.EvidenceEvent) -> Item:
    """Return *item* after *event*; never refuses, since it has happened."""
    match event:
        case e.EvidenceRegistered():
            return _registered(event)
        case e.EvidenceCollected():
            return replace(
                item,
                state=EvidenceState.COLLECTED,
                sha256=event.sha256,
                size=event.size,
                storage_ref=event.storage_ref,
                collected_at=event.at,
                verified_at=event.at,  # the digest was computed from the bytes as they came
                # Whoever collected it has it; a system that links it again has nothing.
                custodian=event.collector,
            )
        case e.EvidenceSealed():
            return replace(item, state=EvidenceState.SEALED, sealed_at=event.at)
        case e.EvidenceCustodyTransferred():
            return replace(item, custodian=event.to_person)
        case e.EvidenceAccessed() | e.EvidenceCopyAnalysed():
            return item
        case e.EvidenceIntegrityVerified():
            # Bytes that came back are under the rules of every other item again.
            return replace(
                item,
                verified_at=event.at,
                frozen=False,
                loss_requested_by=None,
                loss_reason="",
                loss_accepted_at=None,
            )
        case e.EvidenceIntegrityFailed():
            return replace(item, frozen=True, disposal_requested_by=None, disposal_reason="")
        case e.EvidenceLegalHoldPlaced():
            # A request made before the hold is void: who still wants it says so again afterwards.
            return replace(
                item,
                holds=(*item.holds, event.hold),
                disposal_requested_by=None,
                disposal_reason="",
            )
        case e.EvidenceLegalHoldReleased():
            return replace(item, holds=tuple(hold for hold in item.holds if hold != event.hold))
        case e.EvidenceRetentionSet():
            kept = Retention(retention_class=event.retention_class, until=event.until)
            return replace(item, retention=kept)
        case e.EvidenceReleased():
            return replace(item, state=EvidenceState.RELEASED, custodian=event.to_person)
        case e.EvidenceDisposalRequested():
            return replace(item, disposal_requested_by=event.actor.id, disposal_reason=event.reason)
        case e.EvidenceDisposed():
            return replace(item, state=EvidenceState.DISPOSED, disposed_at=event.at, custodian="")
        case e.EvidenceLossAcceptanceRequested():
            return replace(item, loss_requested_by=event.actor.id, loss_reason=event.reason)
        case e.EvidenceLossAccepted():
            return replace(item, loss_accepted_at=event.at)
        case _:
            assert_never(event)


def _registered(event: e.EvidenceRegistered) -> Item:
    return Item(
        state=EvidenceState.REGISTERED,
        incident_id=event.incident_id,
        kind=event.kind,
        collector=event.collector,
        tool=event.tool,
        tool_version=event.tool_version,
        method=event.method,
        source_asset=event.source_asset,
        volatility_rank=event.volatility_rank,
        acquired_at=event.acquired_at,
        clock_offset_ms=event.clock_offset_ms,
        copy_of=event.copy_of,
        file_name=event.file_name,
        declared_sha256=event.declared_sha256,
        description=event.description,
        registered_by=event.actor.id,
        registered_at=event.at,
    )
