"""Checklist points 101 and 104, and what a rule file from a stranger may hold."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.detect.rules.load import load_rules
from services.detect.rules.model import Level, LogSource, Rule, RuleError, Status
from services.detect.rules.parse import parse_rule, parse_rules
from tests.support.sigma import FIRST_LINE, HEAD, fires, refusal

pytestmark = pytest.mark.unit

GOOD = f"{HEAD}  s: {{f: 1}}\n  condition: s\n"


def _refused(text: str) -> RuleError:
    with pytest.raises(RuleError) as caught:
        parse_rule(text, "r.yml")
    return caught.value


def test_point_101_one_bad_rule_never_drops_another(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / name).write_text(text, encoding="utf-8")

    write("a.yml", GOOD.replace("A rule", "Rule one"))
    write("b.yml", "{not yaml")
    write("c.yml", "---\n" + GOOD.replace("A rule", "Rule two").replace("f: 1", "f|nope: 1")
          + "---\n" + GOOD.replace("A rule", "Rule three") + "---\n")  # fmt: skip
    write(
        "d.yml",
        "title: c\ncorrelation: {type: event_count}\n---\ntitle: f\nlogsource: {product: x}\n"
        "filter: {rules: any, s: {f: 1}, condition: not s}",
    )
    write("e.yaml", GOOD.replace("A rule", "Rule four"))
    write("a.test.yml", "positive: []")
    write("notes.txt", "no rule")
    write("f.yml", "# nothing in here\n")
    (tmp_path / "g.yml").write_bytes(b"title: \xff\n")
    (tmp_path / "h.yml").write_bytes(b"#" * (512 * 1024 + 1))

    report = load_rules([tmp_path, tmp_path / "missing.yml"])

    assert [rule.title for rule in report.rules] == ["Rule one", "Rule three", "Rule four"]
    assert [(Path(error.path).name, error.line, error.reason) for error in report.errors] == [
        ("b.yml", 2, "not YAML: did not find expected ',' or '}'"),
        ("c.yml", 6, "unknown modifier 'nope'"),
        ("d.yml", 2, "'rules' is missing or empty"),
        ("f.yml", 1, "holds no rule"),
        ("g.yml", 1, "not UTF-8 text"),
        ("h.yml", 1, "file is larger than 512 KiB"),
        ("missing.yml", 1, "cannot be read: No such file or directory"),
    ]
    assert [skipped.reason for skipped in report.skipped] == [
        "a filter of rules none of which is in force",
    ]
    assert report.documents == 11
    assert report.files == 9


def test_point_101_an_id_is_used_once(tmp_path: Path) -> None:
    text = "id: 5c0e9f7e-5f0d-4a53-9f63-0d1c3e4a7b21\n" + GOOD
    for name in ("a.yml", "b.yml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    report = load_rules([tmp_path])
    assert [Path(rule.path).name for rule in report.rules] == ["a.yml"]
    assert "is already used by" in report.errors[0].reason


_NAMES = ("a", "b", "c", "d")
Formula = tuple[str, object, object] | str


@st.composite
def _formulas(draw: st.DrawFn, depth: int = 4) -> tuple[str, str]:
    """Return a condition as Sigma and the same as Python."""
    kind = draw(st.sampled_from(["name", "of"] if depth == 0 else ["name", "not", "and", "or"]))
    if kind == "name":
        name = draw(st.sampled_from(_NAMES))
        return name, name
    if kind == "of":
        count = draw(st.sampled_from(["1", "2", "all", "any"]))
        wanted = {"all": 4, "any": 1}.get(count) or int(count)
        return f"{count} of them", f"(a + b + c + d >= {wanted})"
    if kind == "not":
        sigma, python = draw(_formulas(depth - 1))
        return f"not ({sigma})", f"(not {python})"
    left, right = draw(_formulas(depth - 1)), draw(_formulas(depth - 1))
    spaced = draw(st.sampled_from([kind, kind.upper()]))
    return f"({left[0]} {spaced} {right[0]})", f"({left[1]} {kind} {right[1]})"


@settings(max_examples=150, deadline=None)
@given(_formulas(), st.lists(st.booleans(), min_size=4, max_size=4))
def test_point_104_conditions_mean_their_truth_table(
    formula: tuple[str, str], values: list[bool]
) -> None:
    truth = dict(zip(_NAMES, values, strict=True))
    lines = [f"{name}: {{f_{name}: true}}" for name in _NAMES]
    found = fires(
        "\n".join([*lines, f"condition: {formula[0]}"]),
        {f"f_{name}": value for name, value in truth.items()},
    )
    assert found == eval(formula[1], {}, truth)  # noqa: S307 - the formula is ours


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_rule_or_a_reason(text: str) -> None:
    for found in parse_rules(text, "r.yml"):
        assert isinstance(found, Rule | RuleError)
    for found in parse_rules(f"{HEAD}  s: {json.dumps(text)}\n  condition: s", "r.yml"):
        assert isinstance(found, Rule | RuleError)


def test_everything_a_rule_says_of_itself() -> None:
    rule = parse_rule(
        """
title: Eve was here
name: eve
id: 5C0E9F7E-5F0D-4A53-9F63-0D1C3E4A7B21
status: experimental
description: |
  Two
  lines
author: Ada
references: [https://example.org/1]
date: 2024-01-01
logsource: {product: Windows, service: SECURITY, definition: audit policy on}
detection: {s: {f: 1}, condition: s}
falsepositives: none known
level: High
tags: [attack.t1059.001, attack.execution]
custom: {any: thing}
"""
    )
    assert (rule.id, rule.name) == ("5c0e9f7e-5f0d-4a53-9f63-0d1c3e4a7b21", "eve")
    assert (rule.level, rule.status) == (Level.HIGH, Status.EXPERIMENTAL)
    assert rule.logsource == LogSource("windows", None, "security")
    assert rule.description == "Two\nlines"
    assert rule.falsepositives == ("none known",)
    assert rule.tags == ("attack.t1059.001", "attack.execution")


def test_the_version_is_of_the_content_not_of_its_layout() -> None:
    rule = parse_rule(GOOD)
    moved = parse_rule("# why\n" + GOOD.replace("{f: 1}", "\n    f:   1 # one"))
    assert moved.version == rule.version
    assert moved.id == rule.id
    assert parse_rule(GOOD.replace("f: 1", "f: '1'")).version != rule.version
    assert parse_rule(GOOD.replace("f: 1", "f: 2")).version != rule.version
    assert parse_rule(GOOD, placeholders={"a": ["b"]}).version == rule.version
    expanding = GOOD.replace("f: 1", "f|expand: '%a%'")
    versions = {parse_rule(expanding, placeholders={"a": [b]}).version for b in ("b", "c")}
    assert len(versions) == 2
    assert rule.level is Level.MEDIUM


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (GOOD.replace("{f: 1}", "&a {f: 1}"), 5, "anchors and aliases"),
        (GOOD.replace("{f: 1}", "*a"), 5, "anchors and aliases"),
        (GOOD.replace("f: 1", "f: !!int 1"), 5, "tag"),
        (GOOD.replace("f: 1", "f: !!python/object:os.system 1"), 5, "tag"),
        (GOOD.replace("{f: 1}", "{<<: {f: 1}}"), 5, "merge keys"),
        (GOOD.replace("{f: 1}", "{[f]: 1}"), 5, "a key must be"),
        (GOOD.replace("f: 1", "f: " + "[" * 40 + "]" * 40), 5, "nested deeper than 32"),
        (GOOD.replace("f: 1", "f: " + "[" * 200_000), 5, "nested deeper than 32"),
        (GOOD.replace("f: 1", "f: &a " + "[" * 200_000), 5, "anchors and aliases"),
        ("a: " + "x" * (512 * 1024), 1, "longer than 512 KiB"),
        (GOOD + "title: again\n", 7, "stands twice"),
        ("- a\n- b", 1, "must be a map"),
        ("just text", 1, "must be a map"),
        ("a: \x00", 1, "not YAML"),
        ("\n\n\ttab: 1", 3, "not YAML"),
        (GOOD.replace("title: A rule", "title: ''"), 1, "'title'"),
        (GOOD.replace("A rule", "x" * 257), 1, "'title'"),
        (GOOD.replace("A rule", "[x]"), 1, "'title' must be a text"),
        ("title: t\ndetection: {}", 1, "'logsource' must be a map"),
        ("title: t\nlogsource: {}", 2, "needs a product"),
        ("title: t\nlogsource: {definition: x}", 2, "needs a product"),
        ("title: t\nlogsource: {product: x}", 1, "'detection' must be a map"),
        (GOOD + "level: severe\n", 7, "level 'severe' is none of"),
        (GOOD + "status: done\n", 7, "status 'done' is none of"),
        (GOOD + "id: seven\n", 7, "is no UUID"),
        (GOOD + "tags: {a: b}\n", 7, "'tags' must be a list of texts"),
        (GOOD + "tags: [[a]]\n", 7, "'tags' must be a list of texts"),
        (GOOD + "action: global\n", 7, "collections by 'action'"),
        (GOOD + "taxonomy: ecs\n", 7, "taxonomy"),
        (GOOD + "---\n" + GOOD, 1, "one rule expected, 2 found"),
        ("", 1, "holds no rule"),
        (GOOD.replace("{f: 1}", f"{{{'x' * 300}: 1}}"), 5, "longer than 256"),
    ],
)
def test_refusals_name_line_and_reason(text: str, line: int, reason: str) -> None:
    error = _refused(text)
    assert reason in error.reason
    assert error.line == line
    assert str(error) == f"r.yml:{line}: {error.reason}"


def test_a_refused_document_costs_only_itself() -> None:
    text = GOOD.replace("{f: 1}", "&a {f: [1, {b: 2}]}") + "---\n" + GOOD
    first, second = parse_rules(text, "r.yml")
    assert isinstance(first, RuleError)
    assert isinstance(second, Rule)
    assert second.line == 8


def test_lines_of_values_in_lists() -> None:
    error = refusal("s:\n  f|cidr:\n    - 10.0.0.0/8\n    - nowhere\ncondition: s")
    assert error.line == FIRST_LINE + 3


def test_what_one_field_may_cost_is_bounded() -> None:
    many = ", ".join(f"'a{number}*b'" for number in range(1001))
    assert "patterns for one field" in refusal(f"s: {{f: [{many}]}}\ncondition: s").reason
    dashes = ", ".join(f"'- - - - {number}'" for number in range(40))
    assert "more than 20000 values" in (
        refusal(f"s: {{f|windash|base64: [{dashes}]}}\ncondition: s").reason
    )
