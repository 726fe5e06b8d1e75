"""Sigma strings: wildcards and escapes in, literals and wildcards out; how text is compared."""

from collections.abc import Iterable
from enum import Enum

from .regex import Regex, literally

DASHES = "-/–—―"
_ONE_DASH = str.maketrans(dict.fromkeys(DASHES, "-"))


class Wild(Enum):
    """A wildcard of a Sigma string."""

    STAR = "*"
    ONE = "?"


Parts = tuple[str | Wild, ...]


class Kind(Enum):
    """Which comparison a string with its wildcards comes down to."""

    EQUALS = "equals"
    STARTS = "startswith"
    ENDS = "endswith"
    CONTAINS = "contains"
    ANY = "any"
    PATTERN = "pattern"


def fold(text: str) -> str:
    """Return *text* as it is compared where case does not count.

    Simple lower case, with the final sigma undone: what a part of a text folds to must not depend
    on its neighbours, else `contains` would miss.
    """
    lowered = text.lower()
    return lowered if text.isascii() else lowered.replace("ς", "σ")


def one_dash(text: str) -> str:
    """Return *text* with every character that may open a Windows option written as `-`."""
    return text.translate(_ONE_DASH)


def read_parts(text: str) -> Parts:
    """Return *text* with its escapes resolved and its wildcards apart."""
    if "*" not in text and "?" not in text and "\\\\" not in text:
        return (text,)
    parts: list[str | Wild] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1 : at + 2] in ("*", "?", "\\"):
            literal.append(text[at + 1])
            at += 2
            continue
        if char in "*?":
            parts.append("".join(literal))
            parts.append(Wild(char))
            literal.clear()
        else:
            literal.append(char)
        at += 1
    parts.append("".join(literal))
    return tidy(parts)


def tidy(parts: Iterable[str | Wild]) -> Parts:
    """Return *parts* without empty literals, with neighbours joined and stars not doubled."""
    done: list[str | Wild] = []
    for part in parts:
        last = done[-1] if done else None
        if part == "" or (part is Wild.STAR and last is Wild.STAR):
            continue
        if isinstance(part, str) and isinstance(last, str):
            done[-1] = last + part
        else:
            done.append(part)
    return tuple(done) or ("",)


def fold_literals(parts: Parts) -> Parts:
    """Return *parts* with every literal folded."""
    return tuple(fold(part) if isinstance(part, str) else part for part in parts)


def dash_literals(parts: Parts) -> Parts:
    """Return *parts* with every dash-like character written as `-`."""
    return tuple(one_dash(part) if isinstance(part, str) else part for part in parts)


def classify(parts: Parts) -> tuple[Kind, str]:
    """Return the cheapest comparison that says the same as *parts*, with its literal."""
    match parts:
        case (str(literal),):
            return Kind.EQUALS, literal
        case (Wild.STAR,):
            return Kind.ANY, ""
        case (str(literal), Wild.STAR):
            return Kind.STARTS, literal
        case (Wild.STAR, str(literal)):
            return Kind.ENDS, literal
        case (Wild.STAR, str(literal), Wild.STAR):
            return Kind.CONTAINS, literal
        case _:
            return Kind.PATTERN, ""


def pattern(parts: Parts) -> Regex:
    """Return the expression for *parts*; wildcards cross line ends, the whole value must fit."""
    body = "".join(
        literally(part) if isinstance(part, str) else ".*" if part is Wild.STAR else "."
        for part in parts
    )
    return Regex(rf"(?s)\A{body}\z")
