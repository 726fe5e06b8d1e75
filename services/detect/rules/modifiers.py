"""A field's modifier chain: read once, checked as a whole, before any value is looked at."""

from dataclasses import dataclass

from .model import DatePart, Order, RefusedError
from .text import Kind

AFFIXES = {"contains": Kind.CONTAINS, "startswith": Kind.STARTS, "endswith": Kind.ENDS}
ORDERS = {order.value: order for order in Order if order is not Order.EQ}
PARTS = {part.value: part for part in DatePart}
UTF16 = {"wide": "utf-16-le", "utf16le": "utf-16-le", "utf16be": "utf-16-be", "utf16": "utf-16"}
BASE64 = frozenset({"base64", "base64offset"})
REGEX_FLAGS = frozenset({"i", "m", "s"})
TYPES = frozenset({"re", "cidr", "exists", "fieldref", *ORDERS})
_FREE = frozenset({"all", "neq", "cased", "windash", "expand"})
_KNOWN = {*AFFIXES, *PARTS, *UTF16, *BASE64, *REGEX_FLAGS, *TYPES, *_FREE}

# What may stand beside a modifier that gives the value another type.
_BESIDE = {
    "re": REGEX_FLAGS | {"all", "neq"},
    "cidr": frozenset({"all", "neq", "expand"}),
    "exists": frozenset[str](),
    "fieldref": frozenset({"all", "neq", "cased", *AFFIXES}),
    **dict.fromkeys(ORDERS, frozenset(PARTS)),
}
_BESIDE_DATE = frozenset({"all", "neq", *ORDERS})
_NEEDS_FIELD = frozenset({"exists", "fieldref", "cidr", "neq", *ORDERS, *PARTS})


@dataclass(frozen=True, slots=True)
class Chain:
    """What a modifier chain asks for; *steps* change the value, in the order written."""

    written: str
    type: str | None
    affix: Kind | None
    part: DatePart | None
    steps: tuple[str, ...]
    flags: str
    every: bool
    negated: bool
    cased: bool
    expand: bool


def read_chain(written: str, *, keyword: bool, line: int) -> Chain:
    """Return the chain of *written* (`contains|all`), or raise RefusedError."""
    names = written.split("|") if written else []
    for name in names:
        if name not in _KNOWN:
            raise RefusedError(line, f"unknown modifier {name!r}")
        if names.count(name) > 1:
            raise RefusedError(line, f"modifier {name!r} stands twice")
        if keyword and name in _NEEDS_FIELD:
            raise RefusedError(line, f"modifier {name!r} needs a field")
    kind = _only(names, TYPES, line)
    affix = _only(names, frozenset(AFFIXES), line)
    part = _only(names, frozenset(PARTS), line)
    _check_company(names, kind, part, line)
    steps = tuple(name for name in names if name in UTF16 or name in BASE64 or name == "windash")
    _check_order(names, line)
    _check_encodings(steps, line)
    if "all" in names and "neq" in names:
        raise RefusedError(line, "'neq' with a list already means none of it; 'all' adds nothing")
    return Chain(
        written=written,
        type=kind,
        affix=AFFIXES[affix] if affix else None,
        part=PARTS[part] if part else None,
        steps=steps,
        flags="".join(name for name in names if name in REGEX_FLAGS),
        every="all" in names,
        negated="neq" in names,
        cased="cased" in names,
        expand="expand" in names,
    )


def _only(names: list[str], group: frozenset[str], line: int) -> str | None:
    found = [name for name in names if name in group]
    if len(found) > 1:
        raise RefusedError(line, f"modifiers {found[0]!r} and {found[1]!r} exclude each other")
    return found[0] if found else None


def _check_company(names: list[str], kind: str | None, part: str | None, line: int) -> None:
    if kind is not None:
        for name in names:
            if name != kind and name not in _BESIDE[kind]:
                raise RefusedError(line, f"modifier {name!r} cannot be combined with {kind!r}")
    if part is not None:
        for name in names:
            if name != part and name not in _BESIDE_DATE:
                raise RefusedError(line, f"modifier {name!r} cannot be combined with {part!r}")
    if kind != "re" and (flags := REGEX_FLAGS.intersection(names)):
        raise RefusedError(line, f"modifier {min(flags)!r} is only for 're'")


def _check_order(names: list[str], line: int) -> None:
    """Check the places where the order as written decides whether the chain has a meaning."""
    if "re" in names and names[0] != "re":
        raise RefusedError(line, f"no modifier may stand before 're', here {names[0]!r} does")
    encoded = affixed = False
    for name in names:
        if name in AFFIXES:
            affixed = True
        if name in UTF16 or name in BASE64:
            if affixed:
                raise RefusedError(line, f"{name!r} after an affix would encode its wildcard")
            encoded = True
        if encoded and name in ("windash", "expand"):
            raise RefusedError(line, f"{name!r} must stand before the encoding")


def _check_encodings(steps: tuple[str, ...], line: int) -> None:
    """UTF-16 gives bytes, which are only text again after base64."""
    pending = ""
    for step in steps:
        if step in UTF16:
            if pending:
                raise RefusedError(line, f"{step!r} cannot follow {pending!r}")
            pending = step
        elif step in BASE64:
            pending = ""
    if pending:
        raise RefusedError(
            line, f"{pending!r} gives bytes: it needs base64 or base64offset after it"
        )
