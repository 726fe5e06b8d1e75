"""Where an obligation stands after its steps, and which steps are refused and why."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.obligations.identify import Obligation, ObligationState
from services.notify.obligations.lifecycle import (
    Kind,
    Stage,
    Standing,
    Step,
    alarms,
    refusals,
    stands,
)
from services.notify.obligations.regimes import HoldKind
from shared.clock import rfc3339

pytestmark = pytest.mark.unit

AWARE = datetime(2026, 3, 3, 9, 20, tzinfo=UTC)
DUE = AWARE + timedelta(hours=72)
OWED = Obligation(
    regime="gdpr_33_1",
    regime_version="1",
    phase="initial",
    recipient="authority",
    tenant=None,
    state=ObligationState.TRIGGERED,
    clock="aware",
    clock_at=AWARE,
    due_at=DUE,
    latest_arguable=None,
    internal_target=False,
    provisional=False,
    basis="72 h",
    trigger=(),
    source="GDPR",
    content=("nature", "measures"),
)
UNDECIDED = replace(OWED, state=ObligationState.UNDECIDED)


def step(kind: Kind, by: str = "lena", at: datetime = AWARE, **detail: Any) -> Step:
    return Step(kind=kind, at=at, by=by, detail=detail)


def submit(at: datetime, **detail: Any) -> Step:
    return step(Kind.SUBMIT, "lena", at, submitted_at=rfc3339(at), reference="P-1", **detail)


WHOLE = step(Kind.DRAFT, "iris", content={"nature": "mail read", "measures": "closed"})
APPROVED = [WHOLE, step(Kind.APPROVE, "lena")]


def unmet(
    steps: list[Step], then: Step, owed: Obligation = OWED, hold: HoldKind = HoldKind.NONE
) -> set[str]:
    return {one.code for one in refusals(owed, stands(owed, steps), then, hold)}


def test_the_straight_way() -> None:
    done = submit(AWARE + timedelta(hours=3))
    assert unmet([], WHOLE) == set()
    assert unmet([WHOLE], APPROVED[1]) == set()
    assert unmet(APPROVED, done) == set()
    standing = stands(OWED, [*APPROVED, done, step(Kind.ACKNOWLEDGE)])
    assert (standing.stage, standing.reference, standing.late) == (Stage.ACKNOWLEDGED, "P-1", False)


@pytest.mark.parametrize(
    ("steps", "then", "codes"),
    [
        ([WHOLE], step(Kind.APPROVE, "iris"), {"approver_is_author"}),
        (
            [step(Kind.DRAFT, "iris", content={"nature": " "})],
            step(Kind.APPROVE, "iris"),
            {"approver_is_author", "content_missing"},
        ),
        ([WHOLE], submit(AWARE), {"wrong_stage"}),
        (APPROVED, submit(DUE + timedelta(seconds=1)), {"late_reason_missing"}),
        (APPROVED, submit(DUE + timedelta(seconds=1), late_reason="strike"), set()),
        ([*APPROVED, WHOLE], submit(AWARE), {"wrong_stage"}),  # a new draft undoes the approval
        ([], step(Kind.DECIDE, required=True, reason="r"), {"wrong_stage"}),
        ([], step(Kind.ACKNOWLEDGE), {"wrong_stage"}),
        ([], step(Kind.EXPLAIN_LATE, reason="r"), {"not_late"}),
        ([], step(Kind.LIFT_HOLD, reason="r"), {"not_held"}),
        ([], step(Kind.APPROVE_WAIVER), {"no_waiver"}),
        (
            [step(Kind.PROPOSE_WAIVER, "lena", reason="r")],
            step(Kind.APPROVE_WAIVER, "lena"),
            {"approver_is_proposer"},
        ),
        ([step(Kind.PROPOSE_WAIVER, reason="r")], step(Kind.APPROVE_WAIVER, "eve"), set()),
    ],
)
def test_refusals_name_every_reason(steps: list[Step], then: Step, codes: set[str]) -> None:
    assert unmet(steps, then) == codes


def test_nothing_is_submitted_in_the_future() -> None:
    later = replace(submit(AWARE + timedelta(hours=1)), at=AWARE)
    assert unmet(APPROVED, later) == {"submitted_in_future"}


HOLD: Mapping[str, Any] = {"tz": "UTC", "until": "2026-04-01", "authority": "police"}
DELAY: Mapping[str, Any] = {"tz": "UTC", "delay_days": 30, "authority": "attorney general"}


@pytest.mark.parametrize(
    ("detail", "kind", "codes"),
    [
        (HOLD, HoldKind.HOLD, set()),
        (HOLD, HoldKind.DELAY, {"wrong_hold"}),
        (DELAY, HoldKind.DELAY, set()),
        (DELAY, HoldKind.HOLD, {"wrong_hold"}),
        (HOLD, HoldKind.NONE, {"no_hold"}),
    ],
)
def test_only_the_hold_that_the_regime_knows(
    detail: Mapping[str, Any], kind: HoldKind, codes: set[str]
) -> None:
    assert unmet([], step(Kind.HOLD, **detail), hold=kind) == codes


def test_a_hold_moves_the_deadline_and_stops_the_submission_until_it_is_over() -> None:
    steps = [*APPROVED, step(Kind.HOLD, **HOLD)]
    standing = stands(OWED, steps)
    assert standing.due_at == datetime(2026, 4, 1, 23, 59, 59, tzinfo=UTC)
    assert "held until the end of 2026-04-01" in standing.basis
    assert unmet(steps, submit(DUE), hold=HoldKind.HOLD) == {"held"}
    lifted = [*steps, step(Kind.LIFT_HOLD, reason="r")]
    assert unmet(lifted, submit(DUE), hold=HoldKind.HOLD) == set()
    assert stands(OWED, lifted).due_at == DUE


def test_a_decision_counts_only_while_it_cannot_be_told() -> None:
    no = step(Kind.DECIDE, required=False, reason="not ours")
    yes = step(Kind.DECIDE, required=True, reason="ours")
    assert unmet([], no, UNDECIDED) == set()
    assert stands(UNDECIDED, [no]).stage is Stage.NOT_REQUIRED
    assert stands(UNDECIDED, [yes]).stage is Stage.TRIGGERED
    assert stands(OWED, [no]).stage is Stage.TRIGGERED  # facts came that speak for it
    assert unmet([no], WHOLE, UNDECIDED) == {"wrong_stage"}


@given(
    st.lists(
        st.sampled_from(
            [
                WHOLE,
                APPROVED[1],
                submit(AWARE + timedelta(hours=1)),
                step(Kind.ACKNOWLEDGE),
                step(Kind.HOLD, **HOLD),
                step(Kind.LIFT_HOLD, reason="r"),
                step(Kind.PROPOSE_WAIVER, "iris", reason="r"),
                step(Kind.APPROVE_WAIVER, "eve"),
                step(Kind.DECIDE, required=True, reason="r"),
            ]
        ),
        max_size=12,
    ),
    st.sampled_from([OWED, UNDECIDED]),
)
def test_on_every_way_two_people_stand_behind_what_was_submitted_or_waived(
    wanted: list[Step], owed: Obligation
) -> None:
    taken: list[Step] = []
    for one in wanted:
        if not refusals(owed, stands(owed, taken), one, HoldKind.HOLD):
            taken.append(one)
    standing: Standing = stands(owed, taken)
    if standing.submitted_at is not None:
        assert standing.approved_by not in {None, standing.author}
        assert not standing.missing
    if standing.stage is Stage.WAIVED:
        assert standing.waiver is not None
        assert standing.waiver["by"] != "eve"


def test_alarms_at_half_four_fifths_two_hours_and_the_end() -> None:
    assert alarms(AWARE, DUE) == [
        (AWARE + timedelta(hours=36), "half"),
        (AWARE + timedelta(hours=57, minutes=36), "four_fifths"),
        (AWARE + timedelta(hours=70), "two_hours"),
        (DUE, "overdue"),
    ]
    short = alarms(AWARE, AWARE + timedelta(hours=1))  # two hours before it, nothing had begun
    assert [level for _, level in short] == ["half", "four_fifths", "overdue"]
    before = AWARE - timedelta(hours=1)
    assert alarms(AWARE, before) == [(before, "overdue")]


def test_what_came_back_was_not_submitted_and_can_be_again() -> None:
    reopen = step(Kind.REOPEN, "system", reason="the notice came back")
    assert unmet(APPROVED, reopen) == {"wrong_stage"}
    sent = submit(AWARE + timedelta(hours=3))
    back = stands(OWED, [*APPROVED, sent, reopen])
    assert (back.stage, back.submitted_at, back.reference) == (Stage.APPROVED, None, "")
    # Without draft and approval, as by a notice to a tenant; late the second time.
    late = submit(DUE + timedelta(hours=1), late_reason="the first came back")
    assert stands(OWED, [sent, reopen]).stage is Stage.TRIGGERED
    again = stands(OWED, [sent, reopen, late])
    assert (again.stage, again.late) == (Stage.SUBMITTED, True)
    assert stands(OWED, [sent, reopen, late, reopen]).stage is Stage.TRIGGERED


def test_a_hold_that_was_lifted_stays_lifted_when_the_notice_comes_back() -> None:
    held, lifted = step(Kind.HOLD, **HOLD), step(Kind.LIFT_HOLD, reason="r")
    assert stands(OWED, [held]).due_at > DUE
    sent, reopen = submit(AWARE + timedelta(hours=3)), step(Kind.REOPEN, "system", reason="r")
    explained = step(Kind.EXPLAIN_LATE, reason="of the first")
    back = stands(OWED, [held, sent, lifted, explained, reopen])
    assert (back.stage, back.hold, back.due_at) == (Stage.TRIGGERED, None, DUE)
    assert (back.submitted_at, back.late_reason) == (None, "")
