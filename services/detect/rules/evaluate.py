"""A rule's tree as one function of an event: the plain meaning of every test, nothing clever.

Functions are composed once, when rules are put into force. All of them are pure, so the cheaper
ones of an `and` or `or` go first.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

from .fields import SEAM, Key, View, text_key
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
    Order,
    SameAs,
    Selection,
    Test,
    Text,
)
from .quantities import date_part, number_of
from .regex import Regex
from .text import Kind

# From so many texts on, one search in all of them beats one test each: an array of a hundred
# thousand members, asked about by a thousand rules, must not take half a minute.
CROWD = 8

Check = Callable[[View], bool]
_Costed = tuple[int, Check]


def check(node: Node) -> Check:
    """Return the function that says whether *node* holds for an event."""
    return _node(node)[1]


def check_test(field: str, test: Test) -> Check:
    """Return the function that says whether one test holds for *field*."""
    return _test(field, test)[1]


def _node(node: Node) -> _Costed:
    match node:
        case Item():
            return _item(node)
        case Selection():
            return _node(node.node)
        case AllOf():
            return _every([_node(inner) for inner in node.nodes])
        case AtLeast(count=1):
            return _some([_node(inner) for inner in node.nodes])
        case AtLeast():
            return _at_least(node.count, [_node(inner) for inner in node.nodes])
        case Not():
            cost, inner = _node(node.node)
            return cost, lambda view: not inner(view)
        case _:
            assert_never(node)


def _item(item: Item) -> _Costed:
    cost, holds = _every([_group(item.field, group) for group in item.groups])
    if not item.negated:
        return cost, holds
    # `field|neq` speaks of a field that is there, unlike `not` in a condition.
    field = item.field
    return cost, lambda view: view.values[field] is not None and not holds(view)


def _every(parts: Sequence[_Costed]) -> _Costed:
    ordered = sorted(parts, key=_cost)
    checks = tuple(holds for _, holds in ordered)
    cost = ordered[0][0] + len(ordered)
    if len(checks) == 1:
        return ordered[0]
    if len(checks) == 2:
        first, second = checks
        return cost, lambda view: first(view) and second(view)

    def every(view: View) -> bool:
        for holds in checks:  # noqa: SIM110 - a generator would double the time
            if not holds(view):
                return False
        return True

    return cost, every


def _some(parts: Sequence[_Costed]) -> _Costed:
    ordered = sorted(parts, key=_cost)
    checks = tuple(holds for _, holds in ordered)
    cost = sum(cost for cost, _ in ordered)
    if len(checks) == 1:
        return ordered[0]

    def some(view: View) -> bool:
        for holds in checks:  # noqa: SIM110 - a generator would double the time
            if holds(view):
                return True
        return False

    return cost, some


def _at_least(count: int, parts: Sequence[_Costed]) -> _Costed:
    checks = tuple(holds for _, holds in parts)

    def at_least(view: View) -> bool:
        return sum(holds(view) for holds in checks) >= count

    return sum(cost for cost, _ in parts), at_least


def _cost(part: _Costed) -> int:
    return part[0]


def _group(field: str, tests: Sequence[Test]) -> _Costed:
    """Return the check for any of *tests*, those of one kind taken together."""
    parts: list[_Costed] = []
    alike: dict[tuple[Key, Kind], list[str]] = {}
    for test in tests:
        if isinstance(test, Text) and test.kind not in (Kind.ANY, Kind.PATTERN):
            key = text_key(field, cased=test.cased, dashes=test.dashes)
            alike.setdefault((key, test.kind), []).append(test.literal)
        else:
            parts.append(_test(field, test))
    parts.extend(_literals(key, kind, literals) for (key, kind), literals in alike.items())
    return _some(parts)


def _test(field: str, test: Test) -> _Costed:
    match test:
        case Text():
            return _text(field, test)
        case Matches():
            return 40, _search(text_key(field, cased=True, dashes=False), test.regex)
        case Null():
            return 1, _null(field)
        case Exists():
            wanted = test.wanted
            return 1, lambda view: (view.values[field] is not None) == wanted
        case Compare():
            return 10, _compare(field, test)
        case InNetwork():
            return 10, _in_network(field, test)
        case SameAs():
            return 5, _same_as(field, test)
        case _:
            assert_never(test)


def _text(field: str, test: Text) -> _Costed:
    key = text_key(field, cased=test.cased, dashes=test.dashes)
    if test.kind is Kind.ANY:
        return 1, lambda view: bool(view.texts[key])
    if test.regex is not None:
        return 40, _search(key, test.regex)
    return _literals(key, test.kind, [test.literal])


def _literals(key: Key, kind: Kind, literals: Sequence[str]) -> _Costed:
    """Return the check whether a text of the field stands in relation *kind* to any literal."""
    chosen = frozenset(literals)
    ends = tuple(literals)
    needles = _needles(kind, literals)

    def crowd(view: View) -> bool:
        joined = view.joined[key]
        return any(needle in joined for needle in needles)

    def equals(view: View) -> bool:
        texts = view.texts[key]
        return crowd(view) if len(texts) > CROWD else any(text in chosen for text in texts)

    def starts(view: View) -> bool:
        texts = view.texts[key]
        return crowd(view) if len(texts) > CROWD else any(text.startswith(ends) for text in texts)

    def stops(view: View) -> bool:
        texts = view.texts[key]
        return crowd(view) if len(texts) > CROWD else any(text.endswith(ends) for text in texts)

    def contains(view: View) -> bool:
        texts = view.texts[key]
        if len(texts) > CROWD:
            return crowd(view)
        return any(literal in text for text in texts for literal in ends)

    match kind:
        case Kind.EQUALS:
            return 1, equals
        case Kind.STARTS:
            return 2, starts
        case Kind.ENDS:
            return 2, stops
        case Kind.CONTAINS:
            return (3 if key != ANYWHERE else 30) + len(ends), contains
        case Kind.ANY | Kind.PATTERN:
            raise AssertionError("has no literal")
        case _:
            assert_never(kind)


def _needles(kind: Kind, literals: Sequence[str]) -> tuple[str, ...]:
    """Return what is looked for where the texts of a field stand in one row, SEAM between them."""
    before = SEAM if kind in (Kind.EQUALS, Kind.STARTS) else ""
    after = SEAM if kind in (Kind.EQUALS, Kind.ENDS) else ""
    return tuple(f"{before}{literal}{after}" for literal in literals)


def _search(key: Key, regex: Regex) -> Check:
    return lambda view: any(regex.search(text) for text in view.texts[key])


def _null(field: str) -> Check:
    def null(view: View) -> bool:
        values = view.values[field]
        return values is None or None in values

    return null


def _compare(field: str, test: Compare) -> Check:
    holds = _ORDERS[test.order]
    wanted = test.number
    part = test.part

    def compare(view: View) -> bool:
        for value in view.values[field] or ():
            number = number_of(value) if part is None else date_part(value, part)
            if number is not None and holds(number, wanted):
                return True
        return False

    return compare


_ORDERS: Mapping[Order, Callable[[float, float], bool]] = {
    Order.EQ: operator.eq,
    Order.GT: operator.gt,
    Order.GTE: operator.ge,
    Order.LT: operator.lt,
    Order.LTE: operator.le,
}


def _in_network(field: str, test: InNetwork) -> Check:
    version, network, mask = test.version, test.network, test.mask
    return lambda view: any(
        found == version and address & mask == network for found, address in view.addresses[field]
    )


_RELATIONS: Mapping[Kind, Callable[[str, str], bool]] = {
    Kind.EQUALS: operator.eq,
    Kind.STARTS: str.startswith,
    Kind.ENDS: str.endswith,
    Kind.CONTAINS: operator.contains,
}


def _same_as(field: str, test: SameAs) -> Check:
    own = text_key(field, cased=test.cased, dashes=False)
    other = text_key(test.field, cased=test.cased, dashes=False)
    holds = _RELATIONS[test.kind]
    return lambda view: any(
        holds(text, wanted) for text in view.texts[own] for wanted in view.texts[other]
    )
