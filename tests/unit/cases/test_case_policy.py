"""The case-management policy: data with a strict reader, shown as completeness, held at confirm."""

from pathlib import Path

import pytest

from services.cases.case_policy import SHIPPED, CasePolicyError, completeness, load, parse
from services.cases.domain import commands as c
from services.cases.domain import events as e
from services.cases.domain.completeness import FIELDS, PHASES
from services.cases.domain.incident import fold
from services.cases.domain.values import Phase, Policy
from services.cases.domain.vocabulary import State
from services.cases.moves import moves
from shared.yaml_lines import LineError
from tests.support.given import given
from tests.support.incidents import NOW, SR, command, story

pytestmark = pytest.mark.unit


def test_the_shipped_policy_is_met_by_the_story() -> None:
    policy = load(SHIPPED)
    assert (policy.name, policy.version) == ("case-management", "2026.11.0")
    shown = completeness(policy, fold(story(State.ERADICATED)))
    assert all(phase["complete"] for phase in shown["phases"])


def test_confirming_lists_every_field_that_is_missing_up_to_now() -> None:
    policy = load(SHIPPED)
    events = [x for x in story(State.INVESTIGATING) if not isinstance(x, e.PrioritySet)]
    confirm = command(c.ConfirmIncident, SR, justification="plain", policy=policy)
    team = given(*events)
    assert "field_missing" in team.refuses(confirm)
    unmet = dict(moves(team.incident, SR, NOW, policy))["confirm"]
    fields = [u.detail.partition(" ")[0] for u in unmet if u.code == "field_missing"]
    assert fields == ["priority", "summary", "potential_impact"]  # not those of later phases


def test_a_policy_may_demand_more_than_the_core_does() -> None:
    policy = Policy(
        name="ours",
        version="7",
        phases=(Phase(state=State.OPENED, fields=("attack_vector", "occurred_at")),),
    )
    events = [*story(State.INVESTIGATING)]
    events += given(*events).when(command(c.RecordSummary, SR))
    confirm = command(c.ConfirmIncident, SR, justification="plain", policy=policy)
    assert given(*events).refuses(confirm) == {"field_missing"}
    for step in (command(c.ClassifyIndicator, SR), command(c.RecordClock, SR)):
        events += given(*events).when(step)
    [confirmed] = given(*events).when(confirm)
    assert isinstance(confirmed, e.IncidentConfirmed)
    assert confirmed.policy == "ours 7"


def test_completeness_names_what_is_missing() -> None:
    shown = completeness(load(SHIPPED), fold(story(State.OPENED)))
    opened = shown["phases"][0]
    assert (opened["phase"], opened["missing"], opened["complete"]) == (
        "opened",
        ["severity"],
        False,
    )


@pytest.mark.parametrize("state", State)
def test_every_field_can_be_asked_of_every_incident(state: State) -> None:
    incident = fold(story(state))
    assert all(isinstance(filled(incident), bool) for filled in FIELDS.values())
    assert State.UNOPENED not in PHASES


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("policy: p\nversion: '1'\ncolour: red\n", 3, "unknown key 'colour'"),
        ("policy: p\nphases: []\n", 1, "no version"),
        (
            "policy: p\nversion: '1'\nphases:\n  - phase: asleep\n    fields: [title]\n",
            4,
            "'asleep' is no phase",
        ),
        (
            "policy: p\nversion: '1'\nphases:\n  - phase: opened\n    fields:\n      - mood\n",
            6,
            "no field 'mood'",
        ),
        (
            "policy: p\nversion: '1'\nphases:\n  - phase: opened\n  - phase: opened\n",
            3,
            "stands twice",
        ),
    ],
)
def test_a_file_is_refused_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(LineError) as refusal:
        parse(text)
    assert why in refusal.value.why
    assert abs(refusal.value.line - line) <= 1  # a list's line is that of its first item


def test_a_file_that_cannot_be_read_says_which(tmp_path: Path) -> None:
    with pytest.raises(CasePolicyError, match=r"none\.yaml: cannot be read"):
        load(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("policy: p\nversion: '1'\nmood: fine\n")
    with pytest.raises(CasePolicyError, match=r"bad\.yaml:3: policy: unknown key"):
        load(bad)
