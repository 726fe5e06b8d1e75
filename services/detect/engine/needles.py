"""Which literal text a test cannot hold without: what the scan of a field looks for."""

import re
import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from services.detect.rules.model import Matches, Test, Text
from services.detect.rules.text import Kind, fold

__all__ = ["BEGIN", "END", "Needle", "needle_of", "shortest"]

BEGIN, END = "\x02", "\x03"
# What parses regular expressions has no public name, and no types.
sre: Any = import_module("re._constants")
sre_parser: Any = import_module("re._parser")
_ORDINARY = frozenset(" -\\./:aeinorst0123456789")


@dataclass(frozen=True, slots=True)
class Needle:
    """A folded text, found in BEGIN + value + END; *whole* is the value's whole text.

    *exact*: where it is found, the test holds. *dashes*: looked for where all dashes are written
    as `-`. *ascii_only*: it says nothing about text beyond ASCII.
    """

    text: str
    exact: bool
    whole: bool = False
    dashes: bool = False
    ascii_only: bool = False


def needle_of(test: Test) -> Needle | None:
    """Return what *test* cannot hold without, None if there is no such text."""
    match test:
        case Text(kind=Kind.ANY):
            return None
        case Text(kind=Kind.PATTERN):
            pieces = [part for part in test.parts if isinstance(part, str)]
            longest = max(pieces, key=len, default="")
            return Needle(fold(longest), False, dashes=test.dashes) if longest else None
        case Text():
            return _of_text(test)
        case Matches():
            literal = _inside(test.regex.source)
            return Needle(literal, False, ascii_only=True) if literal else None
        case _:
            return None


def _of_text(test: Text) -> Needle | None:
    literal = fold(test.literal)
    if not literal and test.kind is not Kind.EQUALS:
        return None
    exact, dashes = not test.cased, test.dashes
    if BEGIN in literal or END in literal:
        return None
    match test.kind:
        case Kind.EQUALS:
            return Needle(literal, exact, whole=True, dashes=dashes)
        case Kind.STARTS:
            return Needle(BEGIN + literal, exact, dashes=dashes)
        case Kind.ENDS:
            return Needle(literal + END, exact, dashes=dashes)
        case _:
            return Needle(literal, exact, dashes=dashes)


def shortest(test: Test) -> int:
    """Return how many characters a text has at least for which *test* holds."""
    tree = _parsed(test.regex.source) if isinstance(test, Matches) else None
    return int(tree.getwidth()[0]) if tree is not None else 0


def _inside(source: str) -> str:
    """Return the longest text that every match of *source* contains, folded; "" if unknown."""
    tree = _parsed(source)
    return max(_runs(tree), key=_telling, default="") if tree is not None else ""


def _telling(run: str) -> tuple[int, int]:
    return len(run), -sum(char in _ORDINARY for char in run)


def _parsed(source: str) -> Any:
    """Return the tree of a regular expression by Python's parser, or None.

    RE2's language is nearly a part of Python's; where the two might differ there is no answer.
    """
    if "[:" in source or "\\Q" in source or not source.isascii():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return sre_parser.parse(source)
    except (re.error, RecursionError, OverflowError, Warning):
        return None


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
