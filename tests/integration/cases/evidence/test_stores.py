"""One suite for every store of bytes: a directory, and a bucket on a server that speaks S3.

Each of them as it is, and with what it holds sealed.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from services.cases.evidence.blob_keys import BlobKeys
from services.cases.evidence.integrity import found_digest
from services.cases.evidence.locks import Lock
from services.cases.evidence.s3_upload import PART, part_size
from services.cases.evidence.store import (
    BlobMissingError,
    DigestMismatchError,
    EvidenceStore,
    StoreError,
    TooLargeError,
    storage_ref,
)
from services.cases.evidence.store_local import LocalStore
from services.cases.evidence.store_s3 import S3Store
from services.cases.evidence.store_sealed import SealedStore
from services.cases.sealing.kek import load_keks
from shared.clock import utc_now
from tests.support.s3_server import made, running_s3
from tests.support.world import World

pytestmark = pytest.mark.integration

LARGE_MIB = int(os.environ.get("TOCSIN_EVIDENCE_MIB", "64"))  # 1024: the heavy dose
SOON = timedelta(hours=1)
SIZES = (0, 100_000, PART, 2 * PART + 17)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest_asyncio.fixture(
    params=["directory", "bucket", "directory, sealed", "bucket, sealed"], loop_scope="session"
)
async def store(
    request: pytest.FixtureRequest, s3: str, world: World, tmp_path: Path
) -> EvidenceStore:
    store: EvidenceStore = LocalStore(tmp_path)
    if request.param.startswith("bucket"):
        # Nothing is locked here: the suite looks at what every store does.
        store = S3Store(await made(s3, f"b{os.urandom(8).hex()}"), Lock(days=1 / 86_400), utc_now)
    if request.param.endswith("sealed"):
        store = await sealed_over(store, world)
    return store


async def sealed_over(store: EvidenceStore, world: World) -> SealedStore:
    """Return a layer that knows of no other blobs than those that it will write."""
    keys = BlobKeys(world.engine("cases"), load_keks(world.master_key_file))
    for sha256 in (await keys.digests(utc_now() + SOON))[0]:
        for each in await keys.of(sha256):
            await keys.destroy(each.key_id)
    return SealedStore(store, keys)


async def pieces(data: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def everything(store: EvidenceStore) -> list[str]:
    return await store.digests(utc_now() + SOON)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("told", [True, False])
async def test_what_went_in_comes_out(store: EvidenceStore, size: int, told: bool) -> None:
    data = os.urandom(size)
    kept = await store.put(pieces(data), declared=sha(data) if told else None, max_bytes=1 << 30)
    assert (kept.sha256, kept.size, kept.ref) == (sha(data), size, storage_ref(sha(data)))
    async with store.open(kept.sha256) as reading:
        assert reading.size == size
        assert await reading.digest() == kept.sha256
        assert b"".join([chunk async for chunk in reading.chunks()]) == data
    assert await everything(store) == [kept.sha256]
    assert await store.sweep(utc_now() + SOON) == 0  # nothing is left half done


@pytest.mark.parametrize("size", [100, 2 * PART + 17])
async def test_another_digest_than_declared_keeps_nothing(store: EvidenceStore, size: int) -> None:
    data = os.urandom(size)
    with pytest.raises(DigestMismatchError) as refusal:
        await store.put(pieces(data), declared=sha(b"meant"), max_bytes=1 << 30)
    assert refusal.value.found == sha(data)
    assert await everything(store) == []
    assert await store.sweep(utc_now() + SOON) == 0
    assert await found_digest(store, sha(b"meant")) is None


async def test_too_many_bytes_keep_nothing(store: EvidenceStore) -> None:
    with pytest.raises(TooLargeError):
        await store.put(pieces(bytes(2 * PART)), declared=None, max_bytes=2 * PART - 1)
    assert await everything(store) == []
    assert await store.sweep(utc_now() + SOON) == 0


async def test_a_sender_who_breaks_off_leaves_nothing(store: EvidenceStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(2 * PART)
        raise ConnectionError("the cable")

    with pytest.raises(ConnectionError):
        await store.put(broken(), declared=sha(b"x"), max_bytes=1 << 30)
    assert await everything(store) == []
    assert await store.sweep(utc_now() + SOON) == 0


async def test_a_cancelled_upload_leaves_nothing(store: EvidenceStore) -> None:
    going = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield bytes(2 * PART)
        going.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(store.put(endless(), declared=None, max_bytes=1 << 30))
    await going.wait()
    upload.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await upload
    assert await everything(store) == []
    assert await store.sweep(utc_now() + SOON) == 0


async def test_equal_bytes_are_found_once_and_count_as_new(store: EvidenceStore) -> None:
    data = os.urandom(1000)
    for _ in range(2):
        await store.put(pieces(data), declared=sha(data), max_bytes=1 << 20)
    assert await everything(store) == [sha(data)]
    assert await store.digests(utc_now() - SOON) == []
    assert await store.remove(sha(data), utc_now() - SOON) is False  # put since
    assert await found_digest(store, sha(data)) == sha(data)


async def test_what_is_removed_is_gone(store: EvidenceStore) -> None:
    data = os.urandom(1000)
    await store.put(pieces(data), declared=sha(data), max_bytes=1 << 20)
    await asyncio.sleep(1.2)  # the lock of the bucket lasts a second here
    assert await store.remove(sha(data), utc_now() + SOON) is True
    assert await store.remove(sha(data), utc_now() + SOON) is False
    with pytest.raises(BlobMissingError):
        async with store.open(sha(data)):
            pass
    assert await everything(store) == []


async def test_a_name_that_is_no_digest_reaches_no_path(store: EvidenceStore) -> None:
    for name in ("../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 64 + "/", "\u0660" * 64):
        with pytest.raises(ValueError, match="not a digest"):
            async with store.open(name):
                pass
        with pytest.raises(ValueError, match="not a digest"):
            await store.remove(name, utc_now())


async def test_a_good_store_has_no_problem(store: EvidenceStore) -> None:
    assert await store.problem() is None


@pytest.mark.timeout(600)
async def test_memory_is_bounded_however_large_the_item_is(
    store: EvidenceStore, capsys: pytest.CaptureFixture[str]
) -> None:
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    for _ in range(LARGE_MIB):
        digest.update(block)

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(LARGE_MIB):
            for start in range(0, 1 << 20, 1 << 16):
                yield block[start : start + (1 << 16)]

    me, peak = psutil.Process(), 0
    # What is allocated once is allocated before.
    await store.put(pieces(os.urandom(2 * PART)), declared=None, max_bytes=1 << 30)
    before, done = me.memory_info().rss, asyncio.Event()

    async def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, me.memory_info().rss)
            await asyncio.sleep(0.01)

    watcher = asyncio.create_task(watch())
    await store.put(blocks(), declared=digest.hexdigest(), max_bytes=5 << 30)
    assert await found_digest(store, digest.hexdigest()) == digest.hexdigest()
    done.set()
    await watcher
    grown = (peak - before) / (1 << 20)
    with capsys.disabled():
        print(f"\n{type(store).__name__}: {LARGE_MIB} MiB in and out, {grown:.1f} MiB more memory")
    assert grown < 48  # a part of 8 MiB, its copies on the way to the socket, and the allocator


def test_the_largest_item_fits_into_as_many_parts_as_s3_takes() -> None:
    for largest in (1, 5 << 30, 1 << 40):
        assert -(-largest // part_size(largest)) <= 10_000
    assert part_size(5 << 30) == PART


# --- what only a bucket does ---


async def bucket_of(s3: str, lock: Lock) -> S3Store:
    return S3Store(await made(s3, f"b{os.urandom(8).hex()}"), lock, utc_now)


async def lock_of(store: S3Store, data: bytes) -> list[tuple[str, datetime, str]]:
    return [
        (
            seen["ObjectLockMode"],
            seen["ObjectLockRetainUntilDate"],
            seen.get("ObjectLockLegalHoldStatus", "OFF"),
        )
        for version in await store._versions(store._key(sha(data)))
        for seen in [await store._bucket.call("head_object", Key=version.key, VersionId=version.id)]
    ]


@pytest.mark.parametrize("size", [100, 2 * PART])
@pytest.mark.parametrize("told", [True, False])
async def test_an_object_is_locked_from_the_first_moment(s3: str, size: int, told: bool) -> None:
    store, data = await bucket_of(s3, Lock(days=10)), os.urandom(size)
    await store.put(pieces(data), declared=sha(data) if told else None, max_bytes=1 << 30)
    ((mode, until, held),) = await lock_of(store, data)
    assert (mode, held) == ("COMPLIANCE", "OFF")
    assert abs(until - (utc_now() + timedelta(days=10))) < timedelta(minutes=1)
    assert await store.remove(sha(data), utc_now() + SOON) is False
    assert await found_digest(store, sha(data)) == sha(data)


async def test_retention_grows_and_never_shrinks(s3: str) -> None:
    store, data = await bucket_of(s3, Lock(days=10)), os.urandom(100)
    await store.put(pieces(data), declared=sha(data), max_bytes=1000)
    longer = utc_now().replace(microsecond=0) + timedelta(days=400)
    await store.protect(sha(data), until=longer, held=False)
    await store.protect(sha(data), until=longer - timedelta(days=200), held=False)
    await store.protect(sha(data), until=None, held=False)
    assert [until for _, until, _ in await lock_of(store, data)] == [longer]


async def test_a_hold_binds_beyond_the_retention_and_ends_when_lifted(s3: str) -> None:
    store, data = await bucket_of(s3, Lock(days=1 / 86_400)), os.urandom(100)
    await store.put(pieces(data), declared=sha(data), max_bytes=1000)
    await store.protect(sha(data), until=None, held=True)
    await asyncio.sleep(1.2)
    assert await store.remove(sha(data), utc_now() + SOON) is False
    await store.protect(sha(data), until=None, held=False)
    assert await store.remove(sha(data), utc_now() + SOON) is True


async def test_who_hides_or_covers_an_object_hides_nothing(s3: str) -> None:
    store, data = await bucket_of(s3, Lock(days=10)), os.urandom(100)
    key = store._key(sha(data))
    await store._bucket.call("put_object", Key=key, Body=b"laid there before")
    await store.put(pieces(data), declared=sha(data), max_bytes=1000)
    await store._bucket.call("put_object", Key=key, Body=b"laid over it")
    await store._bucket.call("delete_object", Key=key)  # a mark that says: not here
    async with store.open(sha(data)) as reading:
        assert await reading.digest() == sha(data)
        assert reading.size == 100
        assert b"".join([chunk async for chunk in reading.chunks()]) == data
    assert await everything(store) == [sha(data)]


async def test_an_upload_that_still_moves_is_not_swept(s3: str) -> None:
    store = await bucket_of(s3, Lock())
    started = await store._bucket.call("create_multipart_upload", Key=store._key(sha(b"x")))
    await store._bucket.call(
        "upload_part",
        Key=store._key(sha(b"x")),
        UploadId=started["UploadId"],
        PartNumber=1,
        Body=bytes(PART),
    )
    assert await store.sweep(utc_now() - SOON) == 0
    assert await store.sweep(utc_now() + SOON) == 1
    assert await store.sweep(utc_now() + SOON) == 0


async def test_a_bucket_that_would_not_hold_on_takes_nothing(s3: str) -> None:
    bucket = await made(s3, f"b{os.urandom(8).hex()}", locking=False)
    store = S3Store(bucket, Lock(), utc_now)
    assert "has no object lock" in (await store.problem() or "")
    with pytest.raises(StoreError, match="has no object lock"):
        await store.put(pieces(b"x"), declared=None, max_bytes=10)
    await bucket.call("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"})
    assert "keeps no versions" in (await store.problem() or "")


async def test_a_server_that_is_gone_is_a_sentence() -> None:
    from services.cases.evidence.bucket import Bucket
    from tests.support.s3_server import place

    with running_s3() as url:
        bucket = Bucket(place(url, "nowhere"))
        assert "cannot be used" in (await S3Store(bucket, Lock(), utc_now).problem() or "")
    store = S3Store(bucket, Lock(), utc_now)
    with pytest.raises(StoreError, match="cannot be used"):
        await store.put(pieces(b"x"), declared=None, max_bytes=10)
    with pytest.raises(StoreError):
        await found_digest(store, "a" * 64)  # says nothing about the bytes


async def test_kill_9_during_an_upload_leaves_parts_that_the_janitor_ends(s3: str) -> None:
    import signal
    import subprocess
    import sys

    store = await bucket_of(s3, Lock())
    program = f"""
import asyncio
from services.cases.evidence.locks import Lock
from services.cases.evidence.bucket import Bucket
from services.cases.evidence.store_s3 import S3Store
from shared.clock import utc_now
from tests.support.s3_server import place
async def chunks():
    yield bytes({2 * PART})
    print("going", flush=True)
    await asyncio.Event().wait()
store = S3Store(Bucket(place({s3!r}, {store._bucket.place.bucket!r})), Lock(), utc_now)
asyncio.run(store.put(chunks(), declared={"a" * 64!r}, max_bytes=1 << 30))
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[4],
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"going\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert await found_digest(store, "a" * 64) is None
    assert await store.sweep(datetime.now(UTC) + SOON) == 1
