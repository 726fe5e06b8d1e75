"""Pure: what people do with an obligation (§4.1): decide, draft, approve, submit, hold, waive.

An obligation as computed is one thing, what was done about it another: steps are facts that are
only added, and where it stands follows from both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from services.notify.obligations.deadlines import Deadline
from services.notify.obligations.holds import Delay, Hold, HoldForDays, HoldUntil, held
from services.notify.obligations.identify import Obligation, ObligationState
from services.notify.obligations.regimes import HoldKind
from shared.clock import parse_instant

__all__ = [
    "ALARMS", "Kind", "Stage", "Standing", "Step", "Unmet", "alarms", "refusals", "stands",
]  # fmt: skip


class Stage(StrEnum):
    """The states of §4.1; held, due soon and overdue lie over them."""

    UNDECIDED = "undecided"
    NOT_REQUIRED = "not_required"
    TRIGGERED = "triggered"
    DRAFTED = "drafted"
    APPROVED = "approved"
    SUBMITTED = "submitted"
    ACKNOWLEDGED = "acknowledged"
    WAIVED = "waived"


OPEN = frozenset({Stage.UNDECIDED, Stage.TRIGGERED, Stage.DRAFTED, Stage.APPROVED})
DONE = frozenset({Stage.SUBMITTED, Stage.ACKNOWLEDGED})


class Kind(StrEnum):
    """What can be done; each is one verb of the API."""

    DECIDE = "decide"
    DRAFT = "draft"
    APPROVE = "approve"
    SUBMIT = "submit"
    ACKNOWLEDGE = "acknowledge"
    EXPLAIN_LATE = "explain-late"
    HOLD = "hold"
    LIFT_HOLD = "lift-hold"
    PROPOSE_WAIVER = "propose-waiver"
    APPROVE_WAIVER = "approve-waiver"
    END_SERIES = "end-series"
    REOPEN = "reopen"
    """Only ever by the system: the notice that it was met by came back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that somebody did; ``detail`` is JSON."""

    kind: Kind
    at: datetime
    by: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an obligation stands after its steps; ``due_at`` is that under a hold."""

    stage: Stage
    due_at: datetime
    basis: str
    content: Mapping[str, str] = field(default_factory=dict)
    filled: Mapping[str, str] = field(default_factory=dict)
    """Of the content what facts said, and which facts."""
    missing: tuple[str, ...] = ()
    author: str | None = None
    approved_by: str | None = None
    submitted_at: datetime | None = None
    reference: str = ""
    late_reason: str = ""
    hold: Mapping[str, Any] | None = None
    waiver: Mapping[str, Any] | None = None
    ended: Mapping[str, Any] | None = None
    """Who said, and why, that nothing further is owed of what recurs."""

    @property
    def open(self) -> bool:
        return self.stage in OPEN

    @property
    def late(self) -> bool:
        return self.submitted_at is not None and self.submitted_at > self.due_at


@dataclass(frozen=True, slots=True)
class Unmet:
    """Why a step is refused; the code is stable."""

    code: str
    detail: str


def stands(obligation: Obligation, steps: Sequence[Step]) -> Standing:
    """Return where *obligation* stands. What was submitted stays so whatever is computed anew.

    Only what reached nobody was not submitted after all (`Kind.REOPEN`).
    """
    found = Standing(
        stage=Stage(obligation.state.value),
        due_at=obligation.due_at,
        basis=obligation.basis,
        missing=obligation.content,
    )
    for step in _in_force(steps):
        found = _after(found, obligation, step)
    if found.hold is not None:
        base = Deadline(obligation.due_at, (obligation.basis,))
        under = held(base, _hold(found.hold))
        found = replace(found, due_at=under.due_at, basis="; ".join(under.steps))
    return found


_SUBMISSION = frozenset({Kind.SUBMIT, Kind.ACKNOWLEDGE, Kind.EXPLAIN_LATE})


def _in_force(steps: Sequence[Step]) -> list[Step]:
    """Return *steps* without the submissions that were taken back, and what was said of those.

    A hold that was lifted in between stays lifted.
    """
    kept: list[Step] = []
    for step in steps:
        if step.kind is not Kind.REOPEN:
            kept.append(step)
        else:
            submitted = max(n for n, one in enumerate(kept) if one.kind is Kind.SUBMIT)
            kept[submitted:] = [one for one in kept[submitted:] if one.kind not in _SUBMISSION]
    return kept


def _after(found: Standing, obligation: Obligation, step: Step) -> Standing:
    detail = step.detail
    match step.kind:
        case Kind.DECIDE:
            # A decision is about what cannot be told; once it can be told, that counts.
            if obligation.state is not ObligationState.UNDECIDED:
                return found
            stage = Stage.TRIGGERED if detail["required"] else Stage.NOT_REQUIRED
            return replace(found, stage=stage)
        case Kind.DRAFT:
            content = {k: v for k, v in detail["content"].items() if v.strip()}
            missing = tuple(name for name in obligation.content if name not in content)
            return replace(
                found,
                stage=Stage.DRAFTED,
                content=content,
                filled={k: v for k, v in detail.get("filled", {}).items() if k in content},
                missing=missing,
                author=step.by,
                approved_by=None,
                ended=None,  # there is something to say again
            )
        case Kind.APPROVE:
            return replace(found, stage=Stage.APPROVED, approved_by=step.by)
        case Kind.SUBMIT:
            return replace(
                found,
                stage=Stage.SUBMITTED,
                submitted_at=parse_instant(detail["submitted_at"]),
                reference=detail["reference"],
                late_reason=detail.get("late_reason", ""),
            )
        case Kind.ACKNOWLEDGE:
            return replace(found, stage=Stage.ACKNOWLEDGED)
        case Kind.EXPLAIN_LATE:
            return replace(found, late_reason=detail["reason"])
        case Kind.HOLD:
            return replace(found, hold=detail)
        case Kind.LIFT_HOLD:
            return replace(found, hold=None)
        case Kind.PROPOSE_WAIVER:
            return replace(found, waiver={"by": step.by, "reason": detail["reason"]})
        case Kind.APPROVE_WAIVER:
            return replace(found, stage=Stage.WAIVED)
        case Kind.END_SERIES:
            ended = {"by": step.by, "reason": detail["reason"]}
            return replace(found, stage=Stage.NOT_REQUIRED, ended=ended)
        case Kind.REOPEN:
            return found  # `_in_force` leaves none


def refusals(
    obligation: Obligation,
    now: Standing,
    step: Step,
    hold_kind: HoldKind,
) -> list[Unmet]:
    """Return every reason why *step* may not be taken; none if it may."""
    found: list[Unmet] = []

    def need(holds: bool, code: str, detail: str) -> None:
        if not holds:
            found.append(Unmet(code, detail))

    def stage(*wanted: Stage) -> None:
        words = " or ".join(wanted)
        need(now.stage in wanted, "wrong_stage", f"It is {now.stage}, not {words}.")

    detail = step.detail
    match step.kind:
        case Kind.DECIDE:
            stage(Stage.UNDECIDED)
        case Kind.DRAFT:
            if now.ended is None:
                stage(Stage.TRIGGERED, Stage.DRAFTED, Stage.APPROVED)
        case Kind.APPROVE:
            stage(Stage.DRAFTED)
            need(step.by != now.author, "approver_is_author", f"{step.by} wrote it.")
            for name in now.missing:
                need(False, "content_missing", f"It has no {name}.")
        case Kind.SUBMIT:
            stage(Stage.APPROVED)
            for name in now.missing:  # the regime asks for more than when it was approved
                need(False, "content_missing", f"It has no {name}.")
            at = parse_instant(detail["submitted_at"])
            need(at <= step.at, "submitted_in_future", "It cannot be submitted later than now.")
            stopped = now.hold is not None and hold_kind is HoldKind.HOLD and at < now.due_at
            need(not stopped, "held", "A hold stops it; lift it first.")
            reason = str(detail.get("late_reason", "")).strip()
            need(at <= now.due_at or bool(reason), "late_reason_missing", "It is late: say why.")
        case Kind.ACKNOWLEDGE:
            stage(Stage.SUBMITTED)
        case Kind.EXPLAIN_LATE:
            need(now.late, "not_late", "It was not submitted late.")
        case Kind.HOLD:
            need(now.open, "wrong_stage", f"It is {now.stage}.")
            need(hold_kind is not HoldKind.NONE, "no_hold", "This regime knows no hold.")
            delays = "delay_days" in detail
            fits = delays == (hold_kind is HoldKind.DELAY)
            need(hold_kind is HoldKind.NONE or fits, "wrong_hold", f"The regime knows {hold_kind}.")
        case Kind.LIFT_HOLD:
            need(now.hold is not None, "not_held", "There is no hold.")
        case Kind.PROPOSE_WAIVER:
            need(now.open, "wrong_stage", f"It is {now.stage}.")
        case Kind.APPROVE_WAIVER:
            need(now.open, "wrong_stage", f"It is {now.stage}.")
            need(now.waiver is not None, "no_waiver", "Nobody proposed to waive it.")
            proposer = now.waiver["by"] if now.waiver else None
            need(step.by != proposer, "approver_is_proposer", f"{step.by} proposed it.")
        case Kind.END_SERIES:
            need(now.open, "wrong_stage", f"It is {now.stage}.")
            need(obligation.repeats, "not_recurring", "It does not come again; decide or waive it.")
            # What the law asks for once by a date of its own is not ended by one person.
            begun = obligation.period > 1 or obligation.internal_target
            need(begun, "first_is_owed", "The first is owed by law: submit it, or waive it.")
        case Kind.REOPEN:
            stage(Stage.SUBMITTED)
    return found


def _hold(detail: Mapping[str, Any]) -> Hold:
    tz = detail["tz"]
    if "delay_days" in detail:
        return Delay(detail["delay_days"], tz)
    if "days" in detail:
        return HoldForDays(detail["days"], parse_instant(detail["stated_at"]), tz)
    return HoldUntil(date.fromisoformat(detail["until"]), tz)


ALARMS = ("half", "four_fifths", "two_hours", "overdue")
"""Warnings at 50 % and 80 % of the time, two hours before, and when it is over."""


def alarms(clock_at: datetime, due_at: datetime) -> list[tuple[datetime, str]]:
    """Return when each of `ALARMS` is given, in order; no warning before the clock began."""
    if due_at <= clock_at:
        return [(due_at, "overdue")]
    span = due_at - clock_at
    at = (clock_at + span / 2, clock_at + span * 4 / 5, due_at - timedelta(hours=2), due_at)
    order = sorted(zip(at, range(len(ALARMS)), strict=True))
    return [(moment, ALARMS[n]) for moment, n in order if moment >= clock_at]
