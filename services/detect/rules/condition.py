"""The condition of a rule, `all of selection* and not 1 of filter*`, to the tree it stands for."""

import re
from collections.abc import Mapping

from .model import AllOf, AtLeast, Node, Not, RefusedError, Selection

MAX_LENGTH = 8 * 1024
MAX_DEPTH = 32
MAX_NAMED = 2_000  # selections that `N of` stands for, all in all

WORDS = frozenset({"and", "or", "not"})
_TOKEN = re.compile(r"\s*(?:([()])|([^\s()|]+)|(\|))")


def read_condition(text: str, selections: Mapping[str, Node], line: int) -> Node:
    """Return the tree of *text* over *selections*, or raise RefusedError."""
    if len(text) > MAX_LENGTH:
        raise RefusedError(line, f"condition is longer than {MAX_LENGTH} characters")
    parser = _Parser(_tokens(text, line), selections, line)
    node = parser.alternatives(0)
    if parser.peek():
        raise RefusedError(line, f"condition: unexpected {parser.peek()!r}")
    return node


def _tokens(text: str, line: int) -> list[str]:
    tokens: list[str] = []
    for bracket, word, pipe in _TOKEN.findall(text):
        if pipe:
            raise RefusedError(
                line, "condition: aggregations after '|' are not supported, use a correlation rule"
            )
        tokens.append(bracket or word)
    if not tokens:
        raise RefusedError(line, "condition is empty")
    return tokens


class _Parser:
    """Recursive descent: or binds least, then and, then not, then `N of`."""

    def __init__(self, tokens: list[str], selections: Mapping[str, Node], line: int) -> None:
        self._tokens = tokens
        self._at = 0
        self._selections = selections
        self._line = line
        self._named_in_all = 0

    def peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ""

    def alternatives(self, depth: int) -> Node:
        nodes = [self._conjunction(depth)]
        while self._take("or"):
            nodes.append(self._conjunction(depth))
        return nodes[0] if len(nodes) == 1 else AtLeast(1, tuple(nodes))

    def _conjunction(self, depth: int) -> Node:
        nodes = [self._negation(depth)]
        while self._take("and"):
            nodes.append(self._negation(depth))
        return nodes[0] if len(nodes) == 1 else AllOf(tuple(nodes))

    def _negation(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._refused(f"nested deeper than {MAX_DEPTH} levels")
        if self._take("not"):
            return Not(self._negation(depth + 1))
        if self._take("("):
            node = self.alternatives(depth + 1)
            if not self._take(")"):
                raise self._refused("a parenthesis is not closed")
            return node
        return self._operand()

    def _operand(self) -> Node:
        word = self.peek()
        if word in ("", ")") or word.lower() in WORDS:
            raise self._refused(f"a selection is missing before {word or 'the end'!r}")
        self._at += 1
        # A selection may be called `all` or `1`: only `of` after it makes it a quantifier.
        if self.peek().lower() == "of":
            return self._quantified(word)
        if word not in self._selections:
            raise self._refused(f"there is no selection {word!r}")
        return Selection(word, self._selections[word])

    def _quantified(self, quantifier: str) -> Node:
        self._at += 1
        target = self.peek()
        if target in ("", "(", ")"):
            raise self._refused(f"'{quantifier} of' needs 'them' or a name")
        self._at += 1
        nodes = self._named(target)
        if quantifier.lower() == "all":
            return AllOf(nodes)
        count = 1 if quantifier.lower() == "any" else self._count(quantifier)
        if count > len(nodes):
            raise self._refused(f"{quantifier} of {target}: there are only {len(nodes)}")
        return AtLeast(count, nodes)

    def _count(self, quantifier: str) -> int:
        if not re.fullmatch(r"[1-9][0-9]{0,3}", quantifier):
            raise self._refused(f"{quantifier!r} is no quantifier: use 1, all, any or a number")
        return int(quantifier)

    def _named(self, target: str) -> tuple[Selection, ...]:
        """Return the selections *target* means; `_x` only where the pattern itself says so."""
        wanted = "*" if target.lower() == "them" else target
        pattern = ".*".join(re.escape(piece) for piece in re.split(r"\*+", wanted))
        nodes = tuple(
            Selection(name, node)
            for name, node in self._selections.items()
            if re.fullmatch(pattern, name) and (not name.startswith("_") or wanted[0] == "_")
        )
        self._named_in_all += len(nodes)
        if self._named_in_all > MAX_NAMED:
            raise self._refused(f"'of' stands for more than {MAX_NAMED} selections")
        if not nodes:
            raise self._refused(f"no selection fits {target!r}")
        return nodes

    def _take(self, word: str) -> bool:
        if self.peek().lower() != word:
            return False
        self._at += 1
        return True

    def _refused(self, reason: str) -> RefusedError:
        return RefusedError(self._line, f"condition: {reason}")
