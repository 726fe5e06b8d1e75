"""Keyword rules, ruled out on an event's JSON before any of its values is looked at."""

import re
from collections.abc import Iterable
from functools import lru_cache

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from services.detect.engine.clauses import Literal
from services.detect.engine.needles import needle_of
from services.detect.rules.model import Test

__all__ = ["may_hold_keyword", "prefilter"]

_RUN = re.compile(r"[a-z0-9 _.:\-]+")
_LETTER = re.compile(r"[a-df-z]")  # without one, it might be a number written otherwise
# Text that JSON may write in another way, and the two letters that fold to ASCII ones (the Kelvin
# sign, and I with a dot), are left to the exact search.
_ELSEWHERE = (
    *(f"\\u00{digit}".encode() for digit in range(2, 8)), b"\\u212a", b"\\u0130",
    b"\xe2\x84\xaa", b"\xc4\xb0",
)  # fmt: skip
_FEW, _MANY = 64, 4_096


def prefilter(literals: Iterable[Literal]) -> BytesAhoCorasick | None:
    """Return what every event's JSON holds that fulfils one of *literals*; None: all may."""
    runs = set()
    for literal in literals:
        for test in literal.tests:
            run = _run(test)
            if run is None:
                return None
            runs.add(run.encode())
    return _automaton(frozenset(runs))


@lru_cache(maxsize=64)
def _automaton(runs: frozenset[bytes]) -> BytesAhoCorasick:
    """Return the same for routes that have the same keywords, as most have."""
    patterns = [*_ELSEWHERE, *sorted(runs)]
    # Few are found by vector instructions, which it takes by itself.
    way = Implementation.DFA if _FEW < len(patterns) < _MANY else None
    return BytesAhoCorasick(patterns, matchkind=MatchKind.LeftmostFirst, implementation=way)


def may_hold_keyword(filtered: BytesAhoCorasick | None, text: bytes) -> bool:
    """Return False only if no keyword behind *filtered* stands in the event of *text*."""
    return filtered is None or bool(filtered.find_matches_as_indexes(text.lower()))


def _run(test: Test) -> str | None:
    needle = needle_of(test)
    if needle is None:
        return None
    runs = [run for run in _RUN.findall(needle.text) if _LETTER.search(run) and len(run) > 2]
    return max(runs, key=len, default=None)
