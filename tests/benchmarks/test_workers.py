"""Processes that evaluate blocks by all of SigmaHQ's rules: start, memory, live edit, two of them.

    make bench ARGS="tests/benchmarks/test_workers.py"

Whole blocks go in as bytes, detections come out. Wall-clock figures want an idle machine with two
cores; beside them stands what each process used of a core, which hangs less on the neighbours.
TOCSIN_BENCH_BLOCKS: blocks of 500 events to warm up each process, and to measure each.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import orjson
import pytest
import zstandard

from services.detect.evaluators import Evaluators, evaluating
from services.detect.rules.cache import RuleCache
from services.detect.rules.load import load_rules
from services.detect.ruleset import Ruleset
from shared.clock import utc_now
from tests.support.mix import mix
from tests.support.waiting import until

pytestmark = [pytest.mark.benchmark, pytest.mark.corpus]

BLOCKS = int(os.environ.get("TOCSIN_BENCH_BLOCKS", "40"))
SIZE = 500
TICKS = os.sysconf("SC_CLK_TCK")
Block = tuple[dict[str, str], bytes]
RULE = """\
title: Made for a benchmark
id: 11111111-1111-4111-8111-111111111111
logsource: {product: windows}
detection: {sel: {Made: NUMBER}, condition: sel}
"""


def block(number: int, events: Sequence[bytes]) -> Block:
    envelopes = [
        {
            "id": str(UUID(int=number << 32 | at)),
            "observed_time": "2026-11-01T10:00:00.000000Z",
            "source_id": "dc",
            "logsource": {"product": "windows"},
            "raw": orjson.loads(event),
        }
        for at, event in enumerate(events)
    ]
    body = zstandard.compress(orjson.dumps(envelopes), 1)
    headers = {
        "ce-id": str(UUID(int=number)),
        "tocsin-count": str(len(envelopes)),
        "tocsin-sha256": sha256(body).hexdigest(),
    }
    return headers, body


@pytest.fixture(scope="module")
def blocks(corpus: Path) -> list[Block]:
    lines = list(mix(corpus, 7, 3 * BLOCKS * SIZE))
    return [block(n, lines[n * SIZE : (n + 1) * SIZE]) for n in range(3 * BLOCKS)]


@pytest.fixture(scope="module")
def folders(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    own = tmp_path_factory.mktemp("own")
    (own / "rule.yml").write_text(RULE.replace("NUMBER", "0"))
    return [own, *sorted((corpus / "sigma").glob("rules*"))]


def seconds_of(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@asynccontextmanager
async def serving(
    folders: Sequence[Path], count: int, cache: Path | None = None
) -> AsyncIterator[tuple[Evaluators, float]]:
    """Yield processes and how long it took from their start until all had answered a block."""
    ruleset = Ruleset(folders, cache)
    await ruleset.refresh()
    begun = time.monotonic()
    async with evaluating(Evaluators(ruleset, count, 0.2, 4)) as evaluators:
        await until(lambda: evaluators.ready == count, 120)
        first = block(1, [b'{"EventID":1}'])
        await asyncio.gather(*(evaluators.evaluate(*first, utc_now()) for _ in range(count)))
        yield evaluators, time.monotonic() - begun


async def pour(evaluators: Evaluators, blocks: Sequence[Block]) -> float:
    """Have *blocks* evaluated, two a process under way; return events/s by the wall clock."""
    waiting = iter(blocks)

    async def worker() -> None:
        for one in waiting:
            await evaluators.evaluate(*one, utc_now())

    begun = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(2 * evaluators.count)))
    return len(blocks) * SIZE / (time.monotonic() - begun)


async def test_start_with_and_without_a_cache(folders: list[Path], tmp_path: Path) -> None:
    rows, documents = {}, 0
    for name, cache in (
        ("none", None),
        ("made", RuleCache(tmp_path)),
        ("used", RuleCache(tmp_path)),
    ):
        begun = time.process_time()
        documents = load_rules(folders, cache=cache).documents
        rows[name] = time.process_time() - begun
        if cache:
            cache.save()
    async with serving(folders, 1) as (evaluators, without):
        plain = seconds_of(evaluators.pids[0])
    async with serving(folders, 1, tmp_path) as (evaluators, with_cache):
        cached = seconds_of(evaluators.pids[0])
    print(
        f"\nload {os.getloadavg()[0]:.1f}; {documents} documents: {rows['none']:.2f} s of"
        f" CPU without a cache, {rows['used']:.2f} s from it ({rows['none'] / rows['used']:.1f} x);"
        f" a process from start to its first answer: {without:.1f} s ({plain:.1f} s of CPU)"
        f" without, {with_cache:.1f} s ({cached:.1f} s of CPU) with it"
    )
    assert rows["used"] < rows["none"]


async def test_two_processes_against_one(folders: list[Path], blocks: list[Block]) -> None:
    rates, used = {}, {}
    peak = 0.0
    for count in (1, 2):
        async with serving(folders, count) as (evaluators, _):
            await pour(evaluators, blocks[: count * BLOCKS])
            before = sum(map(seconds_of, evaluators.pids))
            rates[count] = await pour(evaluators, blocks[2 * BLOCKS :])
            used[count] = sum(map(seconds_of, evaluators.pids)) - before
            peak = max(map(peak_mib, evaluators.pids))
    events = BLOCKS * SIZE
    print(
        f"\nload {os.getloadavg()[0]:.1f}; one process {rates[1]:,.0f} events/s"
        f" ({used[1] / events * 1e6:.1f} µs of CPU an event), two {rates[2]:,.0f}"
        f" ({used[2] / events * 1e6:.1f} µs), {rates[2] / rates[1]:.2f} x; at most {peak:.0f} MiB"
    )
    assert peak < 300


async def test_a_live_edit_while_the_stream_flows(folders: list[Path], blocks: list[Block]) -> None:
    rule = folders[0] / "rule.yml"
    probe = block(7, [b'{"EventID":1,"Channel":"Security","Made":1}'])
    answers: list[tuple[float, float]] = []
    async with asyncio.timeout(240), serving(folders, 1) as (evaluators, _):
        await pour(evaluators, blocks[:BLOCKS])
        over = asyncio.Event()

        async def stream() -> None:
            at = BLOCKS
            while not over.is_set():
                asked = time.monotonic()
                await evaluators.evaluate(*blocks[at % len(blocks)], utc_now())
                answers.append((asked, time.monotonic() - asked))
                at += 1
                await asyncio.sleep(0)  # who waits for the process gets it, as beside consumers

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stream())
            await until(lambda: len(answers) >= 20, 60)
            rule.write_text(RULE.replace("NUMBER", "1"))
            edited = time.monotonic()
            while not (await evaluators.evaluate(*probe, utc_now())).detections:
                assert time.monotonic() - edited < 60
                await asyncio.sleep(0.02)  # the stream's blocks come first
            took = time.monotonic() - edited
            after = len(answers) + 10
            await until(lambda: len(answers) >= after, 60)
            over.set()
    quiet = [took_it for asked, took_it in answers if asked < edited]
    during = [took_it for asked, took_it in answers if asked >= edited]
    print(
        f"\nload {os.getloadavg()[0]:.1f}; edited rule in force after {took:.2f} s; longest answer"
        f" to a block of {SIZE}: {max(quiet) * 1e3:.0f} ms before, {max(during) * 1e3:.0f} ms"
        f" during and after"
    )
