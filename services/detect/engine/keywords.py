"""Keyword rules, ruled out on an event's JSON before any of its values is looked at."""

import re
from collections.abc import Iterable

import re2

from services.detect.engine.clauses import Literal
from services.detect.engine.needles import needle_of
from services.detect.rules.model import Test

__all__ = ["may_hold_keyword", "prefilter"]

_RUN = re.compile(r"[a-z0-9 _.:\-]+")
_LETTER = re.compile(r"[a-df-z]")  # without one, it might be a number written otherwise
# Text that JSON may write in another way, and the two letters that fold to ASCII ones (the Kelvin
# sign, and I with a dot), are left to the exact search.
_ELSEWHERE = r"\\u00[2-7]|\\u212a|\\u0130|\xe2\x84\xaa|\xc4\xb0"


def prefilter(literals: Iterable[Literal]) -> "re2._Regexp | None":
    """Return what every event's JSON holds that fulfils one of *literals*; None: all may."""
    runs = set()
    for literal in literals:
        for test in literal.tests:
            run = _run(test)
            if run is None:
                return None
            runs.add(run)
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False
    pattern = "|".join([_ELSEWHERE, *sorted(re.escape(run) for run in runs)])
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error:
        return None


def may_hold_keyword(filtered: "re2._Regexp | None", text: bytes) -> bool:
    """Return False only if no keyword behind *filtered* stands in the event of *text*."""
    return filtered is None or filtered.search(text) is not None


def _run(test: Test) -> str | None:
    needle = needle_of(test)
    if needle is None:
        return None
    runs = [run for run in _RUN.findall(needle.text) if _LETTER.search(run) and len(run) > 2]
    return max(runs, key=len, default=None)
