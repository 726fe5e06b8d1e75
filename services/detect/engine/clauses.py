"""What must hold if a rule is to hold: clauses that one field's value can refute.

A clause is an *or* of literals, a literal one field's tests or their opposite. Every clause of a
rule must hold where the rule holds; not the other way round, so what passes is only a candidate.
"""

from collections.abc import Sequence
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

__all__ = ["Clause", "Literal", "necessary"]

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
