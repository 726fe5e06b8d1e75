"""The fast matcher against the plain one, in one run, and how its cost grows with the rules.

    make bench ARGS="tests/benchmarks/test_engine.py"

JSON decoding and match records are included everywhere; CPU time of one core. The stream is
`tests/support/mix.py`, seed 7; the rules are all of SigmaHQ's (TOCSIN_CORPUS).
"""

import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pytest

from services.detect.engine.matcher import FastMatcher
from services.detect.rules.load import load_rules
from services.detect.rules.match import Event, Matcher, PlainMatcher
from services.detect.rules.model import Rule
from tests.support.mix import mix

pytestmark = [pytest.mark.benchmark, pytest.mark.corpus]

EVENTS = int(os.environ.get("TOCSIN_BENCH_MIX", "60000"))
PLAIN_EVENTS = 2_000
BLOCK = 500


@pytest.fixture(scope="module")
def lines(corpus: Path) -> list[bytes]:
    return list(mix(corpus, 7, EVENTS))


@pytest.fixture(scope="module")
def rules(corpus: Path) -> tuple[Rule, ...]:
    begun = time.process_time()
    report = load_rules(sorted((corpus / "sigma").glob("rules*")))
    print(f"\n{report.documents} rules loaded cold in {time.process_time() - begun:.2f} s of CPU")
    return report.rules


def evaluated(matcher: Matcher, lines: Sequence[bytes]) -> tuple[float, list[float], int]:
    """Return µs an event, ms of each block, and matches."""
    blocks, matches = [], 0
    for start in range(0, len(lines), BLOCK):
        begun = time.process_time()
        for line in lines[start : start + BLOCK]:
            matches += len(matcher.match(Event(orjson.loads(line), text=line)))
        blocks.append(time.process_time() - begun)
    return sum(blocks) / len(lines) * 1e6, [b * 1e3 for b in blocks], matches


def best(lines: Sequence[bytes], work: Callable[[bytes], object]) -> float:
    """Return µs a line, the best of five rounds."""
    rounds = []
    for _ in range(5):
        begun = time.process_time()
        for line in lines:
            work(line)
        rounds.append(time.process_time() - begun)
    return min(rounds) / len(lines) * 1e6


def test_fast_against_plain(lines: list[bytes], rules: tuple[Rule, ...]) -> None:
    decode = best(lines[:5000], orjson.loads)
    plain, _, _ = evaluated(PlainMatcher(rules), lines[:PLAIN_EVENTS])
    fast = FastMatcher(rules)
    gc.collect()
    gc.freeze()
    cold, _, _ = evaluated(fast, lines[: EVENTS // 2])
    steady, blocks, matches = evaluated(fast, lines[EVENTS // 2 :])
    warm, _, _ = evaluated(fast, lines[-2000:])
    half = len(lines) - EVENTS // 2
    print(
        f"decode {decode:.1f} µs; plain {plain:.0f} µs ({1e6 / plain:,.0f}/s); fast: first half"
        f" {cold:.1f} µs ({1e6 / cold:,.0f}/s), second half {steady:.1f} µs ({1e6 / steady:,.0f}/s"
        f", {matches / half:.1%} match), seen values {warm:.1f} µs ({1e6 / warm:,.0f}/s);"
        f" fast/plain {plain / steady:.0f} x; block of {BLOCK}: p50 {statistics.median(blocks):.1f}"
        f" ms, p99 {statistics.quantiles(blocks, n=100)[98]:.1f} ms, best {min(blocks):.1f} ms"
    )
    assert plain / steady > 5


def test_cost_grows_slower_than_rules(lines: list[bytes], rules: tuple[Rule, ...]) -> None:
    windows = [rule for rule in rules if rule.logsource.product in ("windows", None)]
    costs = {}
    for count in (100, 1_000, len(windows)):
        matcher = FastMatcher(windows[:: max(1, len(windows) // count)][:count])
        evaluated(matcher, lines[: EVENTS // 2])
        costs[count], _, _ = evaluated(matcher, lines[EVENTS // 2 :])
    few, many = min(costs), max(costs)
    print(
        ", ".join(f"{n:,} rules {cost:.1f} µs ({1e6 / cost:,.0f}/s)" for n, cost in costs.items()),
        f"; growth {costs[many] / costs[few]:.1f} x",
    )


def test_real_files(corpus: Path, rules: tuple[Rule, ...]) -> None:
    folder = corpus / "windows-attacks"
    names = json.loads((folder / "expected-hits.json").read_bytes())["files"]
    found = [
        line.rstrip(b"\r")
        for name in names
        for line in (folder / name).read_bytes().split(b"\n")
        if line.rstrip(b"\r")
    ]
    fast = FastMatcher(rules)
    first, _, _ = evaluated(fast, found)
    again, _, _ = evaluated(fast, found)
    print(f"windows-attacks: {1e6 / first:,.0f}/s cold, {1e6 / again:,.0f}/s again")


def test_blocks_after_a_reload(lines: list[bytes], rules: tuple[Rule, ...]) -> None:
    before = FastMatcher(rules)
    evaluated(before, lines[: EVENTS // 2])
    fewer = rules[1:]  # as if one had been retired
    rows = {}
    for name, after in (("nothing kept", None), ("what was learned kept", before)):
        begun = time.process_time()
        matcher = FastMatcher(fewer, after=after)
        ready = time.process_time() - begun
        cost, blocks, _ = evaluated(matcher, lines[EVENTS // 2 :][:5_000])
        rows[name] = cost
        print(
            f"{name}: ready in {ready:.2f} s, first 5,000 events {cost:.1f} µs each, slowest block"
            f" of {BLOCK} {max(blocks):.0f} ms, median {statistics.median(blocks):.0f} ms"
        )
    assert rows["what was learned kept"] < rows["nothing kept"]
