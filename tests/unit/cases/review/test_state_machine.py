"""Incident and review together against a model of a few flags: closing asks the review."""

from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.cases.domain import commands as i
from services.cases.domain.errors import NotAllowed
from services.cases.domain.incident import decide as decide_incident
from services.cases.domain.incident import evolve as evolve_incident
from services.cases.domain.incident import fold as fold_incident
from services.cases.domain.values import Surroundings
from services.cases.domain.vocabulary import Severity, State
from services.cases.review.domain import commands as c
from services.cases.review.domain.decide import decide
from services.cases.review.domain.review import UNKNOWN, evolve
from services.cases.review.domain.vocabulary import ReviewState
from tests.support.incidents import ACTION, EM, EVERYONE, NOW, SR, command, story
from tests.support.reviews import REVIEWED, ROB, order

pytestmark = pytest.mark.unit
S = ReviewState


class Model(RuleBasedStateMachine):
    """Gives commands in any order; the model says before each whether it is accepted.

    The model knows nothing of `rules.RULES`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.incident = fold_incident(story(State.IN_REVIEW))
        self.review = UNKNOWN
        self.state, self.closed = S.UNKNOWN, False
        self.summary = self.evaluation = self.action = False
        self.lessons: dict[int, bool] = {}  # number → is it followed up?
        self.items: dict[int, bool] = {}  # number → is it done?
        self.covered = False

    def gives(self, given: c.ReviewCommand, *, allowed: bool) -> None:
        """Give *given*; check that it was accepted if *allowed*, else refused or already so."""
        try:
            events = list(decide(self.review, given))
        except NotAllowed:
            assert not allowed, f"{type(given).__name__} was refused while {self.state}"
            return
        assert allowed or events == [], f"{type(given).__name__} was accepted while {self.state}"
        for event in events:
            self.review = evolve(self.review, event)

    @invariant()
    def same_state(self) -> None:
        assert self.review.state is self.state
        assert len(self.review.items) == len(self.items)
        assert sum(item.done for item in self.review.items.values()) == sum(self.items.values())

    @rule()
    def an_action_stays_open(self) -> None:
        if not self.action and not self.closed:
            for event in decide_incident(self.incident, command(i.RecordAction)):
                self.incident = evolve_incident(self.incident, event)
            self.action = True

    @rule(version=st.integers(30, 33))
    def freezes(self, version: int) -> None:
        open_actions = (ACTION,) if self.action else ()
        reviewed = c.Reviewed(
            incident_id=REVIEWED.incident_id,
            version=version,
            severity=Severity.SEV2,
            started_by="rita",
            open_actions=open_actions,
        )
        allowed = self.state in {S.UNKNOWN, S.OPEN}
        self.gives(order(c.FreezeTimeline, SR, reviewed=reviewed), allowed=allowed)
        if allowed:
            self.state = S.OPEN

    @rule()
    def summarises(self) -> None:
        self.gives(order(c.RecordReviewSummary, SR), allowed=self.state is S.OPEN)
        self.summary = self.summary or self.state is S.OPEN

    @rule()
    def evaluates(self) -> None:
        self.gives(order(c.EvaluateResponse, SR), allowed=self.state is S.OPEN)
        self.evaluation = self.evaluation or self.state is S.OPEN

    @rule(number=st.integers(1, 3), reasoned=st.booleans())
    def learns(self, number: int, reasoned: bool) -> None:
        reason = "fixed already" if reasoned else ""
        lesson = order(c.RecordLesson, SR, lesson_id=UUID(int=number), no_item_reason=reason)
        self.gives(lesson, allowed=self.state is S.OPEN)
        if self.state is S.OPEN:
            self.lessons.setdefault(number, reasoned)

    @rule(number=st.integers(1, 3), lesson=st.integers(1, 3), action=st.booleans())
    def creates(self, number: int, lesson: int, action: bool) -> None:
        takes = action and ACTION in self.review.open_actions
        known = number in self.items
        allowed = self.state is S.OPEN and lesson in self.lessons
        allowed = allowed and not (action and (not takes or self.covered))
        self.gives(
            order(
                c.CreateImprovementItem,
                SR,
                item_id=UUID(int=number),
                lesson_id=UUID(int=lesson),
                action_id=ACTION if action else None,
            ),
            allowed=allowed or known,
        )
        if allowed and not known:
            self.items[number] = False
            self.lessons[lesson] = True
            self.covered = self.covered or takes

    @rule(number=st.integers(1, 3))
    def finishes(self, number: int) -> None:
        done = order(c.CompleteImprovementItem, SR, item_id=UUID(int=number))
        self.gives(done, allowed=number in self.items)
        if number in self.items:
            self.items[number] = True

    @rule()
    def submits(self) -> None:
        ready = self.summary and self.evaluation and bool(self.lessons)
        allowed = self.state is S.OPEN and ready and all(self.lessons.values())
        self.gives(order(c.SubmitReview, SR), allowed=allowed)
        if allowed:
            self.state = S.SUBMITTED

    @rule()
    def is_sent_back(self) -> None:
        self.gives(order(c.SendBackReview, ROB), allowed=self.state is S.SUBMITTED)
        if self.state is S.SUBMITTED:
            self.state = S.OPEN

    @rule(by_author=st.booleans())
    def signs_off(self, by_author: bool) -> None:
        allowed = self.state is S.SUBMITTED and not by_author
        self.gives(order(c.CompleteReview, SR if by_author else ROB), allowed=allowed)
        if allowed:
            self.state = S.COMPLETED

    @rule()
    def waives(self) -> None:
        allowed = self.state in {S.OPEN, S.SUBMITTED}
        self.gives(order(c.WaiveReview, EM), allowed=allowed)
        if allowed:
            self.state = S.WAIVED

    @rule()
    def closes(self) -> None:
        standing = "none" if self.review.state is S.UNKNOWN else self.review.state.value
        around = Surroundings(review=standing, covered=self.review.covered)
        allowed = self.state in {S.COMPLETED, S.WAIVED} and (not self.action or self.covered)
        if self.closed:
            return
        try:
            events = decide_incident(
                self.incident, command(i.CloseIncident, EVERYONE, now=NOW, around=around)
            )
        except NotAllowed:
            assert not allowed
            return
        assert allowed
        for event in events:
            self.incident = evolve_incident(self.incident, event)
        self.closed = True
        assert self.incident.state is State.CLOSED


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
