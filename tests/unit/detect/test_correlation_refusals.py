"""Correlation rules that cannot be meant: each is refused with file, line and reason."""

from pathlib import Path

import pytest

from services.detect.rules.load import load_rules
from services.detect.rules.model import RuleError
from services.detect.rules.parse import parse_rules
from tests.support.correlation import base, correlation, refused

pytestmark = pytest.mark.unit

GOOD = "type: event_count\nrules: [a]\ntimespan: 1m\ncondition: {gte: 2}"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("rules: [a]", "'type' is missing"),
        (GOOD.replace("event_count", "count"), "'type' must be one of event_count, value_count"),
        (GOOD.replace("[a]", "[]"), "'rules' is missing or empty"),
        (GOOD.replace("[a]", "[a, a]"), "'a' stands twice in 'rules'"),
        (GOOD.replace("1m", "90"), "'timespan' must be a number with s, m, h, d or w"),
        (GOOD.replace("1m", "0m"), "'timespan' must be a number with s, m, h, d or w"),
        (GOOD.replace("1m", "32d"), "'timespan' is longer than 31 d"),
        (GOOD.replace("timespan: 1m\n", ""), "'timespan' must be a number"),
        (GOOD.replace("{gte: 2}", "{}"), "'condition' needs one of"),
        (GOOD.replace("condition: {gte: 2}", ""), "event_count needs a 'condition'"),
        (GOOD.replace("gte: 2", "gte: two"), "an integer is needed here"),
        (GOOD.replace("gte: 2", "gte: 2.5"), "an integer is needed here"),
        (GOOD.replace("gte: 2", "gte: true"), "an integer is needed here"),
        (GOOD.replace("gte: 2", "gte: 0"), "'condition' (gte 0) always holds"),
        (GOOD.replace("gte: 2", "gt: 5, lt: 3"), "'condition' (gt 5 and lt 3) can never hold"),
        (GOOD.replace("gte: 2", "lt: 0"), "can never hold"),
        (GOOD.replace("gte: 2", "about: 2"), "unknown key 'about' in 'condition'"),
        (GOOD.replace("gte: 2", "gte: 2, field: x"), "event_count takes no 'field'"),
        (GOOD.replace("event_count", "value_count"), "value_count needs a 'field'"),
        (GOOD.replace("event_count", "temporal"), "temporal needs at least two rules"),
        (GOOD.replace("{gte: 2}", "a"), "a condition in words is for temporal types"),
        (GOOD + "\nwindow: sliding", "unknown key 'window' in 'correlation'"),
        (GOOD + "\naliases: {x: {a: f}}", "alias 'x' is used neither in group-by"),
        (GOOD + "\ngroup-by: [x]\naliases: {x: {b: f}}", "'b' is not one of 'rules'"),
        (GOOD + "\ngroup-by: [x]\naliases: {x: f}", "alias 'x' must be a map of rule and field"),
        ("type: value_sum\nrules: [a]\ntimespan: 1m\ncondition: {field: [x, y], gt: 1}",
         "value_sum takes one field, not 2"),
        ("type: value_percentile\nrules: [a]\ntimespan: 1m\n"
         "condition: {field: x, gt: 1, percentile: 101}", "'percentile' must be above 0"),
        ("type: temporal\nrules: [a, b]\ntimespan: 1m\ncondition: {gte: 3}", "wants 3 of 2 rules"),
        ("type: temporal\nrules: [a, b]\ntimespan: 1m\ncondition: {lt: 2}", "say 'not'"),
        ("type: temporal\nrules: [a, b]\ntimespan: 1m\ncondition: not a", "none of the rules"),
        ("type: temporal\nrules: [a, b]\ntimespan: 1m\ncondition: a and c", "no selection 'c'"),
        ("type: temporal_ordered\nrules: [a, b]\ntimespan: 1m\ncondition: a or b",
         "joined by 'and' and 'and not' only"),
        ("type: temporal_ordered\nrules: [a, b]\ntimespan: 1m\ncondition: {gte: 1}",
         "wants all its rules"),
    ],
)  # fmt: skip
def test_a_correlation_that_cannot_be_meant_is_refused(body: str, reason: str) -> None:
    said = refused(base("a", "b"), correlation(body))
    assert reason in said
    assert said.startswith("r.yml:")
    assert int(said.split(":")[1]) > 13  # the line is one of the correlation's own


def test_point_86_what_is_not_there_twice_there_or_round_is_refused() -> None:
    def body(*rules: str) -> str:
        return (
            f"type: event_count\nrules: [{', '.join(rules)}]\ntimespan: 1m\ncondition: {{gte: 2}}"
        )

    assert "no rule in force has the id or name 'gone'" in refused(
        base("a"), correlation(body("gone"))
    )
    assert "2 rules have the name 'a'" in refused(
        base("a"), base("a").replace("id: ", "id: 0e95725d-7320-415d-80f7-004da920fc11 #"),
        correlation(body("a")),
    )  # fmt: skip
    one = correlation(body("two"), title="1", head="name: one\n")
    two = correlation(body("one"), title="2", head="name: two\n")
    assert "refers to itself" in refused(one, two)
    deep = [correlation(body(f"c{i + 1}"), title=str(i), head=f"name: c{i}\n") for i in range(20)]
    assert "deeper than 16" in refused(base("c20"), *deep)


def test_a_document_is_one_or_the_other() -> None:
    said = refused(base("a"), base("b") + "\n" + correlation(GOOD).split("\n", 1)[1])
    assert "a correlation rule cannot have 'logsource'" in said


def test_a_bad_correlation_never_drops_another(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(
        "\n---\n".join([base("a"), correlation(GOOD, title="good"),
                        correlation(GOOD.replace("[a]", "[gone]"), title="unresolved"),
                        correlation(GOOD.replace("1m", "never"), title="bad")])
    )  # fmt: skip
    report = load_rules([tmp_path])
    assert [c.title for c in report.correlations] == ["good"]
    assert sorted(e.reason[:24] for e in report.errors) == [
        "'timespan' must be a num", "no rule in force has the",
    ]  # fmt: skip
    assert report.documents == 4


@pytest.mark.corpus
def test_the_specifications_examples_are_read(corpus: Path) -> None:
    folder = corpus / "sigma-specification" / "tests" / "schema" / "correlation"
    found = {
        path.stem: next(iter(parse_rules(path.read_text(), path.name)))
        for path in sorted(folder.glob("*.yml"))
    }
    refusals = {name: str(item) for name, item in found.items() if isinstance(item, RuleError)}
    assert len(found) == 8
    assert list(refusals) == ["event_count_ecs"]
    assert "taxonomy" in refusals["event_count_ecs"]
