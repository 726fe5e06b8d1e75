"""What may happen to a rule, in which state, by whom (R14a); what verdicts make of it (R04a)."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from services.detect.lifecycle import domain
from services.detect.lifecycle.domain import Event, Managed, RefusedChangeError, fold
from services.detect.lifecycle.precision import Precision
from services.detect.lifecycle.text import ProposalTextError, fit, read_proposal
from services.detect.lifecycle.trial import trial_of
from services.detect.rules.load import LoadReport, load_rules
from shared.contracts.ingest import Envelope

pytestmark = pytest.mark.unit
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULE = "11111111-1111-4111-8111-111111111111"


def proposed(author: str = "ann", text: str = "one", revision: int = 1) -> Event:
    body = {"revision": revision, "text": text, "title": "t", "origin": "recommendation",
            "reason": "because"}  # fmt: skip
    return Event("proposed", author, NOW, body)


def given(*events: Event) -> Managed:
    return fold(RULE, events)


TESTED = Event("backtested", "detect", NOW, {"replay_id": "r", "matches": 3})
APPROVED = Event("approved", "bob", NOW, {"revision": 1})
ACTIVE = Event("activated", "ann", NOW, {"revision": 1})
RETIRED = Event("retired", "ann", NOW, {"reason": "noise"})


def codes(refused: pytest.ExceptionInfo[RefusedChangeError]) -> list[str]:
    return [code for code, _ in refused.value.unmet]


def test_the_states_people_see() -> None:
    assert given(proposed()).state == "proposed"
    assert given(proposed(), TESTED).state == "backtested"
    assert given(proposed(), TESTED, APPROVED).state == "approved"
    assert given(proposed(), TESTED, APPROVED, ACTIVE).state == "active"
    tuned = given(proposed(), TESTED, APPROVED, ACTIVE, proposed("bob", "two", 2))
    assert (tuned.state, tuned.active, tuned.pending) == ("proposed", 1, 2)
    again = domain.evolve(domain.evolve(tuned, APPROVED), ACTIVE)
    assert (again.state, again.active) == ("tuned", 2)
    assert given(proposed(), TESTED, APPROVED, ACTIVE, RETIRED).state == "retired"
    assert given(proposed(), Event("rejected", "bob", NOW, {})).state == "rejected"


def test_nobody_approves_a_rule_of_their_own() -> None:
    with pytest.raises(RefusedChangeError) as refused:
        domain.approve(given(proposed("ann")), 1, "ann", NOW, None)
    assert codes(refused) == ["own_rule", "not_backtested"]  # all unmet conditions at once
    assert domain.approve(given(proposed(), TESTED), 1, "bob", NOW, None).type == "approved"


def test_a_new_text_has_to_be_tried_and_approved_anew() -> None:
    rule = given(proposed(), TESTED, APPROVED, ACTIVE, proposed("bob", "two", 2))
    with pytest.raises(RefusedChangeError) as refused:
        domain.approve(rule, 1, "bob", NOW, None)
    assert codes(refused) == ["stale", "own_rule", "not_backtested"]
    assert domain.approve(rule, 2, "ann", NOW, "urgent: attack goes on").actor == "ann"


@pytest.mark.parametrize(
    ("rule", "change", "code"),
    [
        (given(proposed()), lambda r: domain.activate(r, "ann", NOW), "not_approved"),
        (given(), lambda r: domain.activate(r, "ann", NOW), "nothing_pending"),
        (given(), lambda r: domain.reject(r, 1, "no good", "ann", NOW), "nothing_pending"),
        (given(), lambda r: domain.retire(r, False, "noise", "ann", NOW), "not_in_force"),
        (given(RETIRED), lambda r: domain.retire(r, True, "noise", "ann", NOW), "not_in_force"),
        (given(proposed()), lambda r: domain.reinstate(r, "back", "ann", NOW), "not_retired"),
        (given(proposed()), lambda r: domain.propose(
            r, "two", "t", "recommendation", "because", "ann", NOW), "pending"),
        (given(proposed(), TESTED, APPROVED, ACTIVE), lambda r: domain.propose(
            r, "one", "t", "recommendation", "because", "ann", NOW), "unchanged"),
    ],
)  # fmt: skip
def test_what_the_state_does_not_permit(rule: Managed, change: object, code: str) -> None:
    with pytest.raises(RefusedChangeError) as refused:
        change(rule)  # type: ignore[operator]  # a lambda
    assert codes(refused) == [code]


def test_a_backtest_that_nobody_awaits_says_nothing() -> None:
    asked = Event("backtest_requested", "ann", NOW, {"replay_id": "r1"})
    rule = given(proposed(), asked)
    assert domain.finish_backtest(rule, "r0", {}, NOW) is None
    event = domain.finish_backtest(rule, "r1", {"matches": 0}, NOW)
    assert event is not None
    assert domain.evolve(rule, event).backtest == {"replay_id": "r1", "matches": 0}


def test_precision_trusts_many_verdicts_more_than_few() -> None:
    assert Precision(0, 0).lower_bound == 0.5
    assert Precision(1, 0).lower_bound == pytest.approx(0.2065, abs=1e-3)
    assert Precision(90, 10).lower_bound == pytest.approx(0.8256, abs=1e-3)
    assert Precision(0, 3).lower_bound == pytest.approx(0, abs=1e-9)
    assert Precision(0, 3).rank(70) < Precision(0, 0).rank(70) < Precision(90, 10).rank(70)


SIGMA = """
title: A failure
id: 31111111-1111-4111-8111-111111111111
name: failure
logsource: {category: application}
detection: {s: {outcome: failure}, condition: s}
"""


def test_the_text_of_a_proposal() -> None:
    found = read_proposal(SIGMA)
    assert (found.rule_id, found.title) == ("31111111-1111-4111-8111-111111111111", "A failure")
    many = (
        "---\ntitle: Many\nid: 32222222-2222-4222-8222-222222222222\ncorrelation:\n"
        "  {type: event_count, rules: [failure], timespan: 1m, condition: {gte: 3}}\n"
    )
    assert read_proposal(SIGMA + many).title == "Many"
    for text, line, reason in [
        ("title: x", 1, "'logsource' must be a map"),
        (SIGMA + SIGMA.replace("3111", "3112").replace("name: failure", "x: y")[1:].replace(
            "title", "---\ntitle", 1), 1, "found 2"),
        (many[4:], 1, "no rule in force has the id or name"),
        ("", 1, "holds no rule"),
    ]:  # fmt: skip
        with pytest.raises(ProposalTextError) as refused:
            read_proposal(text)
        assert reason in refused.value.reason
        assert refused.value.line == line


SIGMA_ID, FILTER_ID = (
    "31111111-1111-4111-8111-111111111111", "34444444-4444-4444-8444-444444444444"
)  # fmt: skip
FILTER = """
title: Backups may fail
id: 34444444-4444-4444-8444-444444444444
logsource: {category: application}
filter: {rules: [RULE], s: {user: backup}, condition: not s}
"""


def loaded(folder: Path, *texts: str) -> LoadReport:
    for number, text in enumerate(texts):
        (folder / f"{number}.yml").write_text(text)
    return load_rules([folder])


def refusal(text: str, report: LoadReport) -> str:
    with pytest.raises(ProposalTextError) as refused:
        fit(read_proposal(text, report.placeholders), report)
    return refused.value.reason


def test_a_filter_is_proposed_by_itself_for_rules_that_are_in_force(tmp_path: Path) -> None:
    many = (
        "title: Many\nid: 32222222-2222-4222-8222-222222222222\ncorrelation:\n"
        "  {type: event_count, rules: [failure], timespan: 1m, condition: {gte: 3}}\n"
    )
    report = loaded(tmp_path, SIGMA, many)
    for named in ("failure", "any", SIGMA_ID):
        fit(read_proposal(FILTER.replace("RULE", named)), report)
    assert "none of which is in force" in refusal(FILTER.replace("RULE", "other"), report)
    assert "correlation rule" in refusal(
        FILTER.replace("RULE", "32222222-2222-4222-8222-222222222222"), report
    )
    taken = FILTER.replace("RULE", "failure").replace(FILTER_ID, SIGMA_ID)
    assert "is that of a rule" in refusal(taken, report)
    assert "proposed by itself" in refusal(SIGMA + "---" + FILTER, report)


def test_a_rule_cannot_take_the_id_of_a_filter(tmp_path: Path) -> None:
    report = loaded(tmp_path, SIGMA, FILTER.replace("RULE", "failure"))
    stolen = SIGMA.replace(SIGMA_ID, FILTER_ID)
    assert "is that of a filter" in refusal(stolen, report)


def test_a_proposal_knows_the_placeholders_of_the_rules_in_force(tmp_path: Path) -> None:
    wanted = SIGMA.replace("{outcome: failure}", "{'user|expand': '%admins%'}")
    assert "has no values" in refusal(wanted, loaded(tmp_path, SIGMA))
    (tmp_path / "placeholders.yml").write_text("admins: [ann, bob]\n")
    report = loaded(tmp_path, SIGMA)
    trial = trial_of("x", read_proposal(wanted, report.placeholders), report)
    assert trial.rule_id == "x"


def envelopes(*events: dict[str, str]) -> list[Envelope]:
    return [
        {
            "id": str(UUID(int=at)), "observed_time": "2026-11-01T10:00:00.000000Z",
            "source_id": "s", "logsource": {"category": "application"}, "raw": event,
        }
        for at, event in enumerate(events)
    ]  # fmt: skip


def test_a_filter_is_tried_by_what_it_would_leave_out(tmp_path: Path) -> None:
    other = FILTER.replace("RULE", "any").replace("34444444", "35555555").replace("backup", "test")
    first = FILTER.replace("RULE", "failure")
    report = loaded(tmp_path, SIGMA, other, first)
    assert len(report.filters) == 2
    trial = trial_of("f", read_proposal(first), report)
    found = trial.matches(
        envelopes(
            {"outcome": "failure", "user": "backup"},
            {"outcome": "failure", "user": "test"},  # another filter has it already
            {"outcome": "failure", "user": "ann"},
            {"outcome": "success", "user": "backup"},
        )
    )
    assert trial.result(found) == {"matches": 1, "left": 1, "samples": [str(UUID(int=0))]}
