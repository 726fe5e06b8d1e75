"""The service over a bucket: what people decide about an item is what the bucket enforces."""

import hashlib
import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from services.cases.app import create_app
from services.cases.evidence.bucket import Bucket
from services.cases.evidence.locks import LockMode
from services.cases.evidence.store import storage_ref
from services.cases.evidence.wiring import evidence_store
from services.cases.settings import Settings
from shared.clock import utc_now
from shared.settings import SettingsError
from tests.integration.cases.conversation import People
from tests.integration.cases.evidence.keeping import MAX_BYTES, Clockwork, Custody
from tests.support.s3_server import made, running_s3
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration


class Vault:
    """A service whose evidence lies in a bucket, and the bucket."""

    def __init__(self, custody: Custody, bucket: Bucket) -> None:
        self.custody, self.bucket = custody, bucket

    async def seen(self, data: bytes) -> dict[str, Any]:
        key = f"evidence/{storage_ref(hashlib.sha256(data).hexdigest())}"
        found: dict[str, Any] = await self.bucket.call("head_object", Key=key)
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def vault(world: World) -> AsyncIterator[Vault]:
    with running_s3() as url:
        bucket = await made(url, "vault")
        clock = Clockwork()
        settings = world.settings(
            Settings,
            evidence_url="s3://vault/evidence",
            evidence_s3_endpoint=url,
            evidence_s3_key_id=SecretStr("k"),
            evidence_s3_secret=SecretStr("s"),
            evidence_max_bytes=MAX_BYTES,
            evidence_encryption=False,  # tests look at the objects
        )
        async with world.running(create_app(settings, clock=clock)) as client:
            yield Vault(Custody(People(world, client), Path("/nowhere"), clock), bucket)


async def test_bytes_go_in_and_out_verified(vault: Vault) -> None:
    data = os.urandom(9 << 20)
    item = await vault.custody.collected(data)
    answer = await vault.custody.read("rita", item)
    assert (answer.status_code, answer.content) == (200, data)
    assert (await vault.custody.see(item))["custody"][-1]["type"] == "EvidenceAccessed"
    assert (await vault.seen(data))["ObjectLockMode"] == "COMPLIANCE"


async def test_holds_and_retentions_reach_the_object(vault: Vault) -> None:
    data = os.urandom(1000)
    item = await vault.custody.collected(data)
    await vault.custody.does("lena", item, "place-legal-hold", hold="case 1", reason="suit")

    async def held(status: str) -> bool:
        found: str = (await vault.seen(data)).get("ObjectLockLegalHoldStatus", "OFF")
        return found == status

    await until(lambda: held("ON"))
    # Two holds, one lifted: still held. Equal bytes of another item: held for both.
    await vault.custody.does("lena", item, "place-legal-hold", hold="case 2", reason="suit")
    await vault.custody.does("lena", item, "release-legal-hold", hold="case 1", reason="settled")
    twin = await vault.custody.collected(data)
    ends = utc_now().replace(microsecond=0) + timedelta(days=4000)
    await vault.custody.does(
        "eve", twin, "set-retention", retention_class="evidence", until=ends.isoformat()
    )

    async def retained() -> bool:
        last: datetime = (await vault.seen(data))["ObjectLockRetainUntilDate"]
        return last == ends

    await until(retained)
    assert await held("ON")
    await vault.custody.does("lena", item, "release-legal-hold", hold="case 2", reason="settled")
    await until(lambda: held("OFF"))


async def test_a_forged_version_on_top_changes_nothing(vault: Vault) -> None:
    data = os.urandom(1000)
    item = await vault.custody.collected(data)
    key = f"evidence/{storage_ref(hashlib.sha256(data).hexdigest())}"
    version = (await vault.seen(data))["VersionId"]
    await vault.bucket.call("put_object", Key=key, Body=b"forged")
    answer = await vault.custody.read("rita", item)
    assert (answer.status_code, answer.content) == (200, data)  # a newer version hides nothing
    with pytest.raises(Exception, match="AccessDenied"):
        await vault.bucket.call("delete_object", Key=key, VersionId=version)


async def test_another_digest_is_422_and_nothing_is_kept(vault: Vault) -> None:
    data = os.urandom(9 << 20)
    item = await vault.custody.announced()
    answer = await vault.custody.put(item, data, "sha-256=:" + "A" * 43 + "=:")
    assert (answer.status_code, answer.json()["code"]) == (422, "digest_mismatch")
    assert await vault.bucket.pages("list_multipart_uploads", "Uploads") == []


async def test_a_bucket_that_is_gone_is_503(world: World) -> None:
    with running_s3() as url:
        settings = world.settings(
            Settings,
            evidence_url="s3://not-made",
            evidence_s3_endpoint=url,
            evidence_s3_key_id=SecretStr("k"),
            evidence_s3_secret=SecretStr("s"),
        )
        async with world.running(create_app(settings)) as client:
            custody = Custody(People(world, client), Path("/nowhere"), Clockwork())
            item = await custody.announced()
            answer = await custody.put(item, b"x")
            assert (answer.status_code, answer.json()["code"]) == (
                503,
                "evidence_store_unavailable",
            )


def test_settings_that_contradict_each_other_end_the_start(tmp_path: Path) -> None:
    both = Settings(evidence_url="s3://vault", evidence_dir=tmp_path)
    with pytest.raises(SettingsError, match="set one of them"):
        evidence_store(both, utc_now)
    half = Settings(evidence_url="s3://vault", evidence_s3_key_id=SecretStr("k"))
    with pytest.raises(SettingsError, match="set both or none"):
        evidence_store(half, utc_now)
    for url in ("http://vault", "s3://", "s3://Vault/x", "s3://vault/x?y", "vault"):
        with pytest.raises(ValueError, match="evidence_url"):
            Settings(evidence_url=url)
    assert Settings(evidence_url="s3://vault/a/b").evidence_lock is LockMode.COMPLIANCE


@pytest.mark.parametrize(("locking", "ok"), [(True, True), (False, False)])
async def test_the_doctor_looks_at_the_bucket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, locking: bool, ok: bool
) -> None:
    from tocsin.doctor import diagnose
    from tocsin.home import Home

    with running_s3() as url:
        await made(url, "vault", locking=locking)
        for name, value in {
            "URL": "s3://vault/evidence", "S3_ENDPOINT": url, "S3_KEY_ID": "k", "S3_SECRET": "s"
        }.items():  # fmt: skip
            monkeypatch.setenv(f"TOCSIN_CASES_EVIDENCE_{name}", value)
        (check,) = [c for c in await diagnose(Home(tmp_path)) if c.name == "evidence"]
        assert check.ok is ok
        assert ok or "object lock" in check.found
