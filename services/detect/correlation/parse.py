"""A correlation document to a `Correlation`; what is not understood is refused with its line."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from services.detect.correlation.model import (
    METRICS,
    SECOND,
    Condition,
    Correlation,
    Missing,
    Refire,
    Type,
)
from services.detect.rules.condition import read_condition
from services.detect.rules.model import (
    AllOf,
    AtLeast,
    Item,
    Level,
    Node,
    Not,
    RefusedError,
    Selection,
    Status,
)
from services.detect.rules.yaml_tree import Listing, Scalar, Table, Tree

__all__ = ["About", "read_correlation"]

MAX_RULES = 100
MAX_FIELDS = 16
MAX_TIMESPAN = 31 * 86_400 * SECOND
MAX_COUNT = 1_000_000

_KEYS = frozenset({"type", "rules", "group-by", "timespan", "condition", "aliases", "generate"})
_EXTENSIONS = frozenset({"refire", "missing"})
_ORDERS = frozenset({"gt", "gte", "lt", "lte", "eq", "neq"})
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TIMESPAN = re.compile(r"([1-9][0-9]{0,8})([smhdw])", re.ASCII)
_TEMPORAL = (Type.TEMPORAL, Type.TEMPORAL_ORDERED)
_E = TypeVar("_E", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What every kind of Sigma document says of itself, already read."""

    id: str
    title: str
    version: str
    name: str | None
    level: Level | None
    status: Status | None
    description: str
    author: str
    tags: tuple[str, ...]
    references: tuple[str, ...]
    falsepositives: tuple[str, ...]
    path: str
    line: int


def read_correlation(tree: Table, about: About) -> Correlation:
    """Return the correlation in *tree*, or raise RefusedError."""
    for key in ("logsource", "detection", "filter"):
        if key in tree.entries:
            raise RefusedError(tree.lines[key], f"a correlation rule cannot have {key!r}")
    table = tree.entries["correlation"]
    if not isinstance(table, Table):
        raise RefusedError(tree.lines["correlation"], "'correlation' must be a map")
    for key in table.entries:
        if key not in _KEYS:
            raise RefusedError(table.lines[key], f"unknown key {key!r} in 'correlation'")
    kind = _choice(table, "type", Type)
    if kind is None:
        raise RefusedError(table.line, "'type' is missing")
    rules = _texts(table, "rules", MAX_RULES)
    if not rules:
        raise RefusedError(table.lines.get("rules", table.line), "'rules' is missing or empty")
    if kind in _TEMPORAL and len(rules) < 2:
        raise RefusedError(table.lines["rules"], f"{kind} needs at least two rules")
    condition, expression = _condition(table, kind, rules)
    extension = _extension(tree)
    return Correlation(
        **{name: getattr(about, name) for name in About.__slots__},
        type=kind,
        rules=rules,
        group_by=_texts(table, "group-by", MAX_FIELDS),
        timespan=_timespan(table),
        condition=condition,
        expression=expression,
        words=_words(table) if expression is not None else "",
        aliases=_aliases(table, rules, condition),
        generate=_flag(tree, "generate") or _flag(table, "generate"),
        refire=_choice(extension, "refire", Refire) or Refire.ONCE,
        missing=_choice(extension, "missing", Missing) or Missing.DROP,
    )


def _extension(tree: Table) -> Table:
    """Return Tocsin's own settings, under the key `tocsin`: the specification has no word."""
    table = tree.entries.get("tocsin", Table({}, {}, tree.line))
    if not isinstance(table, Table):
        raise RefusedError(tree.lines["tocsin"], "'tocsin' must be a map")
    for key in table.entries:
        if key not in _EXTENSIONS:
            raise RefusedError(table.lines[key], f"unknown key {key!r} in 'tocsin'")
    return table


def _timespan(table: Table) -> int:
    written = table.entries.get("timespan")
    line = table.lines.get("timespan", table.line)
    found = _TIMESPAN.fullmatch(written.text) if isinstance(written, Scalar) else None
    if found is None:
        raise RefusedError(line, "'timespan' must be a number with s, m, h, d or w, as in 15m")
    span = int(found[1]) * _UNITS[found[2]] * SECOND
    if span > MAX_TIMESPAN:
        raise RefusedError(line, f"'timespan' is longer than {MAX_TIMESPAN // SECOND // 86_400} d")
    return span


def _condition(
    table: Table, kind: Type, rules: tuple[str, ...]
) -> tuple[Condition | None, Node | None]:
    tree = table.entries.get("condition")
    line = table.lines.get("condition", table.line)
    match tree:
        case None if kind in _TEMPORAL:
            return None, None
        case None:
            raise RefusedError(line, f"{kind} needs a 'condition'")
        case Table():
            return _bounds(tree, kind, rules), None
        case Scalar(value=str()) if kind in _TEMPORAL:
            return None, _expression(tree, kind, rules)
        case Scalar(value=str()):
            raise RefusedError(line, f"a condition in words is for temporal types, not {kind}")
        case _:
            raise RefusedError(line, "'condition' must be a map, or a text for temporal types")


def _words(table: Table) -> str:
    tree = table.entries["condition"]
    return tree.text if isinstance(tree, Scalar) else ""


def _bounds(tree: Table, kind: Type, rules: tuple[str, ...]) -> Condition:
    bounds: list[tuple[str, int | float]] = []
    for key, value in tree.entries.items():
        if key in _ORDERS:
            bounds.append((key, _number(value, kind, tree.lines[key])))
        elif key not in ("field", "percentile"):
            raise RefusedError(tree.lines[key], f"unknown key {key!r} in 'condition'")
    if not bounds:
        raise RefusedError(tree.line, f"'condition' needs one of {', '.join(sorted(_ORDERS))}")
    condition = Condition(tuple(bounds), _fields(tree, kind), _percentile(tree, kind))
    _check_sense(condition, kind, rules, tree.line)
    return condition


def _number(tree: Tree, kind: Type, line: int) -> int | float:
    value = tree.value if isinstance(tree, Scalar) else None
    whole = kind not in METRICS
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise RefusedError(line, f"{'an integer' if whole else 'a number'} is needed here")
    if whole and not 0 <= value <= MAX_COUNT:
        raise RefusedError(line, f"a count from 0 to {MAX_COUNT} is needed here")
    return value


def _fields(tree: Table, kind: Type) -> tuple[str, ...]:
    fields = _texts(tree, "field", MAX_FIELDS)
    needed = kind is Type.VALUE_COUNT or kind in METRICS
    if needed and not fields:
        raise RefusedError(tree.line, f"{kind} needs a 'field' in its condition")
    if fields and not needed:
        raise RefusedError(tree.lines["field"], f"{kind} takes no 'field'")
    if len(fields) > 1 and kind is not Type.VALUE_COUNT:
        raise RefusedError(tree.lines["field"], f"{kind} takes one field, not {len(fields)}")
    return fields


def _percentile(tree: Table, kind: Type) -> float | None:
    if "percentile" not in tree.entries:
        return 50.0 if kind is Type.VALUE_MEDIAN else None
    line = tree.lines["percentile"]
    if kind is not Type.VALUE_PERCENTILE:
        raise RefusedError(line, f"{kind} takes no 'percentile'")
    value = _number(tree.entries["percentile"], kind, line)
    if not 0 < value <= 100:
        raise RefusedError(line, "'percentile' must be above 0 and at most 100")
    return float(value)


def _check_sense(condition: Condition, kind: Type, rules: tuple[str, ...], line: int) -> None:
    """Refuse bounds that contradict each other, and counts that are always or never reached."""
    low, high = -math.inf, math.inf
    step = 0 if kind in METRICS else 1
    for order, bound in condition.bounds:
        if order in ("gt", "gte", "eq"):
            low = max(low, bound + step if order == "gt" else bound)
        if order in ("lt", "lte", "eq"):
            high = min(high, bound - step if order == "lt" else bound)
    strict = [bound for order, bound in condition.bounds if order in ("gt", "lt")]
    if low > high or (kind in METRICS and low == high and low in strict):
        raise RefusedError(line, f"'condition' ({condition.shown}) can never hold")
    if kind in METRICS:
        return
    if high < 0:
        raise RefusedError(line, f"'condition' ({condition.shown}) can never hold")
    if condition.rising and low <= 0:
        raise RefusedError(line, f"'condition' ({condition.shown}) always holds")
    if kind in _TEMPORAL:
        if low > len(rules):
            raise RefusedError(line, f"'condition' wants {low:g} of {len(rules)} rules")
        if not condition.rising:
            raise RefusedError(line, f"{kind} takes gt or gte; say 'not' in a condition in words")
        if kind is Type.TEMPORAL_ORDERED and low != len(rules):
            raise RefusedError(line, f"{kind} wants all its rules; leave 'condition' out")


def _expression(tree: Scalar, kind: Type, rules: tuple[str, ...]) -> Node:
    names = {name: Item(name, "", ()) for name in rules}
    node = read_condition(tree.text, names, tree.line)
    if _holds_empty(node):
        raise RefusedError(tree.line, "condition: it holds although none of the rules matched")
    if kind is Type.TEMPORAL_ORDERED:
        parts = node.nodes if isinstance(node, AllOf) else (node,)
        for part in parts:
            inner = part.node if isinstance(part, Not) else part
            if not isinstance(inner, Selection):
                raise RefusedError(
                    tree.line, f"condition: {kind} takes rules joined by 'and' and 'and not' only"
                )
    return node


def _holds_empty(node: Node) -> bool:
    """Return whether *node* holds although no rule matched."""
    match node:
        case Selection() | Item():
            return False
        case Not(node=inner):
            return not _holds_empty(inner)
        case AllOf(nodes=nodes):
            return all(map(_holds_empty, nodes))
        case AtLeast(count=count, nodes=nodes):
            return sum(map(_holds_empty, nodes)) >= count


def _aliases(
    table: Table, rules: tuple[str, ...], condition: Condition | None
) -> Mapping[str, Mapping[str, str]] | None:
    tree = table.entries.get("aliases")
    if tree is None:
        return None
    line = table.lines["aliases"]
    if not isinstance(tree, Table) or not tree.entries:
        raise RefusedError(line, "'aliases' must be a map of alias, rule and field")
    used = {*_texts(table, "group-by", MAX_FIELDS), *(condition.fields if condition else ())}
    found: dict[str, dict[str, str]] = {}
    for alias, mapping in tree.entries.items():
        at = tree.lines[alias]
        if not isinstance(mapping, Table):
            raise RefusedError(at, f"alias {alias!r} must be a map of rule and field")
        if alias not in used:
            raise RefusedError(at, f"alias {alias!r} is used neither in group-by nor as a field")
        for rule, field in mapping.entries.items():
            if rule not in rules:
                raise RefusedError(
                    mapping.lines[rule], f"alias {alias!r}: {rule!r} is not one of 'rules'"
                )
            if not isinstance(field, Scalar) or not field.text:
                raise RefusedError(mapping.lines[rule], f"alias {alias!r}: a field is needed")
            found.setdefault(alias, {})[rule] = field.text
    return found


def _texts(table: Table, key: str, limit: int) -> tuple[str, ...]:
    """Return the texts under *key*, a list or a single one; none twice."""
    tree = table.entries.get(key)
    if tree is None:
        return ()
    line = table.lines[key]
    items = tree.items if isinstance(tree, Listing) else (tree,)
    found: list[str] = []
    for item in items:
        if not isinstance(item, Scalar) or item.value is None or not item.text:
            raise RefusedError(item.line, f"{key!r} must be a text or a list of texts")
        if item.text in found:
            raise RefusedError(item.line, f"{item.text!r} stands twice in {key!r}")
        found.append(item.text)
    if len(found) > limit:
        raise RefusedError(line, f"{key!r} has more than {limit} entries")
    return tuple(found)


def _flag(table: Table, key: str) -> bool:
    match table.entries.get(key):
        case None:
            return False
        case Scalar(value=bool(value)):
            return value
        case _:
            raise RefusedError(table.lines[key], f"{key!r} must be true or false")


def _choice(table: Table, key: str, choices: type[_E]) -> _E | None:
    match table.entries.get(key):
        case None:
            return None
        case Scalar(text=text) if text in {choice.value for choice in choices}:
            return choices(text)
        case _:
            known = ", ".join(choice.value for choice in choices)
            raise RefusedError(table.lines[key], f"{key!r} must be one of {known}")
