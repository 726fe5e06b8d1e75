"""Point 103: the fast matcher says what the plain one says, whatever the rules and the events."""

import json
import os
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import re2
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.detect.engine import bucket
from services.detect.engine.matcher import FastMatcher
from services.detect.rules.load import load_rules
from services.detect.rules.match import Event, PlainMatcher
from services.detect.rules.model import LogSource, Rule
from services.detect.rules.parse import parse_rule, parse_rules
from services.detect.rules.regex import Regex, Together
from services.detect.ruleset import PACK
from tests.support.sigma import HERE

Hint = LogSource | dict[str, Any]
HINTS: tuple[Hint, ...] = (HERE, LogSource("windows"), {})
EXAMPLES = int(os.environ.get("TOCSIN_FUZZ_EXAMPLES", "40"))
WINDOWS = LogSource("windows")
FIELDS = ("Image", "CommandLine", "EventID", "deep.er", "Kind", "Provider_Name")
PIECES = ("a", "A", "b", "-", "/", "–", "\\", "*", "?", " ", ".", "1", "ß", "İ", "ſ", "K", "Σ", "ς",
          "\x02", "\x03", "x.exe", "4688", "\U0001f600")  # fmt: skip

texts = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
scalars = st.one_of(texts, st.integers(0, 2), st.sampled_from([4688, 1, 2**70]), st.booleans())
values = st.one_of(
    scalars, st.none(), st.floats(), st.lists(st.one_of(texts, st.none()), max_size=3)
)
modifiers = st.sampled_from([
    "", "|contains", "|startswith", "|endswith", "|contains|all", "|cased", "|windash",
    "|contains|windash", "|neq", "|re", "|re|i", "|exists", "|cidr", "|gt", "|fieldref", "|all",
    "|contains|neq", "|contains|cased",
])  # fmt: skip
regexes = st.sampled_from([
    "a", "a+b", "(?i)kb", "^a.*b$", r"\s-\s", ".{3,}", "[a-f]x", "(a|b)\\.", "x{,2}y", "(?i)s",
])  # fmt: skip


@st.composite
def item(draw: st.DrawFn) -> tuple[str, Any]:
    name, modifier = draw(st.sampled_from(FIELDS)), draw(modifiers)
    match modifier:
        case "|re" | "|re|i":
            value: Any = draw(regexes)
        case "|exists":
            value = draw(st.booleans())
        case "|cidr":
            value = "10.0.0.0/8"
        case "|gt":
            value = draw(st.integers(0, 5000))
        case "|fieldref":
            value = draw(st.sampled_from(FIELDS))
        case "|contains|all" | "|all":
            value = draw(st.lists(scalars, min_size=2, max_size=3))
        case "":
            value = draw(st.one_of(scalars, st.none(), st.lists(scalars, min_size=1, max_size=3)))
        case _:
            value = draw(st.one_of(scalars, st.lists(scalars, min_size=1, max_size=3)))
    return name + modifier, value


selection = st.one_of(
    st.lists(item(), min_size=1, max_size=3).map(dict),
    st.lists(st.lists(item(), min_size=1, max_size=2).map(dict), min_size=1, max_size=3),
    st.lists(st.sampled_from(["mimi", "a b", "4688", "ß", "k"]), min_size=1, max_size=2),
)
conditions = st.sampled_from([
    "s1", "s1 and not s2", "1 of s*", "all of s*", "2 of them", "not s1", "s1 and not 1 of s2*",
    "not (s1 and s2)", "(s1 or s2) and not s3", "s1 and (s2 or not s3)", "not all of s*",
])  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> str:
    rule = {
        "title": "generated",
        "logsource": draw(st.sampled_from([{"product": "windows"}, {"product": "test"}])),
        "detection": {
            **{name: draw(selection) for name in ("s1", "s2", "s3")},
            "condition": draw(conditions),
        },
    }
    return yaml.safe_dump(rule, allow_unicode=True)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    event: dict[str, Any] = draw(
        st.dictionaries(st.sampled_from([*FIELDS, "SourceName", "other"]), values, max_size=6)
    )
    if draw(st.booleans()):
        event["deep"] = draw(st.one_of(scalars, st.dictionaries(st.just("er"), values)))
    return event


def _rules(texts: list[str]) -> list[Rule]:
    found = [each for text in texts for each in parse_rules(text, "r.yml")]
    return [each for each in found if isinstance(each, Rule)]


@pytest.mark.timeout(600)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(documents(), min_size=1, max_size=3), st.lists(events(), min_size=2, max_size=5))
def test_point_103_generated_rules_and_events(texts: list[str], given_events: list[Any]) -> None:
    rules = _rules(texts)
    plain = PlainMatcher(rules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket, "SAMPLE", 3)
        patch.setattr(bucket, "_SPARSE", 2)
        fast = FastMatcher(rules)
        # More than once: before, between and after the rebuilds, and out of its memories.
        for _ in range(4):
            for fields, hint in product(given_events, HINTS):
                event = Event(fields, hint)
                assert fast.match(event) == plain.match(event)


@pytest.mark.parametrize(
    "event",
    [
        {"Image": "a" * (1 << 20), "EventID": 1},
        {f"key{number}": "a" for number in range(10_000)} | {"EventID": 1},
        {"EventID": 1, "Image": "\ud800a.exe", "CommandLine": float("nan")},
        {"EventID": [1, [1, {"a": [None]}]], "Image": {"a": 1}},
        {"EventID": True, "Image": 1},
        {"EventID": 1.0, "Image": 1e400},
    ],
    ids=["1 MiB", "10,000 keys", "surrogate and NaN", "nested", "true", "infinite"],
)
def test_hostile_events_are_answered_alike(event: dict[str, Any]) -> None:
    rules = load_rules([PACK]).rules
    plain, fast = PlainMatcher(rules), FastMatcher(rules)
    hints: tuple[Hint, ...] = (WINDOWS, {}, {"product": ["x"]}, {"product": 1, "service": "sysmon"})
    for hint in hints:
        assert fast.match(Event(event, hint)) == plain.match(Event(event, hint))


def test_true_and_one_are_not_taken_for_each_other() -> None:
    rule = parse_rule(
        "title: t\nlogsource: {product: test}\ndetection: {s: {f: 1}, condition: s}", "r.yml"
    )
    fast = FastMatcher([rule])
    for _ in range(2):
        assert fast.match(Event({"f": 1}, HERE))
        assert not fast.match(Event({"f": True}, HERE))
        assert fast.match(Event({"f": 1.0}, HERE))


def test_a_keyword_is_found_however_json_writes_it() -> None:
    rule = parse_rule(
        "title: t\nlogsource: {product: test}\ndetection: {s: [mimikatz], condition: s}", "r.yml"
    )
    fast = FastMatcher([rule])
    for text in (b'{"f":"\\u006dimikatz"}', b'{"f":"mimi\xe2\x84\xaaatz"}', b'{"f":"MimiKATZ"}'):
        fields = json.loads(text)
        assert fast.match(Event(fields, HERE, text))
    assert not fast.match(Event({"mimikatz": "no"}, HERE, b'{"mimikatz":"no"}'))


LEARNING = """
title: t{0}
id: 00000000-0000-4000-8000-00000000000{0}
logsource: {{product: test}}
detection: {{s: {{CommandLine|contains: '{1}', Image|endswith: '{2}'}}, condition: s}}
"""


def _of(*numbers: int) -> list[Rule]:
    return _rules([LEARNING.format(n, f"word{n}", f"image{n}") for n in numbers])


def test_what_was_learned_stays_when_rules_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "SAMPLE", 20)
    before = FastMatcher(_of(1, 2, 3))
    events = [{"CommandLine": f"word{n % 4} {n}", "Image": "c:/image1"} for n in range(20)]
    for event in events:
        before.match(Event(event, HERE))
    rules = _of(2, 3, 4)
    after = FastMatcher(rules, after=before)
    ((_, _, learned),) = after.learned()  # ready before any event came
    assert learned.lively == {"CommandLine"}
    plain = PlainMatcher(rules)
    for event in (*events, {"CommandLine": "word4", "Image": "image4"}):
        assert after.match(Event(event, HERE)) == plain.match(Event(event, HERE))
    assert FastMatcher(_of(7, 8, 9), after=before).learned() == ()  # other rules, another route


def test_events_do_not_wait_for_what_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "SAMPLE", 4)
    waiting: list[Callable[[], None]] = []
    rules = _of(1, 2)
    fast, plain = FastMatcher(rules, run=waiting.append), PlainMatcher(rules)
    event = Event({"CommandLine": "word1", "Image": "image1"}, HERE)
    for _ in range(9):
        assert fast.match(event) == plain.match(event)
    assert (len(waiting), fast.learned()) == (1, ())
    waiting.pop()()
    assert len(fast.learned()) == 1
    assert fast.match(event) == plain.match(event)


def test_rules_change_while_events_show_new_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = list(parse_rules(RULES_BY_NUMBER, "r"))
    assert all(isinstance(rule, Rule) for rule in rules)
    before = FastMatcher([rule for rule in rules if isinstance(rule, Rule)])
    for number in range(8):
        before.match(Event({"EventID": number}, WINDOWS))
    assert len(before._examples) == 8
    made = FastMatcher._plan

    def plan(self: FastMatcher, fields: Any, hint: Any) -> Any:
        if self is not before:  # as the stream's thread would in the meantime
            before.match(Event({"EventID": 8 + len(before._examples) % 8}, WINDOWS))
        return made(self, fields, hint)

    monkeypatch.setattr(FastMatcher, "_plan", plan)
    after = FastMatcher([rule for rule in rules if isinstance(rule, Rule)], after=before)
    assert len(before._examples) > 8
    assert [match.rule.title for match in after.match(Event({"EventID": 3}, WINDOWS))] == ["3"]


def test_routes_that_no_change_touches_keep_their_buckets() -> None:
    rules = [rule for rule in parse_rules(RULES_BY_NUMBER, "r") if isinstance(rule, Rule)]
    before = FastMatcher(rules)
    for number in range(16):
        before.match(Event({"EventID": number}, WINDOWS))
    (changed,) = parse_rules(RULES_BY_NUMBER.split("---\n")[3].replace("'3'", "three"), "r")
    assert isinstance(changed, Rule)
    rules[3] = changed
    after = FastMatcher(rules[1:], after=before)
    kept = {id(bucket) for _, bucket in before._buckets.values()}
    fresh = [group for group, bucket in after._buckets.values() if id(bucket) not in kept]
    assert [[after._rules[index].title for index in group.rules] for group in fresh] == [["three"]]
    for number, title in ((1, "1"), (3, "three"), (15, "15")):
        (match,) = after.match(Event({"EventID": number}, WINDOWS))
        assert match.rule.title == title
    assert after.match(Event({"EventID": 0}, WINDOWS)) == []


RULES_BY_NUMBER = "---\n".join(
    f"title: '{number}'\nlogsource: {{product: windows}}\n"
    f"detection: {{s: {{EventID: {number}}}, condition: s}}\n"
    for number in range(16)
)


@pytest.mark.parametrize("count", [2, 200])
def test_few_and_many_keywords_are_found(count: int) -> None:
    words = ", ".join(f"word{number}x" for number in range(count))
    rule = parse_rule(
        f"title: t\nlogsource: {{product: test}}\ndetection: {{k: [{words}], condition: k}}",
        "r.yml",
    )
    fast = FastMatcher([rule])
    for number in range(count):
        text = f"a Word{number}X b"
        assert fast.match(Event({"f": text}, HERE, json.dumps({"f": text}).encode()))
    assert not fast.match(Event({"f": "word"}, HERE, b'{"f":"word"}'))


def test_regexes_searched_for_together_are_found_as_each_alone() -> None:
    each = [Regex(source) for source in ("a+b", "(?i)x.y", "^q", r"\d{3}", "z$")]
    together = Together(each)
    texts = ["", "aab", "X-Y", "q 123 z", "nothing", "é 007", "\ud800ab"]
    wanted = [{at for at, regex in enumerate(each) if regex.search(text)} for text in texts]
    assert [set(together.search(text)) - {len(each)} for text in texts] == wanted
    # As if memory were too little: then nothing is found, and each is asked by itself.
    together._set = re2.Set.SearchSet()
    together._set.Compile()
    assert [set(together.search(text)) for text in texts] == wanted
