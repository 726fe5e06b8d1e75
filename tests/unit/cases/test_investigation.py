"""The v-team up to its verdict (R25, R26, R30, R31, I3, I5)."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain import vocabulary as v
from services.cases.domain.errors import NotAllowed
from services.cases.domain.values import Actor
from services.cases.domain.vocabulary import State
from tests.support.given import Given, given
from tests.support.incidents import (
    ACTION,
    DM,
    IC,
    IP,
    NOW,
    SME,
    SR,
    ST,
    TEAM,
    command,
    story,
)

pytestmark = pytest.mark.unit

CONFIRM = command(c.ConfirmIncident, SR)
DISMISS = command(c.DismissAsFalsePositive, SR)


def investigating(*steps: c.Command) -> Given:
    """Return an incident under investigation after *steps*."""
    events = story(State.INVESTIGATING)
    for step in steps:
        events += given(*events).when(step)
    return given(*events)


@pytest.mark.parametrize("missing", range(3))
def test_a_v_team_has_all_three_kinds(missing: int) -> None:
    rest = tuple(member for n, member in enumerate(TEAM) if n != missing)
    form = command(c.FormVTeam, SR, members=rest, lead="nobody")
    assert given(*story(State.ESCALATED)).refuses(form) == {
        "member_kind_missing",
        "lead_not_member",
    }


def test_an_empty_v_team_is_told_every_kind_that_it_lacks() -> None:
    with pytest.raises(NotAllowed) as refusal:
        given(*story(State.ESCALATED)).when(command(c.FormVTeam, SR, members=(), lead=""))
    lacking = [u.detail for u in refusal.value.unmet if u.code == "member_kind_missing"]
    assert lacking == [
        "no member of kind security_response",
        "no member of kind service_team",
        "no member of kind incident_communications",
    ]


def test_forming_before_escalation_is_refused() -> None:
    assert given(*story(State.OPENED)).refuses(command(c.FormVTeam, SR)) == {"wrong_state"}


def test_a_duty_manager_forms_a_team_but_gives_no_verdict() -> None:
    [formed] = given(*story(State.ESCALATED)).when(command(c.FormVTeam, DM))
    assert formed.actor.acting_for == "security_response"
    assert "role_missing" in investigating().refuses(replace(CONFIRM, actor=DM))


def test_confirming_names_everything_that_is_missing() -> None:
    assert investigating().refuses(replace(CONFIRM, rationale="")) == {
        "summary_missing",
        "potential_impact_missing",
        "no_supporting_indicator",
        "reason_missing",
    }


def test_confirming_needs_a_priority() -> None:
    events = [x for x in story(State.INVESTIGATING) if not isinstance(x, e.PrioritySet)]
    assert "priority_not_set" in given(*events).refuses(CONFIRM)


def test_a_justification_replaces_a_supporting_indicator() -> None:
    summed = investigating(command(c.RecordSummary, SR))
    assert summed.refuses(CONFIRM) == {"no_supporting_indicator"}
    [confirmed] = summed.when(replace(CONFIRM, justification="the attacker told us"))
    assert isinstance(confirmed, e.IncidentConfirmed)
    assert confirmed.indicator_ids == ()


def test_an_indicator_that_contradicts_supports_nothing() -> None:
    against = command(c.AssessIndicator, SR, verdict=v.IndicatorVerdict.CONTRADICTS)
    team = investigating(command(c.RecordSummary, SR), against)
    assert team.refuses(CONFIRM) == {"no_supporting_indicator"}


def test_a_confirmation_keeps_the_team_the_indicators_and_the_clock() -> None:
    team = investigating(command(c.RecordSummary, SR), command(c.AssessIndicator, SME))
    [confirmed] = team.when(CONFIRM)
    assert isinstance(confirmed, e.IncidentConfirmed)
    assert (confirmed.indicator_ids, confirmed.v_team) == ((IP,), TEAM)
    assert confirmed.aware_at == confirmed.at == NOW


def test_awareness_is_never_later_than_the_confirmation() -> None:
    team = investigating(command(c.RecordSummary, SR), command(c.AssessIndicator, SME))
    earlier = NOW - timedelta(hours=3)
    [confirmed] = team.when(replace(CONFIRM, aware_at=earlier))
    assert isinstance(confirmed, e.IncidentConfirmed)
    assert confirmed.aware_at == earlier
    later = replace(CONFIRM, aware_at=NOW + timedelta(seconds=1))
    assert team.refuses(later) == {"aware_in_future"}


def test_a_confirmation_is_said_once_unless_it_says_something_else() -> None:
    confirmed = given(*story(State.CONFIRMED))
    assert confirmed.when(CONFIRM) == []
    earlier = replace(CONFIRM, aware_at=NOW - timedelta(hours=3))
    assert confirmed.refuses(earlier) == {"wrong_state", "clock_set"}


def test_only_members_give_the_verdict() -> None:
    outsider = Actor(id="olga", roles=("security_response",))
    ready = investigating(command(c.RecordSummary, SR), command(c.AssessIndicator, SME))
    assert ready.refuses(replace(CONFIRM, actor=outsider)) == {"not_in_v_team"}
    assert ready.refuses(replace(DISMISS, actor=outsider)) == {"not_in_v_team"}


def test_the_summary_is_versioned_and_bounded() -> None:
    team = investigating(command(c.RecordSummary, SR))
    [second] = team.when(command(c.RecordSummary, IC, summary="More is known."))
    assert isinstance(second, e.SummaryRecorded)
    assert second.version == 2
    assert team.when(command(c.RecordSummary, IC)) == []
    assert team.refuses(command(c.RecordSummary, IC, summary="x" * 2001)) == {"too_long"}


def test_an_indicator_is_linked_once_whoever_names_it() -> None:
    team = investigating()
    assert team.when(command(c.AddIndicator, SME, type="ip", value="203.0.113.9")) == []
    [linked] = team.when(command(c.AddIndicator, SME))
    assert isinstance(linked, e.IndicatorLinked)
    assert linked.role is v.IndicatorRole.FOUND_LATER


def test_an_assessment_is_of_a_known_indicator_within_bounds_and_reasoned() -> None:
    wrong = command(c.AssessIndicator, SME, indicator_id=UUID(int=0), confidence=101, rationale="")
    assert investigating().refuses(wrong) == {
        "indicator_unknown",
        "confidence_out_of_range",
        "reason_missing",
    }


def test_before_confirmation_containment_is_provisional() -> None:
    contain = command(c.RecordAction, SME, kind=v.ActionKind.CONTAINMENT)
    assert investigating().refuses(contain) == {"only_provisional"}
    assert len(investigating().when(replace(contain, provisional=True))) == 1
    assert len(given(*story(State.CONFIRMED)).when(contain)) == 1


def test_an_action_ends_once() -> None:
    done = investigating(command(c.RecordAction, ST), command(c.UpdateAction, ST))
    again = command(c.UpdateAction, ST, status=v.ActionStatus.IN_PROGRESS, result="")
    assert done.refuses(again) == {"action_ended"}
    assert done.when(command(c.UpdateAction, ST)) == []
    cancel = command(c.UpdateAction, ST, status=v.ActionStatus.CANCELLED, result="")
    assert investigating(command(c.RecordAction, ST)).refuses(cancel) == {"result_missing"}
    assert investigating().refuses(cancel) == {"action_unknown", "result_missing"}


def test_a_dismissal_leaves_nothing_provisional_behind() -> None:
    emergency = command(c.RecordAction, ST, kind=v.ActionKind.CONTAINMENT, provisional=True)
    acted = investigating(emergency, command(c.UpdateAction, ST))
    assert acted.refuses(DISMISS) == {"provisional_actions_open"}
    for end in (v.ActionStatus.ROLLED_BACK, v.ActionStatus.KEPT):
        ended = investigating(
            emergency,
            command(c.UpdateAction, ST),
            command(c.UpdateAction, ST, action_id=ACTION, status=end, result="as it should be"),
        )
        [dismissed] = ended.when(DISMISS)
        assert isinstance(dismissed, e.IncidentDismissed)
        assert dismissed.stage == "investigation"
