"""The bytes: in once and durably, out verified and never unrecorded (R30d)."""

import asyncio
import hashlib
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from services.cases.app import create_app
from services.cases.settings import Settings
from shared.ids import uuid7
from tests.integration.cases.evidence.keeping import (
    MAX_BYTES,
    Custody,
    content_digest,
    metadata,
)
from tests.support.world import World

pytestmark = pytest.mark.integration

PATHS = (
    "../../../../etc/passwd",
    "..\\..\\windows\\system32\\config\\sam",
    "/etc/shadow",
    "....//....//x",
    "%2e%2e%2f%2e%2e%2fx",
    "a\u0000b",
    "C:\\evil.exe",
    "\u202egnp.exe",
    "x" * 1000,
    "\r\nSet-Cookie: a=b",
    "<script>alert(1)</script>.html",
    "~root/.ssh/authorized_keys",
    "file:///etc/passwd",
    "aux",
    ".",
    "..",
    "",
)


async def test_what_went_in_comes_out_and_the_reading_is_recorded_first(custody: Custody) -> None:
    data = os.urandom(300_000)
    item = await custody.collected(data)
    path = custody.path(data)
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert custody.temps() == []
    before = await custody.see(item)
    answer = await custody.read("rita", item, "timeline of the logins")
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="{item}.bin"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["content-digest"] == content_digest(data)
    after = await custody.see(item)
    assert after["version"] == before["version"] + 1
    last = after["custody"][-1]
    assert (last["type"], last["actor"], last["to"]) == ("EvidenceAccessed", "rita", "rita")
    assert last["reason"] == "timeline of the logins"


async def test_every_read_has_an_event_of_its_own(custody: Custody) -> None:
    item = await custody.collected(b"looked at often")
    for person in ("eve", "rita", "anna"):
        for _ in range(2):
            assert (await custody.read(person, item)).status_code == 200
    accesses = [x for x in (await custody.see(item))["custody"] if x["type"] == "EvidenceAccessed"]
    assert [x["actor"] for x in accesses] == ["eve", "eve", "rita", "rita", "anna", "anna"]


async def test_a_read_without_purpose_gets_nothing(custody: Custody) -> None:
    item = await custody.collected(b"x")
    for purpose, status in (("", 422), ("  ", 409)):
        answer = await custody.read("rita", item, purpose)
        assert answer.status_code == status


async def test_another_digest_than_declared_keeps_nothing(custody: Custody) -> None:
    item = await custody.announced()
    answer = await custody.put(item, b"what came", content_digest(b"what was meant"))
    assert (answer.status_code, answer.json()["code"]) == (422, "digest_mismatch")
    assert not custody.path(b"what came").exists()
    assert custody.temps() == []
    assert (await custody.see(item))["item"]["state"] == "registered"
    # The announcement stands: the right bytes still get in.
    assert (await custody.put(item, b"what was meant")).status_code == 200


async def test_header_and_announcement_have_to_agree(custody: Custody) -> None:
    item = await custody.announced(sha256=hashlib.sha256(b"a").hexdigest())
    answer = await custody.put(item, b"b")
    assert (answer.status_code, answer.json()["code"]) == (422, "digest_mismatch")
    assert (await custody.put(item, b"a", digest="")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 422, "digest_missing"),
        ({"Content-Digest": "md5=:AAAA:"}, 422, "malformed"),
        ({"Content-Digest": f"sha-256=:{'=' * 44}:"}, 422, "malformed"),
        ({"Content-Encoding": "gzip"}, 415, "unknown_encoding"),
    ],
)
async def test_bytes_that_cannot_be_held_against_a_digest_are_refused(
    custody: Custody, headers: dict[str, str], status: int, code: str
) -> None:
    item = await custody.announced()
    answer = await custody.put(item, b"x", digest="", **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert custody.temps() == []


async def test_bytes_never_change_but_sending_them_twice_is_once(custody: Custody) -> None:
    item = await custody.collected(b"first")
    again = await custody.put(item, b"first")
    assert (again.status_code, again.json()["events"]) == (200, [])
    other = await custody.put(item, b"second")
    assert (other.status_code, other.json()["code"]) == (409, "wrong_state")
    assert "already_collected" in [u["code"] for u in other.json()["unmet"]]
    assert custody.path(b"first").read_bytes() == b"first"
    assert not custody.path(b"second").exists()


async def _blocks(total: int, block: bytes) -> AsyncIterator[bytes]:
    for _ in range(total // len(block)):
        yield block


@pytest.mark.parametrize("told", [True, False])
async def test_more_than_an_item_may_have_is_413_and_nothing_is_kept(
    custody: Custody, told: bool
) -> None:
    item = await custody.announced()
    size, block = MAX_BYTES + (1 << 20), bytes(1 << 20)
    extra = {"Content-Length": str(size)} if told else {}
    answer = await custody.put(item, _blocks(size, block), content_digest(b"?"), **extra)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert custody.temps() == []


async def test_64_mib_need_no_more_memory_than_a_few_blocks(
    custody: Custody, capsys: pytest.CaptureFixture[str]
) -> None:
    """Client and service are this one process, so the growth is an upper bound for the service."""
    block = os.urandom(1 << 20)
    digest = hashlib.sha256()
    for _ in range(64):
        digest.update(block)
    declared = digest.hexdigest()
    await custody.collected(os.urandom(2 << 20))  # what is allocated once is allocated before
    item = await custody.announced(sha256=declared)
    me, peak, done = psutil.Process(), 0, asyncio.Event()
    before = me.memory_info().rss

    async def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, me.memory_info().rss)
            await asyncio.sleep(0.01)

    watcher = asyncio.create_task(watch())
    answer = await custody.put(item, _blocks(64 << 20, block))
    assert answer.status_code == 200, answer.text
    headers = custody.people.bearer("rita")
    back = hashlib.sha256()
    url = f"/v1/evidence/{item}/content"
    async with custody.client.stream("GET", url, params={"purpose": "p"}, headers=headers) as got:
        async for chunk in got.aiter_bytes():
            back.update(chunk)
    done.set()
    await watcher
    assert back.hexdigest() == declared
    grown = (peak - before) / (1 << 20)
    with capsys.disabled():
        print(f"\n64 MiB in and out: resident memory grew by {grown:.1f} MiB at most")
    assert grown < 24


@pytest.mark.parametrize("how", ["flipped", "gone", "longer"])
async def test_a_byte_that_changed_on_disk_freezes_the_item(custody: Custody, how: str) -> None:
    data = os.urandom(5000)
    item = await custody.collected(data)
    path = custody.path(data)
    path.chmod(0o640)
    changed = {"flipped": bytes([data[0] ^ 1]) + data[1:], "longer": data + b"!", "gone": b""}[how]
    path.write_bytes(changed)
    if how == "gone":
        path.unlink()
    answer = await custody.read("rita", item)
    assert (answer.status_code, answer.json()["code"]) == (409, "integrity_failed")
    seen = await custody.see(item)
    assert seen["item"]["frozen"] is True
    assert seen["custody"][-1]["type"] == "EvidenceIntegrityFailed"
    assert seen["custody"][-1]["actor"] == "tocsin"
    for verb, body in (
        ("seal", {}),
        ("transfer-custody", {"from_person": "eve", "to_person": "carl", "purpose": "p"}),
    ):
        refused = await custody.send("eve", item, verb, **body)
        assert (refused.status_code, refused.json()["code"]) == (409, "integrity_failed")
    # The right bytes from a backup: a person says so, with a reason, and the item thaws.
    path.write_bytes(data)
    assert (await custody.read("rita", item)).status_code == 409
    refused = await custody.send("rita", item, "verify-integrity")
    assert (refused.status_code, refused.json()["code"]) == (409, "reason_missing")
    events = await custody.does("rita", item, "verify-integrity", reason="restored from backup")
    assert events == ["EvidenceIntegrityVerified"]
    assert (await custody.read("rita", item)).content == data


@pytest.mark.parametrize("name", PATHS)
async def test_cve_2026_22783_a_file_name_never_becomes_a_path(custody: Custody, name: str) -> None:
    data = b"cve-2026-22783 " + name.encode()
    outside = set(custody.folder.parent.rglob("*"))
    item = await custody.collected(data, file_name=name)
    made = {p for p in custody.folder.parent.rglob("*") if p.is_file()} - outside
    assert made <= {custody.path(data), custody.folder / "lock"}
    assert (await custody.see(item))["item"]["file_name"] == name
    answer = await custody.read("eve", item)
    assert answer.headers["content-disposition"] == f'attachment; filename="{item}.bin"'


async def test_cve_2026_22783_an_id_in_the_url_never_becomes_a_path(custody: Custody) -> None:
    for item in ("..%2f..%2fetc%2fpasswd", "....//x", "%00", "tmp", "sha256"):
        answer = await custody.put(item, b"x")
        assert answer.status_code in {404, 422, 405}, answer.text
    assert custody.temps() == []


async def test_a_full_disk_is_503_and_nothing_is_half_kept(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.cases.evidence import store_local

    def full(_: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    item = await custody.announced()
    with monkeypatch.context() as patched:
        patched.setattr(store_local._Incoming, "write", full)
        answer = await custody.put(item, b"no room")
    assert (answer.status_code, answer.json()["code"]) == (503, "evidence_store_full")
    assert answer.headers["retry-after"]
    assert custody.temps() == []
    assert (await custody.put(item, b"no room")).status_code == 200


async def test_who_may_what(custody: Custody) -> None:
    item = await custody.collected(b"guarded")
    for person, status in (("sam", 403), ("mia", 403), ("lena", 403), ("anna", 200), ("eve", 200)):
        assert (await custody.read(person, item)).status_code == status
    for person, status in (("anna", 403), ("sam", 403), ("lena", 403)):
        assert (await custody.put(item, b"guarded", person=person)).status_code == status
    assert (await custody.people.get("lena", f"/v1/evidence/{item}")).status_code == 200
    assert (await custody.people.get("sam", f"/v1/evidence/{item}")).status_code == 403


async def test_what_is_not_there_is_404(custody: Custody) -> None:
    nothing, incident = str(uuid7()), await custody.people.opened()
    assert (await custody.people.get("eve", f"/v1/evidence/{nothing}")).status_code == 404
    assert (await custody.read("eve", nothing)).status_code == 404
    assert (await custody.put(nothing, b"x")).status_code == 404
    # One aggregate's id is not another's.
    assert (await custody.put(incident, b"x")).status_code == 404
    item = await custody.collected(b"not an incident")
    assert (await custody.people.get("anna", f"/v1/incidents/{item}/moves")).status_code == 404
    answer = await custody.people.send("sam", item, "add-note", {"text": "hm"}, version=1)
    assert answer.status_code == 404


async def test_the_bound_of_every_other_route_stays(custody: Custody) -> None:
    incident = await custody.people.opened()
    answer = await custody.client.post(
        f"/v1/incidents/{incident}/evidence",
        content=json.dumps(metadata(description="x" * (1 << 20))),
        headers={"Content-Type": "application/json", **custody.people.bearer("eve")},
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_without_a_directory_the_routes_say_so(world: World) -> None:
    async with world.running(create_app(world.settings(Settings))) as client:
        headers = {"Authorization": f"Bearer {world.token('eve', 'evidence_custodian')}"}
        answer = await client.post(
            f"/v1/incidents/{uuid7()}/evidence", json=metadata(), headers=headers
        )
        assert (answer.status_code, answer.json()["code"]) == (503, "evidence_not_configured")
        answer = await client.put(f"/v1/evidence/{uuid7()}/content", content=b"", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "evidence_not_configured")


def test_nobody_else_reads_the_directory(custody: Custody) -> None:
    folders = [custody.folder, *(p for p in Path(custody.folder).rglob("*") if p.is_dir())]
    assert {stat.S_IMODE(p.stat().st_mode) for p in folders} == {0o700}
