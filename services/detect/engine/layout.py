"""Which clauses of a route's rules are looked at, and which fields together: by statistics.

Fields of few values ("steady") are read together, so that one look-up of their values' tuple tells
what all of them say. Of the others ("lively": command lines, paths) only one clause a rule is
looked for, the one that the fewest events meet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.detect.engine.clauses import Clause, Literal
from services.detect.engine.needles import needle_of
from services.detect.rules.model import ANYWHERE

__all__ = ["Layout", "Rarity", "guess", "lay_out"]

ROUNDS = 8

Rarity = Callable[[Literal], float]
"""The share of events for which a literal holds, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Bits of literals by field. Bit `round * rules + rule` is one clause of one rule.

    The clauses of `steady` fields fill all rounds but the last, which holds each rule's lively
    clause. `free` has the bits of clauses that there are not: they hold always.
    """

    rules: int
    steady: Mapping[str, Sequence[tuple[Literal, int]]]
    lively: Mapping[str, Sequence[tuple[Literal, int]]]
    free: int


def guess(literal: Literal) -> float:
    """Return how often *literal* may hold, from its looks alone."""
    if not literal.positive:
        return 0.9
    total = 0.0
    for test in literal.tests:
        needle = needle_of(test, one_dash=False)
        if needle is None:
            total += 0.6
        elif needle.whole:
            total += 0.002
        else:
            total += 0.6 ** max(1, len(needle.text))
    return min(1.0, total)


def lay_out(clauses: Sequence[Sequence[Clause]], lively: frozenset[str], rarity: Rarity) -> Layout:
    """Return the layout of rules with these *clauses*; ANYWHERE is always lively."""
    size = len(clauses)
    last = ROUNDS * size
    steady_bits: dict[str, list[tuple[Literal, int]]] = {}
    lively_bits: dict[str, list[tuple[Literal, int]]] = {}
    free = (1 << (last + size)) - 1
    lively = lively | {ANYWHERE}
    for rule, own in enumerate(clauses):
        calm = [c for c in own if _usable(c) and not _is_lively(c, lively)]
        calm = list(dict.fromkeys(calm))
        if len(calm) > ROUNDS:
            calm = sorted(calm, key=lambda clause: _share(clause, rarity))[:ROUNDS]
        for number, clause in enumerate(calm):
            bit = 1 << (number * size + rule)
            free &= ~bit
            for literal in clause:
                steady_bits.setdefault(literal.field, []).append((literal, bit))
        choice = [c for c in own if _usable(c) and _is_lively(c, lively) and _findable(c, lively)]
        if choice:
            bit = 1 << (last + rule)
            free &= ~bit
            for literal in min(choice, key=lambda clause: _share(clause, rarity)):
                where = lively_bits if literal.field in lively else steady_bits
                where.setdefault(literal.field, []).append((literal, bit))
    return Layout(size, steady_bits, lively_bits, free)


def _usable(clause: Clause) -> bool:
    """Return whether no field has two opposites in *clause*: one bit cannot hold both."""
    opposed = [literal.field for literal in clause if not literal.positive]
    return len(opposed) == len(set(opposed))


def _is_lively(clause: Clause, lively: frozenset[str]) -> bool:
    return any(literal.field in lively for literal in clause)


def _findable(clause: Clause, lively: frozenset[str]) -> bool:
    return all(literal.positive for literal in clause if literal.field in lively)


def _share(clause: Clause, rarity: Rarity) -> float:
    return sum(map(rarity, clause))
