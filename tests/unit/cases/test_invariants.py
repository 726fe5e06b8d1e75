"""The invariants of §3.4 that the core keeps, each as a test of its name."""

from dataclasses import replace
from datetime import timedelta
from typing import get_args
from uuid import UUID

import pytest

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain import vocabulary as v
from services.cases.domain.duties import DUTIES
from services.cases.domain.errors import CODES, NotAllowed
from services.cases.domain.incident import Incident, decide, evolve, fold
from services.cases.domain.state import MANDATORY_KINDS
from services.cases.domain.values import Actor, Surroundings
from services.cases.domain.vocabulary import State
from tests.support.given import Given, given
from tests.support.incidents import (
    ACTION,
    ASSESSMENT,
    EM,
    EVERYONE,
    LG,
    NOW,
    SR,
    ST,
    SYS,
    TEAM,
    command,
    story,
)

pytestmark = pytest.mark.unit


def after(state: State, *steps: c.Command) -> Given:
    events = story(state)
    for step in steps:
        events += given(*events).when(step)
    return given(*events)


def test_i1_escalation_needs_a_service_team_severity() -> None:
    escalate = command(c.EscalateIncident, ST)
    assert given(*story(State.OPENED)).refuses(escalate) == {"severity_not_set"}
    # Before escalation nobody but the service team, or who stands in for it, sets it.
    assert given(*story(State.OPENED)).refuses(command(c.SetSeverity, SR)) == {"role_missing"}
    [escalated] = after(State.OPENED, command(c.SetSeverity, ST)).when(escalate)
    assert isinstance(escalated, e.IncidentEscalated)


def test_i2_an_escalation_has_exactly_one_owning_team() -> None:
    severe = after(State.OPENED, command(c.SetSeverity, ST))
    nobody = command(c.EscalateIncident, ST, owning_team=" ")
    assert severe.refuses(nobody) == {"owning_team_missing"}
    escalated = given(*story(State.ESCALATED))
    another = command(c.EscalateIncident, ST, owning_team="sr-us")
    assert escalated.refuses(another) == {"wrong_state"}
    assert escalated.incident.owning_team == "sr-eu"


VERDICTS: list[tuple[State, c.Command]] = [
    (
        State.INVESTIGATING,
        command(c.ConfirmIncident, SR, justification="told by the attacker"),
    ),
    (State.INVESTIGATING, command(c.DismissAsFalsePositive, SR)),
    (State.CONTAINED, command(c.RetractConfirmation, SR)),
]


@pytest.mark.parametrize(("state", "verdict"), VERDICTS, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("kind", MANDATORY_KINDS)
def test_i3_only_a_complete_v_team_gives_or_takes_back_a_verdict(
    state: State, verdict: c.Command, kind: v.MemberKind
) -> None:
    steps: list[c.Command] = [command(c.RecordSummary, SR, summary="said anew")]
    whole = after(state, *steps)
    assert len(whole.when(verdict)) == 1
    [gone] = [member for member in TEAM if member.kind is kind]
    # Rita leads and gives the verdict: she stays as a member of another kind.
    keep = command(c.AddVTeamMember, SR, member=replace(TEAM[0], kind=v.MemberKind.OTHER))
    events = [*story(state)]
    for step in (*steps, keep):
        events += given(*events).when(step)
    if gone.person == "rita":
        events.append(
            e.VTeamMemberRemoved(actor=SR, at=NOW, person="rita", kind=kind, reason="moved")
        )
    else:
        left = given(*events).when(command(c.RemoveVTeamMember, SR, person=gone.person))
        assert [type(x) for x in left] == [e.VTeamMemberRemoved, e.VTeamCompositionBroken]
        assert isinstance(left[-1], e.VTeamCompositionBroken)
        assert left[-1].missing == (kind,)
        events += left
    assert given(*events).refuses(verdict) == {"member_kind_missing"}
    events += given(*events).when(command(c.AddVTeamMember, SR, member=gone))
    assert len(given(*events).when(verdict)) == 1


def test_i4_severity_and_priority_name_policy_and_inputs_and_lowering_is_guarded() -> None:
    severity = next(x for x in story() if isinstance(x, e.SeveritySet))
    assert (severity.policy, severity.policy_version) == ("severity", "2026.11.0")
    assert severity.inputs["privacy"] == "suspected"
    priority = next(x for x in story() if isinstance(x, e.PriorityProposed))
    assert (priority.policy, priority.version) == ("priority", "2026.11.0")
    lower = command(c.SetSeverity, ST, level=v.Severity.SEV4, reason="calm")
    escalated = given(*story(State.ESCALATED))
    assert escalated.refuses(lower) == {"lowering_needs_security_response"}
    [changed] = escalated.when(replace(lower, actor=SR))
    assert isinstance(changed, e.SeverityChanged)
    assert changed.reason == "calm"


def test_i4_below_a_floor_it_takes_two_persons() -> None:
    floored = replace(ASSESSMENT, floors_applied=("credentials",))
    lower = command(c.SetSeverity, ST, level=v.Severity.SEV3, reason="a test account")
    propose = command(c.ProposeSeverity, SYS, assessment=floored)
    approve = command(c.ApproveLowering, SR, level=v.Severity.SEV3)
    opened = after(State.OPENED, propose)
    assert opened.refuses(lower) == {"second_person_missing"}
    # Naming somebody is not that somebody's word.
    assert opened.refuses(replace(lower, second_approver="rita")) == {"second_person_missing"}
    [low] = after(State.OPENED, propose, approve).when(lower)
    assert isinstance(low, e.SeveritySet)
    assert low.second_approver == "rita"
    # One's own word is not a second person's, and one of the two is of security response.
    own = replace(approve, actor=Actor(id="sam", roles=("security_response",)))
    assert after(State.OPENED, propose, own).refuses(lower) == {"second_person_missing"}
    colleague = replace(approve, actor=Actor(id="sue", roles=("service_team",)))
    assert after(State.OPENED, propose, colleague).refuses(lower) == {"second_person_missing"}
    other_level = replace(approve, level=v.Severity.SEV4)
    assert after(State.OPENED, propose, other_level).refuses(lower) == {"second_person_missing"}
    escalated = after(State.ESCALATED, propose)
    lower = replace(lower, actor=SR)
    assert escalated.refuses(lower) == {"second_person_missing"}
    [changed] = after(State.ESCALATED, propose, replace(approve, actor=ST)).when(lower)
    assert isinstance(changed, e.SeverityChanged)
    assert changed.second_approver == "sam"
    assert len(escalated.when(replace(lower, level=v.Severity.SEV1))) == 1  # up needs nobody


def test_i4_an_approval_is_used_up_and_only_given_for_a_floor() -> None:
    floored = replace(ASSESSMENT, floors_applied=("credentials",))
    approve = command(c.ApproveLowering, SR, level=v.Severity.SEV3)
    steps: list[c.Command] = [
        command(c.ProposeSeverity, SYS, assessment=floored),
        approve,
        command(c.SetSeverity, ST, level=v.Severity.SEV3, reason="a test account"),
        command(c.SetSeverity, ST, level=v.Severity.SEV2, reason="after all not"),
    ]
    again = command(c.SetSeverity, ST, level=v.Severity.SEV3, reason="once more")
    assert after(State.OPENED, *steps).refuses(again) == {"second_person_missing"}
    assert given(*story(State.OPENED)).refuses(approve) == {"no_floor"}


@pytest.mark.parametrize("clock", sorted(set(v.Clock) - {v.Clock.DETECTED, v.Clock.AWARE}))
def test_i5_a_clock_is_set_once_and_only_corrected(clock: v.Clock) -> None:
    record = command(c.RecordClock, LG, clock=clock)
    confirmed = given(*story(State.CONFIRMED))
    assert confirmed.refuses(command(c.CorrectClock, LG, clock=clock)) == {"clock_not_set"}
    assert confirmed.refuses(replace(record, actor=ST)) == {"role_missing"}
    assert confirmed.refuses(replace(record, instant=NOW + timedelta(seconds=1))) == {
        "clock_in_future"
    }
    events = [*story(State.CONFIRMED), *confirmed.when(record)]
    assert given(*events).refuses(replace(record, instant=NOW)) == {"clock_set"}
    correct = command(c.CorrectClock, LG, clock=clock, instant=NOW - timedelta(days=1))
    assert given(*events).refuses(replace(correct, reason="")) == {"reason_missing"}
    assert given(*events).refuses(replace(correct, actor=EM)) == {"role_missing"}
    [corrected] = given(*events).when(replace(correct, actor=SR))
    assert isinstance(corrected, e.ClockCorrected)
    assert corrected.supersedes == record.instant  # the old deadline can still be told
    assert fold([*events, corrected]).clocks[clock] == correct.instant


def test_i5_awareness_is_never_later_than_the_confirmation() -> None:
    later = NOW + timedelta(days=1)
    confirmed = given(*story(State.CONFIRMED))
    assert confirmed.incident.aware_at == confirmed.incident.confirmed_at == NOW
    late = command(
        c.CorrectClock, LG, now=later, clock=v.Clock.AWARE, instant=NOW + timedelta(hours=1)
    )
    assert confirmed.refuses(late) == {"aware_in_future"}
    early = replace(late, instant=NOW - timedelta(hours=1))
    assert len(confirmed.when(early)) == 1
    # Legal set it before anybody confirmed: the confirmation keeps it.
    instant = NOW - timedelta(hours=2)
    set_before: list[c.Command] = [
        command(c.RecordClock, LG, clock=v.Clock.AWARE, instant=instant),
        command(c.RecordSummary, SR),
        command(c.ConfirmIncident, SR, justification="plain to see"),
    ]
    kept = after(State.INVESTIGATING, *set_before).incident
    assert kept.aware_at == instant


def test_i6_closing_needs_every_duty_done() -> None:
    reviewed = fold(story(State.IN_REVIEW))
    undone = replace(
        reviewed,
        confirmed_at=None,
        contained_at=None,
        recovered_at=None,
        root_cause=v.RootCauseStatus.HYPOTHESISED,
        affected_version=0,
        none_affected=False,
        obligations={UUID(int=71): v.Standing.UNDECIDED},
    )
    for event in decide(undone, command(c.RecordAction, ST)):
        undone = evolve(undone, event)
    around = Surroundings(evidence_open=((UUID(int=81), "not sealed"),), review="submitted")
    with pytest.raises(NotAllowed) as refusal:
        decide(undone, command(c.CloseIncident, SR, around=around))
    assert {unmet.code for unmet in refusal.value.unmet} == {
        "not_confirmed",
        "not_contained",
        "not_recovered",
        "root_cause_open",
        "affected_customers_open",
        "obligations_open",
        "evidence_open",
        "review_open",
        "actions_open",
    }
    # Every duty has its refusal and its line in the checklist.
    assert {code for duty in DUTIES for code, _ in duty.open(undone, around)} <= set(CODES)
    [closed] = decide(reviewed, command(c.CloseIncident, SR))
    assert isinstance(closed, e.IncidentClosed)
    assert set(closed.checklist) == {duty.name for duty in DUTIES}


@pytest.mark.parametrize("severity", v.Severity)
@pytest.mark.parametrize("review", ["none", "open", "submitted", "completed", "waived"])
def test_i6_a_review_is_done_or_waived_for_sev0_to_sev2(severity: v.Severity, review: str) -> None:
    incident = replace(fold(story(State.IN_REVIEW)), severity=severity)
    close = command(c.CloseIncident, EVERYONE, around=Surroundings(review=review))
    if severity.rank >= v.Severity.SEV2.rank and review not in {"completed", "waived"}:
        with pytest.raises(NotAllowed) as refusal:
            decide(incident, close)
        assert {unmet.code for unmet in refusal.value.unmet} == {"review_open"}
    else:
        assert len(decide(incident, close)) == 1


def test_i6_an_open_action_is_moved_to_an_improvement_item() -> None:
    incident = fold(story(State.IN_REVIEW))
    for event in decide(incident, command(c.RecordAction, ST)):
        incident = evolve(incident, event)
    moved = Surroundings(review="completed", covered=frozenset({ACTION}))
    with pytest.raises(NotAllowed) as refusal:
        decide(incident, command(c.CloseIncident, SR))
    assert {unmet.code for unmet in refusal.value.unmet} == {"actions_open"}
    [closed] = decide(incident, command(c.CloseIncident, SR, around=moved))
    assert isinstance(closed, e.IncidentClosed)
    assert closed.checklist["actions"] == "2, 1 as improvement items"


def refused_or_so_already(incident: Incident, order: c.Command) -> bool:
    try:
        return list(decide(incident, order)) == []
    except NotAllowed as refusal:
        return "wrong_state" in {unmet.code for unmet in refusal.unmet}


@pytest.mark.parametrize("kind", get_args(c.Command))
def test_i11_merged_incidents_accept_only_to_come_back(kind: type[c.Command]) -> None:
    merged = given(*story(State.MERGED))
    if kind in {c.ReopenIncident, c.UnmergeIncident}:  # the second one is the undoing of a mistake
        [event] = merged.when(command(kind, EVERYONE))
        assert evolve(merged.incident, event).state is State.INVESTIGATING
    elif kind is c.MergeInto:
        assert merged.when(command(kind, EVERYONE)) == []  # said twice
        elsewhere = command(c.MergeInto, SR, target_id=UUID(int=77))
        assert "wrong_state" in merged.refuses(elsewhere)
    else:
        assert refused_or_so_already(merged.incident, command(kind, EVERYONE))
