"""Which literal text a test cannot hold without: what the scan of a field looks for."""

import re
import warnings
from dataclasses import dataclass
from re import _constants as sre  # type: ignore[attr-defined]  # no public name for parse trees
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any

from services.detect.rules.model import Matches, Test, Text
from services.detect.rules.text import DASHES, Kind, fold

__all__ = ["BEGIN", "END", "Needle", "needle_of"]

BEGIN, END = "\x02", "\x03"
_DASHES = frozenset(DASHES)


@dataclass(frozen=True, slots=True)
class Needle:
    """A folded text, found in BEGIN + value + END; *whole* is the value's whole text.

    *exact*: where it is found, the test holds. *ascii_only*: it says nothing about other text.
    """

    text: str
    whole: bool
    exact: bool
    ascii_only: bool = False


def needle_of(test: Test, *, one_dash: bool) -> Needle | None:
    """Return what *test* cannot hold without, None if there is no such text.

    With *one_dash* all dashes of values are written as `-`, so those of needles are, too.
    """
    match test:
        case Text(kind=Kind.ANY):
            return None
        case Text(kind=Kind.PATTERN):
            pieces = [part for part in test.parts if isinstance(part, str)]
            longest = max(pieces, key=len, default="")
            return _needle(fold(longest), one_dash=one_dash) if longest else None
        case Text():
            return _of_text(test, one_dash=one_dash)
        case Matches():
            literal = _inside(test.regex.source)
            return _needle(literal, one_dash=one_dash, ascii_only=True) if literal else None
        case _:
            return None


def _needle(text: str, *, one_dash: bool, ascii_only: bool = False) -> Needle:
    return Needle(_dashed(text) if one_dash else text, False, False, ascii_only)


def _of_text(test: Text, *, one_dash: bool) -> Needle | None:
    literal = fold(test.literal)
    if not literal and test.kind is not Kind.EQUALS:
        return None
    exact = not test.cased
    if one_dash and not test.dashes and not _DASHES.isdisjoint(literal):
        exact = False
    if one_dash or test.dashes:
        literal = _dashed(literal)
    if BEGIN in literal or END in literal:
        return None
    match test.kind:
        case Kind.EQUALS:
            return Needle(literal, True, exact)
        case Kind.STARTS:
            return Needle(BEGIN + literal, False, exact)
        case Kind.ENDS:
            return Needle(literal + END, False, exact)
        case _:
            return Needle(literal, False, exact)


def _dashed(text: str) -> str:
    return "".join("-" if char in _DASHES else char for char in text)


def _inside(source: str) -> str:
    """Return the longest text that every match of *source* contains, folded; "" if unknown.

    Read by Python's parser, which RE2's language is nearly a part of; where the two might differ
    there is no answer.
    """
    if "[:" in source or "\\Q" in source or not source.isascii():
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = sre_parser.parse(source)
    except (re.error, RecursionError, OverflowError, Warning):
        return ""
    return max(_runs(tree), key=len, default="")


def _runs(tree: Any) -> list[str]:
    runs: list[str] = []
    run: list[str] = []
    for op, argument in tree:
        if op is sre.LITERAL and argument < 128:
            run.append(chr(argument).lower())
            continue
        inner: list[str] = []
        if op is sre.SUBPATTERN:
            inner = _runs(argument[3])
        elif op in (sre.MAX_REPEAT, sre.MIN_REPEAT) and argument[0] > 0:
            inner = _runs(argument[2])
        elif op is sre.AT:
            continue  # takes no room, so the run goes on
        runs.append("".join(run))
        run.clear()
        runs.extend(inner)
    runs.append("".join(run))
    return [found for found in runs if found]
