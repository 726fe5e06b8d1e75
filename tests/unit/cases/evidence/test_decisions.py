"""Every command on evidence: what it causes, and everything that it can be refused for."""

import ast
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import services.cases.evidence.domain as domain
from services.cases.domain.values import Actor
from services.cases.evidence.domain import commands as c
from services.cases.evidence.domain import events as e
from services.cases.evidence.domain.rules import RULES
from services.cases.evidence.domain.vocabulary import (
    CODES,
    MINIMUM,
    EvidenceRole,
    EvidenceState,
    RetentionClass,
)
from tests.support.evidence import (
    ACQUIRED,
    AU,
    EC,
    EC2,
    ENDED,
    LATER,
    LG,
    NOW,
    OTHER,
    SHA,
    SR,
    ST,
    SYS,
    Told,
    announced,
    collected,
    collects,
    registers,
    retains,
    sealed,
)

pytestmark = pytest.mark.unit

HOLD = c.PlaceLegalHold(actor=LG, now=NOW, hold="case 12", reason="litigation")
UNHOLD = c.ReleaseLegalHold(actor=LG, now=NOW, hold="case 12", reason="settled")
FAILED = c.VerifyIntegrity(actor=SYS, now=NOW, found_sha256=OTHER)
REQUEST = c.RequestDisposal(actor=EC, now=LATER, reason="over")
DISPOSE = c.DisposeEvidence(actor=EC2, now=LATER)
EVERYONE = Actor(id="eve", roles=tuple(role.value for role in EvidenceRole))


def one_command_of_each(actor: Actor = EVERYONE) -> list[c.EvidenceCommand]:
    at: dict[str, Any] = {"actor": actor, "now": LATER}
    return [
        registers(actor=actor),
        collects(actor=actor),
        c.SealEvidence(**at),
        c.TransferCustody(**at, from_person="eve", to_person="rita", purpose="p"),
        c.RecordAccess(**at, purpose="p"),
        c.AnalyseCopy(
            **at, copy_sha256=SHA, tool="t", tool_version="1", method="m", findings="", purpose="p"
        ),
        c.VerifyIntegrity(**at, found_sha256=SHA, reason="r"),
        c.PlaceLegalHold(**at, hold="h", reason="r"),
        c.ReleaseLegalHold(**at, hold="h", reason="r"),
        c.SetRetention(**at, retention_class=RetentionClass.OTHER, until=LATER, reason="r"),
        c.ReleaseEvidence(**at, to_person="p", purpose="p"),
        c.RequestDisposal(**at, reason="r"),
        c.DisposeEvidence(**at),
        c.RequestLossAcceptance(**at, reason="r"),
        c.AcceptLoss(**at),
    ]


def in_state(state: EvidenceState) -> Told:
    made: dict[EvidenceState, Callable[[], Told]] = {
        EvidenceState.UNKNOWN: Told,
        EvidenceState.REGISTERED: announced,
        EvidenceState.COLLECTED: collected,
        EvidenceState.SEALED: sealed,
        EvidenceState.RELEASED: lambda: sealed(
            retains(), c.ReleaseEvidence(actor=EC, now=NOW, to_person="police", purpose="p")
        ),
        EvidenceState.DISPOSED: lambda: sealed(retains(), REQUEST, DISPOSE),
    }
    return made[state]()


@pytest.mark.parametrize("command", one_command_of_each(), ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("state", list(EvidenceState))
def test_a_command_outside_its_states_is_refused(
    state: EvidenceState, command: c.EvidenceCommand
) -> None:
    told = in_state(state)
    assert told.item.state is state
    if state in RULES[type(command)].states:
        return
    repeated = (isinstance(command, c.CollectEvidence) and told.item.has_bytes) or (
        isinstance(command, c.SealEvidence) and state is EvidenceState.SEALED
    )
    if repeated:
        assert list(told.then(command)) == []
    else:
        assert "wrong_state" in told.refuses(command)


@pytest.mark.parametrize("command", one_command_of_each(ST), ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("state", [s for s in EvidenceState if s is not EvidenceState.SEALED])
def test_without_the_role_nothing_is_done(state: EvidenceState, command: c.EvidenceCommand) -> None:
    if isinstance(command, c.CollectEvidence) and in_state(state).item.has_bytes:
        return  # already so
    assert "role_missing" in in_state(state).refuses(command)


def test_roles_are_those_of_the_reference() -> None:
    for command, rule in RULES.items():
        may = {role.value for role in rule.roles}
        if command in (c.PlaceLegalHold, c.ReleaseLegalHold, c.AcceptLoss):
            assert may == {"legal"}
        elif command in (
            c.SetRetention, c.ReleaseEvidence, c.RequestDisposal, c.DisposeEvidence,
            c.RequestLossAcceptance,
        ):  # fmt: skip
            assert may == {"evidence_custodian"}
        else:
            assert {"evidence_custodian", "security_response"} <= may
        assert ("auditor" in may) == (command is c.RecordAccess)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"collector": " "}, "collector_missing"),
        ({"tool": ""}, "tool_missing"),
        ({"tool_version": ""}, "tool_missing"),
        ({"method": ""}, "method_missing"),
        ({"source_asset": ""}, "source_missing"),
        ({"volatility_rank": 0}, "volatility_out_of_range"),
        ({"volatility_rank": 8}, "volatility_out_of_range"),
        ({"acquired_at": NOW + timedelta(seconds=1)}, "acquired_in_future"),
        ({"declared_sha256": "ABC"}, "not_a_digest"),
        ({"declared_sha256": "g" * 64}, "not_a_digest"),
    ],
)
def test_an_item_lacking_its_record_of_collection_is_refused(
    changes: dict[str, Any], code: str
) -> None:
    assert Told().refuses(registers(**changes)) == {code}


def test_a_refusal_names_everything_at_once() -> None:
    assert Told().refuses(registers(collector="", tool="", method="", actor=ST)) == {
        "role_missing", "collector_missing", "tool_missing", "method_missing"
    }  # fmt: skip


def test_the_collection_is_told_whole_in_one_event() -> None:
    (event,) = announced().then(collects())
    assert isinstance(event, e.EvidenceCollected)
    assert (event.sha256, event.size, event.collector) == (SHA, 3, "eve")
    assert (event.tool, event.tool_version, event.source_asset) == ("journalctl", "252", "mail-01")
    assert collected().item.custodian == "eve"


def test_collected_is_once() -> None:
    assert list(collected().then(collects())) == []
    assert collected().refuses(collects(sha256=OTHER)) == {
        "wrong_state", "already_collected", "digest_mismatch"
    }  # fmt: skip
    assert announced().refuses(collects(sha256=OTHER)) == {"digest_mismatch"}
    assert announced().refuses(collects(sha256="")) == {"not_a_digest", "digest_mismatch"}


def test_custody_passes_from_who_has_it_with_a_purpose() -> None:
    def passes(from_: str, to: str, purpose: str = "analysis") -> c.TransferCustody:
        return c.TransferCustody(
            actor=EC, now=NOW, from_person=from_, to_person=to, purpose=purpose
        )

    assert collected(passes("eve", "rita")).item.custodian == "rita"
    assert collected().refuses(passes("rita", "carl")) == {"not_custodian"}
    assert collected().refuses(passes("eve", "eve")) == {"same_custodian"}
    assert collected().refuses(passes("eve", " ")) == {"same_custodian"}
    assert collected().refuses(passes("eve", "rita", " ")) == {"purpose_missing"}


def test_an_analysis_is_of_the_same_bytes() -> None:
    def analyse(**changes: str) -> c.AnalyseCopy:
        values: dict[str, Any] = {
            "copy_sha256": SHA, "tool": "t", "tool_version": "1", "method": "m", "findings": "",
            "purpose": "p",
        }  # fmt: skip
        return c.AnalyseCopy(actor=SR, now=NOW, **{**values, **changes})

    assert len(collected().then(analyse())) == 1
    assert collected().refuses(analyse(copy_sha256=OTHER)) == {"copy_differs"}
    assert collected().refuses(analyse(tool="", method="", purpose="")) == {
        "tool_missing", "method_missing", "purpose_missing"
    }  # fmt: skip


@pytest.mark.parametrize("found", [OTHER, None])
def test_a_failed_check_freezes_the_item(found: str | None) -> None:
    failed = c.VerifyIntegrity(actor=SYS, now=NOW, found_sha256=found)
    frozen = sealed(retains(), failed)
    assert frozen.item.frozen
    assert not frozen.item.secured
    assert list(frozen.then(failed)) == []  # it is so already
    for command in one_command_of_each():
        if RULES[type(command)].frozen_too or isinstance(command, c.SealEvidence):
            continue
        assert "integrity_failed" in frozen.refuses(command)
    assert len(frozen.then(HOLD)) == 1


def test_a_frozen_item_thaws_by_a_person_with_a_reason_only() -> None:
    frozen = collected(FAILED)
    system = c.VerifyIntegrity(actor=SYS, now=NOW, found_sha256=SHA, reason="scrub")
    assert frozen.refuses(system) == {"role_missing"}
    silent = c.VerifyIntegrity(actor=SR, now=NOW, found_sha256=SHA)
    assert frozen.refuses(silent) == {"reason_missing"}
    said = c.VerifyIntegrity(actor=SR, now=NOW, found_sha256=SHA, reason="from backup")
    assert not collected(FAILED, said).item.frozen


def test_holds_are_told_apart_and_need_reasons() -> None:
    other = c.PlaceLegalHold(actor=LG, now=NOW, hold="case 13", reason="another")
    assert collected(HOLD, other, UNHOLD).item.holds == ("case 13",)
    assert collected(HOLD).refuses(HOLD) == {"hold_exists"}
    assert collected().refuses(UNHOLD) == {"hold_unknown"}
    silent = c.ReleaseLegalHold(actor=LG, now=NOW, hold="case 12", reason="")
    assert collected(HOLD).refuses(silent) == {"reason_missing"}
    nameless = c.PlaceLegalHold(actor=LG, now=NOW, hold=" ", reason="")
    assert collected().refuses(nameless) == {"hold_unknown", "reason_missing"}


@pytest.mark.parametrize("class_", list(RetentionClass))
def test_a_class_of_retention_has_its_least_time(class_: RetentionClass) -> None:
    least = ACQUIRED + MINIMUM[class_]
    assert len(collected().then(retains(retention_class=class_, until=least))) == 1
    short = retains(retention_class=class_, until=least - timedelta(seconds=1))
    assert collected().refuses(short) == {"retention_too_short"}


def test_to_shorten_a_retention_needs_a_reason() -> None:
    long = retains(until=ENDED + timedelta(days=30))
    assert collected(long).refuses(retains()) == {"reason_missing"}
    assert len(collected(long).then(retains(reason="policy changed"))) == 1


def test_releasing_needs_retention_and_no_hold() -> None:
    def release(to: str = "police", purpose: str = "p") -> c.ReleaseEvidence:
        return c.ReleaseEvidence(actor=EC, now=NOW, to_person=to, purpose=purpose)

    assert sealed(HOLD).refuses(release()) == {"under_hold", "retention_missing"}
    assert sealed(retains()).refuses(release("", "")) == {"same_custodian", "purpose_missing"}
    released = sealed(retains(), release())
    assert released.item.custodian == "police"
    assert released.item.secured


def test_disposal_takes_two_persons() -> None:
    requested = sealed(retains(), REQUEST)
    assert requested.refuses(c.DisposeEvidence(actor=EC, now=LATER)) == {"approver_is_requester"}
    (event,) = requested.then(DISPOSE)
    assert isinstance(event, e.EvidenceDisposed)
    assert (event.requested_by, event.actor.id, event.sha256) == ("eve", "carl", SHA)
    assert sealed(retains()).refuses(DISPOSE) == {"disposal_not_requested"}
    assert requested.refuses(REQUEST) == {"disposal_requested"}


LOST = c.RequestLossAcceptance(actor=EC, now=NOW, reason="no copy anywhere")
ACCEPT = c.AcceptLoss(actor=LG, now=NOW)


@pytest.mark.parametrize("begin", [collected, sealed], ids=["collected", "sealed"])
@pytest.mark.parametrize("found", [OTHER, None])
def test_custodian_and_legal_accept_a_loss(begin: Any, found: str | None) -> None:
    gone = c.VerifyIntegrity(actor=SYS, now=NOW, found_sha256=found)
    asked: Told = begin(gone, LOST)
    assert not asked.item.secured
    (event,) = asked.then(ACCEPT)
    assert isinstance(event, e.EvidenceLossAccepted)
    assert (event.requested_by, event.actor.id, event.sha256) == ("eve", LG.id, SHA)
    lost: Told = begin(gone, LOST, ACCEPT)
    assert lost.item.secured
    assert lost.item.frozen  # nobody is handed what is not there
    assert lost.refuses(LOST) == {"loss_requested"}
    assert lost.refuses(ACCEPT) == {"loss_accepted"}


def test_a_loss_takes_two_persons_and_something_that_is_lost() -> None:
    both = Actor(id="eve", roles=("evidence_custodian", "legal"))
    assert sealed(FAILED, LOST).refuses(c.AcceptLoss(actor=both, now=NOW)) == {
        "approver_is_requester"
    }
    assert sealed(FAILED).refuses(ACCEPT) == {"loss_not_requested"}
    assert sealed().refuses(ACCEPT) == {"not_lost", "loss_not_requested"}
    assert sealed().refuses(c.RequestLossAcceptance(actor=EC, now=NOW, reason=" ")) == {
        "not_lost", "reason_missing"
    }  # fmt: skip


def test_bytes_that_come_back_end_the_acceptance() -> None:
    back = c.VerifyIntegrity(actor=SR, now=NOW, found_sha256=SHA, reason="restored from tape")
    found = collected(FAILED, LOST, ACCEPT, back)
    assert not found.item.secured  # neither sealed nor retained yet, as before
    assert found.refuses(ACCEPT) == {"not_lost", "loss_not_requested"}


def test_disposal_names_every_unmet_condition() -> None:
    early = c.DisposeEvidence(actor=EC2, now=NOW)
    assert sealed(retains(), HOLD).refuses(early) == {
        "disposal_not_requested", "under_hold", "retention_running"
    }  # fmt: skip
    assert sealed().refuses(REQUEST) == {"retention_missing"}
    assert sealed(retains(), HOLD).refuses(REQUEST) == {"under_hold"}
    soon = c.RequestDisposal(actor=EC, now=ENDED - timedelta(seconds=1), reason=" ")
    assert sealed(retains()).refuses(soon) == {"retention_running", "reason_missing"}


def test_a_hold_voids_a_request_made_before_it() -> None:
    held = sealed(retains(), REQUEST, HOLD)
    assert held.refuses(DISPOSE) >= {"under_hold", "disposal_not_requested"}
    freed = sealed(retains(), REQUEST, HOLD, UNHOLD)
    assert freed.refuses(DISPOSE) == {"disposal_not_requested"}


def test_secured_is_sealed_with_retention() -> None:
    assert not announced().item.secured
    assert not sealed().item.secured
    assert not collected(retains()).item.secured
    assert sealed(retains()).item.secured
    assert sealed(retains(), REQUEST, DISPOSE).item.secured


def test_an_auditor_reads_and_nothing_else() -> None:
    assert len(collected().then(c.RecordAccess(actor=AU, now=NOW, purpose="audit"))) == 1
    assert collected().refuses(c.RecordAccess(actor=AU, now=NOW, purpose="")) == {"purpose_missing"}


MODULES = sorted(Path(next(iter(domain.__path__))).glob("*.py"))


def test_every_code_that_is_used_has_its_sentence() -> None:
    source = (MODULES[0].parent / "decide.py").read_text()
    used = set(re.findall(r'"([a-z]+_[a-z_]+)"', source)) - {"incident_id", "is_digest"}
    assert used == set(CODES)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_the_core_is_pure(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            ours = name.startswith(("services.cases.evidence.domain", "services.cases.domain"))
            assert ours or name.partition(".")[0] in sys.stdlib_module_names, name
