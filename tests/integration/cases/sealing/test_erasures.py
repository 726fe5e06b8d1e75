"""Erasures end to end: gone from every view and the past, and the log is still proven."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from services.cases.app import create_app
from services.cases.ledger.keys import load_signer
from services.cases.ledger.reading import audit_database
from services.cases.ledger.verifier import TamperedError, opened_boxes, verify_bundle
from services.cases.postgres import PostgresStore
from services.cases.projector import Projector
from services.cases.rebuild import rebuild
from services.cases.sealing.kek import load_keks
from services.cases.sealing.vault import Vault
from services.cases.settings import Settings
from tests.integration.cases.conversation import People
from tests.support.ledger import ORIGIN, key_path
from tests.support.world import World

pytestmark = pytest.mark.integration

SECRET = "Zaphod typed hunter2"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[People]:
    folder = tmp_path_factory.mktemp("erasures")
    settings = world.settings(Settings, log_key_file=key_path(folder))
    async with world.running(create_app(settings)) as client:
        world.folder = folder  # type: ignore[attr-defined]  # where this module's log key lies
        yield People(world, client)


async def dismissed(people: People, title: str = SECRET) -> str:
    """Return an incident that was none, with text in many places."""
    incident = await people.opened(title)
    await people.does("sam", incident, "add-note", text=f"note: {SECRET}")
    await people.does("sam", incident, "record-action", kind="investigation", text=SECRET,
                      owner="Trillian")  # fmt: skip
    body = {"type": "email", "value": "arthur@example.com"}
    await people.does("sam", incident, "add-indicator", role="found_later", **body)
    await people.does("sam", incident, "set-severity", level="SEV4", inputs={})
    await people.does("sam", incident, "dismiss-at-triage", classification="false_positive",
                      reason=SECRET)  # fmt: skip
    return incident


async def erase(people: People, by: str = "lars", /, **body: Any) -> httpx.Response:
    return await people.client.post(
        "/v1/erasures",
        json={"basis": "data_subject_request", "reference": "DSR-7", **body},
        headers=people.bearer(by),
    )


async def everything(people: People, incident: str) -> str:
    """Return all that an auditor can read of an incident."""
    paths = [
        f"/v1/incidents/{incident}",
        f"/v1/incidents/{incident}?seq=2",
        f"/v1/incidents/{incident}/timeline",
        f"/v1/incidents/{incident}/events",
        f"/v1/incidents/{incident}/diff?from=1&to=4",
        "/v1/incidents?limit=500",
        "/v1/events?limit=500",
        "/v1/events?limit=500&sealed=true",
    ]
    texts = []
    for path in paths:
        answer = await people.client.get(path, headers=people.bearer("anna"))
        assert answer.status_code == 200, (path, answer.text)
        texts.append(answer.text)
    return "\n".join(texts)


async def found(people: People, word: str) -> list[str]:
    answer = await people.get("anna", "/v1/incidents", q=word)
    return [row["incident_id"] for row in answer.json()["items"]]


async def sql(world: World, statement: str, *values: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement, *values)
        return rows
    finally:
        await connection.close()


async def test_an_incident_is_erased_everywhere_and_the_log_is_still_proven(
    people: People,
) -> None:
    world = people.world
    incident = await dismissed(people)
    assert "hunter2" in await everything(people, incident)
    assert await found(people, "hunter2") == [incident]
    answer = await erase(people, incident_id=incident)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["incidents"], answer.json()["already"]) == ([incident], False)
    for _ in range(2):
        told = await everything(people, incident)
        for gone in ("hunter2", "Zaphod", "Trillian", "arthur@"):
            assert gone not in told
        assert "[erased]" in told
        assert "PersonalDataErased" in told
        assert await found(people, "hunter2") == []
        # In no table either, not even as a word of the index.
        rows = await sql(
            world, "SELECT i.search::text || i.document || i.summary AS t FROM cases.incidents i"
        )
        assert not any("hunter2" in row["t"].lower() for row in rows)
        made = await rebuild(world.engine("cases"), world.vault)  # and so again, made anew
        assert made.differing == []
    again = await erase(people, incident_id=incident)
    assert (again.status_code, again.json()["already"]) == (200, True)
    assert again.json()["erasure_id"] == answer.json()["erasure_id"]
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        key = load_signer(ORIGIN, key_path_of(world)).public
        shown = (await people.get("anna", "/v1/log/checkpoint")).json()
        verdict = await audit_database(connection, key, shown.get("note"))
        assert verdict.events > 0
    finally:
        await connection.close()


def key_path_of(world: World) -> Path:
    folder: Path = world.folder  # type: ignore[attr-defined]  # set by the fixture
    return folder / "log.key"


async def test_a_person_is_erased_from_every_incident_and_nothing_else_is(people: People) -> None:
    one, two = await dismissed(people, "first"), await dismissed(people, "second")
    answer = await erase(people, person="  ARTHUR@example.com ")
    assert answer.status_code == 200, answer.text
    assert {one, two} <= set(answer.json()["incidents"])
    for incident in (one, two):
        document = await people.shown(incident)
        assert [row["value"] for row in document["indicators"]] == ["[erased]"]
        assert [row["owner"] for row in document["actions"]] == ["Trillian"]
        assert document["notes"][0]["text"] == f"note: {SECRET}"
    assert await found(people, "arthur@example.com") == []
    # Who turns up again has a new key, which can be destroyed in its turn.
    three = await dismissed(people, "third")
    assert (await people.shown(three))["indicators"][0]["value"] == "arthur@example.com"
    again = await erase(people, person="arthur@example.com")
    assert again.json()["already"] is False
    assert (await people.shown(three))["indicators"][0]["value"] == "[erased]"


async def test_what_stands_against_it_is_named_all_of_it(people: People) -> None:
    open_one = await people.opened("worked on")
    answer = await erase(people, incident_id=open_one)
    assert answer.status_code == 409
    assert [u["code"] for u in answer.json()["unmet"]] == ["incident_open"]
    assert (await people.shown(open_one))["title"] == "worked on"


async def test_only_legal_erases_and_only_what_there_is(people: People) -> None:
    incident = await dismissed(people)
    for person in ("rita", "anna", "otto", "emil"):
        assert (await erase(people, person, incident_id=incident)).status_code == 403
    assert (await erase(people, incident_id=str(uuid4()))).status_code == 404
    assert (await erase(people, person="nobody ever")).status_code == 404
    for body in ({}, {"incident_id": incident, "person": "x"}, {"person": " "},
                 {"person": "x", "basis": "spite"}, {"person": "x", "mood": "fine"}):  # fmt: skip
        assert (await erase(people, **body)).status_code == 422


async def test_who_dies_after_the_destruction_leaves_work_that_is_finished(
    people: People,
) -> None:
    """The key is gone and nothing else was done, as after kill -9; then somebody comes back."""
    world = people.world
    incident = await dismissed(people, "died in between")
    (key,) = await sql(
        world, "SELECT key_id FROM cases.data_keys WHERE subject = $1 AND scope = 'incident'",
        UUID(incident).bytes,
    )  # fmt: skip
    await sql(
        world, "SELECT cases.erase_key($1, $2, 'incident', $3, 'lars', 'court_order', '', now())",
        uuid4(), key["key_id"], UUID(incident),
    )  # fmt: skip
    async with world.running(create_app(world.settings(Settings))) as client:
        reborn = People(world, client)
        again = await erase(reborn, incident_id=incident)
        assert (again.status_code, again.json()["already"]) == (200, True)
        assert "hunter2" not in str(await reborn.shown(incident))
        assert (await reborn.shown(incident))["erasures"][0]["basis"] == "court_order"
    done = await sql(world, "SELECT * FROM cases.erasures_done")
    begun = await sql(world, "SELECT * FROM cases.erasures")
    assert len(done) == len(begun)


async def test_another_replica_seals_nothing_under_a_key_that_is_gone(people: People) -> None:
    world = people.world
    engine = world.engine("cases")
    incident = await dismissed(people, "two replicas")
    other = PostgresStore(engine, Vault(engine, load_keks(world.master_key_file)))
    before = await other.read(UUID(incident))  # its keys are remembered now
    assert (await erase(people, incident_id=incident)).status_code == 200
    history = await other.read(UUID(incident))
    note = next(event for event in before.events if type(event).__name__ == "NoteAdded")
    await other.append(
        UUID(incident), [note], expected=history.version, command_id=uuid4(), digest="d"
    )
    fresh = PostgresStore(engine, Vault(engine, load_keks(world.master_key_file)))
    assert (await fresh.read(UUID(incident))).events[-1] == note
    projector = Projector(engine, world.vault)
    while await projector.once():
        pass


async def test_a_bundle_shows_what_was_sealed_offline_and_holds_after_an_erasure(
    people: People, tmp_path: Path
) -> None:
    incident = await dismissed(people, "to take away")
    path = tmp_path / "bundle.zip"

    async def taken() -> tuple[int, str]:
        answer = await people.get("lars", f"/v1/incidents/{incident}/bundle")
        assert answer.status_code == 200, answer.text
        path.write_bytes(answer.content)
        with zipfile.ZipFile(path) as bundle:
            (tmp_path / "verify.py").write_bytes(bundle.read("verify.py"))
            assert "hunter2" not in bundle.read("events.jsonl").decode()
        told = subprocess.run(
            [sys.executable, "-I", str(tmp_path / "verify.py"), str(path), "--text"],
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        return told.returncode, told.stdout

    code, told = await taken()
    assert code == 0, told
    assert SECRET in told
    assert "arthur@example.com" in told
    kept = path.read_bytes()
    # The key of one part does not open another.
    with zipfile.ZipFile(io.BytesIO(kept)) as bundle:
        files = {name: bundle.read(name) for name in bundle.namelist()}
    keys = json.loads(files["openings.json"])
    first, *_, last = [n for n, each in enumerate(keys) if each]
    keys[first], keys[last] = keys[last], keys[first]
    with zipfile.ZipFile(path, "w") as forged:
        for name, content in files.items():
            forged.writestr(name, json.dumps(keys) if name == "openings.json" else content)
    with pytest.raises(TamperedError), zipfile.ZipFile(path) as bundle:
        opened_boxes(bundle)
    assert (await erase(people, incident_id=incident)).status_code == 200
    code, told = await taken()
    assert code == 0, told
    assert SECRET not in told
    assert "null" in told
    path.write_bytes(kept)  # what was taken away before is not ours any more
    assert verify_bundle(path)
