"""Negative tests generated from the workflow: all states × all commands − the table (§3.3)."""

from dataclasses import replace
from typing import Any, get_args
from uuid import UUID

import pytest

from services.cases.domain import commands as c
from services.cases.domain.errors import CODES, NotAllowed
from services.cases.domain.incident import Incident, decide, evolve, fold
from services.cases.domain.values import Actor, Scope, Selector
from services.cases.domain.vocabulary import Priority, Role, Severity, State
from services.cases.domain.workflow import RULES
from tests.support.incidents import ASSESSMENT, EVERYONE, command, story

pytestmark = pytest.mark.unit

COMMANDS: tuple[type[c.Command], ...] = get_args(c.Command)

# The table of §3.3, written out by hand so that a slip in RULES is a failing test.
TRANSITIONS = {
    c.OpenIncident: ({State.UNOPENED}, State.OPENED),
    c.EscalateIncident: ({State.OPENED}, State.ESCALATED),
    c.DismissAtTriage: ({State.OPENED}, State.FALSE_POSITIVE),
    c.FormVTeam: ({State.ESCALATED}, State.INVESTIGATING),
    c.ConfirmIncident: ({State.INVESTIGATING}, State.CONFIRMED),
    c.DismissAsFalsePositive: ({State.INVESTIGATING}, State.FALSE_POSITIVE),
    c.MarkContained: ({State.CONFIRMED}, State.CONTAINED),
    c.MarkEradicated: ({State.CONTAINED}, State.ERADICATED),
    c.MarkRecovered: ({State.ERADICATED}, State.RECOVERED),
    c.StartReview: ({State.RECOVERED}, State.IN_REVIEW),
    c.CloseIncident: ({State.IN_REVIEW}, State.CLOSED),
    c.MergeInto: (
        {State.OPENED, State.ESCALATED, State.INVESTIGATING, State.CONFIRMED},
        State.MERGED,
    ),
    c.ReportContainmentLoss: (
        {State.CONTAINED, State.ERADICATED, State.RECOVERED},
        State.CONFIRMED,
    ),
    c.RetractConfirmation: (
        {State.CONFIRMED, State.CONTAINED, State.ERADICATED, State.RECOVERED},
        State.INVESTIGATING,
    ),
    c.ReopenIncident: (
        {State.CLOSED, State.FALSE_POSITIVE, State.MERGED},
        State.INVESTIGATING,
    ),
}


def outcome(incident: Incident, order: c.Command) -> State | set[str]:
    """Return the state that *order* leads to, or the codes of its refusal."""
    try:
        events = decide(incident, order)
    except NotAllowed as refusal:
        return {unmet.code for unmet in refusal.unmet}
    for event in events:
        incident = evolve(incident, event)
    return incident.state


def test_every_command_has_a_rule_and_every_verb_one_command() -> None:
    assert set(RULES) == set(COMMANDS)
    assert len({rule.verb for rule in RULES.values()}) == len(RULES)


def test_the_transitions_are_those_of_the_reference() -> None:
    moving = {k: (rule.states, rule.to) for k, rule in RULES.items() if rule.to}
    assert moving == {k: (frozenset(a), b) for k, (a, b) in TRANSITIONS.items()}
    assert {k for k, rule in RULES.items() if rule.back} == {c.UnmergeIncident}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", COMMANDS)
def test_only_transitions_move_and_everything_else_is_refused(
    state: State, kind: type[c.Command]
) -> None:
    incident = fold(story(state))
    result = outcome(incident, command(kind, EVERYONE, **_unheard_of(kind)))
    if state not in RULES[kind].states:
        if RULES[kind].to is state and result == state:
            return  # said twice, which is saying it once
        assert isinstance(result, set), f"{kind.__name__} while {state} leads to {result}"
        assert "wrong_state" in result
    elif isinstance(result, State):
        before = incident.former if RULES[kind].back else state
        assert result is (RULES[kind].to or before)


def _unheard_of(kind: type[c.Command]) -> dict[str, Any]:
    """Return fields that make the command say something that the story did not say."""
    fields: dict[type[c.Command], dict[str, Any]] = {
        c.OpenIncident: {"title": "Another"},
        c.AttachDetections: {"count": 99},
        c.RecordSummary: {"summary": "Another"},
        c.RecordRootCause: {"cause": "another"},
        c.DraftRecoveryPlan: {"steps": ("Another",)},
        c.RecordAffectedCustomers: {"version": 9},
        c.ProposeSeverity: {"assessment": replace(ASSESSMENT, points=41)},
        c.ProposePriority: {"priority": Priority.P1},
        c.SetSeverity: {"level": Severity.SEV0, "reason": "worse"},
        c.SetPriority: {"priority": Priority.P1, "reason": "worse"},
        c.AssessIndicator: {"confidence": 1},
        c.SetScope: {"scope": Scope(include=(Selector(server="m9"),))},
        c.ApproveRecoveryPlan: {"version": 9},
        c.MergeInto: {"target_id": UUID(int=99)},
    }
    return fields.get(kind, {})


@pytest.mark.parametrize("kind", COMMANDS)
def test_whoever_lacks_the_role_is_refused_in_every_state(kind: type[c.Command]) -> None:
    rule = RULES[kind]
    stand_in = {Role.DUTY_MANAGER} if rule.stands_in else set()
    for role in set(Role) - rule.roles - stand_in:
        order = command(kind, Actor(id="rita", roles=(role.value,)))
        for state in State:
            result = outcome(fold(story(state)), order)
            assert isinstance(result, set)
            assert "role_missing" in result


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_refusal_has_a_known_code_and_a_sentence(kind: type[c.Command]) -> None:
    for state in State:
        with pytest.raises(NotAllowed) as refusal:
            decide(fold(story(state)), command(kind, Actor(id="nobody")))
        assert refusal.value.code == "role_missing"
        assert all(unmet.code in CODES and unmet.detail for unmet in refusal.value.unmet)


@pytest.mark.parametrize("state", State)
def test_the_story_reaches_every_state(state: State) -> None:
    assert fold(story(state)).state is state


@pytest.mark.parametrize("kind", COMMANDS)
def test_saying_it_twice_is_saying_it_once(kind: type[c.Command]) -> None:
    for state in State:
        incident = fold(story(state))
        try:
            events = decide(incident, command(kind, EVERYONE))
        except NotAllowed:
            continue
        for event in events:
            incident = evolve(incident, event)
        assert list(decide(incident, command(kind, EVERYONE))) == []
