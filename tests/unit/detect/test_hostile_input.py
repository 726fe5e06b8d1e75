"""Hostile rules and events: bounded time, a named refusal, and what stands beside them goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.detect.correlation.extract import Extractor
from services.detect.engine.matcher import FastMatcher
from services.detect.evaluate import evaluate
from services.detect.in_force import InForce
from services.detect.rules.load import load_rules
from services.detect.rules.match import Event
from services.detect.rules.parse import parse_rules
from tests.support.sigma import HEAD, HERE

pytestmark = pytest.mark.unit

GOOD = f"{HEAD}  s: {{CommandLine|contains: mimikatz}}\n  condition: s\n"
SECONDS = 10.0  # of CPU; what is not bounded takes minutes, or all memory


@contextmanager
def bounded() -> Iterator[None]:
    begun = time.process_time()
    yield
    assert time.process_time() - begun < SECONDS


def _laughs() -> str:
    rows = ["a0: &a0 lol"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(rows)


RULES = [
    (_laughs(), "YAML anchors and aliases are not allowed"),
    ("a: &x [*x]", "YAML anchors and aliases are not allowed"),
    ("[" * 10_000, "nested deeper than 32 levels"),
    ("{a: " * 10_000, "nested deeper than 32 levels"),
    ("- " * 10_000, "nested deeper than 32 levels"),
    ("!!python/object/apply:os.system [id]", "YAML tag"),
    (f"{HEAD}  s: {{f|re: '(a{{1000}}){{1000}}'}}\n  condition: s", "refused by RE2"),
    (f"{HEAD}  s: {{f|re: '{'(' * 2000}'}}\n  condition: s", "regular expression"),
    (f"{HEAD}  s: {{f|re: '(a)\\1'}}\n  condition: s", "refused by RE2"),
    (f"{HEAD}  s: {{f: a}}\n  condition: {'(' * 10_000}s", "condition"),
    (f"{HEAD}  s: {{f: a}}\n  condition: {'not ' * 10_000}s", "condition"),
    ("\x00title: x", "not YAML"),
]


@pytest.mark.parametrize(("text", "reason"), RULES, ids=range(len(RULES)))
def test_hostile_rules_are_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.yml").write_text(text, encoding="utf-8")
    (tmp_path / "b.yml").write_text(GOOD, encoding="utf-8")
    with bounded():
        report = load_rules([tmp_path])
    assert len(report.rules) == 1
    assert reason in report.errors[0].reason


def test_rules_that_are_no_utf8_are_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_bytes(b"title: x\n# \xed\xa0\x80\n")
    (tmp_path / "b.yml").write_text(GOOD, encoding="utf-8")
    report = load_rules([tmp_path])
    assert [(error.line, error.reason) for error in report.errors] == [(2, "not UTF-8 text")]
    assert len(report.rules) == 1


PATTERNS = ["(a+)+$", "(a|a)*$", "(.*a){12}$", "([a-z]+)*=", "^(([a-z])+.)+[A-Z]([a-z])+$"]


def test_patterns_that_stop_other_engines_take_linear_time() -> None:
    texts = [f"{HEAD}  s: {{f|re: '{each}'}}\n  condition: s\n" for each in PATTERNS]
    text = "\n---\n".join(t.replace("A rule", f"Rule {n}") for n, t in enumerate(texts))
    matcher = FastMatcher(list(parse_rules(text, "r.yml")))  # type: ignore[arg-type]
    with bounded():
        for end in ("!", "b", ""):
            for _ in range(20):
                matcher.match(Event({"f": "a" * 20_000 + end}, HERE))


def _deep(depth: int) -> Any:
    value: Any = "mimikatz"
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


EVENTS: list[Any] = [
    {"CommandLine": _deep(10_000)},
    {"a": _deep(10_000)},
    {"CommandLine": "x" * (1 << 20)},
    {f"key{number}": "x" for number in range(10_000)},
    {"CommandLine": ["x"] * 100_000},
    {"CommandLine": "\ud800\udfff\x02\x03\x00"},
    {"CommandLine": float("nan"), "EventID": float("inf")},
    {"CommandLine": 10**5000},
    {"\ud800": "x"},
    {"": ""},
    [],
    "text",
    None,
]


def test_hostile_events_cost_little_and_the_stream_goes_on(tmp_path: Path) -> None:
    routed = GOOD.replace("product: test", "category: application")
    (tmp_path / "b.yml").write_text(routed)
    keywords = routed.replace("{CommandLine|contains: mimikatz}", "[sekurlsa]")
    (tmp_path / "k.yml").write_text(keywords.replace("A rule", "B"))
    report = load_rules([tmp_path])
    matcher = FastMatcher(report.rules)
    rules = InForce(matcher, report, Extractor(report.plan, report.rules), (), 0.0, "s")
    good = {"CommandLine": "run mimikatz"}
    blocks = [each for hostile in EVENTS for each in (hostile, good)]
    envelopes: list[Any] = [
        {
            "id": f"00000000-0000-4000-8000-{number:012}",
            "source_id": "s",
            "observed_time": "2026-11-01T10:00:00Z",
            "logsource": {"category": "application"},
            "raw": fields,
        }
        for number, fields in enumerate(blocks)
    ]
    with bounded():
        found = evaluate(rules, envelopes, datetime(2026, 11, 1, 10, tzinfo=UTC))
    assert found.events == len(blocks)
    seen = {detection.event_ids[0] for detection in found.detections}
    assert {UUID(each["id"]) for each in envelopes[1::2]} <= seen
