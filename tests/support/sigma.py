"""Sigma rules in few words, for tests of the rule language."""

from collections.abc import Mapping, Sequence
from textwrap import dedent, indent
from typing import Any

import pytest

from services.detect.rules.match import Event, Match, PlainMatcher
from services.detect.rules.model import LogSource, Rule, RuleError
from services.detect.rules.parse import parse_rule

HERE = LogSource("test")
HEAD = "title: A rule\nlogsource:\n  product: test\ndetection:\n"
# The line at which what the test wrote begins.
FIRST_LINE = 5


def rule(detection: str, placeholders: Mapping[str, Sequence[str]] | None = None) -> Rule:
    """Return the rule with this detection section."""
    return parse_rule(HEAD + indent(dedent(detection).strip("\n"), "  "), "r.yml", placeholders)


def selection(body: str) -> str:
    """Return the detection section of one selection."""
    return "selection:\n" + indent(dedent(body).strip("\n"), "  ") + "\ncondition: selection"


def match(detection: str, event: Any) -> Match | None:
    """Return the match of the rule with this detection section on *event*."""
    found = PlainMatcher([rule(detection)]).match(Event(event, HERE))
    return found[0] if found else None


def fires(detection: str, event: Any) -> bool:
    """Return whether the rule with this detection section fires on *event*."""
    return match(detection, event) is not None


def holds(body: str, value: Any, placeholders: Mapping[str, Sequence[str]] | None = None) -> bool:
    """Return whether the one selection *body* holds for an event, or for {"f": value}."""
    event = value if isinstance(value, dict) else {"f": value}
    compiled = rule(selection(body), placeholders)
    return bool(PlainMatcher([compiled]).match(Event(event, HERE)))


def refusal(detection: str, placeholders: Mapping[str, Sequence[str]] | None = None) -> RuleError:
    """Return why the rule with this detection section is refused."""
    with pytest.raises(RuleError) as caught:
        rule(detection, placeholders)
    return caught.value


def refused(body: str, placeholders: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return the reason why the one selection *body* is refused."""
    return refusal(selection(body), placeholders).reason
