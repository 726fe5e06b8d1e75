"""I9 of §3.4: bytes never change, custody names from, to and reason, a failed check freezes."""

from typing import Any
from uuid import UUID

import pytest

from services.cases.evidence.domain import commands as c
from services.cases.evidence.domain import events as e
from services.cases.evidence.domain.rules import RULES
from services.cases.evidence.view import custody_entry
from services.cases.store import RecordedEvidence
from tests.support.evidence import (
    EC,
    NOW,
    OTHER,
    SHA,
    SYS,
    Told,
    collected,
    collects,
    one_of_each,
    retains,
    sealed,
)

pytestmark = pytest.mark.unit

PASSED = (e.EvidenceCollected, e.EvidenceCustodyTransferred, e.EvidenceReleased)


def entry(event: e.EvidenceEvent) -> dict[str, Any]:
    return custody_entry(
        RecordedEvidence(
            position=1,
            stream_id=UUID(int=1),
            version=1,
            event_id=UUID(int=2),
            type=f"{type(event).__name__}.v1",
            event=event,
            recorded_at=NOW,
        )
    )


def test_i9_the_bytes_are_those_that_were_collected() -> None:
    for told in (collected(), sealed(), sealed(retains())):
        assert "already_collected" in told.refuses(collects(sha256=OTHER))
        assert told.item.sha256 == SHA
    for event in one_of_each().values():  # no other event carries bytes
        assert hasattr(event, "storage_ref") == isinstance(event, e.EvidenceCollected)


@pytest.mark.parametrize("event", one_of_each().values(), ids=lambda x: type(x).__name__)
def test_i9_every_custody_event_names_from_to_and_reason(event: e.EvidenceEvent) -> None:
    told = entry(event)
    assert told["reason"]
    if isinstance(event, PASSED):
        assert told["from"]
        assert told["to"]


@pytest.mark.parametrize("found", [OTHER, None])
@pytest.mark.parametrize("begin", [collected, sealed], ids=["collected", "sealed"])
def test_i9_a_failed_verification_freezes_the_item(begin: Any, found: str | None) -> None:
    failed = c.VerifyIntegrity(actor=SYS, now=NOW, found_sha256=found)
    frozen: Told = begin(failed)
    assert frozen.item.frozen
    assert not frozen.item.secured
    moving = c.TransferCustody(actor=EC, now=NOW, from_person="eve", to_person="r", purpose="p")
    assert "integrity_failed" in frozen.refuses(moving)
    assert {rule.verb for rule in RULES.values() if rule.frozen_too} == {
        "verify-integrity", "place-legal-hold", "release-legal-hold", "set-retention",
        "request-loss-acceptance", "accept-loss",
    }  # fmt: skip
