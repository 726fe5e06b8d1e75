"""Why a rule does not hold for an event: every leaf, whether it held, and what was in its way."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, assert_never

from .evaluate import check_test
from .explain import pattern_of, shown_value
from .fields import View
from .model import (
    ANYWHERE,
    AllOf,
    AtLeast,
    Item,
    Matches,
    Node,
    Not,
    Rule,
    SameAs,
    Selection,
    Test,
    Text,
)

__all__ = ["Asked", "asked"]

MAX_LEAVES = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """One test of a rule on one event.

    *cause* says why it did not hold: ``absent`` (the field is not there), ``case`` (it would hold
    if case did not count), ``mismatch`` otherwise; "" where it held. *negated*: the rule wants that
    it does not hold.
    """

    selection: str
    field: str
    op: str
    pattern: str
    value: Any
    held: bool
    cause: str
    negated: bool


def asked(rule: Rule, view: View) -> list[Asked]:
    """Return every leaf of *rule* as *view* answers it, MAX_LEAVES at most."""
    found = []
    for leaf in _asked(rule.condition, view, "", False):
        found.append(leaf)
        if len(found) == MAX_LEAVES:
            break
    return found


def _asked(node: Node, view: View, selection: str, negated: bool) -> Iterator[Asked]:
    match node:
        case Selection():
            yield from _asked(node.node, view, node.name, negated)
        case AllOf(nodes=nodes) | AtLeast(nodes=nodes):
            for inner in nodes:
                yield from _asked(inner, view, selection, negated)
        case Not():
            yield from _asked(node.node, view, selection, not negated)
        case Item():
            yield from _item(node, view, selection, negated)
        case _:
            assert_never(node)


def _item(item: Item, view: View, selection: str, negated: bool) -> Iterator[Asked]:
    values = None if item.field == ANYWHERE else view.values[item.field]
    for test in (test for group in item.groups for test in group):
        held = check_test(item.field, test)(view) is not item.negated
        yield Asked(
            selection=selection,
            field=item.field if item.field == ANYWHERE else view.values.read_as(item.field),
            op=item.op,
            pattern=pattern_of(test),
            value=shown_value(values[0]) if values else None,
            held=held,
            cause="" if held else _cause(item, test, view, values),
            negated=negated,
        )


def _cause(item: Item, test: Test, view: View, values: tuple[Any, ...] | None) -> str:
    if item.field != ANYWHERE and values is None:
        return "absent"
    if isinstance(test, Text) and test.cased and test.regex is None:
        folded = replace(test, literal=test.literal.lower(), cased=False)
        if check_test(item.field, folded)(view):
            return "case"
    if isinstance(test, SameAs) and test.cased and _same_folded(item.field, test, view):
        return "case"
    if isinstance(test, Matches) and _matches_folded(item.field, test, view):
        return "case"
    return "mismatch"


def _same_folded(field: str, test: SameAs, view: View) -> bool:
    return check_test(field, replace(test, cased=False))(view)


def _matches_folded(field: str, test: Matches, view: View) -> bool:
    try:
        folded = replace(test, regex=type(test.regex)(f"(?i){test.regex.source}"))
    except ValueError:
        return False
    return check_test(field, folded)(view)
