"""Which values of an event are sealed, and on whose account: read off the fields' declarations.

The declarations are those of `services.cases.domain.personal`; nothing is named here a second time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from services.cases.domain.personal import PERSON_TYPES, Seal, person_of

__all__ = ["ERASED", "SEALED", "Leaf", "erase", "leaves", "undeclared"]

SEALED = "[sealed]"
"""What stands in the stored event in the place of a value that is in a box."""
ERASED = "[erased]"
"""What is read in the place of a value whose key was destroyed."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value to seal: ``path`` from the event down, ``persons`` whom it is about."""

    path: str
    persons: frozenset[str]
    value: Any


@dataclass(frozen=True, slots=True)
class _Step:
    """A field that is sealed, or below which something is; ``many``: it is a list."""

    name: str
    many: bool
    seal: Seal | None
    below: tuple["_Step", ...] = ()
    table: bool = False


def _bare(hint: Any) -> tuple[Any, Seal | None, bool]:
    """Return the type inside *hint*, what it declares, and whether it is a list of those."""
    many = False
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            inner, *notes = get_args(hint)
            seal = next((note for note in notes if isinstance(note, Seal)), None)
            return inner, seal, many
        if origin is tuple:
            hint, many = get_args(hint)[0], True
        elif origin is Union or type(hint).__name__ == "UnionType":
            hint = next(part for part in get_args(hint) if part is not type(None))
        else:
            return hint, None, many


@cache
def _steps(cls: type) -> tuple[_Step, ...]:
    found = []
    for name, hint in get_type_hints(cls, include_extras=True).items():
        inner, seal, many = _bare(hint)
        if is_dataclass(inner):
            if below := _steps(inner):  # type: ignore[arg-type]  # a class, not an instance
                found.append(_Step(name, many, None, below))
        elif seal not in (None, Seal.NONE):
            found.append(_Step(name, many, seal, table=get_origin(inner) is not None))
    return tuple(found)


def undeclared(cls: type) -> list[str]:
    """Return the fields of text or free data in *cls* and below that do not say what they hold."""
    found = []
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        inner, seal, _ = _bare(hints[field.name])
        if is_dataclass(inner):
            found += [f"{field.name}.{name}" for name in undeclared(inner)]  # type: ignore[arg-type]  # a class
        elif seal is None and (inner in (str, Any, object) or get_origin(inner) is not None):
            found.append(field.name)
    return found


def leaves(cls: type, plain: Mapping[str, Any]) -> Iterator[Leaf]:
    """Yield what is to be sealed of an event of *cls* whose JSON is *plain*; nothing empty."""
    return _leaves(_steps(cls), plain, "")


def _leaves(steps: tuple[_Step, ...], node: Mapping[str, Any], path: str) -> Iterator[Leaf]:
    for step in steps:
        value = node.get(step.name)
        if not value:
            continue
        here = path + step.name
        for at, one in enumerate(value) if step.many else ((None, value),):
            place = here if at is None else f"{here}/{at}"
            if step.seal is None:
                yield from _leaves(step.below, one, f"{place}/")
            elif one:
                yield Leaf(place, _persons(step.seal, node, one), one)


def _persons(seal: Seal, beside: Mapping[str, Any], value: Any) -> frozenset[str]:
    match seal:
        case Seal.PERSON:
            return frozenset((person_of(value),))
        case Seal.VALUE if beside["type"] in PERSON_TYPES:
            return frozenset((person_of(value),))
        case Seal.CONTENT:
            entities = beside["entities"]
            return frozenset(person_of(e["value"]) for e in entities if e["type"] in PERSON_TYPES)
        case _:
            return frozenset()


def erase(cls: type, plain: dict[str, Any]) -> None:
    """Put "erased" into *plain* wherever a value was sealed and could not be opened."""
    _erase(_steps(cls), plain)


def _erase(steps: tuple[_Step, ...], node: dict[str, Any]) -> None:
    for step in steps:
        value = node.get(step.name)
        if step.seal is None:
            for one in (value or ()) if step.many else (value,):
                if one is not None:
                    _erase(step.below, one)
        elif step.many:
            node[step.name] = [_instead(step) if one == SEALED else one for one in value or ()]
        elif value == SEALED:
            node[step.name] = _instead(step)


def _instead(step: _Step) -> Any:
    return {"erased": True} if step.table else ERASED
