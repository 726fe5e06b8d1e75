"""The fast matcher against its peers, in one run, and what each of its stages costs.

    eval "$(make bench-peers)"                      # pySigma, in an environment of its own
    make bench ARGS="tests/benchmarks/test_peers.py"

The stream is `tests/support/mix.py`, seed 7; the rules are SigmaHQ's of Windows and of no product
(TOCSIN_CORPUS). CPU time of one process, JSON decoding and match records included everywhere.
TOCSIN_BENCH_MIX: events for the fast matcher, the first half of them to warm up;
TOCSIN_BENCH_BATCH: events of the one batch for SQLite; TOCSIN_BENCH_SLOW: for those that ask rule
by rule.
"""

import gc
import json
import os
import subprocess
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import orjson
import pytest

from services.detect.engine.matcher import FastMatcher
from services.detect.rules.load import load_rules
from services.detect.rules.match import Event, Matcher, PlainMatcher
from services.detect.rules.model import Rule
from tests.benchmarks.generated_code import GeneratedMatcher
from tests.benchmarks.stages import stages
from tests.support.mix import mix

pytestmark = [pytest.mark.benchmark, pytest.mark.corpus]

EVENTS = int(os.environ.get("TOCSIN_BENCH_MIX", "60000"))
BATCH = int(os.environ.get("TOCSIN_BENCH_BATCH", "30000"))
SLOW = int(os.environ.get("TOCSIN_BENCH_SLOW", "2000"))
PEER = Path(__file__).with_name("sqlite_peer.py")
AIMS = {"plain evaluator": 100, "pySigma -> SQLite": 80, "generated code, no index": 25}


@pytest.fixture(scope="module")
def rules(corpus: Path) -> tuple[Rule, ...]:
    report = load_rules(sorted((corpus / "sigma").glob("rules*")))
    return tuple(rule for rule in report.rules if rule.logsource.product in ("windows", None))


def cost(matcher: Matcher, lines: Sequence[bytes]) -> tuple[float, int]:
    """Return µs an event, and matches."""
    matches = 0
    begun = time.process_time()
    for line in lines:
        matches += len(matcher.match(Event(orjson.loads(line), text=line)))
    return (time.process_time() - begun) / len(lines) * 1e6, matches


def test_against_peers(corpus: Path, rules: tuple[Rule, ...], tmp_path: Path) -> None:
    fast = FastMatcher(rules)
    gc.collect()
    gc.freeze()
    stream = mix(corpus, 7, EVENTS)
    warm = list(islice(stream, EVENTS // 2))
    cost(fast, warm)
    rest = list(stream)
    measured, staged = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    ours, matches = cost(fast, measured)
    each, _ = stages(fast, staged)
    load = os.getloadavg()[0]
    share = matches / len(measured)
    print(f"\n{len(rules)} rules, load of the machine {load:.1f}; {share:.1%} match")
    row("fast matcher", ours, ours)
    print("; ".join(f"{stage} {micros:.1f}" for stage, micros in each.items()), "µs an event")
    slow = rest[:SLOW]
    _, wanted = cost(FastMatcher(rules), slow)
    for name, matcher in (
        ("plain evaluator", PlainMatcher(rules)),
        ("generated code, no index", GeneratedMatcher(rules)),
    ):
        theirs, found = cost(matcher, slow)
        row(name, theirs, ours)
        assert found == wanted
        assert theirs > ours

    python = os.environ.get("TOCSIN_BENCH_PYSIGMA")
    if python is None:
        pytest.skip('pySigma is not compared: eval "$(make bench-peers)"')
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"\n".join(rest[:BATCH]))
    folders = [str(folder) for folder in sorted((corpus / "sigma").glob("rules*"))]
    peer = [python, str(PEER), *folders, "--", str(events), str(BATCH)]
    done = json.loads(subprocess.run(peer, check=True, capture_output=True).stdout)
    row("pySigma -> SQLite", done["micros"], ours)
    print(
        f"  {done['rules']} queries over {done['events']} events in one batch; {done['refused']}"
        f" rules not converted, {done['failed']} queries refused, {done['matches']} matches;"
        f" conversion {done['converting']:.0f} s, not counted"
    )
    assert done["micros"] > ours


def row(name: str, micros: float, ours: float) -> None:
    aim = f" (aim {AIMS[name]} x)" if name in AIMS else ""
    ratio = f", {micros / ours:.1f} x ours{aim}" if micros != ours else ""
    print(f"{name}: {micros:.1f} µs an event ({1e6 / micros:,.0f}/s){ratio}")
