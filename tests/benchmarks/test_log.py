"""The log: appends of 16 writers beside PyPI `eventsourcing`, and the time that `verify` takes.

    make bench ARGS="tests/benchmarks/test_log.py"

TOCSIN_BENCH_EVENTSOURCING names a Python that has `eventsourcing[postgres]` 9.5; without it only
our own figures are printed. Both write to the same durable server, one after the other, in turns.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import asyncpg
import pytest
import pytest_asyncio

from services.cases.domain.events import Event, NoteAdded
from services.cases.ledger.checkpoints import Checkpointer, newest_note
from services.cases.ledger.reading import audit_database
from services.cases.postgres import PostgresStore
from services.cases.store import VersionConflict
from shared.db import create_engine
from shared.ids import uuid7
from shared.topology import role_name
from tests.benchmarks.test_pipeline import fdatasync_ms
from tests.support.incidents import NOW, SR
from tests.support.ledger import new_signer, new_vault
from tests.support.world import TEMPLATE, Cluster
from tocsin.embedded.postgres import EmbeddedPostgres

pytestmark = [pytest.mark.benchmark, pytest.mark.integration]

WRITERS = 16
SECONDS = float(os.environ.get("TOCSIN_BENCH_SECONDS", "5"))
ROUNDS = int(os.environ.get("TOCSIN_BENCH_ROUNDS", "3"))
VERIFIED = int(os.environ.get("TOCSIN_BENCH_VERIFIED", "100000"))
PEER = os.environ.get("TOCSIN_BENCH_EVENTSOURCING")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def durable() -> AsyncIterator[Cluster]:
    """A server with fsync and synchronous_commit on."""
    folder = Path(tempfile.mkdtemp(prefix="tocsin-bench-"))
    folder.chmod(0o711)
    postgres = EmbeddedPostgres(folder / "postgres", password="only-for-tests", durable=True)
    try:
        await postgres.start()
        cluster = Cluster(postgres)
        await cluster.prepare()
        print(f"\nfdatasync of 4 KiB: {fdatasync_ms(folder):.2f} ms")
        yield cluster
    finally:
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def url(cluster: Cluster, database: str) -> str:
    return cluster.dsn(database, role_name("cases"), cluster.passwords["cases"] or "")


def note() -> Event:
    return NoteAdded(actor=SR, at=NOW, note_id=uuid7(), text="x" * 120)


async def ours(dsn: str) -> tuple[float, list[float]]:
    """Return events/s and each append's seconds, one event an append, a stream a writer."""
    engine = create_engine(dsn, "cases")
    store, took = PostgresStore(engine, new_vault(engine)), list[float]()
    stop = time.monotonic() + SECONDS

    async def write() -> int:
        stream, version = uuid7(), 0
        while (begun := time.monotonic()) < stop:
            await store.append(
                stream, [note()], expected=version, command_id=uuid7(), digest="d" * 64
            )
            took.append(time.monotonic() - begun)
            version += 1
        return version

    begun = time.monotonic()
    counts = await asyncio.gather(*(write() for _ in range(WRITERS)))
    rate = sum(counts) / (time.monotonic() - begun)
    await store.close()
    await engine.dispose()
    return rate, sorted(took)


async def peers(dsn: str, schema: str, functions: str) -> float:
    process = await asyncio.create_subprocess_exec(
        PEER or "", str(Path(__file__).with_name("eventsourcing_writer.py")),
        dsn, schema, str(WRITERS), str(SECONDS), functions,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    return float(out)


async def test_appends_of_sixteen_writers(durable: Cluster) -> None:
    await durable.sql(f"CREATE DATABASE bench TEMPLATE {TEMPLATE}")
    dsn = durable.dsn("bench")
    rates, theirs = [], {"0": list[float](), "1": list[float]()}
    if PEER:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE SCHEMA es0; CREATE SCHEMA es1")
        await connection.close()
    for _ in range(ROUNDS):
        rate, took = await ours(url(durable, "bench"))
        rates.append(rate)
        p50, p99 = took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
        print(f"tocsin: {rate:,.0f} events/s, append p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        for functions, found in theirs.items():
            if PEER:
                found.append(await peers(dsn, f"es{functions}", functions))
                print(f"eventsourcing, db functions {functions}: {found[-1]:,.0f} events/s")
    if PEER:
        for functions, found in theirs.items():
            print(
                f"ratio of medians, db functions {functions}: {median(rates) / median(found):.1f}"
            )


async def test_contended_appends_to_one_incident(durable: Cluster) -> None:
    await durable.sql(f"CREATE DATABASE contended TEMPLATE {TEMPLATE}")
    engine = create_engine(url(durable, "contended"), "cases")
    store = PostgresStore(engine, new_vault(engine))
    stream, stop, won = uuid7(), time.monotonic() + 2, list[int]()

    async def write() -> None:
        version = 0
        while time.monotonic() < stop:
            try:
                await store.append(
                    stream, [note()], expected=version, command_id=uuid7(), digest="d"
                )
                version += 1
                won.append(version)
            except VersionConflict as conflict:
                version = conflict.current

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    await store.close()
    await engine.dispose()
    assert sorted(won) == list(range(1, len(won) + 1))
    print(f"\none incident, {WRITERS} writers: {len(won) / 2:,.0f} events/s, one winner a version")


async def test_verify(durable: Cluster, tmp_path: Path) -> None:
    await durable.sql(f"CREATE DATABASE verified TEMPLATE {TEMPLATE}")
    engine = create_engine(url(durable, "verified"), "cases")
    store = PostgresStore(engine, new_vault(engine))
    for _ in range(VERIFIED // 500):
        await store.append(
            uuid7(), [note() for _ in range(500)], expected=0, command_id=uuid7(), digest="d"
        )
    some = Checkpointer(engine, new_signer(tmp_path), 1e-9)
    begun = time.monotonic()
    while await some.once():
        pass
    signed = time.monotonic() - begun
    newest = await newest_note(engine)
    assert newest is not None
    assert some.signer is not None
    connection = await asyncpg.connect(durable.dsn("verified"))
    begun = time.monotonic()
    verdict = await audit_database(connection, some.signer.public, newest[1])
    took = time.monotonic() - begun
    await connection.close()
    await store.close()
    await engine.dispose()
    assert verdict.events == VERIFIED // 500 * 500
    print(
        f"\nverify of {verdict.events:,} events: {took:.1f} s ({verdict.events / took:,.0f}/s);"
        f" re-read before signing: {verdict.events / signed:,.0f}/s"
    )
