"""The log store: events/s written on one core, bytes on disk, and searches over a day.

    make bench ARGS="tests/benchmarks/test_store.py"

TOCSIN_BENCH_WRITTEN events are written as the store's process writes them; then a day of
TOCSIN_BENCH_STORED events lies in hourly files of two sources (the written ones, repeated with
other times), and questions are asked of it.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import orjson
import pytest

from services.ingest.blocks import build_block, split
from services.ingest.envelope import Enveloper, Limits, Sealed
from services.ingest.framing import frame_json
from services.ingest.search.execute import execute
from services.ingest.search.language import parse
from services.ingest.search.plan import Aggregation, Search
from services.ingest.sources import Source
from services.ingest.store.batch import Block, Store, Written, write_batch
from services.ingest.store.duck import connect
from services.ingest.store.manifest import ListedFile
from services.ingest.store.parquet import words_of
from shared.contracts.ingest import Logsource
from shared.ids import uuid7

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1500)]

WRITTEN = int(os.environ.get("TOCSIN_BENCH_WRITTEN", "60000"))
STORED = int(os.environ.get("TOCSIN_BENCH_STORED", "5000000"))
DAY = datetime(2026, 3, 1, tzinfo=UTC)
_COPY = (
    "COPY (SELECT * REPLACE (time + to_hours($h) + to_seconds(r * 150) AS time,"
    " $s AS source_id, gen_random_uuid() AS id) FROM read_parquet($f), range($r) t(r)"
    " ORDER BY time) TO 'TARGET' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880,"
    " KV_METADATA {'tocsin-words': 'WORDS'})"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tocsin-bench-store-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def events(count: int) -> Iterator[bytes]:
    """Yield logons as Winlogbeat sends them: about 500 bytes, some 25 fields, few of them equal."""
    for n in range(count):
        yield orjson.dumps(
            {
                "@timestamp": (DAY + timedelta(milliseconds=n * 3)).isoformat(),
                "winlog": {
                    "channel": "Security",
                    "event_id": (4624, 4625, 4634, 4672, 4688)[n * 7 % 5],
                    "record_id": 100_000 + n,
                    "computer_name": f"srv{n * 31 % 400:03}.corp.example",
                    "event_data": {
                        "TargetUserName": "alice" if n % 5000 == 3 else f"user{n * 17 % 3000}",
                        "TargetLogonId": hex(n * 2654435761 % (1 << 32)),
                        "LogonType": n % 10,
                        "IpAddress": f"10.{n % 7}.{n * 3 % 250}.{n * 13 % 250}",
                        "ProcessName": f"C:\\Windows\\System32\\app{n % 90}.exe",
                        "SubjectUserSid": f"S-1-5-21-{n % 977}-{n % 31}",
                    },
                },
                "host": {"name": f"srv{n * 31 % 400:03}", "os": {"family": "windows"}},
                "message": f"An account was logged on or failed to log on, request {n:08}",
            }
        )


def blocks(count: int) -> list[Block]:
    source = Source(id="dc-1", tenant="t1", logsource=Logsource(product="windows"))
    enveloper = Enveloper(source, None, DAY, Limits(65536, 32))
    body = b"\n".join(events(count))
    sealed = [s for i in frame_json(body) if isinstance(s := enveloper.seal(i), Sealed)]
    made = [build_block(run, DAY) for run in split(sealed)]
    return [Block(uuid7(), seq, b.headers, b.payload) for seq, b in enumerate(made, 1)]


def test_writing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = blocks(WRITTEN)
    store = Store(str(folder / "store"), folder / "cache", 1 << 30, 512)
    best, written = float("inf"), Written([], {}, {})
    for _ in range(3):
        begun = time.process_time()
        written = write_batch(store, given)
        best = min(best, time.process_time() - begun)
    size = sum(f.facts.size for f in written.files)
    raw = sum(f.facts.raw_bytes for f in written.files)
    with capsys.disabled():
        print(
            f"\n  written  {WRITTEN / best:10,.0f} events/s of one core (CPU time, best of 3),"
            f" {raw / WRITTEN:.0f} bytes an event, {len(given)} blocks"
            f"\n  on disk  {size / raw:10.3f} of the raw bytes"
        )


def a_day(folder: Path) -> list[ListedFile]:
    """Return a day of STORED events in hourly files of two sources."""
    store = Store(str(folder / "store"), folder / "cache", 1 << 30, 1024)
    [base, *_] = write_batch(store, blocks(50_000)).files
    path = folder / "store" / base.key
    files = []
    duck = duckdb.connect()
    words = words_of(duck, [path]) or ""
    repeat = STORED // (48 * 50_000)
    assert repeat, "TOCSIN_BENCH_STORED is at least 2,400,000"
    for hour in range(24):
        for source in ("dc-1", "dc-2"):
            target = folder / "store" / f"{source}-{hour:02}.parquet"
            copy = _COPY.replace("TARGET", str(target)).replace(
                "WORDS", words
            )  # COPY takes no parameters
            duck.execute(copy, {"h": hour, "s": source, "f": str(path), "r": repeat})
            found = duck.execute(
                "SELECT count(*), min(time), max(time) FROM read_parquet($f)", {"f": str(target)}
            ).fetchone()
            assert found
            files.append(
                ListedFile(
                    target.name, source, "", found[0], target.stat().st_size, found[1], found[2],
                    frozenset(base.facts.paths), frozenset(base.facts.others or ()),
                )
            )  # fmt: skip
    duck.close()
    return files


def test_searching_a_day(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = a_day(folder)
    stored = sum(f.rows for f in files)
    duck = connect(folder / "store", 1024, 2)

    def ask(query: str, limit: int = 100, **figures: Aggregation) -> Callable[[], object]:
        search = Search(
            parse(query), DAY, DAY + timedelta(days=1), files, limit=limit, aggregations=figures
        )
        return lambda: execute(duck, search, lambda f: folder / "store" / f.path, lambda: None)

    asked = {
        "newest 100, EventID and common user": ask("event_id:4625 AND TargetUserName:user17"),
        "newest 100, rare user, one field": ask("TargetUserName:alice AND event_id:4625"),
        "newest 100, no match, two fields": ask("TargetUserName:nobody AND LogonType:3"),
        "count, two fields": ask(
            "event_id:4625 AND TargetUserName:alice", 0, n=Aggregation("count")
        ),
        "histogram by hour, one field": ask(
            "event_id:4625", 0, h=Aggregation("histogram", seconds=3600)
        ),
        "top 10 users, one field": ask(
            "event_id:4625", 0, t=Aggregation("terms", field="TargetUserName")
        ),
        "newest 100, full text, common": ask("app17.exe"),
        "newest 100, full text, no such word": ask("mimikatz"),
        "newest 100, full text, no such address": ask("203.0.113.9"),
        "histogram, full text": ask("failed", 0, h=Aggregation("histogram", seconds=3600)),
    }
    with capsys.disabled():
        print(f"\n  {stored:,} events in {len(files)} files, {sum(f.size for f in files):,} bytes")
        for name, question in asked.items():
            times = []
            for _ in range(3):
                begun = time.perf_counter()
                question()
                times.append(time.perf_counter() - begun)
            print(f"  {name:40} {sorted(times)[1]:7.3f} s  (median of 3)")
    duck.close()
