"""What must hold if a rule is to hold: clauses that one field's value can refute.

A clause is an *or* of literals, a literal one field's tests or their opposite. Every clause of a
rule must hold where the rule holds; not the other way round, so what passes is only a candidate.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import assert_never

from services.detect.rules.model import (
    AllOf,
    AtLeast,
    Exists,
    Item,
    Node,
    Not,
    SameAs,
    Selection,
    Test,
)

__all__ = ["Clause", "Literal", "compared", "necessary", "witness"]

MAX_PRODUCT = 12
MAX_LITERALS = 256
MAX_CLAUSES = 24


@dataclass(frozen=True, slots=True)
class Literal:
    """Some test of *tests* holds for *field*; with *positive* false, none does."""

    field: str
    tests: tuple[Test, ...]
    positive: bool


Clause = tuple[Literal, ...]


def necessary(node: Node) -> list[Clause]:
    """Return clauses that all hold wherever *node* does; none if nothing is known."""
    return _holds(node)[:MAX_CLAUSES]


def compared(node: Node) -> frozenset[str]:
    """Return the fields that *node* asks for if it compares two of them, else none."""
    names: set[str] = set()
    others: set[str] = set()
    waiting = [node]
    while waiting:
        match waiting.pop():
            case Item(field=name, groups=groups):
                names.add(name)
                tests = (test for group in groups for test in group)
                others |= {test.field for test in tests if isinstance(test, SameAs)}
            case Selection(node=inner) | Not(node=inner):
                waiting.append(inner)
            case AllOf(nodes=inner_nodes) | AtLeast(nodes=inner_nodes):
                waiting.extend(inner_nodes)
    return frozenset(names | others) if others else frozenset()


def _holds(node: Node) -> list[Clause]:
    match node:
        case Item(negated=True):
            # `field|neq`: the field is there, and no group holds.
            there = (Literal(node.field, (Exists(True),), True),)
            return [there, *_unmet(node)]
        case Item():
            return [
                (Literal(node.field, group, True),) for group in node.groups if _own_field(group)
            ]
        case Selection():
            return _holds(node.node)
        case AllOf():
            return [clause for inner in node.nodes for clause in _holds(inner)]
        case AtLeast():
            return _either([_holds(inner) for inner in node.nodes])
        case Not():
            return _fails(node.node)
        case _:
            assert_never(node)


def _fails(node: Node) -> list[Clause]:
    match node:
        case Item(negated=True):
            return []  # absent, or met: rare enough to be asked exactly
        case Item():
            return _unmet(node)
        case Selection():
            return _fails(node.node)
        case AllOf():
            return _either([_fails(inner) for inner in node.nodes])
        case AtLeast(count=1):
            return [clause for inner in node.nodes for clause in _fails(inner)]
        case AtLeast():
            return []
        case Not():
            return _holds(node.node)
        case _:
            assert_never(node)


def _unmet(item: Item) -> list[Clause]:
    if not all(map(_own_field, item.groups)):
        return []
    return [tuple(Literal(item.field, group, False) for group in item.groups)]


def _own_field(group: Sequence[Test]) -> bool:
    return not any(isinstance(test, SameAs) for test in group)


def _either(branches: Sequence[list[Clause]]) -> list[Clause]:
    """Return clauses that hold where all clauses of some branch do."""
    if not all(branches):
        return []
    if len(branches) == 1:
        return branches[0]
    if prod(map(len, branches)) <= MAX_PRODUCT:
        return _joined(product(*branches))
    # Too many combinations: those of one field each, and the first clause of every branch.
    fields = {literal.field for clause in branches[0] for literal in clause}
    chosen = [[_of_field(branch, field) for branch in branches] for field in sorted(fields)]
    rows = [[clause for clause in row if clause] for row in chosen]
    whole = [tuple(row) for row in rows if len(row) == len(branches)]
    return _joined(whole or [tuple(branch[0] for branch in branches)])


def _of_field(branch: list[Clause], field: str) -> Clause | None:
    for clause in branch:
        if all(literal.field == field for literal in clause):
            return clause
    return None


def _joined(rows: "Sequence[tuple[Clause, ...]] | product[tuple[Clause, ...]]") -> list[Clause]:
    found = []
    for row in rows:
        literals = tuple(dict.fromkeys(literal for clause in row for literal in clause))
        if len(literals) <= MAX_LITERALS:
            found.append(literals)
    return found


Cost = Callable[[Literal], float | None]
"""What a literal costs; None where it cannot be used."""
Priced = tuple[bool, float, Clause]


def witness(node: Node, cost: Cost, wanted: frozenset[str]) -> Clause | None:
    """Return the cheapest clause that holds wherever *node* does; None if nothing is known.

    Of what must all hold, a clause with a field of *wanted* is taken before others.
    """
    found = _witness(node, cost, wanted, holds=True)
    return found[2] if found else None


def _witness(node: Node, cost: Cost, wanted: frozenset[str], *, holds: bool) -> Priced | None:
    match node:
        case Item(negated=True):
            return None
        case Item(groups=groups):
            if not all(map(_own_field, groups)):
                return None
            each = [_price((Literal(node.field, group, holds),), cost, wanted) for group in groups]
            return _cheapest(each) if holds else _together(each)
        case Selection(node=inner):
            return _witness(inner, cost, wanted, holds=holds)
        case Not(node=inner):
            return _witness(inner, cost, wanted, holds=not holds)
        case AtLeast(count=count) if not holds and count > 1:
            return None
        case AllOf(nodes=nodes) | AtLeast(nodes=nodes):
            every = isinstance(node, AllOf) == holds
            # Each side of an `or` is best refuted by its rarest part, whatever field that has.
            inside = wanted if every else frozenset[str]()
            each = [_witness(inner, cost, inside, holds=holds) for inner in nodes]
            return _cheapest(each) if every else _together(each)
        case _:
            assert_never(node)


def _price(clause: Clause, cost: Cost, wanted: frozenset[str]) -> Priced | None:
    total = 0.0
    for literal in clause:
        price = cost(literal)
        if price is None:
            return None
        total += price
    return not any(literal.field in wanted for literal in clause), total, clause


def _cheapest(each: Iterable[Priced | None]) -> Priced | None:
    found = [priced for priced in each if priced is not None]
    return min(found, key=lambda priced: priced[:2]) if found else None


def _together(each: Sequence[Priced | None]) -> Priced | None:
    whole = [priced for priced in each if priced is not None]
    if not whole or len(whole) != len(each):
        return None
    clause = tuple(dict.fromkeys(literal for _, _, part in whole for literal in part))
    if len(clause) > MAX_LITERALS or _opposed(clause):
        return None
    return all(priced[0] for priced in whole), sum(priced[1] for priced in whole), clause


def _opposed(clause: Clause) -> bool:
    """Return whether one field has two opposites in *clause*: one bit cannot hold both."""
    fields = [literal.field for literal in clause if not literal.positive]
    return len(fields) != len(set(fields))
