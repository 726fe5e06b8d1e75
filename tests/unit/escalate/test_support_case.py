"""The decider of support cases: what may be done, what the customer is told."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import ValidationError

from services.escalate.routing_file import parse_routing
from services.escalate.support.attachments import display_name
from services.escalate.support.bodies import CaseBody
from services.escalate.support.case import (
    MOST_ATTACHMENTS,
    Acknowledge,
    Action,
    Attach,
    Case,
    Follow,
    Note,
    Outcome,
    RefusedError,
    Remind,
    Reply,
    Say,
    Status,
    Triage,
    decide,
    evolve,
    status_word,
)
from services.escalate.support.conversion import known_inputs, proposal_of, teams_for
from shared.ids import derived_id
from tests.unit.escalate.given import NOON
from tests.unit.escalate.test_proposal import POLICIES

INCIDENT = UUID(int=7)
CASE = Case(
    id=UUID(int=1),
    reference="SC-1",
    source_kind="customer_case",
    tenant="acme",
    title="Sign-ins at night",
    statement="We saw sign-ins that nobody made.",
    opened_by="carla",
    opened_at=NOON,
    team="ic",
    services=("id",),
    acknowledge_by=NOON + timedelta(minutes=15),
)


def after(*actions: Action, case: Case = CASE) -> Case:
    for action in actions:
        for event in decide(case, action, "iris", NOON + timedelta(minutes=1)):
            case = evolve(case, event)
    return case


def verdict(outcome: Outcome) -> Triage:
    incident = INCIDENT if outcome is Outcome.ESCALATE else None
    return Triage(outcome=outcome, message="We have looked.", incident_id=incident)


@pytest.mark.parametrize(
    ("outcome", "status", "word"),
    [
        (Outcome.ESCALATE, Status.ESCALATED, "under_investigation"),
        (Outcome.CUSTOMER_REALM, Status.CLOSED, "closed"),
        (Outcome.NOT_SECURITY, Status.CLOSED, "closed"),
        (Outcome.NEED_INFO, Status.NEED_INFO, "waiting_for_you"),
    ],
)
def test_each_verdict_has_its_status(outcome: Outcome, status: Status, word: str) -> None:
    case = after(verdict(outcome))
    assert (case.status, status_word(case)) == (status, word)
    assert case.acknowledge_by is None  # who gives a verdict has it
    assert case.acknowledged_by == "iris"
    assert decide(case, verdict(outcome), "iris", NOON) == [] or outcome is Outcome.NEED_INFO


def test_the_customer_is_always_told_what_triage_came_to() -> None:
    silent = replace(verdict(Outcome.NOT_SECURITY), message=" ")
    with pytest.raises(RefusedError, match="told"):
        decide(CASE, silent, "iris", NOON)
    public = [e for e in decide(CASE, verdict(Outcome.ESCALATE), "iris", NOON) if e.public]
    assert [(e.kind, e.text) for e in public] == [("message", "We have looked.")]


def test_a_note_stays_inside() -> None:
    (event,) = decide(CASE, Note(text="looks like the other one"), "sam", NOON)
    assert not event.public


def test_a_closed_case_takes_no_more() -> None:
    closed = after(verdict(Outcome.CUSTOMER_REALM))
    refused: list[Action] = [
        Acknowledge(),
        Reply(text="but", patience=timedelta(1)),
        verdict(Outcome.ESCALATE),
        Attach(digest="d", name="n", size=1),
    ]
    for action in refused[1:]:
        with pytest.raises(RefusedError) as refusal:
            decide(closed, action, "iris", NOON)
        assert refusal.value.code == "case_closed"
    assert decide(closed, Acknowledge(), "iris", NOON) == []  # it is acknowledged already
    assert decide(closed, Say(text="one more word"), "iris", NOON)


def test_an_incident_is_not_made_a_support_case_again() -> None:
    with pytest.raises(RefusedError) as refusal:
        decide(after(verdict(Outcome.ESCALATE)), verdict(Outcome.NOT_SECURITY), "iris", NOON)
    assert refusal.value.code == "already_escalated"


def test_a_reply_starts_the_timer_again() -> None:
    asked = after(verdict(Outcome.NEED_INFO))
    answered = after(Reply(text="It was at 3.", patience=timedelta(minutes=15)), case=asked)
    assert answered.status is Status.OPEN
    assert answered.acknowledge_by == NOON + timedelta(minutes=16)
    assert after(Acknowledge(), case=answered).acknowledge_by is None


def test_a_timer_that_has_not_run_out_reminds_nobody() -> None:
    remind = Remind(team="ic", again=NOON + timedelta(hours=1))
    assert decide(CASE, remind, "tocsin", NOON) == []
    late = NOON + timedelta(minutes=15)
    (event,) = decide(CASE, remind, "tocsin", late)
    assert evolve(CASE, event).reminders == 1
    assert decide(after(Acknowledge()), remind, "tocsin", late) == []


def test_what_becomes_of_the_incident_is_told_back() -> None:
    case = after(verdict(Outcome.ESCALATE), Follow(number="T-1", over=False))
    assert status_word(case) == "under_investigation"
    over = after(Follow(number="T-1", over=True), case=case)
    assert status_word(over) == "resolved"
    assert status_word(after(Follow(number="T-1", over=False), case=over)) == "under_investigation"
    assert decide(over, Follow(number="T-1", over=True), "cases", NOON) == []


def test_files_are_bounded() -> None:
    files: list[Action] = [Attach(digest=str(n), name="n", size=1) for n in range(MOST_ATTACHMENTS)]
    with pytest.raises(RefusedError) as refusal:
        after(*files, Attach(digest="x", name="n", size=1))
    assert refusal.value.code == "too_many"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.exe", "a.exe"),
        ('a"\r\nb.txt', "a_ b.txt"),
        ("..", ".."),
        ("/", "attachment"),
        ("a\u202egpj.exe", "a gpj.exe"),
    ],
)
def test_a_name_is_for_reading_only(given: str, shown: str) -> None:
    assert display_name(given) == shown


@pytest.mark.parametrize("bad", ["a\x00b", "a\ud800"])
def test_a_statement_that_cannot_be_kept_is_refused(bad: str) -> None:
    with pytest.raises(ValidationError, match="statement"):
        CaseBody(title="t", statement=bad)


@pytest.mark.parametrize(
    "kind",
    ["customer_case", "employee_report", "partner", "external_researcher", "law_enforcement"],
)
def test_a_report_has_the_shape_of_every_proposal(kind: str) -> None:
    case = replace(CASE, source_kind=kind, statement="ü" * 20_000)
    inputs = known_inputs(POLICIES, case, {"privacy": "personal"})
    proposal = proposal_of(POLICIES, case, inputs, NOON)
    assert (proposal.reported_as or proposal.source_kind) == kind
    assert proposal.severity.inputs["service"] == "tier0"
    assert "impact" in proposal.severity.unknown_inputs
    (report,) = proposal.detections
    assert report.rule_id == f"report:{kind}"
    assert report.samples[0].truncated
    assert len(report.samples[0].raw.encode()) <= 16 * 1024
    assert proposal.incident_id == derived_id("incident-of-case", case.id)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("customer_case", "RT10"),
        ("external_researcher", "RT4"),
        ("law_enforcement", "RT9"),
        ("threat_intel", "RT3"),
    ],
)
def test_where_a_report_comes_from_routes_it(kind: str, rule: str) -> None:
    inputs = known_inputs(POLICIES, CASE, {"privacy": "none", "details": "engage"})
    assert rule in teams_for(POLICIES, replace(CASE, source_kind=kind), inputs).rules


def test_a_report_is_routed_by_the_operators_own_rules_and_the_tenants_industry() -> None:
    rules = parse_routing(
        "rules:\n"
        "  A1: {engage: [owner, service_teams]}\n"
        "  A2: {when: [{tenant_industry: [financial]}], engage: [legal]}\n"
    )
    policies = replace(
        POLICIES,
        routing=rules,
        directory=replace(POLICIES.directory, industries={"acme": "financial"}),
    )
    routing = teams_for(policies, CASE, known_inputs(policies, CASE, {}))
    assert (routing.rules, routing.engaged) == (("A1", "A2"), ("sr-identity", "identity", "legal"))
