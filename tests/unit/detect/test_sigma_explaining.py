"""A match tells which leaves made it; a hostile event gives no match, and no error."""

import json
import math
from typing import Any

import pytest

from services.detect.rules.explain import MAX_LEAVES
from services.detect.rules.match import Event, PlainMatcher
from tests.support.sigma import HERE, fires, match, rule, selection

pytestmark = pytest.mark.unit


def _reasons(detection: str, event: dict[str, Any]) -> list[tuple[Any, ...]]:
    found = match(detection, event)
    assert found is not None
    reasons = found.reasons()
    assert json.loads(json.dumps(reasons, allow_nan=False)) == reasons
    return [tuple(reason.values()) for reason in reasons]


def test_every_leaf_that_contributed_is_named() -> None:
    detection = """
        sel:
          Image|endswith: ['\\cmd.exe', '\\sh.exe']
          Args|contains|all: [' -a', ' -b']
        other:
          User: eve
        alt:
          User: mallory
        filter:
          Parent: trusted
        condition: sel and 1 of (other or alt) and not filter
    """.replace("1 of (other or alt)", "(other or alt)")
    event = {"Image": "C:\\CMD.exe", "Args": "x -b -a", "User": "Eve"}
    assert _reasons(detection, event) == [
        ("sel", "Image", "endswith", "\\cmd.exe", "C:\\CMD.exe"),
        ("sel", "Args", "contains|all", " -a", "x -b -a"),
        ("sel", "Args", "contains|all", " -b", "x -b -a"),
        ("other", "User", "", "eve", "Eve"),
    ]


def test_the_value_is_the_member_that_matched() -> None:
    assert _reasons(selection("a.b: x"), {"a": [{"b": "y"}, {"b": "X"}]}) == [
        ("selection", "a.b", "", "x", "X")
    ]
    assert _reasons("k: [evil]\ncondition: k", {"m": "x", "n": {"o": ["y", "EVIL z"]}}) == [
        ("k", "n.o", "", "evil", "EVIL z")
    ]


def test_each_kind_of_test_explains_itself() -> None:
    detection = """
        s:
          re|re|i: '^A'
          cidr|cidr: 10.0.0.0/8
          num|gte: 5
          gone: null
          there|exists: true
          ref|fieldref|startswith: other
          not|neq: [x, y]
          enc|base64offset|contains: 'secret'
          day|hour: 3
        condition: s
    """
    event = {
        "re": "abc", "cidr": "10.1.1.1", "num": "7", "there": {"an": "object"}, "ref": "abc",
        "other": ["zz", "AB"], "not": "z", "enc": "c2VjcmV0", "day": "2024-01-01T03:00",
    }  # fmt: skip
    assert _reasons(detection, event) == [
        ("s", "re", "re|i", "^A", "abc"),
        ("s", "cidr", "cidr", "10.0.0.0/8", "10.1.1.1"),
        ("s", "num", "gte", "5", "7"),
        ("s", "gone", "", "null", None),
        ("s", "there", "exists", "true", "(object)"),
        ("s", "ref", "fieldref|startswith", "other", "abc"),
        ("s", "not", "neq", "x", "z"),
        ("s", "not", "neq", "y", "z"),
        ("s", "enc", "base64offset|contains", "secret", "c2VjcmV0"),
        ("s", "day", "hour", "3", "2024-01-01T03:00"),
    ]


def test_a_bare_negation_names_what_was_missing() -> None:
    detection = "good: {a: 1}\nbad: {b: 1}\ncondition: not good or not (bad or good)"
    assert _reasons(detection, {}) == [
        ("good", "", "not", "", None),
        ("bad, good", "", "not", "", None),
    ]


def test_values_are_cut_and_leaves_bounded() -> None:
    ((*_, value),) = _reasons(selection("f|contains: evil"), {"f": "evil" + "x" * 10_000})
    assert len(value) == 2048
    assert value.endswith("…")
    many = "[" + ", ".join(f"a{number}" for number in range(300)) + "]"
    text = " ".join(f"a{number}" for number in range(300))
    assert len(_reasons(selection(f"f|contains: {many}"), {"f": text})) == MAX_LEAVES


def test_numbers_json_has_no_room_for_are_shown_as_text() -> None:
    assert _reasons(selection("f|exists: true"), {"f": 10**30})[0][-1] == str(10**30)
    assert _reasons(selection("f|exists: true"), {"f": math.nan})[0][-1] == "(no number)"
    assert _reasons(selection("f|exists: true"), {"f": 1.5})[0][-1] == 1.5


EVERY_TEST = """
    a: {f: evil}
    b: {f|contains: '*ev*il*'}
    c: {f|re: 'e.il'}
    d: {f|cidr: 10.0.0.0/8}
    e: {f|gt: 10}
    g: {f|fieldref: g}
    h: {f|hour: 5}
    i: {f|windash|contains: '-x'}
    j: {f.f.f.f: evil}
    k: [evil, 'e*l']
    condition: 1 of them
"""


def _deep(depth: int, make: Any) -> Any:
    value: Any = "good"
    for _ in range(depth):
        value = make(value)
    return value


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        "evil",
        7,
        {},
        {"f": math.nan},
        {"f": math.inf},
        {"f": -(10**400)},
        {"f": "\ud800 half a pair"},
        {"f": "\x00"},
        {"f": "x" * (1024 * 1024)},
        {"f": ["x" * 1000] * 1000},
        {"f": _deep(10_000, lambda value: [value])},
        {"f": _deep(10_000, lambda value: {"f": value})},
        {"f": b"evil"},
        {"f": {"": {"": None}}},
        {7: "x", None: "y"},
    ],
)
def test_hostile_events_do_not_match_and_do_not_fail(fields: Any) -> None:
    assert not fires(EVERY_TEST, fields)


def test_evil_is_found_below_ten_thousand_levels() -> None:
    event = {"f": _deep(10_000, lambda value: {"a": [value]}), "z": "evil"}
    assert match(EVERY_TEST, event) is not None
    deep = PlainMatcher([rule("k: [good]\ncondition: k")]).match(Event(event, HERE))
    assert deep[0].reasons()[0]["value"] == "good"
