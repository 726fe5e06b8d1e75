"""What recurs is a chain: each submission opens the next period, a later phase ends it (§4.1)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.notify.obligations.deadlines import WithoutUndueDelay
from services.notify.obligations.identify import (
    IncidentFacts,
    Obligation,
    ObligationState,
    OperatorProfile,
    identify,
)
from services.notify.obligations.lifecycle import Kind, Stage, Step, refusals, stands
from services.notify.obligations.regime_file import parse_regimes, shipped_regimes
from services.notify.obligations.regimes import HoldKind, Regimes
from shared.clock import rfc3339
from shared.yaml_lines import LineError

pytestmark = pytest.mark.unit

AWARE = datetime(2026, 3, 3, 9, 20, tzinfo=UTC)
GDPR = OperatorProfile(capacities=frozenset({"controller"}), data_subject_regions=frozenset({"EU"}))
DORA = OperatorProfile(capacities=frozenset({"financial_entity"}), tz="Europe/Berlin",
                       calendar="de")  # fmt: skip


def _only(regime: str) -> Regimes:
    rows = tuple(row for row in shipped_regimes().rows if row.id == regime)
    return replace(shipped_regimes(), rows=rows)


def _owed(
    regime: str, operator: OperatorProfile, done: Mapping[str, datetime]
) -> dict[str, Obligation]:
    facts = IncidentFacts(
        clocks={"aware": AWARE, "classified_major": AWARE},
        inputs={"privacy": "personal", "major_incident": True},
        submissions={(regime, phase, ""): at for phase, at in done.items()},
    )
    return {one.phase: one for one in identify(facts, operator, [], _only(regime))}


def test_a_period_opens_with_the_submission_of_the_one_before() -> None:
    first, second = AWARE + timedelta(days=1), AWARE + timedelta(days=9)
    done = {"initial": AWARE, "supplement": first}
    assert set(_owed("gdpr_33_1", GDPR, {"initial": AWARE})) == {"initial", "supplement"}
    owed = _owed("gdpr_33_1", GDPR, done)
    assert set(owed) == {"initial", "supplement", "supplement#2"}
    assert owed["supplement#2"].due_at == first + timedelta(days=14)
    assert (owed["supplement#2"].clock, owed["supplement#2"].period) == (
        "submitted:supplement#1",
        2,
    )
    assert not owed["supplement#2"].provisional
    # Its own submission does not move it, and opens the third.
    owed = _owed("gdpr_33_1", GDPR, {**done, "supplement#2": second})
    assert owed["supplement#2"].due_at == first + timedelta(days=14)
    assert owed["supplement#3"].due_at == second + timedelta(days=14)
    # A gap in the chain opens nothing beyond it.
    assert "supplement#4" not in _owed("gdpr_33_1", GDPR, {**done, "supplement#3": second})


def test_dora_comes_again_by_a_rule_of_its_own_and_its_final_ends_it() -> None:
    start = AWARE + timedelta(hours=2)
    done = {"initial": start, "intermediate": start + timedelta(hours=70)}
    owed = _owed("dora_19", DORA, done)
    assert not owed["intermediate"].internal_target  # 72 h are law, once
    assert owed["intermediate#2"].internal_target
    assert owed["intermediate#2"].state is ObligationState.TRIGGERED
    # The final runs from the latest intermediate report.
    latest = start + timedelta(days=5)
    owed = _owed("dora_19", DORA, {**done, "intermediate#2": latest})
    assert owed["final"].clock_at == latest
    owed = _owed("dora_19", DORA, {**done, "final": latest})
    assert owed["intermediate#2"].state is ObligationState.NOT_REQUIRED
    assert "final was submitted" in owed["intermediate#2"].trigger[-1].because
    assert owed["intermediate"].state is ObligationState.TRIGGERED


def _end(by: str = "lena") -> Step:
    return Step(kind=Kind.END_SERIES, at=AWARE, by=by, detail={"reason": "nothing to add"})


def _codes(owed: Obligation, steps: list[Step], then: Step) -> list[str]:
    return [one.code for one in refusals(owed, stands(owed, steps), then, HoldKind.NONE)]


def test_a_series_is_ended_with_a_reason_and_goes_on_when_something_is_drafted() -> None:
    done = {"initial": AWARE, "supplement": AWARE}
    owed = _owed("gdpr_33_1", GDPR, done)
    second = owed["supplement#2"]
    assert _codes(second, [], _end()) == []
    standing = stands(second, [_end()])
    assert standing.stage is Stage.NOT_REQUIRED
    assert standing.ended == {"by": "lena", "reason": "nothing to add"}
    assert _codes(second, [_end()], _end()) == ["wrong_stage"]
    draft = Step(kind=Kind.DRAFT, at=AWARE, by="iris", detail={"content": {}})
    assert _codes(second, [_end()], draft) == []
    assert stands(second, [_end(), draft]).stage is Stage.DRAFTED
    # What the law asks for once is waived by two, not ended by one.
    assert _codes(owed["initial"], [], _end()) == ["not_recurring", "first_is_owed"]
    first = _owed("dora_19", DORA, {"initial": AWARE})["intermediate"]
    assert _codes(first, [], _end()) == ["first_is_owed"]
    assert _codes(owed["supplement"], [], _end()) == []  # GDPR: only where something was left out


def test_an_end_does_not_undo_a_submission() -> None:
    owed = _owed("gdpr_33_1", GDPR, {"initial": AWARE})["supplement"]
    sent = Step(kind=Kind.SUBMIT, at=AWARE, by="lena",
                detail={"submitted_at": rfc3339(AWARE), "reference": "x"})  # fmt: skip
    assert _codes(owed, [sent], _end()) == ["wrong_stage"]


ROW = """
regimes:
  - {id: x, version: "1", title: t, enabled: true, status: in_force, duty: operator, clock: aware,
     basis: own, source: s, phases: [{id: p, rule: {elapsed_hours: 96}, recipients: [r], REPEATS}]}
"""


def test_a_file_says_how_a_phase_comes_again() -> None:
    given = ROW.replace("REPEATS", "repeats: {without_undue_delay: {internal_target_hours: 5}}")
    phase = parse_regimes(given).rows[0].phases[0]
    assert phase.repeats
    assert phase.again == WithoutUndueDelay(5)
    assert parse_regimes(ROW.replace("REPEATS", "repeats: true")).rows[0].phases[0].again is None
    for bad, why in (("repeats: often", "true or false"), ("repeats: {weeks: 1}", "'weeks'")):
        with pytest.raises(LineError, match=why) as refused:
            parse_regimes(ROW.replace("REPEATS", bad))
        assert refused.value.line == 4
    with pytest.raises(LineError, match="has no #"):
        parse_regimes(ROW.replace("id: p", 'id: "p#2"').replace("REPEATS", "repeats: true"))
