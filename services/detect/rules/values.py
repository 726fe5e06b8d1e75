"""One field of a selection, `field|modifier|modifier: value(s)`, to the tests it stands for."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import assert_never

from .encodings import variants
from .model import (
    ANYWHERE,
    Compare,
    DatePart,
    Exists,
    InNetwork,
    Item,
    Matches,
    Null,
    Order,
    RefusedError,
    SameAs,
    Test,
    Text,
)
from .modifiers import ORDERS, Chain, read_chain
from .regex import Regex, RegexError
from .text import (
    Kind,
    Parts,
    Wild,
    classify,
    dash_literals,
    fold_literals,
    pattern,
    read_parts,
    tidy,
)
from .yaml_tree import Listing, Scalar, Table, Tree

Placeholders = Mapping[str, Sequence[str]]

MAX_FIELD = 256
MAX_TESTS = 20_000
MAX_REGEXES = 1_000
MAX_EXPANSIONS = 10_000
_PLACEHOLDER = re.compile(r"(?<!\\)%([A-Za-z0-9_.-]+)%", re.ASCII)
_BOUNDS = {
    DatePart.MINUTE: (0, 59),
    DatePart.HOUR: (0, 23),
    DatePart.DAY: (1, 31),
    DatePart.WEEK: (1, 53),  # ISO years have up to 53
    DatePart.MONTH: (1, 12),
    DatePart.YEAR: (1, 9999),
}


def read_item(key: str, tree: Tree, line: int, placeholders: Placeholders) -> Item:
    """Return the item that *key* and its value stand for, or raise RefusedError."""
    field, _, written = key.partition("|")
    if key.endswith("|"):
        raise RefusedError(line, f"{key!r} ends with an empty modifier")
    if len(field) > MAX_FIELD:
        raise RefusedError(line, f"a field's name is longer than {MAX_FIELD} characters")
    chain = read_chain(written, keyword=field == ANYWHERE, line=line)
    if field == ANYWHERE and chain.type is None and chain.affix is None:
        chain = replace(chain, affix=Kind.CONTAINS)  # a keyword is found inside the value
    groups: list[tuple[Test, ...]] = []
    budget = _Budget(line)
    for value in _values(tree, chain):
        groups.append(tuple(_tests(value, chain, placeholders)))
        budget.spend(groups[-1])
    if field == ANYWHERE:
        _check_keywords(groups, line)
    if not chain.every:
        groups = [tuple(test for group in groups for test in group)]
    return Item(field, written, tuple(groups), chain.negated)


class _Budget:
    """What one item may cost: values multiply by encodings and placeholders, regexes need room."""

    def __init__(self, line: int) -> None:
        self._line = line
        self._tests = self._regexes = 0

    def spend(self, tests: Sequence[Test]) -> None:
        self._tests += len(tests)
        self._regexes += sum(getattr(test, "regex", None) is not None for test in tests)
        if self._tests > MAX_TESTS:
            raise RefusedError(self._line, f"stands for more than {MAX_TESTS} values")
        if self._regexes > MAX_REGEXES:
            raise RefusedError(self._line, f"more than {MAX_REGEXES} patterns for one field")


def _check_keywords(groups: Sequence[tuple[Test, ...]], line: int) -> None:
    for test in (test for group in groups for test in group):
        if isinstance(test, Null) or (isinstance(test, Text) and test.kind is Kind.ANY):
            raise RefusedError(line, "an empty keyword would match every event")


def _values(tree: Tree, chain: Chain) -> Sequence[Scalar]:
    match tree:
        case Scalar():
            if chain.every:
                raise RefusedError(tree.line, "modifier 'all' needs a list of at least two values")
            return [tree]
        case Listing():
            return _listed(tree, chain)
        case Table():
            raise RefusedError(tree.line, "a field's value cannot be a map")
        case _:
            assert_never(tree)


def _listed(tree: Listing, chain: Chain) -> Sequence[Scalar]:
    if not tree.items:
        raise RefusedError(tree.line, "an empty list matches nothing")
    if chain.every and len(tree.items) < 2:
        raise RefusedError(tree.line, "modifier 'all' needs a list of at least two values")
    if chain.type == "exists":
        raise RefusedError(tree.line, "modifier 'exists' takes true or false, not a list")
    scalars: list[Scalar] = []
    for item in tree.items:
        if not isinstance(item, Scalar):
            raise RefusedError(item.line, "a field's list may hold plain values only")
        if item.value is None:
            raise RefusedError(
                item.line, "null cannot be part of a list: use a selection of its own"
            )
        scalars.append(item)
    return scalars


def _tests(scalar: Scalar, chain: Chain, placeholders: Placeholders) -> list[Test]:
    if scalar.value is None:
        if set(chain.written.split("|")) - {"", "neq"}:
            raise RefusedError(scalar.line, f"null cannot be used with {chain.written!r}")
        return [Null()]
    match chain.type:
        case "re":
            return [_matches(scalar, chain)]
        case "exists":
            if not isinstance(scalar.value, bool):
                raise RefusedError(scalar.line, "modifier 'exists' takes true or false")
            return [Exists(scalar.value)]
        case "cidr":
            return [
                _network(text, scalar.line) for text in _plain_texts(scalar, chain, placeholders)
            ]
        case "fieldref":
            return [_same_as(scalar, chain)]
        case _ if chain.type in ORDERS or chain.part is not None:
            return [_compare(scalar, chain)]
        case _:
            return list(_texts(scalar, chain, placeholders))


def _matches(scalar: Scalar, chain: Chain) -> Matches:
    source = f"(?{chain.flags}){scalar.text}" if chain.flags else scalar.text
    try:
        return Matches(Regex(source), scalar.text)
    except RegexError as error:
        raise RefusedError(scalar.line, str(error)) from None


def _same_as(scalar: Scalar, chain: Chain) -> SameAs:
    if not isinstance(scalar.value, str) or not 0 < len(scalar.value) <= MAX_FIELD:
        raise RefusedError(scalar.line, "modifier 'fieldref' takes the name of a field")
    return SameAs(scalar.value, chain.affix or Kind.EQUALS, chain.cased)


def _compare(scalar: Scalar, chain: Chain) -> Compare:
    number = scalar.value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise RefusedError(scalar.line, f"modifier {chain.written!r} takes a number")
    if chain.part is not None:
        low, high = _BOUNDS[chain.part]
        if not isinstance(number, int) or not low <= number <= high:
            raise RefusedError(scalar.line, f"{chain.part.value!r} lies between {low} and {high}")
    return Compare(ORDERS[chain.type] if chain.type else Order.EQ, number, chain.part)


def _network(text: str, line: int) -> InNetwork:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise RefusedError(line, f"{text!r} is no network in CIDR notation") from None
    return InNetwork(network.version, int(network.network_address), int(network.netmask), text)


def _plain_texts(scalar: Scalar, chain: Chain, placeholders: Placeholders) -> list[str]:
    texts: list[str] = []
    for parts in _expanded(scalar, chain, placeholders):
        match parts:
            case (str(text),):
                texts.append(text)
            case _:
                raise RefusedError(scalar.line, f"{chain.written!r} cannot take a wildcard")
    return texts


def _texts(scalar: Scalar, chain: Chain, placeholders: Placeholders) -> list[Text]:
    encoded = [step for step in chain.steps if step != "windash"]
    if not encoded:
        dashes = "windash" in chain.steps
        return [
            _text(parts, chain, scalar, dashes=dashes)
            for parts in _expanded(scalar, chain, placeholders)
        ]
    tests: list[Text] = []
    for text in _plain_texts(scalar, chain, placeholders):
        try:
            found = variants(text, chain.steps)
        except ValueError as error:
            raise RefusedError(scalar.line, str(error)) from None
        tests.extend(_text((piece,), chain, scalar, dashes=False) for piece in found)
    return tests


def _text(parts: Parts, chain: Chain, scalar: Scalar, *, dashes: bool) -> Text:
    star = (Wild.STAR,)
    if chain.affix in (Kind.CONTAINS, Kind.ENDS):
        parts = star + parts
    if chain.affix in (Kind.CONTAINS, Kind.STARTS):
        parts = parts + star
    return _finish(parts, chain.cased, dashes, scalar.text, scalar.line)


def _finish(parts: Parts, cased: bool, dashes: bool, shown: str, line: int) -> Text:
    parts = tidy(parts)
    if not cased:
        parts = fold_literals(parts)
    if dashes:
        parts = dash_literals(parts)
    kind, literal = classify(parts)
    try:
        regex = pattern(parts) if kind is Kind.PATTERN else None
    except RegexError as error:
        raise RefusedError(line, str(error)) from None
    return Text(kind, literal, parts, cased, dashes, regex, shown)


def _expanded(scalar: Scalar, chain: Chain, placeholders: Placeholders) -> list[Parts]:
    """Return the strings that *scalar* stands for, placeholders put in."""
    if not isinstance(scalar.value, str):
        return [(text,) for text in _spellings(scalar)]
    if not chain.expand:
        return [read_parts(scalar.value)]
    pieces = _PLACEHOLDER.split(scalar.value)
    choices: list[list[Parts]] = []
    total = 1
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            choices.append([read_parts(piece.replace("\\%", "%"))])
            continue
        if not placeholders.get(piece):
            raise RefusedError(scalar.line, f"placeholder %{piece}% has no values")
        choices.append([read_parts(value) for value in placeholders[piece]])
        total *= len(choices[-1])
        if total > MAX_EXPANSIONS:
            raise RefusedError(scalar.line, f"placeholders give more than {MAX_EXPANSIONS} values")
    return [tidy(part for parts in chosen for part in parts) for chosen in product(*choices)]


def _spellings(scalar: Scalar) -> list[str]:
    """Return how a number or truth value of a rule may be written in an event."""
    value = scalar.value
    if isinstance(value, bool):
        return ["true" if value else "false"]
    spellings = [scalar.text, str(value)]
    if isinstance(value, float) and value.is_integer():
        spellings.append(str(int(value)))
    return list(dict.fromkeys(spellings))
