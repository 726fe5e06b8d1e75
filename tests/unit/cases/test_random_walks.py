"""Whatever is asked in whatever order: the core keeps its promises."""

from datetime import timedelta
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cases.aggregates import name_of
from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain import vocabulary as v
from services.cases.domain.errors import NotAllowed
from services.cases.domain.incident import UNOPENED, decide, evolve, fold
from services.cases.domain.values import Actor, Criterion, Surroundings
from services.cases.domain.vocabulary import State
from services.cases.domain.workflow import RULES
from services.cases.moves import moves
from services.cases.store import Recorded
from services.cases.views import detail, timeline
from tests.support.incidents import (
    ACTION,
    CONTAINMENT,
    DM,
    EM,
    EVERYONE,
    IC,
    IP,
    LG,
    NOW,
    SME,
    SR,
    ST,
    SYS,
    TEAM,
    command,
    detection,
    story,
    story_commands,
)
from tests.support.sealing import keys_of, opened, sealed

pytestmark = pytest.mark.unit
REVIEWED = Surroundings(review="completed")

ACTORS = st.sampled_from([ST, SR, IC, EM, DM, SME, LG, SYS, EVERYONE])
INSTANTS = st.sampled_from([NOW + timedelta(minutes=n) for n in (-90, -9, 0, 9)])
VARIED: dict[type[c.Command], dict[str, st.SearchStrategy[Any]]] = {
    c.AttachDetections: {
        "detections": st.lists(st.integers(1, 4).map(detection), max_size=3).map(tuple),
        "count": st.integers(1, 9),
    },
    c.SetSeverity: {"level": st.sampled_from(v.Severity), "reason": st.sampled_from(["", "so"])},
    c.SetPriority: {"priority": st.sampled_from(v.Priority), "reason": st.sampled_from(["", "so"])},
    c.RecordAction: {
        "action_id": st.sampled_from([ACTION, CONTAINMENT]),
        "kind": st.sampled_from(v.ActionKind),
        "provisional": st.booleans(),
    },
    c.UpdateAction: {
        "action_id": st.sampled_from([ACTION, CONTAINMENT]),
        "status": st.sampled_from(v.ActionStatus),
    },
    c.AssessIndicator: {
        "indicator_id": st.sampled_from([IP, UUID(int=0)]),
        "verdict": st.sampled_from(v.IndicatorVerdict),
    },
    c.MarkContained: {
        "criteria": st.lists(
            st.booleans().map(lambda met: Criterion(text="x", met=met)), max_size=2
        ).map(tuple)
    },
    c.RecordRootCause: {
        "status": st.sampled_from(v.RootCauseStatus),
        "cause": st.sampled_from(["a", "b"]),
    },
    c.DraftRecoveryPlan: {"steps": st.sampled_from([("a",), ("b",), ()])},
    c.ApproveRecoveryPlan: {"version": st.integers(0, 3)},
    c.RemoveVTeamMember: {"person": st.sampled_from(["rita", "sam", "ines", "zoe"])},
    c.AddVTeamMember: {"member": st.sampled_from(TEAM), "leads": st.booleans()},
    c.RecordClock: {"clock": st.sampled_from(v.Clock), "instant": INSTANTS},
    c.CorrectClock: {"clock": st.sampled_from(v.Clock), "instant": INSTANTS},
    c.ConfirmIncident: {"aware_at": st.none() | INSTANTS},
    c.DecideRecommendation: {"decision": st.sampled_from(v.Decision), "reason": st.just("so")},
    c.LinkIncident: {"relation": st.sampled_from(v.Relation)},
    c.UnlinkIncident: {"relation": st.sampled_from(v.Relation)},
    c.RecordAffectedCustomers: {"version": st.integers(1, 3), "confirmed": st.integers(0, 2)},
}


@st.composite
def orders(draw: st.DrawFn) -> c.Command:
    """Return any command, or one of the story, so that walks get somewhere."""
    if draw(st.booleans()):
        return draw(st.sampled_from(list(story_commands())))
    kind = draw(st.sampled_from(get_args(c.Command)))
    fields = {name: draw(choice) for name, choice in VARIED.get(kind, {}).items()}
    order: c.Command = command(kind, draw(ACTORS), **fields)
    return order


@given(
    start=st.sampled_from(State),
    walk=st.lists(orders(), max_size=25),
)
@settings(deadline=None, max_examples=150)
def test_a_walk_keeps_every_promise(start: State, walk: list[c.Command]) -> None:
    log: list[e.Event] = list(story(start))
    incident = fold(log)
    for order in walk:
        before = incident
        try:
            events = decide(incident, order)
        except NotAllowed:
            continue
        for event in events:
            incident = evolve(incident, event)
            log.append(event)
        rule = RULES[type(order)]
        if incident.state is not before.state:
            to = before.former if rule.back else rule.to
            assert (before.state in rule.states, incident.state) == (True, to)
        assert list(decide(incident, order)) == []  # said twice, it is said once
        if incident.state is State.ESCALATED:
            assert incident.severity is not None  # I1
            assert incident.owning_team  # I2
        if isinstance(order, c.ConfirmIncident | c.RetractConfirmation) and events:
            assert not incident.missing_kinds()  # I3
        assert set(before.clocks) <= set(incident.clocks)  # I5: set is set
        if not isinstance(order, c.CorrectClock):
            assert dict(before.clocks).items() <= dict(incident.clocks).items()
        if before.state is State.MERGED and events:
            assert isinstance(order, c.ReopenIncident | c.UnmergeIncident)  # I11
        assert (incident.merged_into is not None) == (incident.state is State.MERGED)
        if incident.confirmed_at is not None:
            assert incident.aware_at is not None
            assert incident.aware_at <= incident.confirmed_at  # I5
        if incident.state is State.CLOSED and before.state is not State.CLOSED:
            assert incident.root_cause.is_settled  # I6
            assert incident.none_affected or incident.affected_version
            assert not any(action.status.is_open for action in incident.actions.values())
    assert fold(log) == incident
    assert [opened(sealed(event), keys_of(event)) for event in log] == log
    for event in log:  # whatever was erased, it can still be read
        opened(sealed(event), dict.fromkeys(keys_of(event)))


@given(events=st.lists(st.sampled_from(story()), max_size=20))
@settings(deadline=None, max_examples=100)
def test_what_happened_is_never_refused_in_whatever_order(events: list[e.Event]) -> None:
    document = None
    incident = UNOPENED
    for n, event in enumerate(events, start=1):
        incident = evolve(incident, event)
        recorded = Recorded(
            position=n,
            stream_id=UUID(int=1),
            version=n,
            event_id=UUID(int=n),
            type=name_of(event),
            event=event,
            recorded_at=NOW,
        )
        document = detail.project(document, recorded)
        assert document["version"] == n
        assert timeline.entry(document, recorded)["sentence"]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("actor", [ST, SR, IC, EM, DM, SME, LG], ids=lambda a: a.id)
def test_the_moves_are_true(state: State, actor: Actor) -> None:
    """A verb that is offered is accepted with some body; one that is not, with none of ours."""
    incident = fold(story(state))
    offered = {
        verb: not unmet
        for verb, unmet in moves(incident, actor, NOW + timedelta(seconds=1), around=REVIEWED)
    }
    for kind, rule in RULES.items():
        if rule.verb not in offered or offered[rule.verb]:
            continue
        try:
            events = decide(incident, command(kind, actor))
        except NotAllowed:
            continue
        assert not events, f"{rule.verb} was not offered while {state}, but is accepted"
