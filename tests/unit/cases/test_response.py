"""After the verdict: scope, containment, root cause, recovery, the end (R32–R34, I6)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain import vocabulary as v
from services.cases.domain.values import Criterion, Scope, Selector
from services.cases.domain.vocabulary import State
from tests.support.given import given
from tests.support.incidents import ASSESSMENT, EM, NOW, SR, ST, SYS, command, story

pytestmark = pytest.mark.unit

MAIL = Selector(region="eu-west", service="mail")


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        (Scope(include=()), "scope_empty"),
        (Scope(include=(Selector(),)), "scope_empty"),
        (Scope(include=(MAIL,), exclude=(Selector(),)), "scope_empty"),
        (Scope(include=(MAIL,), window_from=NOW, window_to=NOW), "window_reversed"),
    ],
)
def test_a_scope_is_never_everyone(scope: Scope, code: str) -> None:
    assert given(*story(State.CONFIRMED)).refuses(command(c.SetScope, SR, scope=scope)) == {code}


@pytest.mark.parametrize(
    ("scope", "wider"),
    [
        (Scope(include=(replace(MAIL, server="m1"),), window_from=NOW), False),
        (Scope(include=(MAIL,), exclude=(Selector(server="m2"),), window_from=NOW), False),
        (Scope(include=(Selector(region="eu-west"),), window_from=NOW), True),
        (Scope(include=(replace(MAIL, tags={"env": "prod"}),), window_from=NOW), False),
        (Scope(include=(MAIL, Selector(tags={"env": "prod"})), window_from=NOW), True),
        (Scope(include=(MAIL, Selector(region="us-east")), window_from=NOW), True),
        (Scope(include=(MAIL,)), True),
        (Scope(include=(MAIL,), window_from=NOW - timedelta(1)), True),
        (
            Scope(
                include=(MAIL,),
                window_from=NOW,
                follow_dependencies=v.FollowDependencies.DIRECT,
            ),
            True,
        ),
    ],
)
def test_a_wider_scope_asks_for_the_severity_again(scope: Scope, wider: bool) -> None:
    events = given(*story(State.CONTAINED)).when(command(c.SetScope, SR, scope=scope))
    assert isinstance(events[0], e.ScopeSet)
    assert events[0].version == 2
    asked = [x for x in events if isinstance(x, e.SeverityReassessmentRequested)]
    assert bool(asked) is wider


def test_the_same_scope_again_changes_nothing() -> None:
    assert given(*story(State.CONTAINED)).when(command(c.SetScope, ST)) == []


def test_containing_needs_something_done_and_every_criterion() -> None:
    confirmed = given(*story(State.CONFIRMED))
    half = (Criterion(text="a", met=True), Criterion(text="b", met=False))
    assert confirmed.refuses(command(c.MarkContained, SR, criteria=half)) == {
        "no_containment_action",
        "criteria_not_met",
    }
    assert "criteria_not_met" in confirmed.refuses(command(c.MarkContained, SR, criteria=()))


def test_the_root_cause_is_parallel_to_containment() -> None:
    for state in (State.INVESTIGATING, State.CONFIRMED, State.CONTAINED, State.IN_REVIEW):
        found = given(*story(state)).when(
            command(c.RecordRootCause, ST, cause=f"known while {state}")
        )
        assert len(found) == 1


def test_an_unknown_cause_is_accepted_by_security_response_or_an_executive() -> None:
    unknown = command(
        c.RecordRootCause, ST, status=v.RootCauseStatus.ACCEPTED_UNKNOWN, cause="logs are gone"
    )
    contained = given(*story(State.CONTAINED))
    assert contained.refuses(unknown) == {"role_missing"}
    for actor in (SR, EM):
        [event] = contained.when(replace(unknown, actor=actor))
        assert isinstance(event, e.RootCauseAcceptedUnknown)
    assert contained.refuses(command(c.RecordRootCause, EM)) == {"role_missing"}


def test_a_settled_cause_is_only_determined_anew() -> None:
    settled = given(*story(State.ERADICATED))
    guess = command(
        c.RecordRootCause, ST, status=v.RootCauseStatus.HYPOTHESISED, cause="perhaps not"
    )
    assert settled.refuses(guess) == {"root_cause_settled"}
    assert len(settled.when(replace(guess, status=v.RootCauseStatus.DETERMINED))) == 1


def test_a_plan_is_approved_by_somebody_else_in_its_newest_version() -> None:
    drafted = [*story(State.CONTAINED)]
    drafted += given(*drafted).when(command(c.DraftRecoveryPlan, SR))
    plan = given(*drafted)
    assert plan.refuses(command(c.ApproveRecoveryPlan, SR)) == {"approver_is_author"}
    assert plan.refuses(command(c.ApproveRecoveryPlan, EM, version=2)) == {"plan_missing"}
    assert len(plan.when(command(c.ApproveRecoveryPlan, EM))) == 1


def test_a_new_draft_needs_a_new_approval() -> None:
    events = story(State.ERADICATED)
    events += given(*events).when(command(c.DraftRecoveryPlan, ST, steps=("Start again",)))
    assert given(*events).refuses(command(c.MarkRecovered, ST)) == {"plan_not_approved"}


def test_eradication_needs_a_settled_cause_and_an_executive_for_business_impact() -> None:
    contained = given(*story(State.CONTAINED))
    costly = command(c.MarkEradicated, SR, business_impact=True, verification="")
    assert contained.refuses(costly) == {
        "role_missing",
        "root_cause_open",
        "verification_missing",
    }


def test_recovery_is_verified_and_watched() -> None:
    bare = command(c.MarkRecovered, ST, verification="", monitoring_until=NOW)
    assert given(*story(State.ERADICATED)).refuses(bare) == {
        "verification_missing",
        "monitoring_period_missing",
    }


def test_closing_names_everything_that_is_open() -> None:
    events: list[e.Event] = [
        x for x in story(State.IN_REVIEW) if not isinstance(x, e.AffectedCustomersIdentified)
    ]
    events += given(*events).when(command(c.RecordAction, ST))
    assert given(*events).refuses(command(c.CloseIncident, SR)) == {
        "affected_customers_open",
        "actions_open",
    }


def test_a_closing_keeps_its_checklist() -> None:
    [closed] = given(*story(State.IN_REVIEW)).when(command(c.CloseIncident, SR))
    assert isinstance(closed, e.IncidentClosed)
    assert closed.checklist["affected_customers"] == "list version 1, 2 tenants"


def test_an_executive_closes_the_highest_severities() -> None:
    events = story(State.IN_REVIEW)
    raise_it = command(c.SetSeverity, SR, level=v.Severity.SEV1, reason="worse")
    events += given(*events).when(raise_it)
    assert given(*events).refuses(command(c.CloseIncident, SR)) == {"role_missing"}
    assert len(given(*events).when(command(c.CloseIncident, EM))) == 1


def test_nobody_is_declared_unaffected_against_a_list() -> None:
    listed = given(*story(State.IN_REVIEW))
    none = command(c.DeclareNoCustomersAffected, SR)
    assert listed.refuses(none) == {"customers_affected"}


def test_a_list_with_names_overrules_the_declaration() -> None:
    events = story(State.RECOVERED)
    events += given(*events).when(command(c.DeclareNoCustomersAffected, SR))
    assert given(*events).incident.none_affected
    events += given(*events).when(command(c.RecordAffectedCustomers, SYS))
    assert not given(*events).incident.none_affected


def test_an_older_list_is_old_news() -> None:
    reviewed = given(*story(State.IN_REVIEW))
    assert reviewed.when(command(c.RecordAffectedCustomers, SYS)) == []
    assert len(reviewed.when(command(c.RecordAffectedCustomers, SYS, version=2))) == 1


def test_facts_and_notes_are_kept_after_the_end() -> None:
    closed = given(*story(State.CLOSED))
    assert len(closed.when(command(c.AddNote, SR))) == 1
    assert len(closed.when(command(c.RecordFact, SYS))) == 1
    assert len(closed.when(command(c.RecordCustomersNotified, SYS))) == 1


@pytest.mark.parametrize(
    ("level", "asked"),
    [(v.Severity.SEV0, True), (v.Severity.SEV2, False), (v.Severity.SEV3, False)],
)
def test_facts_that_make_it_worse_ask_for_the_severity_again(
    level: v.Severity, asked: bool
) -> None:
    anew = replace(ASSESSMENT, level=level, points=101)
    order = command(c.ProposeSeverity, SYS, assessment=anew, reason="its detections got worse")
    events = given(*story(State.CONTAINED)).when(order)
    assert isinstance(events[0], e.SeverityProposed)
    requested = [x for x in events if isinstance(x, e.SeverityReassessmentRequested)]
    assert [x.reason for x in requested] == (["its detections got worse"] if asked else [])
