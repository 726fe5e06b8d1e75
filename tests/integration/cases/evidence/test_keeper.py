"""The work in the background: scrub and janitor, and what kill -9 leaves them (§2.6, 20, 21)."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.cases.evidence.integrity import found_digest
from services.cases.evidence.keeper import Janitor, Scrub
from services.cases.evidence.queries import EvidenceQueries
from services.cases.evidence.store import BlobMissingError, storage_ref
from services.cases.evidence.store_local import LocalStore
from services.cases.postgres import PostgresStore
from services.cases.projector import Projector
from tests.integration.cases.evidence.keeping import Custody
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration


def janitor(custody: Custody, world: World, ahead: timedelta = timedelta()) -> Janitor:
    engine = world.engine("cases")
    return Janitor(
        PostgresStore(engine, world.vault),
        LocalStore(custody.folder),
        EvidenceQueries(engine),
        lambda: datetime.now(UTC) + ahead,
    )


def scrub(custody: Custody, world: World, ahead: timedelta) -> Scrub:
    engine = world.engine("cases")
    return Scrub(
        PostgresStore(engine, world.vault),
        LocalStore(custody.folder),
        EvidenceQueries(engine),
        Projector(engine, world.vault),
        lambda: datetime.now(UTC) + ahead,
        every=timedelta(days=30),
        bytes_per_second=1 << 30,
    )


async def test_the_scrub_hashes_everything_once_and_finds_the_flipped_byte(
    custody: Custody, world: World
) -> None:
    items = {os.urandom(1000): "" for _ in range(3)}
    for data in items:
        items[data] = await custody.collected(data)
    bad = next(iter(items))
    path = custody.path(bad)
    path.chmod(0o600)
    path.write_bytes(bytes([bad[0] ^ 128]) + bad[1:])
    assert await scrub(custody, world, timedelta(days=29)).once() == 0  # nothing is due yet
    work, done = scrub(custody, world, timedelta(days=31)), 0
    while await work.once():
        done += 1
    assert done == 3
    for data, item in items.items():
        last = (await custody.see(item))["custody"][-1]
        wanted = "EvidenceIntegrityFailed" if data == bad else "EvidenceIntegrityVerified"
        assert (last["type"], last["actor"], last["reason"]) == (wanted, "tocsin", "scrub")


async def test_bytes_whose_event_was_lost_are_linked_again(custody: Custody, world: World) -> None:
    """Killed after the rename, before the commit."""
    data = b"renamed, not told"
    item = await custody.announced(sha256=hashlib.sha256(data).hexdigest())

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    await LocalStore(custody.folder).put(chunks(), declared=None, max_bytes=100)
    await janitor(custody, world).once()  # it may still be on its way
    assert (await custody.see(item))["item"]["state"] == "registered"
    await janitor(custody, world, timedelta(minutes=6)).once()
    await Projector(world.engine("cases"), world.vault).once()
    seen = await custody.see(item)
    assert (seen["item"]["state"], seen["item"]["custodian"]) == ("collected", "eve")
    assert seen["custody"][-1]["actor"] == "tocsin"
    assert (await custody.read("rita", item)).content == data


async def test_orphans_go_after_a_day_and_not_before(custody: Custody, world: World) -> None:
    kept = await custody.collected(b"kept")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"nobody's"

    await LocalStore(custody.folder).put(chunks(), declared=None, max_bytes=100)
    await janitor(custody, world, timedelta(hours=23)).once()
    assert custody.path(b"nobody's").exists()
    await janitor(custody, world, timedelta(hours=25)).once()
    assert not custody.path(b"nobody's").exists()
    assert (await custody.read("eve", kept)).content == b"kept"


async def test_views_that_are_behind_remove_nothing(
    custody: Custody, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def behind(_: EvidenceQueries) -> bool:
        return False

    async def chunks() -> AsyncIterator[bytes]:
        yield b"perhaps somebody's"

    await LocalStore(custody.folder).put(chunks(), declared=None, max_bytes=100)
    monkeypatch.setattr(EvidenceQueries, "in_step", behind)
    await janitor(custody, world, timedelta(days=9)).once()
    assert custody.path(b"perhaps somebody's").exists()


_UPLOAD = """
import asyncio, os, sys
from pathlib import Path
from services.cases.evidence.store_local import LocalStore

async def chunks():
    for n in range(10_000):
        yield os.urandom(1 << 18)
        if n == 20:
            print("going", flush=True)
        await asyncio.sleep(0.001)

asyncio.run(LocalStore(Path(sys.argv[1])).put(chunks(), declared=None, max_bytes=1 << 40))
"""


def test_kill_9_during_an_upload_leaves_a_temp_file_that_the_janitor_takes(tmp_path: Path) -> None:
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", _UPLOAD, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[4],
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"going\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [p.suffix for p in left] == [".part"] * 3
    assert {p.stat().st_mode & 0o777 for p in left} == {0o600}
    store = LocalStore(tmp_path)
    soon = datetime.now(UTC) - timedelta(hours=1)
    assert asyncio.run(store.sweep(soon)) == 0  # it might still be written to
    assert asyncio.run(store.sweep(soon + timedelta(hours=2))) == 3
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


async def test_a_sender_who_goes_away_leaves_nothing(custody: Custody) -> None:
    item = await custody.announced()

    async def broken() -> AsyncIterator[bytes]:
        yield os.urandom(3 << 20)
        raise ConnectionError("the cable")

    with pytest.raises(ConnectionError):
        await custody.put(item, broken(), "sha-256=:" + "A" * 43 + "=:")
    await until(lambda: custody.temps() == [])


async def test_a_name_that_is_no_digest_reaches_no_path(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for name in ("../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 64 + "/", "\u0660" * 64):
        with pytest.raises(ValueError, match="not a digest"):
            async with store.open(name):
                pass
        with pytest.raises(ValueError, match="not a digest"):
            await store.remove(name, datetime.now(UTC))


async def test_what_is_gone_is_missing_and_what_cannot_be_read_is_not(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    digest = "a" * 64
    with pytest.raises(BlobMissingError):
        async with store.open(digest):
            pass
    assert await found_digest(store, digest) is None
    assert storage_ref(digest) == f"sha256/aa/aa/{digest}"
