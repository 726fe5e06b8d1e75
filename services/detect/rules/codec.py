"""A parsed rule as plain lists, ready for MessagePack, and back: the same rule, node by node.

What several parts of a condition share is written once. Nothing here runs what it reads: a list
that is no rule is a ValueError.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .model import (
    AllOf,
    AtLeast,
    Compare,
    DatePart,
    Exists,
    InNetwork,
    Item,
    Level,
    LogSource,
    Matches,
    Node,
    Not,
    Null,
    Order,
    Rule,
    SameAs,
    Selection,
    Status,
    Test,
    Text,
)
from .regex import Regex
from .text import Kind, Parts, Wild, pattern

__all__ = ["decoded", "encoded"]

Plain = Sequence[Any]
_KINDS = {kind.value: kind for kind in Kind}
_WILDS = (Wild.STAR, Wild.ONE)


def encoded(rule: Rule) -> Plain:
    """Return *rule* but for its path, as lists of texts, numbers and truth values."""
    shared = _Writer()
    condition = shared.node(rule.condition)
    return (
        rule.id, rule.title, rule.level.value,
        (rule.logsource.product, rule.logsource.category, rule.logsource.service),
        rule.version, rule.name, rule.status.value if rule.status else None, rule.description,
        rule.author, rule.tags, rule.references, rule.falsepositives, rule.line,
        shared.nodes, condition,
    )  # fmt: skip


def decoded(written: Plain, path: str) -> Rule:
    """Return the rule that `encoded` gave *written* for; ValueError where it is none."""
    try:
        (
            identity, title, level, logsource, version, name, status, description, author, tags,
            references, falsepositives, line, nodes, condition,
        ) = written  # fmt: skip
        return Rule(
            id=identity,
            title=title,
            level=Level(level),
            logsource=LogSource(*logsource),
            condition=_Reader(nodes).node(condition),
            version=version,
            name=name,
            status=Status(status) if status is not None else None,
            description=description,
            author=author,
            tags=tuple(tags),
            references=tuple(references),
            falsepositives=tuple(falsepositives),
            path=path,
            line=line,
        )
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"no rule: {error!r}") from error


class _Writer:
    """Writes nodes; selections go into a table, each once."""

    def __init__(self) -> None:
        self.nodes: list[Plain] = []
        self._places: dict[int, int] = {}

    def node(self, node: Node) -> Plain:
        match node:
            case Item():
                groups = [[_TEST[type(test)](test) for test in group] for group in node.groups]
                return ("item", node.field, node.op, groups, node.negated)
            case AllOf():
                return ("all", [self.node(inner) for inner in node.nodes])
            case AtLeast():
                return ("least", node.count, [self.node(inner) for inner in node.nodes])
            case Not():
                return ("not", self.node(node.node))
            case Selection():
                inner = node.node
                if id(inner) not in self._places:
                    written = self.node(inner)
                    self._places[id(inner)] = len(self.nodes)
                    self.nodes.append(written)
                return ("selection", node.name, self._places[id(inner)])


class _Reader:
    """Reads nodes; a selection of the table is the same object wherever it is named."""

    def __init__(self, nodes: Sequence[Plain]) -> None:
        self._nodes: list[Node] = []
        for written in nodes:
            self._nodes.append(self.node(written))

    def node(self, written: Plain) -> Node:
        match written:
            case ["item", field, op, groups, negated]:
                return Item(
                    field,
                    op,
                    tuple(tuple(_READ[test[0]](*test[1:]) for test in group) for group in groups),
                    negated,
                )
            case ["all", nodes]:
                return AllOf(tuple(map(self.node, nodes)))
            case ["least", count, nodes]:
                return AtLeast(count, tuple(map(self.node, nodes)))
            case ["not", inner]:
                return Not(self.node(inner))
            case ["selection", name, place]:
                return Selection(name, self._nodes[place])
            case _:
                raise ValueError(f"no node: {written[:1]!r}")


def _text(test: Text) -> Plain:
    parts = None
    if test.kind is Kind.PATTERN:
        parts = [part if isinstance(part, str) else _WILDS.index(part) for part in test.parts]
    return ("text", test.kind.value, test.literal, test.cased, test.dashes, test.shown, parts)


_PARTS: dict[Kind, Callable[[str], Parts]] = {
    Kind.EQUALS: lambda literal: (literal,),
    Kind.STARTS: lambda literal: (literal, Wild.STAR),
    Kind.ENDS: lambda literal: (Wild.STAR, literal),
    Kind.CONTAINS: lambda literal: (Wild.STAR, literal, Wild.STAR),
    Kind.ANY: lambda _: (Wild.STAR,),
}


def _read_text(
    kind: str, literal: str, cased: bool, dashes: bool, shown: str, parts: Plain | None
) -> Text:
    known = _KINDS[kind]
    if known is not Kind.PATTERN:
        return Text(known, literal, _PARTS[known](literal), cased, dashes, None, shown)
    wild = tuple(part if isinstance(part, str) else _WILDS[part] for part in parts or ())
    return Text(known, literal, wild, cased, dashes, pattern(wild), shown)


def _number(number: int | float) -> int | float | str:
    """Return *number*; in hexadecimal where it is too large for MessagePack, as an IPv6 address."""
    return f"{number:x}" if isinstance(number, int) and number.bit_length() > 63 else number


_TEST: dict[type, Callable[[Any], Plain]] = {
    Text: _text,
    Matches: lambda test: ("matches", test.regex.source, test.shown),
    Null: lambda _: ("null",),
    Exists: lambda test: ("exists", test.wanted),
    Compare: lambda test: (
        "compare", test.order.value, _number(test.number), test.part.value if test.part else None,
    ),
    InNetwork: lambda test: (
        "network", test.version, f"{test.network:x}", f"{test.mask:x}", test.shown,
    ),
    SameAs: lambda test: ("same", test.field, test.kind.value, test.cased),
}  # fmt: skip
_READ: dict[str, Callable[..., Test]] = {
    "text": _read_text,
    "matches": lambda source, shown: Matches(Regex(source), shown),
    "null": lambda: Null(),
    "exists": lambda wanted: Exists(wanted),
    "compare": lambda order, number, part: Compare(
        Order(order),
        int(number, 16) if isinstance(number, str) else number,
        DatePart(part) if part is not None else None,
    ),
    "network": lambda version, network, mask, shown: InNetwork(
        version, int(network, 16), int(mask, 16), shown
    ),
    "same": lambda field, kind, cased: SameAs(field, _KINDS[kind], cased),
}
