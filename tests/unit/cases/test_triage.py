"""From the first detection to escalation or dismissal (R09, R23, R24, I1, I2, I4)."""

from dataclasses import replace

import pytest

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain import vocabulary as v
from services.cases.domain.values import Actor
from services.cases.domain.vocabulary import State
from tests.support.given import given
from tests.support.incidents import (
    ASSESSMENT,
    DM,
    EM,
    IC,
    NOW,
    SME,
    SR,
    ST,
    SYS,
    command,
    detection,
    story,
)

pytestmark = pytest.mark.unit


def test_opening_by_hand_needs_a_reason_and_a_title() -> None:
    by_hand = command(c.OpenIncident, ST, source_refs=(), title=" ")
    assert given().refuses(by_hand) == {"reason_missing", "text_missing"}
    [opened] = given().when(command(c.OpenIncident, ST, source_refs=(), reason="I saw it"))
    assert isinstance(opened, e.IncidentOpened)
    assert (opened.actor, opened.at) == (ST, NOW)


def test_opening_the_same_again_changes_nothing() -> None:
    opened = given(*story(State.CLOSED))
    assert opened.when(command(c.OpenIncident, SYS)) == []
    assert opened.refuses(command(c.OpenIncident, SYS, title="Another")) == {"wrong_state"}


def test_detections_bring_the_indicators_that_led_to_them() -> None:
    events = given(*story(State.UNOPENED), *given().when(command(c.OpenIncident, SYS))).when(
        command(c.AttachDetections, SYS, detections=(detection(1), detection(2)), count=2)
    )
    assert [type(event) for event in events] == [
        e.DetectionsAttached,
        e.IndicatorLinked,
        e.IndicatorLinked,
    ]
    linked = [x for x in events if isinstance(x, e.IndicatorLinked)]
    assert {(x.type, x.value) for x in linked} == {("ip", "203.0.113.9"), ("user", "root")}
    assert {x.role for x in linked} == {v.IndicatorRole.LED_TO_DETECTION}


def test_a_detection_is_attached_once_and_the_count_never_falls() -> None:
    opened = given(*story(State.OPENED))
    again = command(c.AttachDetections, SYS, detections=(detection(1),), count=1)
    assert opened.when(again) == []
    [attached] = opened.when(
        command(c.AttachDetections, SYS, detections=(detection(1), detection(2)), count=1)
    )
    assert attached == e.DetectionsAttached(actor=SYS, at=NOW, detections=(detection(2),), count=2)


def test_a_proposal_is_not_a_severity() -> None:
    opened = given(*story(State.OPENED))
    assert opened.incident.proposal == ASSESSMENT
    assert opened.incident.severity is None
    assert opened.refuses(command(c.EscalateIncident, ST)) == {"severity_not_set"}


def test_the_service_team_sets_the_severity_with_its_inputs() -> None:
    [event] = given(*story(State.OPENED)).when(
        command(c.SetSeverity, ST, inputs={"privacy": "personal"})
    )
    assert event == e.SeveritySet(
        actor=ST,
        at=NOW,
        level=v.Severity.SEV2,
        computed_level=v.Severity.SEV2,
        inputs={"privacy": "personal", "affected_tenants": 1},
        policy="severity",
        policy_version="2026.11.0",
    )


def test_overriding_the_policy_needs_a_reason() -> None:
    opened = given(*story(State.OPENED))
    override = command(c.SetSeverity, ST, level=v.Severity.SEV1)
    assert opened.refuses(override) == {"override_reason_missing"}
    [event] = opened.when(replace(override, reason="it is the key server"))
    assert isinstance(event, e.SeveritySet)
    assert (event.computed_level, event.override_reason) == (
        v.Severity.SEV2,
        "it is the key server",
    )


@pytest.mark.parametrize("actor", [SR, IC, SME, EM, SYS])
def test_nobody_else_sets_it_before_escalation(actor: Actor) -> None:
    assert given(*story(State.OPENED)).refuses(command(c.SetSeverity, actor)) == {"role_missing"}


def test_a_duty_manager_stands_in_and_is_flagged() -> None:
    [event] = given(*story(State.OPENED)).when(command(c.SetSeverity, DM))
    assert event.actor == replace(DM, acting_for="service_team")


def test_after_escalation_raising_is_for_both_and_lowering_for_security_response() -> None:
    escalated = given(*story(State.ESCALATED))
    up = command(c.SetSeverity, ST, level=v.Severity.SEV0, reason="spreads")
    down = command(c.SetSeverity, ST, level=v.Severity.SEV4, reason="calm")
    [event] = escalated.when(up)
    assert isinstance(event, e.SeverityChanged)
    assert (event.previous, event.level) == (v.Severity.SEV2, v.Severity.SEV0)
    assert escalated.refuses(down) == {"lowering_needs_security_response"}
    assert len(escalated.when(replace(down, actor=SR))) == 1
    assert escalated.refuses(replace(down, reason="")) == {
        "lowering_needs_security_response",
        "reason_missing",
    }


def test_the_same_severity_again_changes_nothing() -> None:
    assert given(*story(State.ESCALATED)).when(command(c.SetSeverity, ST)) == []


def test_priority_takes_the_factors_of_the_proposal() -> None:
    opened = given(*story(State.OPENED))
    bare = command(c.SetPriority, ST, functional=None, informational=None, recoverability=None)
    [event] = opened.when(bare)
    assert isinstance(event, e.PrioritySet)
    assert (event.functional, event.computed_priority) == ("low", v.Priority.P3)
    assert opened.refuses(replace(bare, priority=v.Priority.P1)) == {"override_reason_missing"}
    assert len(opened.when(replace(bare, priority=v.Priority.P1, reason="the board asks"))) == 1


def test_priority_without_a_proposal_needs_all_factors() -> None:
    by_hand = given(*given().when(command(c.OpenIncident, ST)))
    lacking = command(c.SetPriority, ST, recoverability=None)
    assert by_hand.refuses(lacking) == {"priority_factors_missing"}
    assert len(by_hand.when(command(c.SetPriority, ST))) == 1


def test_an_escalation_has_exactly_one_owner() -> None:
    escalated = given(*story(State.ESCALATED))
    assert escalated.when(command(c.EscalateIncident, IC)) == []
    assert escalated.refuses(command(c.EscalateIncident, IC, owning_team="sr-us")) == {
        "wrong_state"
    }


def test_only_low_severities_are_dismissed_at_triage() -> None:
    opened = story(State.OPENED)
    assert len(given(*opened).when(command(c.DismissAtTriage, ST))) == 1
    for level, allowed in ((v.Severity.SEV3, True), (v.Severity.SEV2, False)):
        at_level = [
            *opened,
            *given(*opened).when(command(c.SetSeverity, ST, level=level, reason="so I judge")),
        ]
        if allowed:
            assert len(given(*at_level).when(command(c.DismissAtTriage, ST))) == 1
        else:
            assert given(*at_level).refuses(command(c.DismissAtTriage, ST)) == {"severity_too_high"}


def test_a_true_positive_is_no_dismissal() -> None:
    dismiss = command(c.DismissAtTriage, ST, classification=v.Classification.TRUE_POSITIVE)
    assert given(*story(State.OPENED)).refuses(replace(dismiss, reason="")) == {
        "classification_invalid",
        "reason_missing",
    }
