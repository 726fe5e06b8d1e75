"""Rules of a route parted by the one field whose exact value most of them name, as EventID."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from services.detect.engine.clauses import Clause
from services.detect.engine.needles import needle_of
from services.detect.rules.fields import texts_of
from services.detect.rules.text import fold

__all__ = ["Switch", "switch_of"]

_SHARE, _LEAST = 0.3, 8


class Switch:
    """A field, and which rules may hold for each of its values."""

    def __init__(self, field: str, rules: Sequence[frozenset[str] | None]) -> None:
        """Take for each rule the texts that *field* must have, None where any will do."""
        self.field = field
        self._all = tuple(range(len(rules)))
        self._rest = tuple(at for at in self._all if rules[at] is None)
        named = {text for texts in rules if texts for text in texts}
        self._by_text = {
            text: tuple(at for at, texts in enumerate(rules) if texts is None or text in texts)
            for text in named
        }

    def rules(self, fields: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the positions of the rules that may hold for the event of *fields*."""
        value = fields.get(self.field)
        if type(value) is not str and type(value) is not int:
            return self._all
        (text,) = texts_of(value) or ("",)
        return self._by_text.get(fold(text), self._rest)


def switch_of(rules: Sequence[Sequence[Clause]], aliases: Mapping[str, Any]) -> Switch | None:
    """Return the switch that parts rules with these clauses best, None if none is worth it."""
    wanted = [_exact(clauses) for clauses in rules]
    counts = Counter(field for each in wanted for field in each)
    for field, count in counts.most_common():
        if count < max(_LEAST, _SHARE * len(rules)):
            return None
        if "." not in field and field not in aliases:
            return Switch(field, [each.get(field) for each in wanted])
    return None


def _exact(clauses: Sequence[Clause]) -> dict[str, frozenset[str]]:
    """Return the fields that must have one of some texts."""
    found: dict[str, frozenset[str]] = {}
    for clause in clauses:
        fields = {literal.field for literal in clause}
        if len(fields) != 1 or not all(literal.positive for literal in clause):
            continue
        needles = [needle_of(test) for literal in clause for test in literal.tests]
        texts = frozenset(n.text for n in needles if n and n.whole and n.exact and not n.dashes)
        if len(texts) == len({needle.text if needle else None for needle in needles}):
            found.setdefault(fields.pop(), texts)
    return found
