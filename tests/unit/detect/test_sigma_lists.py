"""Checklist points 26 to 37: lists, maps and keywords."""

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.detect.rules.match import Event, PlainMatcher
from services.detect.rules.model import LogSource
from tests.support.sigma import HERE, fires, holds, refusal, refused, rule

pytestmark = pytest.mark.unit


def test_point_26_a_list_is_or() -> None:
    assert holds("f: [a, b]", "b")
    assert holds("f|contains: [a, b]", "xbx")
    assert not holds("f: [a, b]", "c")
    assert "empty list" in refused("f: []")
    assert "plain values only" in refused("f: [[a]]")
    assert "cannot be a map" in refused("f: {a: b}")


def test_point_27_all_is_and() -> None:
    assert holds("f|contains|all: [a, b]", "b a")
    assert not holds("f|contains|all: [a, b]", "b b")
    assert holds("f|all|contains: [a, b]", "ab")
    assert holds("f|all: ['a*', '*z']", "abcz")
    assert not holds("f|all: ['a*', '*z']", "abc")
    assert holds("f|re|all: ['^a', 'z$']", "abcz")


def test_point_28_all_on_a_single_value_is_refused() -> None:
    assert "at least two values" in refused("f|contains|all: a")
    assert "at least two values" in refused("f|contains|all: [a]")


def test_point_29_a_map_is_and() -> None:
    assert holds("{a: 1, b: 2}", {"a": 1, "b": 2})
    assert not holds("{a: 1, b: 2}", {"a": 1, "b": 3})
    assert not holds("{a: 1, b: 2}", {"a": 1})
    assert "cannot be empty" in refused("{}")


def test_point_30_a_list_of_maps_is_or_of_ands() -> None:
    body = """
        - a: 1
          b: 2
        - c: 3
    """
    assert holds(body, {"a": 1, "b": 2})
    assert holds(body, {"c": 3})
    assert not holds(body, {"a": 1, "b": 3})
    assert "cannot be empty" in refusal("selection: []\ncondition: selection").reason


def test_point_31_a_list_may_mix_maps_and_keywords() -> None:
    body = """
        - a: 1
        - evil
        - b: 2
    """
    assert holds(body, {"a": 1})
    assert holds(body, {"x": "so EVIL"})
    assert holds(body, {"b": 2})
    assert not holds(body, {"a": 2, "b": 1, "x": "good"})
    assert "not lists" in refused("- [a]")


def test_point_32_a_key_that_stands_twice_is_refused() -> None:
    error = refusal("selection:\n  f: 1\n  f: 2\ncondition: selection")
    assert "stands twice" in error.reason
    assert error.line == 7
    assert holds("f|startswith: a\nf|endswith: z", "abcz")


def test_point_33_keywords_look_at_every_value_but_no_key() -> None:
    body = "- 'event::clear'\n- 'event::drop'"
    assert holds(body, {"Message": "run EVENT::CLEAR now"})
    assert holds(body, {"a": {"b": [{"c": "x event::drop x"}]}})
    assert not holds(body, {"event::clear": "good", "a": {"event::drop": 1}})
    assert "every event" in refused("- ''")
    assert "every event" in refused("- '*'")
    assert "every event" in refused("- null")
    assert holds("evil", {"x": "devil"})
    assert "cannot be empty" in refusal("selection:\ncondition: selection").reason


def test_point_34_all_keywords() -> None:
    body = "'|all': [one, two]"
    assert holds(body, {"a": "the ONE", "b": {"c": "two"}})
    assert not holds(body, {"a": "the one", "b": "three"})
    assert "at least two values" in refused("'|all': [one]")
    assert "needs a field" in refused("'|exists': true")
    assert "needs a field" in refused("'|cidr': 10.0.0.0/8")


def test_point_35_keywords_with_wildcards_and_modifiers() -> None:
    assert holds("- 'net*user'", {"m": "cmd net  user x"})
    assert not holds("- 'net*user'", {"m": "net", "n": "user"})
    assert holds(r"- 'a\*b'", {"m": "xa*bx"})
    assert not holds(r"- 'a\*b'", {"m": "xaab"})
    assert holds("'|re': 'ev[i1]l'", {"m": ["x", "ev1l"]})
    assert not holds("'|re': 'ev[i1]l'", {"m": "evol"})
    assert holds("'|startswith': evil", {"m": "evil x"})
    assert not holds("'|startswith': evil", {"m": "x evil"})
    assert not holds("'|cased': Evil", {"m": "evil"})


def test_point_36_keywords_find_numbers() -> None:
    assert holds("- '4624'", {"id": 4624})
    assert holds("- 4624", {"id": "x4624x"})
    assert holds("- 'true'", {"ok": True})
    assert not holds("- '4624'", {"id": 4625, "n": None})


def test_point_37_keywords_stay_inside_their_logsource() -> None:
    matcher = PlainMatcher([rule("k: [evil]\ncondition: k")])
    assert matcher.match(Event({"m": "evil"}, HERE))
    assert not matcher.match(Event({"m": "evil"}, LogSource("other")))
    assert not matcher.match(Event({"m": "evil"}))


def test_a_selection_of_another_form_is_refused() -> None:
    assert fires("k: evil\ncondition: k", {"m": "evil"})
    assert refusal("k: [[evil]]\ncondition: k").line == 5


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["f", "f|contains", "f|startswith", "f|endswith", "f|contains|all"]),
    st.lists(st.text("ab*\x00", max_size=3), min_size=2, max_size=3),
    st.lists(st.text("abA\x00\udfff", max_size=4), max_size=5),
)
def test_large_arrays_mean_what_small_ones_mean(
    key: str, literals: list[str], texts: list[str]
) -> None:
    escaped = [literal.replace("*", "\\*") for literal in literals]
    body = f"{key}: {json.dumps(escaped)}"
    # Members that fit nothing make the array large enough for the other way of searching.
    assume(any("a" in literal or "b" in literal for literal in literals))
    assert holds(body, [*texts, *["~"] * 20]) == holds(body, [*texts, "~"])
