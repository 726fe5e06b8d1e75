"""The decider of an item of evidence: every refusal names all that is missing."""

import string
from collections.abc import Sequence
from typing import Any, assert_never
from uuid import UUID

from services.cases.domain.errors import NotAllowed, Unmet
from services.cases.evidence.domain import commands as c
from services.cases.evidence.domain import events as e
from services.cases.evidence.domain.item import Item
from services.cases.evidence.domain.rules import RULES
from services.cases.evidence.domain.vocabulary import (
    CODES,
    FIRST_RANK,
    LAST_RANK,
    MINIMUM,
    EvidenceRole,
    EvidenceState,
)

__all__ = ["decide", "is_digest"]

_HEX = frozenset(string.hexdigits.lower())
_NOWHERE = UUID(int=0)


def is_digest(text: str) -> bool:
    """Tell whether *text* is a SHA-256 as it is written here."""
    return len(text) == 64 and set(text) <= _HEX


class _Check:
    """Role, state and freezing first; a decision adds its own conditions, then settles."""

    def __init__(self, item: Item, command: c.EvidenceCommand) -> None:
        rule = RULES[type(command)]
        self._unmet: list[Unmet] = []
        self.need(
            not rule.roles.isdisjoint(command.actor.roles),
            "role_missing",
            f"{rule.verb} needs one of {', '.join(sorted(rule.roles))}",
        )
        self.need(
            item.state in rule.states,
            "wrong_state",
            f"{rule.verb} is for {', '.join(sorted(rule.states))}; it is {item.state}",
        )
        self.need(rule.frozen_too or not item.frozen, "integrity_failed")

    def need(self, holds: bool, code: str, detail: str = "") -> None:
        if not holds:
            self._unmet.append(Unmet(code, detail or CODES[code]))

    def text(self, value: str, code: str) -> None:
        self.need(bool(value.strip()), code)

    def settle(self) -> None:
        if self._unmet:
            raise NotAllowed(self._unmet)


def decide(item: Item, command: c.EvidenceCommand) -> Sequence[e.EvidenceEvent]:
    """Return what *command* causes; nothing, if it is already so. NotAllowed names all it lacks."""
    check = _Check(item, command)
    common: dict[str, Any] = {
        "actor": command.actor, "at": command.now, "incident_id": item.incident_id or _NOWHERE
    }  # fmt: skip
    match command:
        case c.RegisterEvidence():
            return _register(command, check)
        case c.CollectEvidence():
            return _collect(item, command, check, common)
        case c.SealEvidence():
            if item.state is EvidenceState.SEALED:
                return []
            check.settle()
            return [e.EvidenceSealed(**common, sha256=item.sha256 or "", note=command.note)]
        case c.TransferCustody():
            return _transfer(item, command, check, common)
        case c.RecordAccess():
            check.text(command.purpose, "purpose_missing")
            check.settle()
            return [e.EvidenceAccessed(**common, purpose=command.purpose, content=command.content)]
        case c.AnalyseCopy():
            return _analyse(item, command, check, common)
        case c.VerifyIntegrity():
            return _verify(item, command, check, common)
        case c.PlaceLegalHold():
            check.text(command.hold, "hold_unknown")
            check.text(command.reason, "reason_missing")
            check.need(command.hold not in item.holds, "hold_exists")
            check.settle()
            return [e.EvidenceLegalHoldPlaced(**common, hold=command.hold, reason=command.reason)]
        case c.ReleaseLegalHold():
            check.text(command.reason, "reason_missing")
            check.need(command.hold in item.holds, "hold_unknown")
            check.settle()
            return [e.EvidenceLegalHoldReleased(**common, hold=command.hold, reason=command.reason)]
        case c.SetRetention():
            return _retain(item, command, check, common)
        case c.ReleaseEvidence():
            check.text(command.purpose, "purpose_missing")
            check.text(command.to_person, "same_custodian")
            _not_held(item, command, check)
            check.need(item.retention is not None, "retention_missing")
            check.settle()
            return [
                e.EvidenceReleased(
                    **common,
                    from_person=item.custodian,
                    to_person=command.to_person,
                    purpose=command.purpose,
                )
            ]
        case c.RequestDisposal():
            check.text(command.reason, "reason_missing")
            check.need(item.disposal_requested_by is None, "disposal_requested")
            _disposable(item, command, check)
            check.settle()
            return [e.EvidenceDisposalRequested(**common, reason=command.reason)]
        case c.DisposeEvidence():
            return _dispose(item, command, check, common)
        case c.RequestLossAcceptance():
            check.text(command.reason, "reason_missing")
            check.need(item.frozen, "not_lost")
            check.need(item.loss_requested_by is None, "loss_requested")
            check.settle()
            return [e.EvidenceLossAcceptanceRequested(**common, reason=command.reason)]
        case c.AcceptLoss():
            return _accept_loss(item, command, check, common)
        case _:
            assert_never(command)


def _register(command: c.RegisterEvidence, check: _Check) -> Sequence[e.EvidenceEvent]:
    check.text(command.collector, "collector_missing")
    check.need(bool(command.tool.strip() and command.tool_version.strip()), "tool_missing")
    check.text(command.method, "method_missing")
    check.text(command.source_asset, "source_missing")
    check.need(FIRST_RANK <= command.volatility_rank <= LAST_RANK, "volatility_out_of_range")
    check.need(command.acquired_at <= command.now, "acquired_in_future")
    declared = command.declared_sha256
    check.need(declared is None or is_digest(declared), "not_a_digest")
    check.settle()
    return [
        e.EvidenceRegistered(
            actor=command.actor,
            at=command.now,
            incident_id=command.incident_id,
            kind=command.kind,
            collector=command.collector,
            tool=command.tool,
            tool_version=command.tool_version,
            method=command.method,
            source_asset=command.source_asset,
            volatility_rank=command.volatility_rank,
            acquired_at=command.acquired_at,
            clock_offset_ms=command.clock_offset_ms,
            copy_of=command.copy_of,
            file_name=command.file_name,
            declared_sha256=declared,
            description=command.description,
        )
    ]


def _collect(
    item: Item, command: c.CollectEvidence, check: _Check, common: dict[str, Any]
) -> Sequence[e.EvidenceEvent]:
    if item.has_bytes and item.sha256 == command.sha256 and not item.frozen:
        return []
    check.need(not item.has_bytes, "already_collected")
    check.need(is_digest(command.sha256), "not_a_digest")
    check.need(item.declared_sha256 in (None, command.sha256), "digest_mismatch")
    check.settle()
    if item.kind is None or item.acquired_at is None:
        raise AssertionError("a registered item has a kind and a time")
    return [
        e.EvidenceCollected(
            **common,
            kind=item.kind,
            collector=item.collector,
            tool=item.tool,
            tool_version=item.tool_version,
            method=item.method,
            source_asset=item.source_asset,
            volatility_rank=item.volatility_rank,
            acquired_at=item.acquired_at,
            clock_offset_ms=item.clock_offset_ms,
            copy_of=item.copy_of,
            file_name=item.file_name,
            sha256=command.sha256,
            size=command.size,
            storage_ref=command.storage_ref,
        )
    ]


def _transfer(
    item: Item, command: c.TransferCustody, check: _Check, common: dict[str, Any]
) -> Sequence[e.EvidenceEvent]:
    check.text(command.purpose, "purpose_missing")
    check.need(
        command.from_person == item.custodian,
        "not_custodian",
        f"{item.custodian or 'nobody'} has custody, not {command.from_person}",
    )
    check.need(
        bool(command.to_person.strip()) and command.to_person != command.from_person,
        "same_custodian",
    )
    check.settle()
    return [
        e.EvidenceCustodyTransferred(
            **common,
            from_person=command.from_person,
            to_person=command.to_person,
            purpose=command.purpose,
        )
    ]


def _analyse(
    item: Item, command: c.AnalyseCopy, check: _Check, common: dict[str, Any]
) -> Sequence[e.EvidenceEvent]:
    check.text(command.purpose, "purpose_missing")
    check.need(bool(command.tool.strip() and command.tool_version.strip()), "tool_missing")
    check.text(command.method, "method_missing")
    # Repeatable only on the same bytes (ISO/IEC 27037).
    check.need(command.copy_sha256 == item.sha256, "copy_differs")
    check.settle()
    return [
        e.EvidenceCopyAnalysed(
            **common,
            copy_sha256=command.copy_sha256,
            tool=command.tool,
            tool_version=command.tool_version,
            method=command.method,
            findings=command.findings,
            purpose=command.purpose,
        )
    ]


def _verify(
    item: Item, command: c.VerifyIntegrity, check: _Check, common: dict[str, Any]
) -> Sequence[e.EvidenceEvent]:
    intact = command.found_sha256 == item.sha256
    if item.frozen and intact:
        # Thawing an item is a decision: a person takes it and says what was found.
        check.text(command.reason, "reason_missing")
        check.need(
            EvidenceRole.SYSTEM not in command.actor.roles,
            "role_missing",
            "a person has to say why a frozen item can be trusted again",
        )
    check.settle()
    if intact:
        return [
            e.EvidenceIntegrityVerified(**common, sha256=item.sha256 or "", reason=command.reason)
        ]
    if item.frozen:
        return []
    return [
        e.EvidenceIntegrityFailed(
            **common,
            expected_sha256=item.sha256 or "",
            found_sha256=command.found_sha256,
            reason=command.reason,
        )
    ]


def _retain(
    item: Item, command: c.SetRetention, check: _Check, common: dict[str, Any]
) -> Sequence[e.EvidenceEvent]:
    start = item.acquired_at or command.now
    minimum = start + MINIMUM[command.retention_class]
    check.need(
        command.until >= minimum,
        "retention_too_short",
        f"{command.retention_class} lasts until {minimum:%Y-%m-%d} at least",
    )
    if item.retention and command.until < item.retention.until:
        check.text(command.reason, "reason_missing")
    check.settle()
    return [
        e.EvidenceRetentionSet(
            **common,
            retention_class=command.retention_class,
            until=command.until,
            reason=command.reason,
        )
    ]


def _not_held(
    item: Item, command: c.RequestDisposal | c.DisposeEvidence | c.ReleaseEvidence, check: _Check
) -> None:
    """A hold on an item binds it, one on its incident binds all items of that (R30c)."""
    own, of_all = ", ".join(item.holds), ", ".join(command.incident_holds)
    check.need(not own, "under_hold", f"the item is under legal hold: {own}")
    check.need(not of_all, "under_hold", f"its incident is under legal hold: {of_all}")


def _disposable(item: Item, command: c.RequestDisposal | c.DisposeEvidence, check: _Check) -> None:
    _not_held(item, command, check)
    check.need(item.retention is not None, "retention_missing")
    if item.retention:
        check.need(
            item.retention.until <= command.now,
            "retention_running",
            f"the retention ends {item.retention.until:%Y-%m-%d}",
        )


def _dispose(
    item: Item, command: c.DisposeEvidence, check: _Check, common: dict[str, Any]
) -> Sequence[e.EvidenceEvent]:
    check.need(item.disposal_requested_by is not None, "disposal_not_requested")
    check.need(item.disposal_requested_by != command.actor.id, "approver_is_requester")
    _disposable(item, command, check)
    check.settle()
    return [
        e.EvidenceDisposed(
            **common,
            requested_by=item.disposal_requested_by or "",
            reason=item.disposal_reason,
            sha256=item.sha256 or "",
        )
    ]


def _accept_loss(
    item: Item, command: c.AcceptLoss, check: _Check, common: dict[str, Any]
) -> Sequence[e.EvidenceEvent]:
    check.need(item.frozen, "not_lost")
    check.need(item.loss_requested_by is not None, "loss_not_requested")
    check.need(item.loss_requested_by != command.actor.id, "approver_is_requester")
    check.need(item.loss_accepted_at is None, "loss_accepted")
    check.settle()
    return [
        e.EvidenceLossAccepted(
            **common,
            requested_by=item.loss_requested_by or "",
            reason=item.loss_reason,
            sha256=item.sha256 or "",
        )
    ]
