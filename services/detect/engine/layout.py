"""Which clauses of a route's rules are looked at, and which fields together: by statistics.

Fields of few values ("steady") are read together, so that one look-up of their values' tuple tells
what all of them say. Of the others ("lively": command lines, paths) only one clause a rule is
looked for, the one that the fewest events meet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.detect.engine.clauses import Clause, Literal, witness
from services.detect.engine.needles import needle_of
from services.detect.rules.model import ANYWHERE, Node

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
        needle = needle_of(test)
        if needle is None:
            total += 0.6
        elif needle.whole:
            total += 0.002
        else:
            total += 0.6 ** max(1, len(needle.text))
    return min(1.0, total)


def lay_out(
    rules: Sequence[tuple[Node, Sequence[Clause]]], lively: frozenset[str], rarity: Rarity
) -> Layout:
    """Return the layout of rules, each with its condition and clauses; keywords are lively."""
    size = len(rules)
    last = ROUNDS * size
    lively = lively | {ANYWHERE}
    steady_bits: dict[str, list[tuple[Literal, int]]] = {}
    lively_bits: dict[str, list[tuple[Literal, int]]] = {}
    free = (1 << (last + size)) - 1

    def cost(literal: Literal) -> float | None:
        return None if literal.field in lively and not literal.positive else rarity(literal)

    for rule, (condition, clauses) in enumerate(rules):
        calm = list(dict.fromkeys(clause for clause in clauses if _calm(clause, lively)))
        if len(calm) > ROUNDS:
            calm = sorted(calm, key=lambda clause: sum(map(rarity, clause)))[:ROUNDS]
        for number, clause in enumerate(calm):
            bit = 1 << (number * size + rule)
            free &= ~bit
            for literal in clause:
                steady_bits.setdefault(literal.field, []).append((literal, bit))
        chosen = witness(condition, cost, lively)
        if chosen:
            bit = 1 << (last + rule)
            free &= ~bit
            for literal in chosen:
                where = lively_bits if literal.field in lively else steady_bits
                where.setdefault(literal.field, []).append((literal, bit))
    return Layout(size, steady_bits, lively_bits, free)


def _calm(clause: Clause, lively: frozenset[str]) -> bool:
    opposed = [literal.field for literal in clause if not literal.positive]
    return len(opposed) == len(set(opposed)) and not any(lit.field in lively for lit in clause)
