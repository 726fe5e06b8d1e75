"""Evidence sealed at rest: what lies on the disk, who can read it, and what ends with the key."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from services.cases.app import create_app
from services.cases.evidence.blob_keys import BlobKeys, Sealed
from services.cases.evidence.cipher import CHUNK, HEADER, TAG
from services.cases.evidence.integrity import found_digest
from services.cases.evidence.keeper import Janitor
from services.cases.evidence.locks import Lock
from services.cases.evidence.queries import EvidenceQueries
from services.cases.evidence.store import BlobMissingError, StoreError, storage_ref
from services.cases.evidence.store_local import LocalStore
from services.cases.evidence.store_s3 import S3Store
from services.cases.evidence.store_sealed import SealedStore
from services.cases.ledger.checkpoints import driver_of
from services.cases.ledger.verifier import VerifyKey, verify_bundle
from services.cases.postgres import PostgresStore
from services.cases.sealing.kek import Keks, load_keks
from services.cases.sealing.rotation import rotate
from services.cases.settings import Settings
from shared.clock import utc_now
from tests.integration.cases.conversation import People
from tests.integration.cases.evidence.keeping import MAX_BYTES, Clockwork, Custody
from tests.support.ledger import key_path
from tests.support.s3_server import made, running_s3
from tests.support.world import World
from tocsin.verify import Kept, verify_database

pytestmark = pytest.mark.integration

SOON = timedelta(hours=1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def custody(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Custody]:
    folder, clock = tmp_path_factory.mktemp("sealed"), Clockwork()
    settings = world.settings(
        Settings,
        evidence_dir=folder / "e",
        evidence_max_bytes=MAX_BYTES,
        log_key_file=key_path(folder),
        checkpoint_seconds=3600,
    )
    async with world.running(create_app(settings, clock=clock)) as client:
        yield Custody(People(world, client), folder / "e", clock)


def keys_of(world: World) -> BlobKeys:
    return BlobKeys(world.engine("cases"), load_keks(world.master_key_file))


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 16):
        yield data[start : start + (1 << 16)]


async def stored_at(folder: Path, world: World, data: bytes) -> tuple[Path, Sealed]:
    (each,) = await keys_of(world).of(sha(data))
    return folder / storage_ref(each.stored), each


async def kept(folder: Path, world: World, data: bytes) -> tuple[SealedStore, Path]:
    store = SealedStore(LocalStore(folder), keys_of(world))
    await store.put(pieces(data), declared=sha(data), max_bytes=len(data))
    path, _ = await stored_at(folder, world, data)
    path.chmod(0o600)
    return store, path


async def test_what_lies_on_the_disk_is_not_what_was_collected(
    custody: Custody, world: World
) -> None:
    data = b"Frankly, my dear. " * 100_000
    item = await custody.collected(data)
    answer = await custody.read("rita", item)
    assert (answer.status_code, answer.content) == (200, data)
    path, each = await stored_at(custody.folder, world, data)
    raw = path.read_bytes()
    assert sha(raw) == each.stored
    assert not custody.path(data).exists()
    for file in (f for f in custody.folder.rglob("*") if f.is_file()):
        assert b"Frankly" not in file.read_bytes()
    seen = await custody.see(item)
    assert (seen["item"]["sha256"], seen["item"]["size"]) == (sha(data), len(data))


@pytest.mark.parametrize(
    "damage",
    ["first", "nonce", "chunk", "tag", "cut", "cut at a chunk", "swapped", "doubled", "longer",
     "empty", "another's"],
)  # fmt: skip
async def test_every_change_of_the_stored_bytes_is_found(
    world: World, tmp_path: Path, damage: str
) -> None:
    data = os.urandom(3 * CHUNK + 1000)
    store, path = await kept(tmp_path, world, data)
    whole, block = path.read_bytes(), CHUNK + TAG
    one, two = (slice(HEADER + n * block, HEADER + (n + 1) * block) for n in (0, 1))

    def flipped(at: int) -> bytes:
        return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]

    if damage == "another's":
        _, other = await kept(tmp_path / "other", world, os.urandom(len(data)))
        changed = other.read_bytes()
    else:
        changed = {
            "first": flipped(0),
            "nonce": flipped(HEADER - 1),
            "chunk": flipped(HEADER + block + 5),
            "tag": flipped(len(whole) - 1),
            "cut": whole[:-1],
            "cut at a chunk": whole[: HEADER + 3 * block],
            "swapped": whole[:HEADER] + whole[two] + whole[one] + whole[HEADER + 2 * block :],
            "doubled": whole[: one.stop] + whole[one] + whole[one.stop :],
            "longer": whole + b"\0",
            "empty": b"",
        }[damage]
    assert await found_digest(store, sha(data)) == sha(data)
    path.write_bytes(changed)
    assert await found_digest(store, sha(data)) == sha(changed)  # what anybody can compute
    async with store.open(sha(data)) as reading:
        with pytest.raises(StoreError):
            _ = [chunk async for chunk in reading.chunks()]


async def test_a_flipped_bit_freezes_the_item(custody: Custody, world: World) -> None:
    data = os.urandom(5000)
    item = await custody.collected(data)
    path, _ = await stored_at(custody.folder, world, data)
    path.chmod(0o600)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    answer = await custody.read("rita", item)
    assert (answer.status_code, answer.json()["code"]) == (409, "integrity_failed")
    assert (await custody.see(item))["item"]["frozen"]


async def test_what_lay_there_in_clear_stays_readable(custody: Custody, world: World) -> None:
    data = os.urandom(5000)
    bare = LocalStore(custody.folder)
    item = await custody.announced(sha256=sha(data))
    await bare.put(pieces(data), declared=sha(data), max_bytes=5000)
    await janitor(custody, world, timedelta(minutes=6)).once()  # links it
    assert (await custody.read("rita", item)).content == data
    off = SealedStore(bare, keys_of(world), seals=False)
    assert await found_digest(off, sha(data)) == sha(data)
    in_clear = os.urandom(100)
    await off.put(pieces(in_clear), declared=None, max_bytes=100)
    assert custody.path(in_clear).read_bytes() == in_clear


def janitor(custody: Custody, world: World, ahead: timedelta) -> Janitor:
    engine = world.engine("cases")
    return Janitor(
        PostgresStore(engine, world.vault),
        SealedStore(LocalStore(custody.folder), keys_of(world)),
        EvidenceQueries(engine),
        lambda: datetime.now(UTC) + ahead,
    )


async def test_two_persons_dispose_and_the_key_is_destroyed(custody: Custody, world: World) -> None:
    data = b"no longer needed"
    first = await custody.collected(data, acquired_at="2026-01-02T03:04:05Z")
    second = await custody.collected(data, acquired_at="2026-01-02T03:04:05Z")
    held = await keys_of(world).of(sha(data))
    assert len(held) == 2  # a key each
    paths = [custody.folder / storage_ref(each.stored) for each in held]
    copies = [path.read_bytes() for path in paths]
    for item in (first, second):
        await custody.does("eve", item, "seal")
        await custody.does(
            "eve", item, "set-retention", retention_class="log", until="2026-08-01T00:00:00Z"
        )
        await custody.does("eve", item, "request-disposal", reason="retention ended")
        assert len(await keys_of(world).of(sha(data))) == 2  # the other one needs them, or nobody
        assert (await custody.send("eve", item, "dispose")).status_code == 409
        assert await custody.does("carl", item, "dispose") == ["EvidenceDisposed"]
        assert [path.exists() for path in paths] == [True, True]
        await janitor(custody, world, timedelta(hours=25)).once()
    assert not any(path.exists() for path in paths)
    assert await keys_of(world).of(sha(data)) == []
    async with driver_of(world.engine("cases")) as driver:
        rows = await driver.fetch(
            "SELECT wrapped, destroyed_at FROM data_keys WHERE key_id = ANY($1)",
            [each.key_id for each in held],
        )
    assert [(row["wrapped"], row["destroyed_at"] is None) for row in rows] == [(None, False)] * 2
    # Whoever has kept a copy of what was stored has nothing.
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    paths[0].write_bytes(copies[0])
    assert (
        await found_digest(SealedStore(LocalStore(custody.folder), keys_of(world)), sha(data))
        is None
    )
    paths[0].unlink()


async def test_a_bundle_has_the_bytes_in_clear_and_verifies(
    custody: Custody, world: World, tmp_path: Path
) -> None:
    data = os.urandom(CHUNK + 5)
    incident = await custody.people.opened()
    item = await custody.collected(data, incident)
    path = f"/v1/incidents/{incident}/bundle"
    answer = await custody.people.get("anna", path, evidence="true", purpose="court")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(BytesIO(answer.content)) as bundle:
        assert bundle.read(f"evidence/{item}.bin") == data
    file = tmp_path / "bundle.zip"
    file.write_bytes(answer.content)
    told = await custody.people.get("anna", "/v1/log/checkpoint")
    assert verify_bundle(file, VerifyKey.parse(told.json()["key"]))


async def test_verify_opens_what_is_sealed(custody: Custody, world: World, tmp_path: Path) -> None:
    data = os.urandom(3000)
    incident = await custody.people.opened()
    item = await custody.collected(data, incident)
    answer = await custody.people.get("anna", f"/v1/incidents/{incident}/bundle")  # signs
    assert answer.status_code == 200
    key = VerifyKey.parse((await custody.people.get("anna", "/v1/log/checkpoint")).json()["key"])
    place = Kept(LocalStore(custody.folder), load_keks(world.master_key_file))
    path, _ = await stored_at(custody.folder, world, data)
    raw = path.read_bytes()
    path.unlink()
    assert (await verify_database(world.admin_dsn, key, None, place)).code != 0
    path.write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
    outcome = await verify_database(world.admin_dsn, key, None, place)
    assert (outcome.code, "were altered" in outcome.sentence) == (2, True), outcome
    path.write_bytes(raw)
    assert (await custody.read("rita", item)).content == data


async def test_another_master_key_says_nothing_about_the_bytes(
    world: World, tmp_path: Path
) -> None:
    data = os.urandom(100)
    await kept(tmp_path, world, data)
    strange = SealedStore(LocalStore(tmp_path), BlobKeys(world.engine("cases"), Keks([b"\7" * 32])))
    with pytest.raises(StoreError, match="not in the file"):
        await found_digest(strange, sha(data))
    # A rotation wraps the keys of evidence like all others.
    old = world.master_key_file.read_text().strip()
    both = Keks([b"\7" * 32, bytes.fromhex(old)])
    assert await rotate(world.engine("cases"), both) > 0
    assert await found_digest(strange, sha(data)) == sha(data)
    assert await rotate(world.engine("cases"), Keks([bytes.fromhex(old), b"\7" * 32])) > 0


async def test_who_dies_between_the_bytes_and_their_key_leaves_an_orphan(
    world: World, tmp_path: Path
) -> None:
    """Both ways: bytes that never got a key, and a key whose bytes are gone."""
    data, folder = os.urandom(2 * CHUNK), tmp_path / "e"
    program = f"""
import asyncio, os
from pathlib import Path
from services.cases.evidence.store_local import LocalStore
from services.cases.evidence.store_sealed import SealedStore
class Keys:
    async def add(self, *_):
        print("there", flush=True)
        await asyncio.Event().wait()
async def chunks():
    yield bytes({len(data)})
asyncio.run(SealedStore(LocalStore(Path({str(folder)!r})), Keys()).put(
    chunks(), declared=None, max_bytes=1 << 30))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert await asyncio.to_thread(child.stdout.readline) == b"there\n"
        child.send_signal(signal.SIGKILL)
    store = SealedStore(LocalStore(folder), keys_of(world))
    (orphan,) = await LocalStore(folder).digests(utc_now() + SOON)
    assert orphan in await store.digests(utc_now() + SOON)
    assert await found_digest(store, sha(bytes(len(data)))) is None
    assert await store.remove(orphan, utc_now() + SOON) is True
    assert await LocalStore(folder).digests(utc_now() + SOON) == []

    store, path = await kept(folder, world, data)
    path.unlink()
    assert sha(data) in await store.digests(utc_now() + SOON)
    assert await store.remove(sha(data), utc_now() - SOON) is False
    assert await store.remove(sha(data), utc_now() + SOON) is True
    assert sha(data) not in await store.digests(utc_now() + SOON)
    with pytest.raises(BlobMissingError):
        async with store.open(sha(data)):
            pass


async def test_what_a_bucket_keeps_locked_keeps_its_key(world: World) -> None:
    with running_s3() as url:
        bare = S3Store(await made(url, "locked"), Lock(days=10), utc_now)
        store, data = SealedStore(bare, keys_of(world)), os.urandom(9 << 20)
        await store.put(pieces(data), declared=sha(data), max_bytes=len(data))
        assert await store.remove(sha(data), utc_now() + SOON) is False
        until = utc_now().replace(microsecond=0) + timedelta(days=99)
        await store.protect(sha(data), until=until, held=True)
        (each,) = await keys_of(world).of(sha(data))
        (version,) = await bare._versions(bare._key(each.stored))
        seen = await bare._bucket.call("head_object", Key=version.key, VersionId=version.id)
        assert (seen["ObjectLockRetainUntilDate"], seen["ObjectLockLegalHoldStatus"]) == (
            until, "ON",
        )  # fmt: skip
        # Laid over and hidden: still found, and still opened.
        await bare._bucket.call("put_object", Key=version.key, Body=b"laid over it")
        await bare._bucket.call("delete_object", Key=version.key)
        async with store.open(sha(data)) as reading:
            assert await reading.digest() == sha(data)
            assert reading.size == len(data)
            assert b"".join([chunk async for chunk in reading.chunks()]) == data


async def test_the_role_of_the_service_cannot_forget_or_redirect_a_key(world: World) -> None:
    async with driver_of(world.engine("cases")) as driver:
        for sql in (
            "UPDATE evidence_blobs SET sha256 = stored",
            "DELETE FROM evidence_blobs",
            "TRUNCATE evidence_blobs",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await driver.execute(sql)
