"""Auditors hold the log to its proofs over HTTP, and take an incident away that proves itself."""

import asyncio
import base64
import io
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.cases.app import create_app
from services.cases.ledger.verifier import (
    IncompleteError,
    TamperedError,
    VerifyKey,
    open_note,
    parse_checkpoint,
    verify_bundle,
    verify_consistency,
    verify_inclusion,
)
from services.cases.settings import Settings
from tests.integration.cases.conversation import People
from tests.support.ledger import key_path, new_signer
from tests.support.world import World
from tocsin.verify import verify_database, verify_file

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def signing(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[People]:
    """A service that signs."""
    settings = world.settings(
        Settings,
        log_key_file=key_path(tmp_path_factory.mktemp("key")),
        checkpoint_seconds=0.5,
    )
    async with world.running(create_app(settings)) as client:
        yield People(world, client)


async def checkpoint(people: People, size: int) -> dict[str, str]:
    """Return the newest checkpoint once it covers *size* events."""
    for _ in range(100):
        answer = await people.get("anna", "/v1/log/checkpoint")
        if answer.status_code == 200 and answer.json()["size"] >= size:
            found: dict[str, str] = answer.json()
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("nothing was signed")


def raw(text: str) -> bytes:
    return base64.b64decode(text)


async def test_proofs_hold_against_the_signed_root(signing: People) -> None:
    await signing.investigating()
    log = (await signing.get("anna", "/v1/events", limit=500)).json()["items"]
    told = await checkpoint(signing, len(log))
    key = VerifyKey.parse(told["key"])
    signed = parse_checkpoint(open_note(told["note"], key))
    assert signed.root == raw(told["root"])
    for position in (1, signed.size):
        proof = (
            await signing.get(
                "rita", "/v1/log/proof/inclusion", position=position, size=signed.size
            )
        ).json()
        assert verify_inclusion(
            raw(proof["leaf_hash"]),
            position - 1,
            signed.size,
            [raw(node) for node in proof["path"]],
            signed.root,
        )
    proof = (
        await signing.get("rita", "/v1/log/proof/consistency", **{"from": 2, "to": signed.size})
    ).json()
    path = [raw(node) for node in proof["path"]]
    assert verify_consistency(2, signed.size, raw(proof["from_root"]), signed.root, path)


async def test_an_answer_is_a_receipt_that_the_log_can_be_held_to(signing: People) -> None:
    incident = await signing.opened()
    receipt = await signing.does("sam", incident, "set-severity", level="SEV3")
    told = await checkpoint(signing, receipt["position"])
    signed = parse_checkpoint(open_note(told["note"], VerifyKey.parse(told["key"])))
    proof = (
        await signing.get(
            "anna", "/v1/log/proof/inclusion", position=receipt["position"], size=signed.size
        )
    ).json()
    path = [raw(node) for node in proof["path"]]
    leaf = raw(receipt["leaf_hash"])
    assert verify_inclusion(leaf, receipt["position"] - 1, signed.size, path, signed.root)


async def test_what_cannot_be_proven_is_refused(signing: People) -> None:
    for path, params, status in (
        ("/v1/log/proof/inclusion", {"position": 1, "size": 10**9}, 422),
        ("/v1/log/proof/inclusion", {"position": 3, "size": 2}, 422),
        ("/v1/log/proof/inclusion", {"position": 0, "size": 2}, 422),
        ("/v1/log/proof/consistency", {"from": 3, "to": 2}, 422),
        ("/v1/log/proof/consistency", {"from": 1, "to": 10**9}, 422),
        ("/v1/incidents/00000000-0000-0000-0000-000000000001/bundle", {}, 404),
    ):
        answer = await signing.get("anna", path, **params)
        assert answer.status_code == status, answer.text
    assert (await signing.get("sam", "/v1/log/checkpoint")).status_code == 403


async def test_a_bundle_verifies_without_tocsin(signing: People, tmp_path: Path) -> None:
    incident = await signing.investigating()
    await signing.opened("another one")
    answer = await signing.get("anna", f"/v1/incidents/{incident}/bundle")
    assert answer.status_code == 200, answer.text
    path = tmp_path / "bundle.zip"
    path.write_bytes(answer.content)
    assert incident in verify_bundle(path)
    assert (await verify_file(path, None)).code == 0
    with zipfile.ZipFile(path) as bundle:
        (tmp_path / "verify.py").write_bytes(bundle.read("verify.py"))
        key = bundle.read("key.txt").decode().strip()
        files = {name: bundle.read(name) for name in bundle.namelist()}
    alone = subprocess.run(
        [sys.executable, "-I", "verify.py", "bundle.zip", "--key", key],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (alone.returncode, alone.stdout[:7]) == (0, "intact:"), alone.stderr
    strange = new_signer(tmp_path).public
    assert (await verify_file(path, strange)).code == 2
    _every_byte_counts(files)


def _every_byte_counts(files: dict[str, bytes]) -> None:
    """A changed bit in any file but the program is found; a missing file too."""
    for name, content in files.items():
        for place in {0, 1, len(content) // 3, len(content) // 2, len(content) - 2}:
            changed = bytearray(content)
            changed[place] ^= 1 << place % 7
            with pytest.raises((TamperedError, IncompleteError)):
                verify_bundle(_zip({**files, name: bytes(changed)}))
        with pytest.raises(IncompleteError):
            verify_bundle(_zip({k: v for k, v in files.items() if k != name}))
    lines = files["events.jsonl"].splitlines(keepends=True)
    for fewer in (lines[:-1], lines[1:], lines[:1] + lines[2:]):
        with pytest.raises((TamperedError, IncompleteError)):
            verify_bundle(_zip({**files, "events.jsonl": b"".join(fewer)}))


def _zip(files: dict[str, bytes]) -> Path:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    whole.seek(0)
    return whole  # type: ignore[return-value]  # a file object does as well


async def test_the_whole_database_verifies(signing: People, world: World) -> None:
    incident = await signing.opened()
    log = (await signing.get("anna", "/v1/events", limit=500)).json()["items"]
    told = await checkpoint(signing, len(log))
    key = VerifyKey.parse(told["key"])
    outcome = await verify_database(world.admin_dsn, key, told["note"])
    assert outcome.code == 0, outcome.sentence
    assert (await verify_database(world.admin_dsn, None, None)).code == 3
    strange = VerifyKey(key.name, bytes(31) + b"\x09")
    assert (await verify_database(world.admin_dsn, strange, None)).code == 2
    assert incident


async def test_without_a_key_nothing_is_signed_and_all_else_works(people: People) -> None:
    incident = await people.opened()
    answer = await people.get("anna", "/v1/log/checkpoint")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_signed")
    assert (await people.get("anna", f"/v1/incidents/{incident}/bundle")).status_code == 404
    proof = await people.get("anna", "/v1/log/proof/inclusion", position=1, size=1)
    assert proof.status_code == 200
    assert (await people.client.get("/readyz")).status_code == 200
