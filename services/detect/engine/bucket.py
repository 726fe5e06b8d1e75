"""The rules of one route, asked together, by what was learned of the events that it carries."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from services.detect.engine.clauses import Clause, Literal
from services.detect.engine.field_index import FieldIndex
from services.detect.engine.layout import Rarity, guess, lay_out
from services.detect.engine.lookup import Lookup
from services.detect.rules.fields import Aliases, View
from services.detect.rules.model import (
    ANYWHERE,
    AllOf,
    AtLeast,
    Item,
    Node,
    Not,
    SameAs,
    Selection,
)

__all__ = ["Bucket", "Learned", "Run", "at_once"]

_STEADY_SHARE = 0.12
SAMPLE = 512
_SPARSE = 16
# Command lines, scripts and paths, before any event was seen.
_LIVELY = frozenset({
    "CommandLine", "ParentCommandLine", "ScriptBlockText", "Payload", "TargetFilename",
    "TargetObject", "Details", "Data", "Message", "message", "QueryName", "ContextInfo",
    "Hashes", "HostApplication",
})  # fmt: skip


Run = Callable[[Callable[[], None]], None]
"""Runs a piece of work, now or soon."""


def at_once(work: Callable[[], None]) -> None:
    """Run *work* now."""
    work()


@dataclass(frozen=True, slots=True)
class Learned:
    """What a route's events told: it outlives the rules, as the events stay the same.

    *lively*: fields of many values. *shares*: the share of events for which a literal holds.
    """

    lively: frozenset[str]
    shares: Mapping[Literal, float]

    def rarity(self, literal: Literal) -> float:
        """Return the share of events for which *literal* holds, guessed where none was seen."""
        share = self.shares.get(Literal(literal.field, literal.tests, True))
        if share is None:
            return guess(literal)
        return share if literal.positive else 1 - share


class Bucket:
    """Rules by position. `lookup` is replaced whenever enough was learned; *run* does that."""

    def __init__(
        self,
        rules: Sequence[tuple[Node, Sequence[Clause]]],
        aliases: Aliases,
        learned: Learned | None = None,
        run: Run = at_once,
    ) -> None:
        self._rules = rules
        self._aliases = aliases
        self._run = run
        self._literals = _literals(node for node, _ in rules)
        self._names = sorted(self._literals)
        self._seen = 0
        self._stride = _SPARSE if learned else 1
        self.learned = learned
        self._keys = frozenset(_keys(self._names, aliases))
        self.sample: list[dict[str, Any]] | None = []
        """None while nothing is to be learned."""
        self.lookup = (
            self._made(learned.lively, learned.rarity) if learned else self._made(_LIVELY, guess)
        )

    def learn(self, fields: Mapping[str, Any]) -> None:
        """Take the event into the sample; once that is whole, have the lookup made anew by it."""
        self._seen += 1
        sample = self.sample
        if sample is None or self._seen % self._stride:
            return
        sample.append({key: fields[key] for key in self._keys.intersection(fields)})
        if len(sample) == SAMPLE:
            self.sample = None
            self._run(partial(self._relearn, sample))

    def _relearn(self, sample: Sequence[Mapping[str, Any]]) -> None:
        rows = [View(fields, self._aliases).values for fields in sample]
        learned = Learned(_lively(rows, self._names), _counted(rows, self._literals))
        self.lookup = self._made(learned.lively, learned.rarity)
        self.learned = learned
        # A burst at the start may tell little of what comes: look once more, over a while.
        if self._stride == 1:
            self._stride = _SPARSE
            self.sample = []

    def _made(self, lively: frozenset[str], rarity: Rarity) -> Lookup:
        layout = lay_out(self._rules, lively, rarity)
        return Lookup(layout, self._aliases, (node for node, _ in self._rules))


def _keys(names: Iterable[str], aliases: Aliases) -> Iterator[str]:
    """Yield the keys of an event, at its top, behind which fields of these names are found."""
    for name in names:
        for each in (name, *aliases.get(name, ())):
            yield each
            yield each.partition(".")[0]


def _lively(sample: Sequence[Mapping[str, Any]], names: Sequence[str]) -> frozenset[str]:
    """Return the fields whose values are so many that remembering what each means is no use."""
    room = max(16, int(_STEADY_SHARE * len(sample)))
    return frozenset(name for name in names if len({str(values[name]) for values in sample}) > room)


def _literals(nodes: Iterable[Node]) -> dict[str, list[Literal]]:
    """Return what rules ask of each field, but for keywords."""
    found: dict[str, dict[Literal, None]] = {}
    waiting = list(nodes)
    while waiting:
        match waiting.pop():
            case Item(field=name, groups=groups) if name != ANYWHERE:
                own = found.setdefault(name, {})
                for group in groups:
                    if not any(isinstance(test, SameAs) for test in group):
                        own[Literal(name, group, True)] = None
            case Selection(node=inner) | Not(node=inner):
                waiting.append(inner)
            case AllOf(nodes=inner_nodes) | AtLeast(nodes=inner_nodes):
                waiting.extend(inner_nodes)
            case _:
                pass
    return {name: list(own) for name, own in found.items()}


def _counted(
    sample: Sequence[Mapping[str, Any]], by_field: Mapping[str, list[Literal]]
) -> dict[Literal, float]:
    """Return the share of the sample's events for which a literal holds."""
    shares: dict[Literal, float] = {}
    for name, literals in by_field.items():
        index = FieldIndex(name, [(literal, 1 << at) for at, literal in enumerate(literals)])
        counts: Counter[int] = Counter()
        for values, times in Counter(_hashable(row[name]) for row in sample).items():
            bits = index.bits(values)
            while bits:
                low = bits & -bits
                counts[low.bit_length() - 1] += times
                bits ^= low
        for at, literal in enumerate(literals):
            # What was never seen is not all equally rare: long literals are rarer.
            shares[literal] = counts[at] / len(sample) + 0.1 * guess(literal) / len(sample)
    return shares


def _hashable(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if values is None:
        return None
    return tuple(v if isinstance(v, str) else str(v) for v in values)
