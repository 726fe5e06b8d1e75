"""The core against a model of it: a dozen flags, and what they allow (issue 3, point 2).

The model knows nothing of `workflow.RULES`; it is the table of §3.3 said a second time.
"""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.cases.domain import commands as c
from services.cases.domain import vocabulary as v
from services.cases.domain.errors import NotAllowed
from services.cases.domain.incident import UNOPENED, decide, evolve, fold
from services.cases.domain.values import Counterpart, Member
from services.cases.domain.vocabulary import State
from tests.support.incidents import CONTAINMENT, EVERYONE, TEAM, command, story

pytestmark = pytest.mark.unit
S = State
ENDED = {S.CLOSED, S.FALSE_POSITIVE}
STAGES = [
    S.OPENED,
    S.ESCALATED,
    S.INVESTIGATING,
    S.CONFIRMED,
    S.CONTAINED,
    S.ERADICATED,
    S.RECOVERED,
    S.IN_REVIEW,
    S.CLOSED,
]
KINDS = {member.kind: member for member in TEAM}


class Model(RuleBasedStateMachine):
    """Gives commands in any order; the model says before each whether it moves the incident."""

    def __init__(self) -> None:
        super().__init__()
        self.incident = UNOPENED
        self.state = self.former = S.UNOPENED
        self.severity = self.summary = self.assessed = self.contained = False
        self.cause = self.approved = self.affected = False
        self.plan = 0
        self.kinds: set[v.MemberKind] = set()

    @initialize(start=st.sampled_from([S.UNOPENED, *STAGES]))
    def begins(self, start: State) -> None:
        """Begin anywhere on the straight line, so that walks reach what lies behind it."""
        self.incident, self.state = fold(story(start)), start
        reached = STAGES.index(start) if start in STAGES else -1
        self.severity = reached >= STAGES.index(S.ESCALATED)
        self.kinds = set(KINDS) if reached >= STAGES.index(S.INVESTIGATING) else set()
        self.summary = self.assessed = reached >= STAGES.index(S.CONFIRMED)
        self.contained = reached >= STAGES.index(S.CONTAINED)
        self.cause = self.approved = reached >= STAGES.index(S.ERADICATED)
        self.affected = reached >= STAGES.index(S.IN_REVIEW)

    def gives(self, order: c.Command, *, allowed: bool, to: State | None = None) -> bool:
        """Give *order*; check that it was accepted if *allowed*, else refused or already so."""
        try:
            events = list(decide(self.incident, order))
        except NotAllowed:
            assert not allowed, f"{type(order).__name__} was refused while {self.state}"
            return False
        if not allowed:
            assert events == [], f"{type(order).__name__} was accepted while {self.state}"
            return False
        for event in events:
            self.incident = evolve(self.incident, event)
        self.state = to or self.state
        return True

    @invariant()
    def same_state(self) -> None:
        assert self.incident.state is self.state

    @property
    def whole(self) -> bool:
        return self.kinds == set(KINDS)

    @rule(title=st.sampled_from(["a", "b"]))
    def open(self, title: str) -> None:
        self.gives(
            command(c.OpenIncident, title=title), allowed=self.state is S.UNOPENED, to=S.OPENED
        )

    @precondition(lambda self: self.state not in {S.UNOPENED, S.MERGED, *ENDED})
    @rule()
    def learns(self) -> None:
        """Record what most guards ask for; none of it moves the incident."""
        orders: list[c.Command] = [
            command(c.AttachDetections),
            command(c.SetSeverity, reason="known"),
            command(c.SetPriority, reason="known"),
            command(c.RecordSummary),
        ]
        self.severity = self.summary = True
        if self.state not in {S.OPENED, S.ESCALATED}:
            orders.append(command(c.AssessIndicator))
            self.assessed = True
        for order in orders:
            assert self.gives(order, allowed=True)

    @rule()
    def escalate(self) -> None:
        self.gives(
            command(c.EscalateIncident),
            allowed=self.state is S.OPENED and self.severity,
            to=S.ESCALATED,
        )

    @rule(seven=st.booleans())
    def form(self, seven: bool) -> None:
        formed = self.gives(
            command(c.FormVTeam, members=TEAM if seven else TEAM[:2]),
            allowed=self.state is S.ESCALATED and seven,
            to=S.INVESTIGATING,
        )
        if formed:
            self.kinds = set(KINDS)

    @precondition(lambda self: self.state not in {S.UNOPENED, S.OPENED, S.ESCALATED, S.MERGED})
    @precondition(lambda self: self.state not in ENDED)
    @rule(kind=st.sampled_from([v.MemberKind.SERVICE_TEAM, v.MemberKind.INCIDENT_COMMUNICATIONS]))
    def leaves(self, kind: v.MemberKind) -> None:
        present = kind in self.kinds
        person = KINDS[kind].person
        if self.gives(command(c.RemoveVTeamMember, person=person), allowed=present):
            self.kinds.discard(kind)

    @precondition(lambda self: self.state not in {S.UNOPENED, S.OPENED, S.ESCALATED, S.MERGED})
    @precondition(lambda self: self.state not in ENDED)
    @rule(kind=st.sampled_from(sorted(KINDS)))
    def joins(self, kind: v.MemberKind) -> None:
        member: Member = KINDS[kind]
        assert self.gives(
            command(c.AddVTeamMember, member=member, leads=member.person == "rita"), allowed=True
        )
        self.kinds.add(kind)

    @rule()
    def confirm(self) -> None:
        ready = self.whole and self.summary and self.assessed
        self.gives(
            command(c.ConfirmIncident),
            allowed=self.state is S.INVESTIGATING and ready,
            to=S.CONFIRMED,
        )

    @rule()
    def dismiss(self) -> None:
        self.gives(
            command(c.DismissAsFalsePositive),
            allowed=self.state is S.INVESTIGATING and self.whole,
            to=S.FALSE_POSITIVE,
        )

    @rule()
    def acts(self) -> None:
        if self.state in {S.CONFIRMED, S.CONTAINED, S.ERADICATED, S.RECOVERED, S.IN_REVIEW}:
            kind = v.ActionKind.CONTAINMENT
            for order in (
                command(c.RecordAction, action_id=CONTAINMENT, kind=kind),
                command(c.UpdateAction, action_id=CONTAINMENT),
            ):
                assert self.gives(order, allowed=True)
            self.contained = True

    @rule()
    def contain(self) -> None:
        self.gives(
            command(c.MarkContained),
            allowed=self.state is S.CONFIRMED and self.contained,
            to=S.CONTAINED,
        )

    @precondition(lambda self: self.state in {S.CONFIRMED, S.CONTAINED, S.ERADICATED})
    @rule()
    def plans(self) -> None:
        """Settle the cause, and have the newest plan approved by somebody else."""
        self.gives(command(c.RecordRootCause), allowed=True)
        other = EVERYONE.__class__(id="paula", roles=EVERYONE.roles)
        self.gives(command(c.DraftRecoveryPlan, other), allowed=True)
        self.gives(command(c.ApproveRecoveryPlan), allowed=True)
        self.cause = self.approved = True

    @rule()
    def eradicate(self) -> None:
        self.gives(
            command(c.MarkEradicated),
            allowed=self.state is S.CONTAINED and self.cause,
            to=S.ERADICATED,
        )

    @rule()
    def recover(self) -> None:
        self.gives(
            command(c.MarkRecovered),
            allowed=self.state is S.ERADICATED and self.approved,
            to=S.RECOVERED,
        )

    @rule()
    def review(self) -> None:
        self.gives(command(c.StartReview), allowed=self.state is S.RECOVERED, to=S.IN_REVIEW)

    @precondition(lambda self: self.state not in {S.UNOPENED, S.MERGED})
    @rule()
    def is_told_who_is_affected(self) -> None:
        self.gives(command(c.RecordAffectedCustomers), allowed=True)
        self.affected = True

    @rule()
    def close(self) -> None:
        self.gives(
            command(c.CloseIncident),
            allowed=self.state is S.IN_REVIEW and self.affected,
            to=S.CLOSED,
        )

    @rule(into=st.sampled_from([S.UNOPENED, S.OPENED, S.RECOVERED, S.CLOSED, S.MERGED]))
    def merge(self, into: State) -> None:
        mergeable = self.state in {S.OPENED, S.ESCALATED, S.INVESTIGATING, S.CONFIRMED}
        former = self.state
        facts: dict[str, Any] = {"target": Counterpart(state=None if into is S.UNOPENED else into)}
        merged = self.gives(
            command(c.MergeInto, **facts),
            allowed=mergeable and into in {S.OPENED, S.RECOVERED},
            to=S.MERGED,
        )
        if merged:
            self.former = former

    @rule(reason=st.sampled_from(["a", "b"]))
    def unmerge(self, reason: str) -> None:
        self.gives(
            command(c.UnmergeIncident, reason=reason),
            allowed=self.state is S.MERGED,
            to=self.former,
        )

    @rule()
    def reopen(self) -> None:
        if self.gives(
            command(c.ReopenIncident),
            allowed=self.state in {S.MERGED, *ENDED},
            to=S.INVESTIGATING,
        ):
            self.approved = False

    @rule()
    def retract(self) -> None:
        confirmed = {S.CONFIRMED, S.CONTAINED, S.ERADICATED, S.RECOVERED}
        if self.gives(
            command(c.RetractConfirmation),
            allowed=self.state in confirmed and self.whole,
            to=S.INVESTIGATING,
        ):
            self.approved = False

    @rule()
    def lose(self) -> None:
        if self.gives(
            command(c.ReportContainmentLoss),
            allowed=self.state in {S.CONTAINED, S.ERADICATED, S.RECOVERED},
            to=S.CONFIRMED,
        ):
            self.approved = False


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
