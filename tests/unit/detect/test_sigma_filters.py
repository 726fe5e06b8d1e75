"""Checklist points 97 to 100: filters, put on the rules that they name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from services.detect.rules.load import LoadReport, load_rules
from services.detect.rules.match import Event, PlainMatcher
from services.detect.rules.model import LogSource
from tests.support.sigma import HERE

pytestmark = pytest.mark.unit

ID = "6f3e2987-db24-4c78-a860-b4f4095a7095"
RULE = f"""
title: Packing
id: {ID}
name: packing
logsource: {{product: test, category: process}}
detection: {{selection: {{image: rar}}, condition: 1 of them}}
"""
OTHER = """
title: Listing
logsource: {product: test, category: file}
detection: {selection: {image: dir}, condition: selection}
"""
COUNTING = f"""
title: Many
name: many
correlation:
  {{type: event_count, rules: [{ID}], group-by: [user], timespan: 1m, condition: {{gte: 3}}}}
"""
PROCESS = LogSource("test", "process")


def filtering(rules: str, condition: str = "not selection", source: str = "{product: test}") -> str:
    return f"""
title: Admins
logsource: {source}
filter:
  rules: {rules}
  selection: {{user|startswith: adm_}}
  condition: {condition}
"""


def loaded(tmp_path: Path, *documents: str) -> LoadReport:
    (tmp_path / "r.yml").write_text("---".join(documents), encoding="utf-8")
    return load_rules([tmp_path])


def fired(report: LoadReport, fields: Mapping[str, Any], source: LogSource = PROCESS) -> list[str]:
    return [m.rule.title for m in PlainMatcher(report.rules).match(Event(fields, source))]


ADMIN = {"image": "rar", "user": "adm_eve"}
USER = {"image": "rar", "user": "bob"}


def test_point_97_positive_rule_and_filter_must_both_hold(tmp_path: Path) -> None:
    report = loaded(tmp_path, RULE, filtering(f"[{ID}]"))
    assert fired(report, USER) == ["Packing"]
    assert fired(report, {"image": "rar"}) == ["Packing"]


def test_point_97_negative_what_the_filter_leaves_out_does_not_fire(tmp_path: Path) -> None:
    report = loaded(tmp_path, RULE, filtering(f"[{ID}]"))
    assert fired(report, ADMIN) == []
    assert fired(report, {"image": "dir", "user": "bob"}) == []
    assert report.warnings == ()
    assert (report.documents, len(report.filters)) == (2, 1)


def test_point_97_a_condition_without_not_is_in_force_with_a_warning(tmp_path: Path) -> None:
    report = loaded(tmp_path, RULE, filtering(f"[{ID}]", "selection"))
    assert (fired(report, ADMIN), fired(report, USER)) == (["Packing"], [])
    (warning,) = report.warnings
    assert "to leave that out, write 'condition: not selection'" in warning.reason


def test_point_97_a_narrowed_rule_is_another_version(tmp_path: Path) -> None:
    plain = loaded(tmp_path, RULE).rules[0].version
    narrowed = loaded(tmp_path, RULE, filtering(f"[{ID}]")).rules[0].version
    other = loaded(tmp_path, RULE, filtering(f"[{ID}]", "not 1 of selection*")).rules[0].version
    assert len({plain, narrowed, other}) == 3


@pytest.mark.parametrize("rules", ["any", "[any]", f"[{ID}]", f"[{ID.upper()}]", "[packing]"])
def test_point_98_positive_by_any_id_or_name(tmp_path: Path, rules: str) -> None:
    assert fired(loaded(tmp_path, RULE, OTHER, filtering(rules)), ADMIN) == []


def test_point_98_negative_a_filter_of_other_rules_changes_nothing(tmp_path: Path) -> None:
    report = loaded(tmp_path, RULE, filtering("[another-rule]"))
    assert fired(report, ADMIN) == ["Packing"]
    assert [s.reason for s in report.skipped] == ["a filter of rules none of which is in force"]
    assert report.filters == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (filtering("[]"), "'rules' needs ids or names, or 'any'"),
        (filtering("any").replace("  rules: any\n", ""), "'rules' needs ids or names, or 'any'"),
        (filtering("any").replace("logsource: {product: test}\n", ""), "'logsource' must be a map"),
        (filtering("any", "not nothing"), "condition: there is no selection 'nothing'"),
        ("\ntitle: x\nlogsource: {product: test}\nfilter: any\n", "'filter' must be a map"),
        (filtering("any") + "detection: {}\n", "a filter cannot have 'detection' besides"),
    ],
)
def test_point_98_refusal_of_what_is_no_filter(tmp_path: Path, text: str, reason: str) -> None:
    report = loaded(tmp_path, RULE, text)
    assert [error.reason for error in report.errors] == [reason]
    assert fired(report, ADMIN) == ["Packing"]


def test_point_99_positive_a_wider_logsource_holds_the_rules(tmp_path: Path) -> None:
    report = loaded(tmp_path, RULE, OTHER, filtering("any"))
    assert fired(report, ADMIN) == []
    file = LogSource("test", "file")
    assert fired(report, {"image": "dir", "user": "adm_eve"}, file) == []


def test_point_99_negative_any_means_any_of_the_logsource(tmp_path: Path) -> None:
    report = loaded(
        tmp_path, RULE, OTHER, filtering("any", source="{product: test, category: file}")
    )
    assert fired(report, ADMIN) == ["Packing"]


def test_point_99_refusal_of_a_rule_outside_the_logsource(tmp_path: Path) -> None:
    report = loaded(tmp_path, RULE, filtering("[packing]", source="{product: windows}"))
    assert [e.reason for e in report.errors] == [f"rule {ID} is not of the filter's logsource"]
    assert fired(report, ADMIN) == ["Packing"]


def test_point_100_positive_identifiers_are_the_filters_own(tmp_path: Path) -> None:
    # The rule's `1 of them` and `selection` do not see the filter's selection, nor the reverse.
    report = loaded(tmp_path, RULE, filtering("any", "not 1 of them"))
    assert fired(report, {"image": "other", "user": "adm_eve"}) == []
    (match,) = PlainMatcher(report.rules).match(Event(USER, PROCESS))
    assert {leaf["selection"] for leaf in match.reasons()} == {"selection"}
    kept = loaded(tmp_path, RULE, filtering("any", "selection"))
    (match,) = PlainMatcher(kept.rules).match(Event(ADMIN, PROCESS))
    assert {leaf["selection"] for leaf in match.reasons()} == {"selection", "Admins: selection"}


def test_point_100_negative_any_leaves_correlations_alone(tmp_path: Path) -> None:
    report = loaded(tmp_path, RULE, COUNTING, filtering("any"))
    (step,) = report.plan.steps
    assert (step.rule.title, report.errors) == ("Many", ())
    assert step.rule.condition == loaded(tmp_path, RULE, COUNTING).plan.steps[0].rule.condition


def test_point_100_refusal_of_a_correlation_by_name(tmp_path: Path) -> None:
    report = loaded(tmp_path, RULE, COUNTING, filtering("[many]"))
    assert [e.reason for e in report.errors] == [
        "many is a correlation rule; a filter narrows plain rules"
    ]
    assert HERE.product == "test"
