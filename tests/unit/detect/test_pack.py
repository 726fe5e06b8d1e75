"""Every rule of the pack fires for its positives and for none of its near misses."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.detect.rules.load import load_rules
from services.detect.rules.match import Event, PlainMatcher
from services.detect.rules.model import (
    AllOf,
    AtLeast,
    Exists,
    Item,
    LogSource,
    Node,
    Not,
    Selection,
)
from services.detect.rules.routing import Router
from services.detect.rules.routing_table import default_routing

pytestmark = pytest.mark.unit

PACK = Path(__file__).parents[3] / "services" / "detect" / "pack"
REPORT = load_rules([PACK])
RULES = {Path(rule.path).stem: rule for rule in REPORT.rules if Path(rule.path).parent == PACK}
MATCHER = PlainMatcher(REPORT.rules)


def _examples(name: str) -> tuple[LogSource, list[dict[str, Any]], list[dict[str, Any]]]:
    text = (PACK / f"{name}.test.yml").read_text(encoding="utf-8")
    examples = yaml.safe_load(text)
    return LogSource.of(examples.get("logsource", {})), examples["positive"], examples["negative"]


def test_the_pack_loads_whole() -> None:
    assert [str(error) for error in (*REPORT.errors, *REPORT.skipped)] == []
    assert len(RULES) >= 24
    assert MATCHER.unrouted == ()
    assert len({rule.title for rule in RULES.values()}) == len(RULES)
    assert {path.name.removesuffix(".test.yml") for path in PACK.glob("*.test.yml")} == set(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_rule_says_what_people_need(name: str) -> None:
    rule = RULES[name]
    assert rule.author == "Tocsin"
    assert rule.description
    assert rule.falsepositives
    assert any(tag.startswith("attack.t") and tag[8].isdigit() for tag in rule.tags)


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_rule_fires_for_its_positives(name: str) -> None:
    hint, positives, _ = _examples(name)
    assert positives
    for event in positives:
        fired = [hit for hit in MATCHER.match(Event(event, hint)) if hit.rule is RULES[name]]
        assert len(fired) == 1, event
        assert fired[0].reasons()


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_rule_does_not_fire_for_its_near_misses(name: str) -> None:
    hint, positives, negatives = _examples(name)
    rule = RULES[name]
    router = Router([rule], default_routing())
    assert negatives
    for event in negatives:
        assert all(hit.rule is not rule for hit in MATCHER.match(Event(event, hint))), event
        # A miss is near if the rule was asked, and one or two values away from a hit.
        assert min(_distance(event, positive) for positive in positives) in (1, 2), event
        assert router.route(event, hint), event


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_selection_decides_some_example(name: str) -> None:
    """Were a selection always true, or never, some example would tell."""
    hint, positives, negatives = _examples(name)
    rule = RULES[name]
    examples = [(event, True) for event in positives] + [(event, False) for event in negatives]
    for selection in _names(rule.condition):
        for constant in (ALWAYS, NEVER):
            mutant = replace(rule, condition=_with(rule.condition, selection, constant))
            matcher = PlainMatcher([mutant])
            told = any(bool(matcher.match(Event(e, hint))) != fires for e, fires in examples)
            assert told, f"no example tells {selection} from {constant.groups[0][0]}"


ALWAYS = Item("no such field", "", ((Exists(False),),))
NEVER = Item("no such field", "", ((Exists(True),),))


def _with(node: Node, name: str, constant: Item) -> Node:
    match node:
        case Selection():
            return constant if node.name == name else node
        case AllOf(nodes=nodes):
            return AllOf(tuple(_with(inner, name, constant) for inner in nodes))
        case AtLeast(count=count, nodes=nodes):
            return AtLeast(count, tuple(_with(inner, name, constant) for inner in nodes))
        case Not(node=inner):
            return Not(_with(inner, name, constant))
        case Item():
            return node


def _distance(one: dict[str, Any], other: dict[str, Any]) -> int:
    left, right = dict(_leaves(one, "")), dict(_leaves(other, ""))
    return sum(left.get(key) != right.get(key) for key in left.keys() | right.keys())


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def _names(node: Node) -> Iterator[str]:
    match node:
        case Selection(name=name):
            yield name
        case AllOf(nodes=nodes) | AtLeast(nodes=nodes):
            for inner in nodes:
                yield from _names(inner)
        case Not(node=inner):
            yield from _names(inner)
        case Item():
            return
