"""Why a rule does not fire on an event: absent, mismatch, case, or of another log."""

from typing import Any

import pytest

from services.detect.explain_event import explain, explain_correlation
from services.detect.lifecycle.text import read_proposal
from services.detect.rules.model import LogSource
from services.detect.rules.parse import parse_rule

pytestmark = pytest.mark.unit
RULE = parse_rule("""
title: An export
id: 31111111-1111-4111-8111-111111111111
logsource: {category: application}
detection:
  s: {action|startswith: export, user|cased: Root, rows|gte: 100}
  f: {ticket|exists: true}
  condition: s and not f
""")
APP = LogSource(category="application")


def told(**event: Any) -> dict[str, Any]:
    return explain(RULE, event, APP)


def causes(answer: dict[str, Any]) -> dict[str, str | None]:
    return {leaf["field"]: leaf["cause"] for leaf in answer["leaves"]}


def test_a_rule_that_fires_says_why() -> None:
    answer = told(action="export_all", user="Root", rows=100)
    assert answer["fires"] is True
    assert {reason["field"] for reason in answer["reasons"]} == {"action", "user", "rows"}
    assert causes(answer) == {"action": None, "user": None, "rows": None, "ticket": "absent"}
    assert [leaf["negated"] for leaf in answer["leaves"]] == [False, False, False, True]


def test_what_was_in_the_way_is_named_leaf_by_leaf() -> None:
    answer = told(action="import", user="root")
    assert answer["fires"] is False
    assert answer["reasons"] == []
    assert causes(answer) == {
        "action": "mismatch", "user": "case", "rows": "absent", "ticket": "absent",
    }  # fmt: skip
    assert answer["leaves"][0]["value"] == "import"
    filtered = told(action="export", user="Root", rows=100, ticket=1)
    assert filtered["fires"] is False
    assert [leaf["held"] for leaf in filtered["leaves"]] == [True] * 4


def test_an_event_of_another_log_is_never_asked() -> None:
    answer = explain(
        RULE, {"action": "export", "user": "Root", "rows": 100}, LogSource(product="windows")
    )
    assert (answer["fires"], answer["routed"]) == (False, False)
    assert answer["wanted_logsource"] == {"category": "application"}


def test_a_correlation_says_what_an_event_is_to_it() -> None:
    found = read_proposal(
        "title: f\nname: f\nid: 31111111-1111-4111-8111-111111111111\n"
        "logsource: {category: application}\n"
        "detection: {s: {outcome: failure}, condition: s}\n---\n"
        "title: m\nid: 32222222-2222-4222-8222-222222222222\ncorrelation:\n"
        "  {type: event_count, rules: [f], group-by: [user], timespan: 1m, condition: {gte: 3}}\n"
    )
    answer = explain_correlation(
        found.plan, found.rule_id, found.rules, {"outcome": "failure"}, APP
    )
    assert (answer["fires"], answer["counts"], answer["condition"]) == (False, True, "gte 3")
    assert answer["group_by"] == ["user"]
