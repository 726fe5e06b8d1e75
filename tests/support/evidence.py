"""Builders for items of evidence, told step by step.

`python -m tests.support.evidence` writes the golden fixtures that are missing; it never changes one
that is there.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from services.cases.aggregates import name_of
from services.cases.codec import SCHEMA
from services.cases.domain.errors import NotAllowed
from services.cases.domain.values import Actor
from services.cases.domain.vocabulary import ActorKind
from services.cases.evidence.domain import commands as c
from services.cases.evidence.domain.decide import decide
from services.cases.evidence.domain.events import EvidenceEvent
from services.cases.evidence.domain.item import Item, evolve, fold
from services.cases.evidence.domain.vocabulary import EvidenceKind, RetentionClass
from services.cases.evidence.store import storage_ref
from tests.support.sealing import write_golden

GOLDEN = Path(__file__).resolve().parents[1] / "unit" / "cases" / "evidence" / "golden"

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ACQUIRED = datetime(2026, 11, 22, 22, 15, tzinfo=UTC)
ENDED = ACQUIRED + timedelta(days=180)
LATER = ACQUIRED + timedelta(days=181)
EC = Actor(id="eve", roles=("evidence_custodian",))
EC2 = Actor(id="carl", roles=("evidence_custodian",))
SR = Actor(id="rita", roles=("security_response",))
LG = Actor(id="lena", roles=("legal",))
AU = Actor(id="anna", roles=("auditor",))
ST = Actor(id="sam", roles=("service_team",))
SYS = Actor(id="tocsin", roles=("system",), kind=ActorKind.SYSTEM)
INCIDENT = UUID(int=7)
SHA = hashlib.sha256(b"abc").hexdigest()
OTHER = hashlib.sha256(b"abd").hexdigest()


def registers(**changes: Any) -> c.RegisterEvidence:
    """Return the announcement of a good item, with *changes*."""
    values: dict[str, Any] = {
        "actor": EC,
        "now": NOW,
        "incident_id": INCIDENT,
        "kind": EvidenceKind.LOG_EXTRACT,
        "collector": "eve",
        "tool": "journalctl",
        "tool_version": "252",
        "method": "exported over ssh",
        "source_asset": "mail-01",
        "volatility_rank": 5,
        "acquired_at": ACQUIRED,
        "clock_offset_ms": -1500,
        "file_name": "../auth.log",
        "declared_sha256": SHA,
        "description": "logins of the night",
    }
    return c.RegisterEvidence(**{**values, **changes})


def collects(**changes: Any) -> c.CollectEvidence:
    values = {
        "actor": EC, "now": NOW, "sha256": SHA, "size": 3, "storage_ref": storage_ref(SHA)
    }  # fmt: skip
    return c.CollectEvidence(**{**values, **changes})


def retains(**changes: Any) -> c.SetRetention:
    values: dict[str, Any] = {
        "actor": EC, "now": NOW, "retention_class": RetentionClass.LOG, "until": ENDED
    }  # fmt: skip
    return c.SetRetention(**{**values, **changes})


class Told:
    """An item that commands made, one after the other."""

    def __init__(self, *commands: c.EvidenceCommand) -> None:
        self.events: list[EvidenceEvent] = []
        self.item: Item = fold([])
        for command in commands:
            for event in decide(self.item, command):
                self.events.append(event)
                self.item = evolve(self.item, event)

    def then(self, command: c.EvidenceCommand) -> Sequence[EvidenceEvent]:
        """Return what *command* causes; NotAllowed if a rule refuses it."""
        return decide(self.item, command)

    def refuses(self, command: c.EvidenceCommand) -> set[str]:
        """Return the codes of every unmet condition; AssertionError if it is allowed."""
        try:
            events = decide(self.item, command)
        except NotAllowed as refusal:
            return {unmet.code for unmet in refusal.unmet}
        raise AssertionError(f"allowed, and caused {events}")


def announced() -> Told:
    return Told(registers())


def collected(*more: c.EvidenceCommand) -> Told:
    return Told(registers(), collects(), *more)


def sealed(*more: c.EvidenceCommand) -> Told:
    return collected(c.SealEvidence(actor=EC, now=NOW, note="bag 7"), *more)


def one_of_each() -> dict[str, EvidenceEvent]:
    """Return type name → an event of that type, the same ones every time."""
    told = sealed(
        c.TransferCustody(
            actor=EC, now=NOW, from_person="eve", to_person="rita", purpose="analysis"
        ),
        c.RecordAccess(actor=SR, now=NOW, purpose="timeline", content=True),
        c.AnalyseCopy(
            actor=SR,
            now=NOW,
            copy_sha256=SHA,
            tool="plaso",
            tool_version="20260101",
            method="timeline",
            findings="a login at 22:01",
            purpose="root cause",
        ),
        c.VerifyIntegrity(actor=SYS, now=NOW, found_sha256=SHA, reason="scrub"),
        c.PlaceLegalHold(actor=LG, now=NOW, hold="case 12", reason="litigation"),
        c.ReleaseLegalHold(actor=LG, now=NOW, hold="case 12", reason="settled"),
        retains(reason="policy"),
        c.ReleaseEvidence(actor=EC, now=NOW, to_person="police", purpose="investigation"),
        c.RequestDisposal(actor=EC, now=LATER, reason="retention ended"),
        c.DisposeEvidence(actor=EC2, now=LATER),
    )
    failed = collected(
        c.VerifyIntegrity(actor=SYS, now=NOW, found_sha256=OTHER, reason="scrub"),
        c.RequestLossAcceptance(actor=EC, now=NOW, reason="the disk and its copy are gone"),
        c.AcceptLoss(actor=LG, now=NOW),
    )
    return {name_of(event): event for event in (*failed.events, *told.events)}


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, event in one_of_each().items():
        write_golden(GOLDEN / f"{name}-{SCHEMA}.json", event)


if __name__ == "__main__":
    main()
