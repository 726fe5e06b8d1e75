"""Which command is for whom, in which states, and where it leads: one table for API and checks."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.cases.review.domain import commands as c
from services.cases.review.domain.vocabulary import ReviewRole as R
from services.cases.review.domain.vocabulary import ReviewState as S

__all__ = ["ENDED", "RULES", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One command; ``to`` is the state that it leads to, if it leads to another one."""

    verb: str
    states: frozenset[S]
    roles: frozenset[R]
    to: S | None = None


ENDED = frozenset({S.COMPLETED, S.WAIVED})
_OPEN = frozenset({S.OPEN})
_SUBMITTED = frozenset({S.SUBMITTED})
_TRACKED = frozenset(S) - {S.UNKNOWN}  # items go on after the review, and after the incident
_V_TEAM = frozenset(
    {R.SERVICE_TEAM, R.SECURITY_RESPONSE, R.INCIDENT_COMMUNICATIONS, R.SUBJECT_MATTER_EXPERT}
)
_ALL = _V_TEAM | {R.LEGAL, R.EXECUTIVE_INCIDENT_MANAGER, R.DETECTION_ENGINEER}
_LEADING = frozenset({R.SECURITY_RESPONSE, R.SERVICE_TEAM})
_SIGNING = frozenset({R.SECURITY_RESPONSE, R.EXECUTIVE_INCIDENT_MANAGER})

RULES: Mapping[type[c.ReviewCommand], Rule] = {
    c.FreezeTimeline: Rule(
        "freeze-timeline",
        frozenset({S.UNKNOWN, S.OPEN}),
        frozenset({R.SECURITY_RESPONSE, R.SYSTEM}),
        S.OPEN,
    ),
    c.RecordReviewSummary: Rule("record-summary", _OPEN, _V_TEAM),
    c.RecordLesson: Rule("record-lesson", _OPEN, _ALL),
    c.EvaluateResponse: Rule("evaluate-response", _OPEN, _V_TEAM | {R.EXECUTIVE_INCIDENT_MANAGER}),
    c.CreateImprovementItem: Rule("create-improvement-item", _OPEN, _ALL),
    c.RescheduleImprovementItem: Rule("reschedule-improvement-item", _TRACKED, _ALL),
    c.CompleteImprovementItem: Rule("complete-improvement-item", _TRACKED, _ALL),
    c.SubmitReview: Rule("submit", _OPEN, _LEADING, S.SUBMITTED),
    c.SendBackReview: Rule("send-back", _SUBMITTED, _SIGNING, S.OPEN),
    c.CompleteReview: Rule("sign-off", _SUBMITTED, _SIGNING, S.COMPLETED),
    c.WaiveReview: Rule(
        "waive", _OPEN | _SUBMITTED, frozenset({R.EXECUTIVE_INCIDENT_MANAGER}), S.WAIVED
    ),
}
