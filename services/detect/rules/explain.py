"""Why a rule holds for an event: the leaves of its tree that made it true."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, assert_never

from .evaluate import Check, check, check_test
from .fields import Path, View, dotted, everything, texts_of
from .model import (
    ANYWHERE,
    AllOf,
    AtLeast,
    Compare,
    Exists,
    InNetwork,
    Item,
    Matches,
    Node,
    Not,
    Null,
    Rule,
    SameAs,
    Selection,
    Test,
    Text,
)

MAX_VALUE = 2 * 1024
MAX_LEAVES = 100
MAX_CHECKS = 20_000

_Part = tuple[str | Path, Any, View]
_checks: dict[tuple[int, str], tuple[Node | Test, Check]] = {}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One test that held: *field* as really read, *op* and *pattern* as written in the rule."""

    selection: str
    field: str
    op: str
    pattern: str
    value: Any


def leaves(rule: Rule, view: View) -> tuple[Leaf, ...]:
    """Return the leaves that made *rule* hold for *view*, the first MAX_LEAVES of them."""
    found: dict[tuple[str, str, str, str], Leaf] = {}
    for leaf in _leaves(rule.condition, view, ""):
        found.setdefault((leaf.selection, leaf.field, leaf.op, leaf.pattern), leaf)
        if len(found) == MAX_LEAVES:
            break
    # A rule that is nothing but `not filter` holds because something is missing.
    return tuple(found.values()) or tuple(_missing(rule.condition, view))


def reasons(found: Iterable[Leaf]) -> list[dict[str, Any]]:
    """Return *found* for people and for JSON: long values cut, objects named only."""
    return [
        {
            "selection": leaf.selection,
            "field": leaf.field,
            "op": leaf.op,
            "pattern": _cut(leaf.pattern),
            "value": shown_value(leaf.value),
        }
        for leaf in found
    ]


def shown_value(value: Any) -> str | int | float | bool | None:
    """Return *value* for people and for JSON: long texts cut, objects named only."""
    match value:
        case None | bool():
            return value
        case str():
            return _cut(value)
        case int() if abs(value) < 2**63:
            return value
        case int() | float():
            # What JSON readers do not agree on is shown as text.
            if isinstance(value, float) and math.isfinite(value):
                return value
            return (texts_of(value) or ("(no number)",))[0]
        case _:
            return "(object)"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def _leaves(node: Node, view: View, selection: str) -> Iterator[Leaf]:
    """Yield the leaves of *node* that hold; *node* itself is known to hold."""
    match node:
        case Item():
            yield from _item(node, view, selection)
        case Selection():
            yield from _leaves(node.node, view, node.name)
        case AllOf():
            for inner in node.nodes:
                yield from _leaves(inner, view, selection)
        case AtLeast():
            for inner in node.nodes:
                if _check_of(inner)(view):
                    yield from _leaves(inner, view, selection)
        case Not():
            return  # what does not hold has no leaf to show
        case _:
            assert_never(node)


def _missing(node: Node, view: View) -> Iterator[Leaf]:
    match node:
        case Not(node=inner):
            yield Leaf(_name(inner), "", "not", "", None)
        case AllOf() | AtLeast():
            for inner in node.nodes:
                if _check_of(inner)(view):
                    yield from _missing(inner, view)
        case Selection():
            yield from _missing(node.node, view)
        case Item():
            return
        case _:
            assert_never(node)


def _name(node: Node) -> str:
    match node:
        case Selection(name=name):
            return name
        case AllOf(nodes=nodes) | AtLeast(nodes=nodes):
            return ", ".join(filter(None, map(_name, nodes)))
        case Not(node=inner):
            return _name(inner)
        case Item():
            return ""
        case _:
            assert_never(node)


def _check_of(what: Node | Test, field: str = "") -> Check:
    """Return the check of a node, or of a test of *field*, made once: rules stay, events come."""
    key = id(what), field
    found = _checks.get(key)
    if found is None:
        if len(_checks) >= MAX_CHECKS:
            _checks.clear()
        made = check_test(field, what) if isinstance(what, Test) else check(what)
        found = _checks[key] = what, made  # with what it is of, so that no other gets its id
    return found[1]


def _item(item: Item, view: View, selection: str) -> Iterator[Leaf]:
    each: list[_Part] | None = None
    for test in (test for group in item.groups for test in group):
        if item.negated:
            found: tuple[str, Any] | None = _absence(item, view)
        else:
            each = _parts(item.field, view) if each is None else each
            found = _evidence(item.field, test, view, each)
        if found is not None:
            name, value = found
            yield Leaf(selection, name, item.op, pattern_of(test), value)


def _parts(field: str, view: View) -> list[_Part]:
    """Return each value of *field*: where it stands, itself, and as if it stood alone."""
    if field == ANYWHERE:
        every = everything(view.fields)
        return [(path, value, View({"value": value}, {})) for path, value in every]
    name = view.values.read_as(field)
    return [(name, value, View({field: value}, {})) for value in view.values[field] or ()]


def _absence(item: Item, view: View) -> tuple[str, Any]:
    values = view.values[item.field] or (None,)
    return view.values.read_as(item.field), values[0]


def _evidence(field: str, test: Test, view: View, each: list[_Part]) -> tuple[str, Any] | None:
    """Return the name and the first value of *field* for which *test* holds on its own."""
    holds = _check_of(test, field)
    if field != ANYWHERE and (not each or isinstance(test, Null | Exists)):
        value = each[0][1] if each else None
        return (view.values.read_as(field), value) if holds(view) else None
    others = {test.field: list(view.values[test.field] or ())} if isinstance(test, SameAs) else {}
    for name, value, alone in each:
        if holds(View({**others, field: value}, {}) if others else alone):
            return (name if isinstance(name, str) else dotted(name)), value
    return None


def pattern_of(test: Test) -> str:
    """Return what *test* asks for, as written."""
    match test:
        case Text() | Matches() | InNetwork():
            return test.shown
        case Null():
            return "null"
        case Exists():
            return "true" if test.wanted else "false"
        case Compare():
            return str(test.number)
        case SameAs():
            return test.field
        case _:
            assert_never(test)
