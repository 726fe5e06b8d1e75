"""An incident to take away, with its evidence: it verifies alone, and nothing in it can change."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.cases.app import create_app
from services.cases.evidence.store_local import LocalStore
from services.cases.ledger.verifier import (
    IncompleteError,
    TamperedError,
    VerifyKey,
    verify_bundle,
)
from services.cases.sealing.kek import load_keks
from services.cases.settings import Settings
from tests.integration.cases.conversation import People
from tests.integration.cases.evidence.keeping import Clockwork, Custody
from tests.support.ledger import key_path
from tests.support.waiting import until
from tests.support.world import World
from tocsin.verify import Kept, verify_database

pytestmark = pytest.mark.integration

NAMES = ("../../../etc/cron.d/x", "/etc/passwd", "C:\\evil.exe", "..\\..\\x", "a\u0000b", "\u202egnp.exe")  # fmt: skip # noqa: E501


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def custody(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Custody]:
    folder = tmp_path_factory.mktemp("bundle")
    settings = world.settings(
        Settings,
        evidence_dir=folder / "e",
        evidence_encryption=False,  # tests look at the files
        log_key_file=key_path(folder),
        checkpoint_seconds=3600,
    )
    async with world.running(create_app(settings)) as client:
        yield Custody(People(world, client), folder / "e", Clockwork())


async def exported(custody: Custody, incident: str, evidence: bool = True) -> bytes:
    asked = {"evidence": "true", "purpose": "for the court"} if evidence else {}
    answer = await custody.people.get("anna", f"/v1/incidents/{incident}/bundle", **asked)
    assert answer.status_code == 200, answer.text
    return answer.content


def files_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def zipped(files: dict[str, bytes], *more: tuple[str, bytes]) -> Path:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in (*files.items(), *more):
            bundle.writestr(name, content)
    whole.seek(0)
    return whole  # type: ignore[return-value]  # a file object does as well


async def test_a_bundle_with_evidence_verifies_years_later(
    custody: Custody, tmp_path: Path
) -> None:
    incident = await custody.people.investigating()
    data = [os.urandom(3 << 20), b"", b"a line\n"]
    items = [await custody.collected(each, incident) for each in data]
    promised = await custody.announced(incident)
    await custody.does("eve", items[0], "seal")
    content = await exported(custody, incident)
    files = files_of(content)
    for item, each in zip(items, data, strict=True):
        assert files[f"evidence/{item}.bin"] == each
        report = json.loads(files[f"custody/{item}.json"])
        # The reading for this very export is in the chain that it shows.
        assert report["custody"][-1]["type"] == "EvidenceAccessed"
        assert (report["custody"][-1]["actor"], report["custody"][-1]["reason"]) == (
            "anna",
            "for the court",
        )
        assert report["item"]["item"]["sha256"] in files[f"certificates/{item}.txt"].decode()
    manifest = json.loads(files["manifest.json"])
    assert [i["evidence_id"] for i in manifest["items"]] == [*items, promised]
    assert f"evidence/{promised}.bin" not in files
    # Nothing of Tocsin but what is in the bundle, in a process that finds no module of ours.
    (tmp_path / "bundle.zip").write_bytes(content)
    (tmp_path / "verify.py").write_bytes(files["verify.py"])
    key = files["key.txt"].decode().strip()
    alone = subprocess.run(
        [sys.executable, "-I", "verify.py", "bundle.zip", "--key", key],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert "3 of 3 items of evidence are in the bundle" in alone.stdout
    assert "services" not in files["verify.py"].decode().replace("services.cases.ledger", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle.zip", "verify.py"]


async def test_the_command_says_it_with_its_exit_code(custody: Custody, tmp_path: Path) -> None:
    incident = await custody.people.opened()
    await custody.collected(b"said by the command", incident)
    files = files_of(await exported(custody, incident))
    less = {name: content for name, content in files.items() if name != "proofs.json"}
    forged = {**files, "manifest.json": files["manifest.json"].replace(b"auth.log", b"none.log")}
    for told, code, first in (
        (files, 0, "intact:"), (forged, 2, "TAMPERED:"), (less, 3, "incomplete:")
    ):  # fmt: skip
        (tmp_path / "bundle.zip").write_bytes(zipped(told).read())  # type: ignore[attr-defined]
        done = subprocess.run(
            [sys.executable, "-m", "tocsin", "verify", str(tmp_path / "bundle.zip")],
            capture_output=True, text=True, check=False, cwd=Path(__file__).resolve().parents[4],
        )  # fmt: skip
        assert (done.returncode, done.stdout.split()[0]) == (code, first), done.stdout + done.stderr


async def test_without_bytes_nothing_is_read(custody: Custody) -> None:
    incident = await custody.people.opened()
    item = await custody.collected(b"left where it is", incident)
    before = (await custody.see(item))["version"]
    content = await exported(custody, incident, evidence=False)
    assert not [name for name in files_of(content) if name.startswith("evidence/")]
    assert "0 of 1 items of evidence" in verify_bundle(zipped(files_of(content)))
    assert (await custody.see(item))["version"] == before


@pytest.mark.parametrize("name", NAMES)
async def test_a_users_file_name_is_no_name_in_the_bundle(custody: Custody, name: str) -> None:
    incident = await custody.people.opened()
    item = await custody.collected(b"zip-slip " + name.encode(), incident, file_name=name)
    files = files_of(await exported(custody, incident))
    fixed = {"README.txt", "verify.py", "events.jsonl", "proofs.json", "openings.json",
             "manifest.json", "key.txt", "checkpoint.txt", "statement.txt"}  # fmt: skip
    assert set(files) - fixed == {
        f"evidence/{item}.bin", f"custody/{item}.json", f"certificates/{item}.txt"
    }  # fmt: skip
    assert json.loads(files["manifest.json"])["items"][0]["file_name"] == name
    verify_bundle(zipped(files))


async def test_what_was_not_signed_is_refused_and_nothing_is_unpacked(
    custody: Custody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = await custody.people.opened()
    item = await custody.collected(os.urandom(2000), incident)
    files = files_of(await exported(custody, incident))
    monkeypatch.chdir(tmp_path)
    for name in ("../../evil", "/tmp/evil", "evidence/../../evil", "evil", "evidence/evil.bin"):
        with pytest.raises(TamperedError, match="no file of the bundle"):
            verify_bundle(zipped(files, (name, b"x")))
    with pytest.warns(UserWarning, match="Duplicate"), pytest.raises(TamperedError, match="two"):
        verify_bundle(zipped(files, ("manifest.json", files["manifest.json"])))
    bomb = {**files, f"evidence/{item}.bin": bytes(50 << 20)}
    with pytest.raises(TamperedError, match="longer than what was signed"):
        verify_bundle(zipped(bomb))
    assert list(tmp_path.iterdir()) == []


async def test_every_file_counts(custody: Custody) -> None:
    incident = await custody.people.opened()
    item = await custody.collected(os.urandom(2000), incident)
    other = await custody.collected(os.urandom(2000), incident)
    files = files_of(await exported(custody, incident))
    verify_bundle(zipped(files))
    for name, content in files.items():
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        with pytest.raises((TamperedError, IncompleteError)):
            verify_bundle(zipped({**files, name: bytes(changed)}))
        with pytest.raises(IncompleteError):
            verify_bundle(zipped({k: v for k, v in files.items() if k != name}))
    one, two = f"evidence/{item}.bin", f"evidence/{other}.bin"
    with pytest.raises(TamperedError):
        verify_bundle(zipped({**files, one: files[two], two: files[one]}))
    # A whole other incident's events, each proven, do not pass for this one's.
    another = files_of(await exported(custody, await custody.people.opened()))
    with pytest.raises((TamperedError, IncompleteError)):
        verify_bundle(zipped({**files, "events.jsonl": another["events.jsonl"]}))


async def test_bytes_that_are_not_what_was_collected_never_leave(custody: Custody) -> None:
    incident = await custody.people.opened()
    data = os.urandom(2000)
    item = await custody.collected(data, incident)
    path = custody.path(data)
    path.chmod(0o640)
    path.write_bytes(b"forged")
    try:
        files = files_of(await exported(custody, incident))
        assert f"evidence/{item}.bin" not in files
        assert "0 of 1 items" in verify_bundle(zipped(files))

        async def frozen() -> bool:  # once the view knows what the export found
            return bool((await custody.see(item))["item"]["frozen"])

        assert await until(frozen)
    finally:
        path.write_bytes(data)


async def test_who_may_take_it_away(custody: Custody) -> None:
    incident = await custody.people.opened()
    await custody.collected(b"x", incident)
    path = f"/v1/incidents/{incident}/bundle"
    for person, status in (("anna", 200), ("lena", 200), ("sam", 403), ("rita", 403)):
        assert (await custody.people.get(person, path)).status_code == status
    # Legal reads the record; the bytes are for those who have custody, and for auditors.
    for person, purpose, status in (("lena", "court", 409), ("anna", " ", 409), ("anna", "x", 200)):
        answer = await custody.people.get(person, path, evidence="true", purpose=purpose)
        assert answer.status_code == status, answer.text


async def test_the_database_and_its_evidence_verify_together(
    custody: Custody, world: World
) -> None:
    data = os.urandom(2000)
    item = await custody.collected(data)
    store = Kept(LocalStore(custody.folder), load_keks(world.master_key_file))
    told = await custody.people.get("anna", "/v1/log/checkpoint")
    key = VerifyKey.parse(told.json()["key"])

    async def judged() -> tuple[int, str]:
        outcome = await verify_database(world.admin_dsn, key, None, store)
        return outcome.code, outcome.sentence

    code, sentence = await judged()
    assert (code, "are what was collected" in sentence) == (0, True), sentence
    path = custody.path(data)
    path.chmod(0o640)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    code, sentence = await judged()
    assert (code, item in sentence, "first bad position" in sentence) == (2, True, True), sentence
    path.unlink()
    code, sentence = await judged()
    assert code == 3
    assert "are gone" in sentence
