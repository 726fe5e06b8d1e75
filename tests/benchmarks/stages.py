"""Where the fast matcher's time goes: each stage of it by itself, over the same blocks of events.

A clock between two stages of one event would cost as much as they do. So a stage is done for a
whole block before the next one begins, in the words of `Lookup.candidates` and `FastMatcher.match`.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeVar

import orjson

from services.detect.engine.lookup import Lookup
from services.detect.engine.matcher import FastMatcher
from services.detect.rules.fields import View
from services.detect.rules.match import UNKNOWN, Match

__all__ = ["STAGES", "stages"]

STAGES = (
    "decode", "routing", "plane A", "plane B", "keyword scan", "exact evaluation",
    "match records", "reasons",
)  # fmt: skip
BLOCK = 500
_ABSENT: Any = object()
T = TypeVar("T")
Known = tuple[Any, ...]  # as lookup.py has it


def stages(matcher: FastMatcher, lines: Sequence[bytes]) -> tuple[dict[str, float], int]:
    """Return (stage -> µs an event, matches); *matcher* has met events of the kind before.

    Plane A: fields of few values, looked up as one tuple. Plane B: one literal a rule, in fields
    of many values. Memos are as the stream leaves them. Learning is left out.
    """
    spent = dict.fromkeys(STAGES, 0.0)
    matches = 0
    gc.disable()  # a block of events at once would have it look at all of them again and again
    try:
        for start in range(0, len(lines), BLOCK):
            matches += _block(matcher, lines[start : start + BLOCK], spent)
    finally:
        gc.enable()
    return {stage: seconds / len(lines) * 1e6 for stage, seconds in spent.items()}, matches


def _block(matcher: FastMatcher, lines: Sequence[bytes], spent: dict[str, float]) -> int:
    def timed(stage: str, work: Callable[[], T]) -> T:
        begun = time.process_time()
        result = work()
        spent[stage] += time.process_time() - begun
        return result

    events = timed("decode", lambda: list(map(orjson.loads, lines)))
    plan = matcher._plan
    plans = timed("routing", lambda: [plan(event, UNKNOWN) for event in events])
    work = [
        (event, line, group, bucket.lookup)
        for event, line, planned in zip(events, lines, plans, strict=True)
        for group, bucket in planned
    ]
    known = timed("plane A", lambda: [_steady(lookup, event) for event, _, _, lookup in work])
    jobs = list(zip(work, known, strict=True))
    met = timed("plane B", lambda: [_lively(bits, job[0]) for job, bits in jobs])
    keywords = timed(
        "keyword scan",
        lambda: [
            lookup._keyword_bits(event, line)
            if bits[3] and bits[0] & lookup._keyword_rules & ~last
            else 0
            for ((event, line, _, lookup), bits), last in zip(jobs, met, strict=True)
        ],
    )
    left = [
        (job[0], job[2], bits)
        for (job, known), last, more in zip(jobs, met, keywords, strict=True)
        if (bits := known[0] & (last | more))
    ]
    found: list[tuple[int, View]] = []
    prove = matcher._prove
    timed("exact evaluation", lambda: [prove(bits, group, e, found) for e, group, bits in left])
    rules = matcher._rules
    records = timed("match records", lambda: [Match(rules[at], view) for at, view in found])
    timed("reasons", lambda: [record.reasons() for record in records])
    return len(records)


def _steady(lookup: Lookup, fields: Mapping[str, Any]) -> Known:
    raw = tuple(map(fields.get, lookup._columns, repeat(_ABSENT)))
    key: Any = (*raw, *map(type, raw))
    if lookup._paths:
        key = (key, lookup._path_values(fields))
    try:
        known = lookup._steady_memo.get(key)
    except TypeError:  # an object or array
        return lookup._steady_bits(fields)
    if known is None:
        known = lookup._steady_bits(fields)
        lookup._steady_memo.keep(key, known, sum(len(v) if type(v) is str else 8 for v in raw))
    return known


def _lively(known: Known, fields: Mapping[str, Any]) -> int:
    last: int = known[1]
    for name, remembered, of in known[2]:
        value = fields.get(name)
        bits = remembered(value) if type(value) is str else None
        last |= of(fields) if bits is None else bits
    return last
