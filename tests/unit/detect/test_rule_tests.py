"""`tocsin rules test`: what it finds right, and what it finds wrong."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from services.detect.ruleset import PACK
from services.detect.ruletests import junit, run_tests

pytestmark = pytest.mark.unit

RULE = """
title: A failure
id: 31111111-1111-4111-8111-111111111111
name: failure
logsource: {category: application}
detection: {s: {outcome: failure}, condition: s}
---
title: Three failures
id: 32222222-2222-4222-8222-222222222222
correlation:
  {type: event_count, rules: [failure], group-by: [user], timespan: 1m, condition: {gte: 3}}
"""


def test_every_correlation_of_the_pack_does_as_its_examples_say() -> None:
    run = run_tests([PACK / "correlations"])
    assert [f"{c.file}: {c.name}: {c.detail}" for c in run.cases if not c.passed] == []
    assert [str(error) for error in run.report.errors] == []
    assert run.untested == ()
    subjects = [s for s in run.report.plan.steps if s.rule.id not in run.report.plan.silent]
    assert len(subjects) >= 40
    for step in subjects:
        assert step.rule.description
        assert step.rule.falsepositives
        assert any(tag.startswith("attack.t") and tag[8].isdigit() for tag in step.rule.tags)
    for path in (PACK / "correlations").glob("*.test.yml"):
        names = [case.name for case in run.cases if case.file == str(path)]
        assert {name.split()[0] for name in names} == {"positive", "negative"}, path


def test_the_whole_pack_does_as_its_examples_say() -> None:
    run = run_tests([PACK])
    assert run.passed, [c for c in run.cases if not c.passed]
    assert len(run.cases) > 200


@pytest.mark.parametrize(
    ("examples", "details"),
    [
        ("positive: [[{event: {outcome: failure, user: a}, repeat: 3}]]", [""]),
        ("positive: [[{event: {outcome: failure, user: a}, repeat: 2}]]",
         ["did not fire: Three failures"]),
        ("negative: [[{event: {outcome: failure, user: a}, repeat: 3}]]",
         ["fired: Three failures"]),
        ("negative: [[{event: {outcome: failure, user: 'u{n}'}, repeat: 3}]]", [""]),
        ("negative: [[{event: {outcome: failure, user: a}, repeat: 3, every: 31s}]]", [""]),
        ("positive: [[{evnt: {}}]]", ["a line must be a map with an 'event'"]),
        ("positive: [[{event: {}, often: 3}]]", ["unknown key 'often' in a line"]),
        ("positive: [[{event: {}, at: soon}]]", ["'soon' is no time: write 90s, 5m, 2h or 1d"]),
        ("positive: [[{event: {}, repeat: 99999}]]",
         ["'repeat' must be a number, up to 20000 in all"]),
        ("positiv: []", ["unknown key 'positiv'"]),
        ("positive: []", ["holds no example"]),
        ("{", ["line 2: not YAML: did not find expected node content"]),
    ],
)  # fmt: skip
def test_examples_are_held_to_the_rules(tmp_path: Path, examples: str, details: list[str]) -> None:
    (tmp_path / "r.yml").write_text(RULE)
    (tmp_path / "r.test.yml").write_text(f"logsource: {{category: application}}\n{examples}"
                                         if examples != "{" else examples)  # fmt: skip
    run = run_tests([tmp_path])
    assert [case.detail for case in run.cases] == details
    assert run.passed == (details == [""])


def test_rules_without_examples_and_bad_rules_are_told(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(RULE)
    (tmp_path / "bad.yml").write_text("title: x\n")
    (tmp_path / "gone.test.yml").write_text("positive: [{}]")
    run = run_tests([tmp_path])
    assert [Path(path).name for path in run.untested] == ["r.yml"]
    assert [case.detail for case in run.cases] == ["gone.yml gives no rule to test"]
    suite = ElementTree.fromstring(junit(run))  # noqa: S314 - our own
    assert suite.attrib == {
        "name": "tocsin rules test", "tests": "2", "failures": "1", "errors": "1",
    }  # fmt: skip
    assert len(suite.findall("testcase")) == 2
