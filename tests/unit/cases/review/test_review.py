"""Every command on a review: what it causes, and everything that it can be refused for."""

import ast
import sys
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pytest

import services.cases.review.domain as domain
from services.cases.domain.errors import NotAllowed
from services.cases.domain.values import Actor
from services.cases.domain.vocabulary import AttackVector, Severity
from services.cases.review.domain import commands as c
from services.cases.review.domain import events as e
from services.cases.review.domain.decide import decide
from services.cases.review.domain.review import Review, evolve
from services.cases.review.domain.rules import RULES
from services.cases.review.domain.vocabulary import (
    CODES,
    LessonCategory,
    ReviewRole,
    ReviewState,
)
from services.cases.review.moves import review_moves
from services.cases.review.publish import review_contract
from services.cases.review.view import entry, project_review
from services.cases.store import RecordedReview
from shared.contracts.cases import LessonLearnedV1, ReviewRecordedV1
from tests.support.incidents import ACTION, EM, NOW, SR, ST
from tests.support.reviews import (
    ALL,
    INCIDENT,
    ITEM,
    LESSON,
    OTHER_ALL,
    REVIEWED,
    ROB,
    Told,
    order,
    told,
)

pytestmark = pytest.mark.unit
S = ReviewState
COMMANDS: tuple[type[c.ReviewCommand], ...] = get_args(c.ReviewCommand)

# Written out by hand, so that a slip in RULES is a failing test.
TRANSITIONS = {
    c.FreezeTimeline: ({S.UNKNOWN, S.OPEN}, S.OPEN),
    c.SubmitReview: ({S.OPEN}, S.SUBMITTED),
    c.SendBackReview: ({S.SUBMITTED}, S.OPEN),
    c.CompleteReview: ({S.SUBMITTED}, S.COMPLETED),
    c.WaiveReview: ({S.OPEN, S.SUBMITTED}, S.WAIVED),
}


def outcome(review: Review, command: c.ReviewCommand) -> tuple[list[e.ReviewEvent], set[str]]:
    """Return what *command* causes, or the codes of its refusal."""
    try:
        return list(decide(review, command)), set()
    except NotAllowed as refusal:
        return [], {unmet.code for unmet in refusal.unmet if unmet.detail}


def test_every_command_has_a_rule_and_every_verb_one_command() -> None:
    assert set(RULES) == set(COMMANDS)
    assert len({rule.verb for rule in RULES.values()}) == len(RULES)
    moving = {k: (rule.states, rule.to) for k, rule in RULES.items() if rule.to}
    assert moving == {k: (frozenset(a), b) for k, (a, b) in TRANSITIONS.items()}


@pytest.mark.parametrize("state", S)
def test_the_story_reaches_every_state(state: ReviewState) -> None:
    assert Told(state).review.state is state


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("kind", COMMANDS)
def test_only_transitions_move_and_everything_else_is_refused(
    state: ReviewState, kind: type[c.ReviewCommand]
) -> None:
    """All states × all commands − the table."""
    review = Told(state).review
    # By somebody who wrote nothing, of something that the story did not say.
    unheard_of: dict[type[Any], dict[str, Any]] = {
        c.FreezeTimeline: {"reviewed": c.Reviewed(incident_id=INCIDENT, version=41)},
        c.RecordReviewSummary: {"sequence": "another"},
        c.RecordLesson: {"lesson_id": UUID(int=999)},
        c.EvaluateResponse: {"text": "another"},
        c.CreateImprovementItem: {"item_id": UUID(int=999), "lesson_id": None, "action_id": None},
    }
    command = order(kind, OTHER_ALL, **unheard_of.get(kind, {}))
    events, refused = outcome(review, command)
    if refused:
        assert refused <= set(CODES)
        assert ("wrong_state" in refused) == (state not in RULES[kind].states)
        return
    for event in events:
        review = evolve(review, event)
    if events:
        assert state in RULES[kind].states
        assert review.state is (RULES[kind].to or state)
    else:  # said twice, which is saying it once
        assert RULES[kind].to is state


@pytest.mark.parametrize("kind", COMMANDS)
def test_whoever_lacks_the_role_is_refused_in_every_state(kind: type[c.ReviewCommand]) -> None:
    for role in set(ReviewRole) - RULES[kind].roles:
        for state in S:
            refused = Told(state).refuses(order(kind, Actor(id="rita", roles=(role.value,))))
            assert "role_missing" in refused


@pytest.mark.parametrize("kind", COMMANDS)
def test_saying_it_twice_is_saying_it_once(kind: type[c.ReviewCommand]) -> None:
    for state in S:
        once = Told(state)
        try:
            once = Told(state, order(kind, OTHER_ALL))
        except NotAllowed:
            continue
        assert once.when(order(kind, OTHER_ALL)) == []


def test_who_wrote_or_submitted_it_does_not_sign_it_off() -> None:
    submitted = Told(S.SUBMITTED)  # Sam wrote the summary, Rita the evaluation, and submitted it
    assert submitted.refuses(order(c.CompleteReview, SR)) == {"approver_is_author"}
    author = Actor(id="sam", roles=("security_response",))
    assert submitted.refuses(order(c.CompleteReview, author)) == {"approver_is_author"}
    [completed] = submitted.when(order(c.CompleteReview, ROB))
    assert isinstance(completed, e.ReviewCompleted)
    assert completed.submitted_by == "rita"
    assert completed.checklist["improvement_items"] == "1, 1 open"


@pytest.mark.parametrize("severity", [Severity.SEV0, Severity.SEV1])
def test_a_review_of_a_severe_incident_is_signed_off_by_an_executive(severity: Severity) -> None:
    reviewed = c.Reviewed(incident_id=INCIDENT, version=41, severity=severity, started_by="rita")
    severe = Told(
        S.OPEN,
        order(c.FreezeTimeline, SR, reviewed=reviewed),
        order(c.RecordReviewSummary, ST),
        order(c.EvaluateResponse, SR),
        order(c.SubmitReview, SR, no_lessons_reason="nothing new"),
    )
    assert severe.refuses(order(c.CompleteReview, ROB)) == {"role_missing"}
    assert len(severe.when(order(c.CompleteReview, EM))) == 1


def test_a_waiver_is_an_executives_and_not_of_who_started_it() -> None:
    open_ = Told(S.OPEN)
    assert open_.refuses(order(c.WaiveReview, ROB)) == {"role_missing"}
    starter = Actor(id="rita", roles=("executive_incident_manager",))
    assert open_.refuses(order(c.WaiveReview, starter)) == {"waiver_by_starter"}
    assert open_.refuses(order(c.WaiveReview, EM, reason=" ")) == {"reason_missing"}
    assert len(open_.when(order(c.WaiveReview, EM))) == 1


def test_submitting_names_everything_that_is_missing() -> None:
    assert Told(S.OPEN).refuses(order(c.SubmitReview, SR)) == {
        "summary_missing", "evaluation_missing", "lessons_missing"
    }  # fmt: skip
    lesson = Told(S.OPEN, order(c.RecordLesson, SR))
    assert "lesson_without_item" in lesson.refuses(order(c.SubmitReview, SR))
    reasoned = Told(S.OPEN, order(c.RecordLesson, SR, no_item_reason="fixed on the day"))
    assert "lesson_without_item" not in reasoned.refuses(order(c.SubmitReview, SR))


def test_a_new_vector_is_described() -> None:
    vague = order(c.RecordLesson, SR, attack_vector=AttackVector.UNKNOWN, techniques=())
    assert Told(S.OPEN).refuses(vague) == {"vector_missing"}
    lapse = order(c.RecordLesson, SR, category=LessonCategory.MANUAL_ERROR, techniques=("X1",))
    assert Told(S.OPEN).refuses(lapse) == {"technique_malformed"}


def test_an_open_action_goes_on_as_one_improvement_item() -> None:
    made = Told(S.OPEN, order(c.RecordLesson, SR), order(c.CreateImprovementItem, SR))
    assert made.review.covered == {ACTION}
    again = order(c.CreateImprovementItem, SR, item_id=UUID(int=999))
    assert made.refuses(again) == {"action_covered"}
    other = order(c.CreateImprovementItem, SR, item_id=UUID(int=999), action_id=UUID(int=998))
    assert made.refuses(other) == {"action_unknown"}
    past = order(c.CreateImprovementItem, SR, due=NOW, owner="", text="", lesson_id=UUID(int=9))
    assert Told(S.OPEN).refuses(past) == {
        "due_in_past", "owner_missing", "text_missing", "lesson_unknown"
    }  # fmt: skip


@pytest.mark.parametrize("state", [S.SUBMITTED, S.COMPLETED])
def test_an_improvement_item_is_tracked_until_it_is_done(state: ReviewState) -> None:
    review = Told(state, order(c.RescheduleImprovementItem, SR))
    assert review.review.items[ITEM].owner == "dan"
    done = Told(state, order(c.CompleteImprovementItem, ST))
    assert done.review.items[ITEM].done
    assert done.refuses(order(c.CompleteImprovementItem, ST, reference="other")) == {"item_done"}
    assert done.refuses(order(c.RescheduleImprovementItem, ST)) == {"item_done"}
    assert review.refuses(order(c.CompleteImprovementItem, ST, reference="")) == {
        "reference_missing"
    }
    assert review.refuses(order(c.CompleteImprovementItem, ST, item_id=LESSON)) == {"item_unknown"}


def test_what_was_sent_back_can_be_changed_again() -> None:
    back = Told(S.SUBMITTED, order(c.SendBackReview, ROB))
    assert back.review.state is S.OPEN
    assert len(back.when(order(c.RecordReviewSummary, ST, sequence="anew"))) == 1
    assert Told(S.SUBMITTED).refuses(order(c.RecordReviewSummary, ST, sequence="anew")) == {
        "wrong_state"
    }


def recorded(event: e.ReviewEvent, version: int) -> RecordedReview:
    return RecordedReview(
        position=version,
        stream_id=UUID(int=100),
        version=version,
        event_id=UUID(int=version),
        type=f"{type(event).__name__}.v1",
        event=event,
        recorded_at=NOW,
    )


def test_the_document_and_the_sentences_follow_the_events() -> None:
    events = told(S.SUBMITTED)
    for step in (order(c.SendBackReview, ROB), order(c.RescheduleImprovementItem, SR)):
        review = Told(S.SUBMITTED).review
        events += decide(review, step)
    document = None
    for version, event in enumerate(events, start=1):
        document = project_review(document, recorded(event, version))
        assert entry(recorded(event, version))["sentence"]
    assert document is not None
    assert document["state"] == "open"
    assert document["sent_back"]["reason"] == "Name the actor."
    [item] = document["improvement_items"]
    assert item["owner"] == "dan"
    assert item["rescheduled"][0]["before"]["owner"] == "sam"
    assert document["lessons"][0]["of_process"] is False


def test_a_lesson_is_published_in_full_and_the_rest_by_name() -> None:
    for event in told(S.COMPLETED):
        contract = review_contract(recorded(event, 1))
        if isinstance(event, e.LessonRecorded):
            assert isinstance(contract, LessonLearnedV1)
            assert contract.proposed_rule == "title: sshd on the bastion"
            assert contract.incident_id == INCIDENT
        else:
            assert isinstance(contract, ReviewRecordedV1)
            assert contract.event == type(event).__name__


@pytest.mark.parametrize("state", [S.OPEN, S.SUBMITTED, S.COMPLETED, S.WAIVED])
def test_moves_say_what_the_decider_would(state: ReviewState) -> None:
    review = Told(state).review
    found = dict(review_moves(review, REVIEWED, ALL, NOW))
    assert set(found) == {rule.verb for rule in RULES.values()}
    for rule in RULES.values():
        lacking = {unmet.code for unmet in found[rule.verb]}
        if not lacking:  # permitted, or so already: both are what giving it would answer
            so_already = {"freeze-timeline", "submit", "sign-off", "waive"}
            assert state in rule.states or rule.verb in so_already
        else:
            assert ("wrong_state" in lacking) == (state not in rule.states)


MODULES = sorted(Path(domain.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_a_module_of_the_core_is_pure(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            name = node.module or ""
            inside = ("services.cases.domain", "services.cases.review.domain")
            assert name.startswith(inside) or name.partition(".")[0] in sys.stdlib_module_names
