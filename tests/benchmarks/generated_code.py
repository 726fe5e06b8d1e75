"""A peer of test_peers.py: one Python function a rule, fields lowered once, no index over rules.

The text of each rule's condition becomes Python, so that an event costs no calls but for what is
no comparison of text. Rules of a route are asked one after the other. Gives what the plain matcher
gives; an event with several texts in one field is left to that.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.detect.rules.evaluate import check, check_test
from services.detect.rules.fields import View
from services.detect.rules.match import UNKNOWN, Event, Match, PlainMatcher
from services.detect.rules.model import (
    ANYWHERE,
    AllOf,
    AtLeast,
    Item,
    Node,
    Not,
    Rule,
    Selection,
    Text,
)
from services.detect.rules.routing import Router
from services.detect.rules.routing_table import default_routing
from services.detect.rules.text import Kind

__all__ = ["GeneratedMatcher"]

_ABSENT = "\udfff"  # no literal of a rule stands in it


class _SeveralError(Exception):
    """A field has several texts."""


class _Lowered(dict[str, str]):
    """Field -> its one text, folded; made once an event."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __missing__(self, name: str) -> str:
        texts = self._view.texts[name]
        if len(texts) > 1:
            raise _SeveralError
        found = self[name] = texts[0] if texts else _ABSENT
        return found


class GeneratedMatcher:
    """Evaluates each routed rule on its own, as code of its own."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._plain = PlainMatcher(rules)
        self._router = Router(self._rules, default_routing())
        self._checks = [_compiled(rule) for rule in self._rules]

    def match(self, event: Event) -> Sequence[Match]:
        """Return a match for every rule that *event* fulfils, in the order of the rules."""
        fields = event.fields
        found: list[tuple[int, View]] = []
        checks = self._checks
        try:
            for group in self._router.route(fields, UNKNOWN):
                view = View(fields, group.aliases)
                lowered = _Lowered(view)
                found += [(at, view) for at in group.rules if checks[at](lowered, view)]
        except _SeveralError:
            return self._plain.match(event)
        found.sort(key=lambda hit: hit[0])
        return [Match(self._rules[at], view) for at, view in found]


def _compiled(rule: Rule) -> Callable[[Mapping[str, str], View], bool]:
    names: dict[str, Any] = {}
    _, body = _written(rule.condition, names)
    source = f"def rule(f, view):\n    return {body}\n"
    exec(compile(source, rule.id, "exec"), names)  # noqa: S102 - of our own making, in a benchmark
    made: Callable[[Mapping[str, str], View], bool] = names["rule"]
    return made


def _written(node: Node, names: dict[str, Any]) -> tuple[int, str]:
    """Return (cost, expression); the cheaper parts of an `and` or `or` go first."""
    match node:
        case Selection(node=inner):
            return _written(inner, names)
        case Not(node=inner):
            cost, text = _written(inner, names)
            return cost, f"(not {text})"
        case AllOf(nodes=nodes):
            return _joined(" and ", nodes, names)
        case AtLeast(count=1, nodes=nodes):
            return _joined(" or ", nodes, names)
        case AtLeast():
            return _called(check(node), 60, names)
        case Item() if node.negated or node.field == ANYWHERE:
            return _called(check(node), 60, names)
        case Item(field=field, groups=groups):
            parts = sorted(_group(field, group, names) for group in groups)
            return parts[0][0] + len(parts), _in_brackets(" and ", parts)
    raise AssertionError(node)


def _joined(word: str, nodes: Sequence[Node], names: dict[str, Any]) -> tuple[int, str]:
    parts = sorted(_written(node, names) for node in nodes)
    return parts[0][0] + len(parts), _in_brackets(word, parts)


def _in_brackets(word: str, parts: Sequence[tuple[int, str]]) -> str:
    return "(" + word.join(text for _, text in parts) + ")"


def _called(holds: Callable[[View], bool], cost: int, names: dict[str, Any]) -> tuple[int, str]:
    name = f"check{len(names)}"
    names[name] = holds
    return cost, f"{name}(view)"


def _group(field: str, tests: Sequence[Any], names: dict[str, Any]) -> tuple[int, str]:
    literals: dict[Kind, list[str]] = {}
    parts: list[tuple[int, str]] = []
    for test in tests:
        plain = isinstance(test, Text) and not (test.cased or test.dashes)
        if plain and test.kind not in (Kind.ANY, Kind.PATTERN):
            literals.setdefault(test.kind, []).append(test.literal)
        else:
            parts.append(_called(check_test(field, test), 60, names))
    value = f"f[{field!r}]"
    for kind, texts in literals.items():
        if kind is Kind.EQUALS:
            parts.append((1, f"({value} in {set(texts)!r})"))
        elif kind is Kind.CONTAINS:
            written = " or ".join(f"{text!r} in {value}" for text in texts)
            parts.append((3 + len(texts), f"({written})"))
        else:
            parts.append((2, f"{value}.{kind.value}({tuple(texts)!r})"))
    parts.sort()
    return sum(cost for cost, _ in parts), _in_brackets(" or ", parts)
