"""Text to immutable rules and filters; what is not understood is refused, never ignored."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar
from uuid import UUID, uuid5

from services.detect.correlation.model import Correlation
from services.detect.correlation.parse import About, read_correlation

from .condition import WORDS, read_condition
from .model import (
    ANYWHERE,
    AllOf,
    AtLeast,
    Filter,
    Item,
    Level,
    LogSource,
    Node,
    RefusedError,
    Rule,
    RuleError,
    Selection,
    Status,
)
from .values import Placeholders, read_item
from .yaml_tree import Listing, Scalar, Table, Tree, documents, plain

# Rules may come without an id; theirs is derived from what they call themselves.
_UNNAMED = UUID("7d2f4f0e-7f7d-5c0a-9a53-5f6a6c8f1b11")
_E = TypeVar("_E", bound=StrEnum)
_NOT = "condition: not selection"

Document = Rule | Correlation | Filter | RuleError
"""What one YAML document gives."""


def parse_rule(text: str, path: str = "<text>", placeholders: Placeholders | None = None) -> Rule:
    """Return the one rule in *text*, or raise RuleError."""
    match list(parse_rules(text, path, placeholders)):
        case [Rule() as rule]:
            return rule
        case [RuleError() as error, *_]:
            raise error
        case found:
            raise RuleError(path, 1, f"one rule expected, {len(found)} found")


def parse_rules(
    text: str, path: str, placeholders: Placeholders | None = None
) -> Iterator[Document]:
    """Yield for each YAML document in *text* its rule, or why there is none."""
    empty = True
    try:
        for tree in documents(text):
            if isinstance(tree, Scalar) and tree.value is None:
                continue  # nothing stands between two `---`
            empty = False
            if isinstance(tree, RefusedError):
                yield RuleError(path, tree.line, tree.reason)
            else:
                yield _document(tree, path, placeholders or {})
    except RefusedError as refusal:
        yield RuleError(path, refusal.line, refusal.reason)
    else:
        if empty:
            yield RuleError(path, 1, "holds no rule")


def _document(tree: Tree, path: str, placeholders: Placeholders) -> Document:
    if not isinstance(tree, Table):
        return RuleError(path, tree.line, "a rule must be a map of keys and values")
    try:
        if "filter" in tree.entries:
            return _filter(tree, path, placeholders)
        if "correlation" in tree.entries:
            return read_correlation(tree, _about_correlation(tree, path))
        return _rule(tree, path, placeholders)
    except RefusedError as refusal:
        return RuleError(path, refusal.line, refusal.reason)


def _about_correlation(tree: Table, path: str) -> About:
    title = _title(tree)
    return About(
        id=_identity(tree, title, LogSource()),
        title=title,
        version=_digest(tree, {}),
        name=_text(tree, "name") or None,
        level=_choice(tree, "level", Level),
        status=_choice(tree, "status", Status),
        description=_text(tree, "description"),
        author=_text(tree, "author"),
        tags=_list(tree, "tags"),
        references=_list(tree, "references"),
        falsepositives=_list(tree, "falsepositives"),
        path=path,
        line=tree.line,
    )


def _title(tree: Table) -> str:
    """Return the title of a document of a kind and version that is known here."""
    if "action" in tree.entries:
        raise RefusedError(tree.lines["action"], "rule collections by 'action' are not supported")
    if _text(tree, "sigma-version")[:1] not in ("", "1", "2"):
        raise RefusedError(tree.lines["sigma-version"], "only Sigma versions 1 and 2 are known")
    if _text(tree, "taxonomy").lower() not in ("", "sigma"):
        raise RefusedError(tree.lines["taxonomy"], "only the taxonomy 'sigma' is known")
    title = _text(tree, "title")
    if not title or len(title) > 256:
        raise RefusedError(
            tree.lines.get("title", tree.line), "'title' of 1 to 256 characters needed"
        )
    return title


def _rule(tree: Table, path: str, placeholders: Placeholders) -> Rule:
    title = _title(tree)
    logsource = _logsource(tree)
    return Rule(
        id=_identity(tree, title, logsource),
        title=title,
        level=_choice(tree, "level", Level) or Level.MEDIUM,
        logsource=logsource,
        condition=_detection(tree, placeholders),
        version=_digest(tree, placeholders),
        name=_text(tree, "name") or None,
        status=_choice(tree, "status", Status),
        description=_text(tree, "description"),
        author=_text(tree, "author"),
        tags=_list(tree, "tags"),
        references=_list(tree, "references"),
        falsepositives=_list(tree, "falsepositives"),
        path=path,
        line=tree.line,
    )


def _filter(tree: Table, path: str, placeholders: Placeholders) -> Filter:
    for other in ("correlation", "detection"):
        if other in tree.entries:
            raise RefusedError(tree.lines[other], f"a filter cannot have {other!r} besides")
    title = _title(tree)
    logsource = _logsource(tree)
    table = tree.entries["filter"]
    if not isinstance(table, Table):
        raise RefusedError(tree.lines["filter"], "'filter' must be a map")
    names = _list(table, "rules")
    if not names or not all(names):
        raise RefusedError(
            table.lines.get("rules", table.line), "'rules' needs ids or names, or 'any'"
        )
    every = [name.lower() for name in names] == ["any"]
    condition = _searches(table, ("condition", "rules"), placeholders)
    positive = f"it keeps only what its condition describes; to leave that out, write {_NOT!r}"
    return Filter(
        id=_identity(tree, title, logsource),
        title=title,
        logsource=logsource,
        rules=None if every else names,
        condition=condition,
        version=_digest(tree, placeholders),
        warning=positive if isinstance(condition, Selection) else "",
        path=path,
        line=tree.line,
    )


def _digest(tree: Table, placeholders: Placeholders) -> str:
    """Comments, layout and order of keys do not count; values of placeholders named in it do."""
    content: dict[str, object] = {"rule": plain(tree)}
    written = _canonical(content)
    used = {name: list(values) for name, values in placeholders.items() if f"%{name}%" in written}
    if used:
        written = _canonical({**content, "placeholders": used})
    return hashlib.sha256(written.encode()).hexdigest()


def _canonical(content: object) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _identity(tree: Table, title: str, logsource: LogSource) -> str:
    written = _text(tree, "id")
    if not written:
        return str(uuid5(_UNNAMED, "\n".join([_text(tree, "name"), title, str(logsource)])))
    try:
        return str(UUID(written))
    except ValueError:
        raise RefusedError(tree.lines["id"], f"id {written!r} is no UUID") from None


def _logsource(tree: Table) -> LogSource:
    table = tree.entries.get("logsource")
    if not isinstance(table, Table):
        raise RefusedError(tree.lines.get("logsource", tree.line), "'logsource' must be a map")
    source = LogSource(*(_text(table, part) for part in ("product", "category", "service")))
    if source == LogSource():
        raise RefusedError(table.line, "'logsource' needs a product, category or service")
    return source


def _detection(tree: Table, placeholders: Placeholders) -> Node:
    table = tree.entries.get("detection")
    if not isinstance(table, Table):
        raise RefusedError(tree.lines.get("detection", tree.line), "'detection' must be a map")
    if "timeframe" in table.entries:
        raise RefusedError(
            table.lines["timeframe"],
            "'timeframe' aggregations are not supported, use a correlation rule",
        )
    return _searches(table, ("condition",), placeholders)


def _searches(table: Table, reserved: Sequence[str], placeholders: Placeholders) -> Node:
    """Return the condition of *table*, whose other keys but *reserved* are its selections."""
    selections: dict[str, Node] = {}
    for name, value in table.entries.items():
        if name in reserved:
            continue
        if name.lower() in WORDS or not name:
            raise RefusedError(table.lines[name], f"a selection cannot be called {name!r}")
        selections[name] = _selection(value, table.lines[name], placeholders)
    if "condition" not in table.entries:
        raise RefusedError(table.line, "'condition' is missing")
    return _conditions(table.entries["condition"], selections, table.lines["condition"])


def _conditions(tree: Tree, selections: Mapping[str, Node], line: int) -> Node:
    written = tree.items if isinstance(tree, Listing) else (tree,)
    nodes: list[Node] = []
    for item in written:
        # `condition: 1` may mean a selection called 1, so the text counts, not the number.
        if not isinstance(item, Scalar) or item.value is None:
            raise RefusedError(line, "'condition' must be a text, or a list of texts")
        nodes.append(read_condition(item.text, selections, item.line))
    if not nodes:
        raise RefusedError(line, "condition is empty")
    return nodes[0] if len(nodes) == 1 else AtLeast(1, tuple(nodes))


def _selection(tree: Tree, line: int, placeholders: Placeholders) -> Node:
    match tree:
        case Table():
            return _map(tree, placeholders)
        case Listing(items=()):
            raise RefusedError(line, "a selection cannot be empty")
        case Listing():
            return _alternatives(tree.items, placeholders)
        case Scalar(value=None):
            raise RefusedError(line, "a selection cannot be empty")
        case Scalar():
            return read_item(ANYWHERE, tree, line, placeholders)


def _alternatives(items: Sequence[Tree], placeholders: Placeholders) -> Node:
    nodes: list[Node] = []
    keywords: list[Item] = []
    for item in items:
        if isinstance(item, Table):
            nodes.append(_map(item, placeholders))
        elif isinstance(item, Scalar):
            keywords.append(read_item(ANYWHERE, item, item.line, placeholders))
        else:
            raise RefusedError(
                item.line, "a selection's list may hold maps and keywords, not lists"
            )
    if keywords:
        tests = tuple(test for keyword in keywords for test in keyword.groups[0])
        nodes.append(Item(ANYWHERE, "", (tests,)))
    return nodes[0] if len(nodes) == 1 else AtLeast(1, tuple(nodes))


def _map(table: Table, placeholders: Placeholders) -> Node:
    if not table.entries:
        raise RefusedError(table.line, "a selection cannot be empty")
    nodes = tuple(
        read_item(key, value, table.lines[key], placeholders)
        for key, value in table.entries.items()
    )
    return nodes[0] if len(nodes) == 1 else AllOf(nodes)


def _text(table: Table, key: str) -> str:
    match table.entries.get(key):
        case None | Scalar(value=None):
            return ""
        case Scalar(text=text):
            return text.strip()
        case _:
            raise RefusedError(table.lines[key], f"{key!r} must be a text")


def _list(table: Table, key: str) -> tuple[str, ...]:
    match table.entries.get(key):
        case None | Scalar(value=None):
            return ()
        case Scalar(text=text):
            return (text,)
        case Listing(items=items):
            texts = tuple(item.text for item in items if isinstance(item, Scalar))
            if len(texts) == len(items):
                return texts
        case Table():
            pass
    raise RefusedError(table.lines[key], f"{key!r} must be a list of texts")


def _choice(table: Table, key: str, choices: type[_E]) -> _E | None:
    written = _text(table, key)
    if not written:
        return None
    try:
        return choices(written.lower())
    except ValueError:
        known = ", ".join(choices)
        raise RefusedError(table.lines[key], f"{key} {written!r} is none of {known}") from None
