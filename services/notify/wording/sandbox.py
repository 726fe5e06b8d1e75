"""Pure: templates are placeholders, conditions and lists of words, and nothing else (§5.3).

What a template may hold is an allow-list over its syntax tree, checked when it is loaded; what
passes cannot fail when it is rendered. It runs in Jinja's immutable sandbox beside that, with no
globals, no tests and five filters.
"""

from collections.abc import Iterator, Mapping, Set
from functools import lru_cache
from typing import Any

from jinja2 import Environment, StrictUndefined, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["LISTS", "MAX_TEMPLATE", "TemplateRefusedError", "check", "environment", "rendered"]

MAX_TEMPLATE = 64 * 1024
MOST = 200  # of a number or the letters of a constant: indent(10**9) is a bomb
LISTS = frozenset({"services", "regions", "data_classes", "further"})
"""The only variables that a loop may go over; an item of ``further`` has a label and a text."""
_FILTERS: Mapping[str, type | None] = {
    "join": str, "lower": None, "upper": None, "trim": None, "indent": int,
}  # fmt: skip
"""Each with what it may be given, once."""
_ITEM = frozenset({"label", "text"})
_PLAIN = nodes.TemplateData | nodes.If | nodes.And | nodes.Or | nodes.Not | nodes.Compare
Loops = Mapping[str, str]
"""The names that loops around a node have made, each with the list that it goes over."""


class TemplateRefusedError(Exception):
    """The template holds what it must not; ``line`` counts from 1 in its text."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line, self.why = line, why


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return where templates run: no attribute of Python's, nothing to change, no function."""
    made = ImmutableSandboxedEnvironment(
        autoescape=False,  # plain text; who puts it elsewhere escapes it there
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals.clear()
    made.tests.clear()
    for name in [name for name in made.filters if name not in _FILTERS]:
        del made.filters[name]
    return made


def check(source: str, names: Set[str]) -> frozenset[str]:
    """Return the variables that *source* uses; TemplateRefusedError for anything not allowed.

    Only *names* may be used.
    """
    if len(source) > MAX_TEMPLATE:
        raise TemplateRefusedError(1, f"a template has {MAX_TEMPLATE >> 10} KiB at most")
    used: set[str] = set()
    try:
        for node, loops in _walk(environment().parse(source), {}):
            _allow(node, names, loops)
            if isinstance(node, nodes.Name) and node.name not in loops:
                used.add(node.name)
        _compiled(source)
    except TemplateSyntaxError as error:
        raise TemplateRefusedError(error.lineno, f"not a template: {error.message}") from None
    except (RecursionError, SyntaxError, MemoryError):
        raise TemplateRefusedError(1, "nested too deep") from None
    return frozenset(used)


def rendered(source: str, values: Mapping[str, Any]) -> str:
    """Return *source*, which was checked, with *values*."""
    return str(_compiled(source).render(**values))


@lru_cache(maxsize=512)
def _compiled(source: str) -> Any:
    return environment().from_string(source)


def _walk(node: nodes.Node, loops: Loops) -> Iterator[tuple[nodes.Node, Loops]]:
    """Yield all nodes, each with the loops around it."""
    for child in node.iter_child_nodes():
        # Jinja gives the right side of a comparison no line of its own.
        child.lineno = child.lineno or node.lineno
        inside = loops
        # What a loop goes over stands outside of it.
        if isinstance(node, nodes.For) and child is not node.iter:
            target, over = node.target, node.iter
            if isinstance(target, nodes.Name) and isinstance(over, nodes.Name):
                inside = {**loops, target.name: over.name}
        yield child, inside
        yield from _walk(child, inside)


def _allow(node: nodes.Node, names: Set[str], loops: Loops) -> None:
    def need(holds: bool, why: str) -> None:
        if not holds:
            raise TemplateRefusedError(node.lineno, why)

    match node:
        case nodes.Name():
            known = ", ".join(sorted(names))
            need(node.name in names or node.name in loops,
                 f"there is no {node.name!r} here (known: {known})")  # fmt: skip
        case nodes.Const():
            value = node.value
            size = len(value) if isinstance(value, str) else abs(value or 0)
            need(isinstance(value, str | int) and size <= MOST,
                 f"a constant is a text or a number of {MOST} at most")  # fmt: skip
        case nodes.Getattr():
            item = loops.get(node.node.name) if isinstance(node.node, nodes.Name) else None
            need(item == "further" and node.attr in _ITEM,
                 "only an item of further has fields: label and text")  # fmt: skip
        case nodes.Filter():
            _allow_filter(node, need)
        case nodes.Output():
            for child in node.nodes:
                bare = isinstance(child, nodes.Name) and child.name in LISTS - set(loops)
                need(not bare, "a list is joined or looped over")
                whole = isinstance(child, nodes.Name) and loops.get(child.name) == "further"
                need(not whole, "of an item of further, label or text is shown")
        case nodes.Operand():
            need(node.op in {"eq", "ne"}, "only == and != compare")
        case nodes.For():
            over = node.iter.name if isinstance(node.iter, nodes.Name) else ""
            lists = ", ".join(sorted(LISTS))
            plain = isinstance(node.target, nodes.Name) and node.target.name not in names
            need(over in LISTS and over in names and plain,
                 f"a loop goes over one of {lists}, with a name of its own")  # fmt: skip
            need(not loops, "a loop stands in no other loop")
            need(node.test is None and not node.recursive and not node.else_,
                 "a loop has no condition, no recursion and no else")  # fmt: skip
        case _:
            name = type(node).__name__.lower()
            need(isinstance(node, _PLAIN), f"{name} is not allowed in a template")


def _allow_filter(node: nodes.Filter, need: Any) -> None:
    named = ", ".join(sorted(_FILTERS))
    plain = not (node.kwargs or node.dyn_args or node.dyn_kwargs)
    need(node.name in _FILTERS and plain, f"filter {node.name!r} is none of {named}")
    given = [a.value if isinstance(a, nodes.Const) else None for a in node.args]
    kind = _FILTERS[node.name]
    fits = [kind is not None and type(value) is kind for value in given]
    need(all(fits) and len(fits) <= 1, f"filter {node.name!r} cannot be given this")
    over = node.node.name if isinstance(node.node, nodes.Name) else ""
    joined = node.name == "join" and over != "further"
    need(over not in LISTS or joined, f"filter {node.name!r} is not for a list")
    need(node.node is not None, "a filter block is not allowed")
