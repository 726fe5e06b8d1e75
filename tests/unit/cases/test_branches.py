"""What leaves the straight line: merge, split, reopen, retract, lose; and what gathers (§3.7)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain import vocabulary as v
from services.cases.domain.values import Counterpart, Member
from services.cases.domain.vocabulary import State
from services.cases.domain.workflow import TERMINAL
from tests.support.given import Given, given
from tests.support.incidents import (
    DM,
    EM,
    IC,
    IP,
    LG,
    NOW,
    OTHER,
    SME,
    SR,
    ST,
    SYS,
    command,
    detection,
    story,
)

pytestmark = pytest.mark.unit
MERGE = command(c.MergeInto, SR)


def after(state: State, *steps: c.Command) -> Given:
    """Return the story up to *state*, and *steps* after it."""
    events = story(state)
    for step in steps:
        events += given(*events).when(step)
    return given(*events)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (Counterpart(), "other_unknown"),
        (Counterpart(state=State.ESCALATED, itself=True), "other_is_itself"),
        (Counterpart(state=State.ESCALATED, leads_back=True), "merge_cycle"),
        *((Counterpart(state=state), "target_not_open") for state in sorted(TERMINAL)),
    ],
)
def test_a_merge_needs_an_open_target_that_is_another(target: Counterpart, code: str) -> None:
    assert after(State.OPENED).refuses(replace(MERGE, target=target)) == {code}


@pytest.mark.parametrize(
    "state", [State.OPENED, State.ESCALATED, State.INVESTIGATING, State.CONFIRMED]
)
def test_an_unmerge_returns_the_former_state_with_everything_in_it(state: State) -> None:
    before = after(state).incident
    merged = after(state, MERGE)
    assert (merged.incident.state, merged.incident.merged_into) == (State.MERGED, OTHER)
    back = after(state, MERGE, command(c.UnmergeIncident, SR)).incident
    assert (back.state, back.merged_into) == (state, None)
    assert replace(back, former=before.former, came_back=None) == before


def test_a_split_takes_some_detections_and_leaves_some() -> None:
    one = after(State.OPENED)
    assert one.refuses(command(c.SplitIncident, SR)) == {"split_empty"}
    more = command(c.AttachDetections, SYS, detections=(detection(2),), count=2)
    two = after(State.OPENED, more)
    stranger = command(c.SplitIncident, SR, detection_ids=(UUID(int=5),))
    assert two.refuses(stranger) == {"detection_unknown"}
    [split] = two.when(command(c.SplitIncident, SR))
    assert isinstance(split, e.IncidentSplit)
    whole = after(State.OPENED, more, command(c.SplitIncident, SR)).incident
    assert len(whole.detection_ids) == 2  # it deletes nothing


@pytest.mark.parametrize("state", [State.CLOSED, State.FALSE_POSITIVE, State.MERGED])
@pytest.mark.parametrize("actor", [SR, LG, EM], ids=lambda a: a.id)
def test_reopening_names_what_is_new(state: State, actor: Any) -> None:
    ended = after(state)
    bare = command(c.ReopenIncident, actor, reason=" ", new_information_ref="")
    assert ended.refuses(bare) == {"reason_missing", "new_information_missing"}
    reopened = after(state, command(c.ReopenIncident, actor)).incident
    assert reopened.state is State.INVESTIGATING
    assert reopened.clocks == ended.incident.clocks
    assert (reopened.classification, reopened.merged_into) == (None, None)


def test_what_is_reopened_goes_the_whole_way_again() -> None:
    later = NOW + timedelta(days=3)
    again = after(
        State.CLOSED,
        command(c.ReopenIncident, EM),
        command(c.ConfirmIncident, SR, now=later),
    )
    assert again.incident.state is State.CONFIRMED
    assert again.incident.confirmed_at == later
    assert again.incident.aware_at == NOW  # the clock of the first time
    again = after(
        State.CLOSED,
        command(c.ReopenIncident, EM),
        command(c.ConfirmIncident, SR, now=later),
        command(c.MarkContained, SR),
        command(c.MarkEradicated, SR),
    )
    assert again.refuses(command(c.MarkRecovered, ST)) == {"plan_not_approved"}


def test_an_incident_dismissed_at_triage_has_no_team_until_one_is_added() -> None:
    reopened = after(State.FALSE_POSITIVE, command(c.ReopenIncident, SR))
    assert "member_kind_missing" in reopened.refuses(command(c.ConfirmIncident, SR))
    joins = [
        command(c.AddVTeamMember, SR, member=Member(person=name, kind=kind), leads=name == "rita")
        for name, kind in (
            ("rita", v.MemberKind.SECURITY_RESPONSE),
            ("sam", v.MemberKind.SERVICE_TEAM),
            ("ines", v.MemberKind.INCIDENT_COMMUNICATIONS),
        )
    ]
    whole = after(State.FALSE_POSITIVE, command(c.ReopenIncident, SR), *joins)
    assert (whole.incident.missing_kinds(), whole.incident.lead) == ((), "rita")


def test_a_retracted_confirmation_can_become_a_dismissal() -> None:
    retracted = after(State.CONTAINED, command(c.RetractConfirmation, SR))
    assert retracted.incident.state is State.INVESTIGATING
    assert retracted.incident.confirmed_at is None
    [dismissed] = retracted.when(command(c.DismissAsFalsePositive, SR))
    assert isinstance(dismissed, e.IncidentDismissed)


def test_containment_is_lost_by_something_named() -> None:
    contained = after(State.RECOVERED)
    nothing = command(c.ReportContainmentLoss, IC, new_assets=(" ",))
    assert contained.refuses(nothing) == {"loss_unproven"}
    stranger = command(c.ReportContainmentLoss, IC, new_assets=(), indicator_ids=(UUID(int=9),))
    assert contained.refuses(stranger) == {"indicator_unknown"}
    lost = after(
        State.RECOVERED,
        command(c.ReportContainmentLoss, SYS, new_assets=(), indicator_ids=(IP,)),
    ).incident
    assert (lost.state, lost.contained_at, lost.recovered_at, lost.plan_approved) == (
        State.CONFIRMED,
        None,
        None,
        False,
    )


def test_the_lead_changes_the_team() -> None:
    other = replace(SR, id="ruth")
    add = command(c.AddVTeamMember, SR)
    team = after(State.INVESTIGATING)
    assert team.refuses(replace(add, actor=other)) == {"not_lead"}
    [joined] = team.when(replace(add, actor=DM))
    assert joined.actor.acting_for == "security_response"
    leading = command(
        c.AddVTeamMember,
        SR,
        member=Member(person="ruth", kind=v.MemberKind.SECURITY_RESPONSE),
        leads=True,
    )
    handed = after(State.INVESTIGATING, leading)
    assert handed.incident.lead == "ruth"
    assert handed.refuses(add) == {"not_lead"}
    assert len(handed.when(replace(add, actor=other))) == 1


def test_only_a_member_can_leave() -> None:
    nobody = command(c.RemoveVTeamMember, SR, person="zoe")
    assert after(State.INVESTIGATING).refuses(nobody) == {"not_in_v_team"}


def test_a_second_member_of_a_kind_may_leave_unnoticed() -> None:
    second = command(
        c.AddVTeamMember,
        SR,
        member=Member(person="ida", kind=v.MemberKind.INCIDENT_COMMUNICATIONS),
    )
    left = after(State.INVESTIGATING, second).when(command(c.RemoveVTeamMember, SR))
    assert [type(x) for x in left] == [e.VTeamMemberRemoved]


def test_an_accepted_recommendation_becomes_an_action() -> None:
    recommended = after(State.CONFIRMED, command(c.AddRecommendation, SME))
    decided, action = recommended.when(command(c.DecideRecommendation, ST))
    assert isinstance(decided, e.RecommendationDecided)
    assert isinstance(action, e.ActionRecorded)
    assert decided.action_id == action.action_id
    assert (action.text, action.owner) == ("Require second factors", "sam")
    rejected = command(c.DecideRecommendation, ST, decision=v.Decision.REJECTED)
    assert recommended.refuses(rejected) == {"reason_missing"}
    twice = after(
        State.CONFIRMED, command(c.AddRecommendation, SME), command(c.DecideRecommendation, ST)
    )
    assert twice.refuses(replace(rejected, reason="too late")) == {"recommendation_decided"}
    contain = command(c.DecideRecommendation, ST, kind=v.ActionKind.CONTAINMENT)
    early = after(State.INVESTIGATING, command(c.AddRecommendation, SME))
    assert early.refuses(contain) == {"only_provisional"}


def test_a_link_stands_to_another_incident_and_not_both_ways() -> None:
    parent = command(c.LinkIncident, SME, relation=v.Relation.PARENT_OF)
    team = after(State.INVESTIGATING)
    itself = Counterpart(state=State.OPENED, itself=True)
    both = Counterpart(state=State.OPENED, claims=frozenset({v.Relation.PARENT_OF}))
    assert team.refuses(replace(parent, other=Counterpart())) == {"other_unknown"}
    assert team.refuses(replace(parent, other=itself)) == {"other_is_itself"}
    assert team.refuses(replace(parent, other=both)) == {"link_contradicted"}
    actor = Counterpart(state=State.OPENED, claims=frozenset({v.Relation.SAME_ACTOR}))
    assert len(team.when(command(c.LinkIncident, SME, other=actor))) == 1
    assert team.refuses(command(c.UnlinkIncident, SME)) == {"link_unknown"}
    linked = after(State.INVESTIGATING, command(c.LinkIncident, SME))
    assert len(linked.when(command(c.UnlinkIncident, SME))) == 1


@pytest.mark.parametrize("technique", ["T111", "t1110", "T1110.1", "T1110.001 ", "TA0001"])
def test_a_technique_reads_as_attack_writes_it(technique: str) -> None:
    classify = command(c.ClassifyIndicator, SME, techniques=(technique,))
    assert after(State.OPENED).refuses(classify) == {"technique_malformed"}


def test_changing_the_vector_moves_the_indicator() -> None:
    moved = after(State.OPENED, command(c.ClassifyIndicator, SME)).incident
    assert moved.indicators[IP].attack_vector is v.AttackVector.ATTRITION
    assert moved.indicators[IP].techniques == ("T1110.001",)
