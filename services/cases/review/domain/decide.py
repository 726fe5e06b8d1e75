"""The decider of a review: every refusal names all that is missing."""

import re
from collections.abc import Sequence
from typing import Any, assert_never
from uuid import UUID

from services.cases.domain.errors import NotAllowed, Unmet
from services.cases.domain.vocabulary import AttackVector, Severity
from services.cases.review.domain import commands as c
from services.cases.review.domain import events as e
from services.cases.review.domain.review import Review
from services.cases.review.domain.rules import RULES
from services.cases.review.domain.vocabulary import CODES, LessonCategory, ReviewRole, ReviewState

__all__ = ["decide"]

_NOWHERE = UUID(int=0)
_EXECUTIVE = (Severity.SEV0, Severity.SEV1)
_TECHNIQUE = re.compile(r"T[0-9]{4}(\.[0-9]{3})?")


class _Check:
    """Role and state first; a decision adds its own conditions, then settles."""

    def __init__(self, review: Review, command: c.ReviewCommand) -> None:
        rule = RULES[type(command)]
        self._unmet: list[Unmet] = []
        self.need(
            not rule.roles.isdisjoint(command.actor.roles),
            "role_missing",
            f"{rule.verb} needs one of {', '.join(sorted(rule.roles))}",
        )
        self.need(
            review.state in rule.states,
            "wrong_state",
            f"{rule.verb} is for {', '.join(sorted(rule.states))}; it is {review.state}",
        )

    def need(self, holds: bool, code: str, detail: str = "") -> None:
        if not holds:
            self._unmet.append(Unmet(code, detail or CODES[code]))

    def text(self, value: str, code: str = "text_missing", detail: str = "") -> None:
        self.need(bool(value.strip()), code, detail)

    def settle(self) -> None:
        if self._unmet:
            raise NotAllowed(self._unmet)

    def already_so(self) -> Sequence[e.ReviewEvent]:
        """Return nothing, since nothing is left to happen; refuses only for want of a role."""
        self._unmet = [unmet for unmet in self._unmet if unmet.code == "role_missing"]
        self.settle()
        return []


def decide(review: Review, command: c.ReviewCommand) -> Sequence[e.ReviewEvent]:
    """Return what *command* causes; nothing, if it is already so. NotAllowed names all it lacks."""
    check = _Check(review, command)
    common: dict[str, Any] = {
        "actor": command.actor, "at": command.now, "incident_id": review.incident_id or _NOWHERE
    }  # fmt: skip
    match command:
        case c.FreezeTimeline():
            return _freeze(review, command, check)
        case c.RecordReviewSummary():
            return _summarise(review, command, check, common)
        case c.RecordLesson():
            return _lesson(review, command, check, common)
        case c.EvaluateResponse():
            known, told = review.evaluation, (command.sufficient, command.complete, command.text)
            if known and (known.sufficient, known.complete, known.text) == told:
                return check.already_so()
            check.text(command.text)
            check.settle()
            return [
                e.ResponseEvaluated(
                    **common,
                    sufficient=command.sufficient,
                    complete=command.complete,
                    text=command.text,
                )
            ]
        case c.CreateImprovementItem():
            return _create(review, command, check, common)
        case c.RescheduleImprovementItem():
            return _reschedule(review, command, check, common)
        case c.CompleteImprovementItem():
            return _complete_item(review, command, check, common)
        case c.SubmitReview():
            return _submit(review, command, check, common)
        case c.SendBackReview():
            if review.state is ReviewState.OPEN and review.sent_back == command.reason != "":
                return check.already_so()
            check.text(command.reason, "reason_missing")
            check.settle()
            return [e.ReviewSentBack(**common, reason=command.reason)]
        case c.CompleteReview():
            return _sign_off(review, command, check, common)
        case c.WaiveReview():
            if review.state is ReviewState.WAIVED:
                return check.already_so()
            check.text(command.reason, "reason_missing")
            check.need(command.actor.id != review.started_by, "waiver_by_starter")
            check.settle()
            return [e.ReviewWaived(**common, reason=command.reason)]
        case _:
            assert_never(command)


def _freeze(review: Review, command: c.FreezeTimeline, check: _Check) -> Sequence[e.ReviewEvent]:
    """Begin the review, or take in what the incident's log has gained since."""
    reviewed = command.reviewed
    if review.incident_version == reviewed.version:
        return check.already_so()
    check.settle()
    return [
        e.ReviewTimelineFrozen(
            actor=command.actor,
            at=command.now,
            incident_id=reviewed.incident_id,
            incident_version=reviewed.version,
            severity=reviewed.severity,
            started_by=reviewed.started_by,
            open_actions=reviewed.open_actions,
        )
    ]


def _summarise(
    review: Review, command: c.RecordReviewSummary, check: _Check, common: dict[str, Any]
) -> Sequence[e.ReviewEvent]:
    known = review.summary
    told = (
        command.sequence,
        command.technical_summary,
        command.threat_actors,
        command.unknown_vectors,
    )
    if known and told == (
        known.sequence,
        known.technical_summary,
        known.threat_actors,
        known.unknown_vectors,
    ):
        return check.already_so()
    check.text(command.sequence, "text_missing", "a review tells the sequence of events")
    check.text(command.technical_summary, "text_missing", "a review has a technical summary")
    check.settle()
    return [
        e.ReviewSummaryRecorded(
            **common,
            version=known.version + 1 if known else 1,
            sequence=command.sequence,
            technical_summary=command.technical_summary,
            threat_actors=command.threat_actors,
            unknown_vectors=command.unknown_vectors,
        )
    ]


def _lesson(
    review: Review, command: c.RecordLesson, check: _Check, common: dict[str, Any]
) -> Sequence[e.ReviewEvent]:
    if command.lesson_id in review.lessons:
        return check.already_so()
    check.text(command.text, "text_missing", "a lesson needs a text")
    check.need(
        command.category is not LessonCategory.NEW_VECTOR
        or command.attack_vector is not AttackVector.UNKNOWN
        or bool(command.techniques),
        "vector_missing",
    )
    for technique in command.techniques:
        check.need(
            bool(_TECHNIQUE.fullmatch(technique)),
            "technique_malformed",
            f"{technique!r} is no ATT&CK technique: it reads T1110 or T1110.003",
        )
    check.settle()
    return [
        e.LessonRecorded(
            **common,
            lesson_id=command.lesson_id,
            category=command.category,
            text=command.text,
            attack_vector=command.attack_vector,
            techniques=command.techniques,
            no_item_reason=command.no_item_reason.strip(),
            proposed_rule=command.proposed_rule,
            rule_ids=command.rule_ids,
            detection_ids=command.detection_ids,
        )
    ]


def _create(
    review: Review, command: c.CreateImprovementItem, check: _Check, common: dict[str, Any]
) -> Sequence[e.ReviewEvent]:
    if command.item_id in review.items:
        return check.already_so()
    check.text(command.text, "text_missing", "an improvement item needs a text")
    check.text(command.owner, "owner_missing")
    check.need(command.due > command.now, "due_in_past")
    check.need(
        command.lesson_id is None or command.lesson_id in review.lessons,
        "lesson_unknown",
        f"no lesson {command.lesson_id} here",
    )
    if command.action_id is not None:
        check.need(command.action_id in review.open_actions, "action_unknown")
        check.need(command.action_id not in review.covered, "action_covered")
    check.settle()
    return [
        e.ImprovementItemCreated(
            **common,
            item_id=command.item_id,
            text=command.text,
            owner=command.owner,
            due=command.due,
            target=command.target,
            lesson_id=command.lesson_id,
            action_id=command.action_id,
        )
    ]


def _reschedule(
    review: Review, command: c.RescheduleImprovementItem, check: _Check, common: dict[str, Any]
) -> Sequence[e.ReviewEvent]:
    known = review.items.get(command.item_id)
    if known and (known.owner, known.due) == (command.owner, command.due):
        return check.already_so()
    check.need(known is not None, "item_unknown")
    check.need(known is None or not known.done, "item_done")
    check.text(command.owner, "owner_missing")
    check.text(command.reason, "reason_missing")
    check.need(command.due > command.now, "due_in_past")
    check.settle()
    return [
        e.ImprovementItemRescheduled(
            **common,
            item_id=command.item_id,
            owner=command.owner,
            due=command.due,
            reason=command.reason,
        )
    ]


def _complete_item(
    review: Review, command: c.CompleteImprovementItem, check: _Check, common: dict[str, Any]
) -> Sequence[e.ReviewEvent]:
    known = review.items.get(command.item_id)
    if known and known.done:
        if known.reference == command.reference:
            return check.already_so()
        check.need(False, "item_done")
    check.need(known is not None, "item_unknown")
    check.text(command.reference, "reference_missing")
    check.settle()
    return [
        e.ImprovementItemDone(
            **common, item_id=command.item_id, reference=command.reference, result=command.result
        )
    ]


def _submit(
    review: Review, command: c.SubmitReview, check: _Check, common: dict[str, Any]
) -> Sequence[e.ReviewEvent]:
    if review.state is ReviewState.SUBMITTED and review.submitted_by == command.actor.id:
        return check.already_so()
    check.need(review.summary is not None, "summary_missing")
    check.need(review.evaluation is not None, "evaluation_missing")
    check.need(bool(review.lessons or command.no_lessons_reason.strip()), "lessons_missing")
    for key in review.without_item():
        check.need(False, "lesson_without_item", f"lesson {key} has no item and no reason for none")
    check.settle()
    return [e.ReviewSubmitted(**common, no_lessons_reason=command.no_lessons_reason)]


def _sign_off(
    review: Review, command: c.CompleteReview, check: _Check, common: dict[str, Any]
) -> Sequence[e.ReviewEvent]:
    if review.state is ReviewState.COMPLETED:
        return check.already_so()
    check.need(
        review.severity not in _EXECUTIVE
        or ReviewRole.EXECUTIVE_INCIDENT_MANAGER in command.actor.roles,
        "role_missing",
        f"signing off a review of {review.severity} needs executive_incident_manager",
    )
    authors = review.authors | {review.submitted_by}
    check.need(
        command.actor.id not in authors,
        "approver_is_author",
        f"{command.actor.id} wrote or submitted the review; somebody else has to sign it off",
    )
    check.settle()
    open_items = sum(not item.done for item in review.items.values())
    return [
        e.ReviewCompleted(
            **common,
            submitted_by=review.submitted_by,
            checklist={
                "timeline": f"version {review.incident_version}",
                "summary": f"version {review.summary.version if review.summary else 0}",
                "lessons": review.no_lessons_reason or str(len(review.lessons)),
                "improvement_items": f"{len(review.items)}, {open_items} open",
            },
            note=command.note,
        )
    ]
