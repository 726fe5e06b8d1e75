"""Correlation: updates a second on one core, and memory a live group."""

import gc
import hashlib
import os
import resource
import time

import pytest

from services.detect.correlation.engine import Engine
from services.detect.correlation.firing import Matched
from services.detect.correlation.model import SECOND
from services.detect.correlation.snapshot import dump, load
from tests.support.correlation import EPOCH, base, correlation, plan_of

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

UPDATES = int(os.environ.get("TOCSIN_BENCH_UPDATES", "400000"))
GROUPS = int(os.environ.get("TOCSIN_BENCH_GROUPS", "1000000"))
KINDS = {
    "event_count": "type: event_count\nrules: [a]\ncondition: {gte: 10}\n",
    "value_count": "type: value_count\nrules: [a]\ncondition: {field: v, gte: 10}\n",
    "value_sum": "type: value_sum\nrules: [a]\ncondition: {field: n, gt: 1000}\n",
    "temporal_ordered": "type: temporal_ordered\nrules: [a, b]\n",
}


def matches(plan: object, count: int, groups: int) -> list[Matched]:
    ids = list(plan.feeds)  # type: ignore[attr-defined]
    return [
        Matched(
            ids[i % len(ids)],
            hashlib.blake2b(str(i).encode(), digest_size=16).digest(),
            EPOCH + i * 100,
            {"user": f"user-{i % groups}@example.org", "v": f"v{i % 97}", "n": str(i % 50)},
            i,
        )
        for i in range(count)
    ]


def pour(engine: Engine, found: list[Matched], block: int = 500) -> tuple[float, int]:
    """Return the CPU seconds that *found* took, and how many firings there were."""
    fired = 0
    gc.collect()
    gc.freeze()
    begun = time.process_time()
    for at in range(0, len(found), block):
        now = EPOCH + at * 100
        engine.feed(found[at : at + block], now)
        fired += len(engine.advance(now).firings)
    fired += len(engine.finish().firings)
    seconds = time.process_time() - begun
    gc.unfreeze()
    return seconds, fired


@pytest.mark.parametrize("kind", KINDS)
def test_updates_a_second(kind: str) -> None:
    plan = plan_of(base("a", "b"), correlation(KINDS[kind] + "group-by: [user]\ntimespan: 10m\n"))
    seconds, fired = pour(Engine(plan), matches(plan, UPDATES, 5_000))
    rate = UPDATES / seconds
    print(f"\n{kind}: {rate:,.0f} updates/s, {fired} firings, 5,000 groups")
    assert rate > 25_000  # a loaded machine must not fail; the figure is in docs/performance.md


def test_a_million_live_groups() -> None:
    plan = plan_of(
        base("a"), correlation(KINDS["event_count"] + "group-by: [user]\ntimespan: 1d\n")
    )
    found = matches(plan, GROUPS, GROUPS)
    engine = Engine(plan, groups=GROUPS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for at in range(0, len(found), 500):
        now = EPOCH + at * 100
        engine.feed(found[at : at + 500], now)
        engine.advance(now)
    engine.advance(EPOCH + len(found) * 100 + 20 * SECOND)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert engine.groups == GROUPS
    begun = time.perf_counter()
    chunks = list(dump(engine))
    dumped = time.perf_counter() - begun
    fresh = Engine(plan, groups=GROUPS)
    begun = time.perf_counter()
    load(fresh, chunks)
    loaded = time.perf_counter() - begun
    assert fresh.groups == GROUPS
    print(
        f"\n{GROUPS:,} groups: {grown / 2**20:,.0f} MiB ({grown / GROUPS:,.0f} B a group);"
        f" snapshot {sum(map(len, chunks)) / 2**20:,.0f} MiB in {dumped:.1f} s,"
        f" back in {loaded:.1f} s"
    )
    assert grown < 1 << 30
