"""After an erasure nothing shows what was erased: streams, the past, snapshots, reviews, custody.

And nothing is erased that is held, whatever happens at the same time (GDPR Art. 17(3)(e)).
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from services.cases.advance import GapError
from services.cases.app import create_app
from services.cases.rebuild import rebuild
from services.cases.settings import Settings
from shared.clock import rfc3339, utc_now
from shared.contracts.cases import IncidentErasedV1
from tests.integration.cases.conversation import People
from tests.integration.cases.evidence.keeping import Clockwork, Custody
from tests.integration.cases.evidence.test_custody import ended
from tests.integration.cases.sealing.test_erasures import SECRET, dismissed, erase, sql
from tests.integration.cases.test_rebuild import filled, held_in_the_middle, waits
from tests.integration.cases.test_views_api import _events
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration

ARTHUR = "Arthur Dent"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def custody(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Custody]:
    """A service in which the record of a confirmed incident need not be kept after its end."""
    folder, clock = tmp_path_factory.mktemp("erased"), Clockwork()
    settings = world.settings(Settings, evidence_dir=folder / "e", record_retention_days=0)
    async with world.running(create_app(settings, clock=clock)) as client:
        yield Custody(People(world, client), folder / "e", clock)


@pytest.fixture
def people(custody: Custody) -> People:
    return custody.people


async def read(people: People, path: str, **params: Any) -> str:
    answer = await people.get("anna", path, **params)
    assert answer.status_code == 200, (path, answer.text)
    return answer.text


async def streamed(people: People, incident: str, count: int) -> str:
    """Return the first *count* events of the live stream about an incident."""
    async with (
        asyncio.timeout(60),
        people.client.stream(
            "GET",
            "/v1/stream",
            params={"after": 0, "incident_id": incident},
            headers=people.bearer("anna"),
        ) as answer,
    ):
        return str(await _events(answer.aiter_lines(), count))


async def snapshot(people: People, incident: str) -> str:
    """Return the incident as a late subscriber is given it."""
    cursor: dict[str, Any] = {}
    while True:
        answer = await people.get("anna", "/v1/snapshot", limit=500, **cursor)
        assert answer.status_code == 200, answer.text
        for item in answer.json()["items"]:
            if incident in str(item):
                return str(item)
        cursor = {"cursor": answer.json()["next_cursor"]}
        assert cursor["cursor"], "the incident is on no page"


async def test_streams_the_past_and_snapshots_say_erased(people: People) -> None:
    incident = await dismissed(people)
    version = (await people.shown(incident))["version"]
    before = rfc3339(utc_now())

    async def told() -> dict[str, str]:
        at = f"/v1/incidents/{incident}"
        return {
            "stream": await streamed(people, incident, version),
            "as_of": await read(people, at, as_of=before),
            "seq": await read(people, at, seq=version),
            "diff": await read(people, f"{at}/diff", **{"from": 1, "to": version}),
            "snapshot": await snapshot(people, incident),
            "timeline": await read(people, f"{at}/timeline"),
        }

    shown = await told()
    assert [name for name, text in shown.items() if "hunter2" not in text] == []
    answer = await erase(people, incident_id=incident)
    assert answer.status_code == 200, answer.text
    shown = await told()
    for gone in ("hunter2", "Zaphod", "Trillian", "arthur@"):
        assert [name for name, text in shown.items() if gone in text] == []
    assert [name for name, text in shown.items() if "[erased]" not in text] == []


async def test_a_person_named_in_a_review_and_in_a_chain_of_custody(custody: Custody) -> None:
    people = custody.people
    incident, review = await people.in_review()
    item = await ended(custody, b"handed over", incident)
    handed = {"from_person": "eve", "to_person": ARTHUR, "purpose": "expertise"}
    await custody.does("eve", item, "transfer-custody", **handed)
    due = rfc3339(utc_now() + timedelta(days=30))
    await people.reviews(
        "rita", review, "create-improvement-item", text="Patch it", owner=ARTHUR, due=due,
        target="product_fix",
    )  # fmt: skip
    await people.signed_off(review)
    open_still = await erase(people, person=ARTHUR)
    assert (open_still.status_code, open_still.json()["code"]) == (409, "incident_open")
    await people.does("rita", incident, "close")

    async def told() -> dict[str, str]:
        paths = {
            "review": f"/v1/reviews/{review}",
            "item": f"/v1/evidence/{item}",
            "custody": f"/v1/evidence/{item}/custody-report",
            "manifest": f"/v1/incidents/{incident}/evidence/manifest",
        }
        return {name: await read(people, path) for name, path in paths.items()}

    assert [name for name, text in (await told()).items() if ARTHUR not in text] == []
    answer = await erase(people, person="arthur  dent")
    assert answer.status_code == 200, answer.text
    assert answer.json()["incidents"] == [incident]
    shown = await told()
    assert [name for name, text in shown.items() if ARTHUR in text] == []
    assert "Patch it" in shown["review"]  # what is not about him stays
    assert "handed" in shown["item"] or "expertise" in shown["item"]
    made = await rebuild(people.world.engine("cases"), people.world.vault)
    assert made.differing == []


async def test_a_legal_hold_on_the_incident_refuses_by_name_until_it_is_released(
    people: People,
) -> None:
    incident = await dismissed(people, "held")
    held = {"hold": "Docket 42/26", "reason": "litigation is expected"}
    refused = await people.send("rita", incident, "place-legal-hold", held)
    assert refused.status_code == 403
    await people.does("lars", incident, "place-legal-hold", **held)
    again = await people.send("lars", incident, "place-legal-hold", held)
    assert (again.status_code, again.json()["events"]) == (200, [])  # it is so already
    assert [h["hold"] for h in (await people.shown(incident))["legal_holds"]] == ["Docket 42/26"]
    for subject in ({"incident_id": incident}, {"person": "arthur@example.com"}):
        answer = await erase(people, **subject)
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        found = {unmet["code"]: unmet["detail"] for unmet in answer.json()["unmet"]}
        assert found["under_hold"].endswith("is under legal hold: Docket 42/26")
    assert (await people.shown(incident))["notes"][0]["text"] == f"note: {SECRET}"
    ended_ = {"hold": "Docket 42/26", "reason": "settled"}
    await people.does("lena", incident, "release-legal-hold", **ended_)
    unknown = await people.send("lena", incident, "release-legal-hold", ended_)
    assert (unknown.status_code, unknown.json()["code"]) == (409, "hold_unknown")
    assert (await erase(people, incident_id=incident)).status_code == 200


async def test_a_hold_on_what_it_was_merged_into_binds_it_too(people: People) -> None:
    one, other = await people.opened("merged away"), await people.opened("goes on")
    await people.does("rita", one, "merge-into", target_id=other, reason="the same attack")
    await people.does("lars", other, "place-legal-hold", hold="Docket 43", reason="litigation")
    number = (await people.shown(other))["number"]
    (unmet,) = (await erase(people, incident_id=one)).json()["unmet"]
    assert unmet["code"] == "under_hold"
    assert unmet["detail"].endswith(f"is under legal hold: Docket 43 ({number})")


async def test_a_hold_on_evidence_refuses_over_http_and_one_on_the_incident_its_disposal(
    custody: Custody,
) -> None:
    people = custody.people
    incident = await people.opened("with evidence")
    item = await ended(custody, b"held evidence", incident)
    await people.does("sam", incident, "set-severity", level="SEV4", inputs={})
    await people.does("sam", incident, "dismiss-at-triage", classification="false_positive",
                      reason="a test")  # fmt: skip
    await custody.does("lena", item, "place-legal-hold", hold="case 12", reason="litigation")
    answer = await erase(people, incident_id=incident)
    assert (answer.status_code, answer.json()["code"]) == (409, "under_hold")
    (unmet,) = answer.json()["unmet"]
    assert unmet["detail"].endswith("is under legal hold: case 12")
    await custody.does("lena", item, "release-legal-hold", hold="case 12", reason="settled")

    await people.does("lars", incident, "place-legal-hold", hold="Docket 7", reason="a court")
    for verb, body in (
        ("request-disposal", {"reason": "over"}),
        ("release", {"to_person": "carl", "purpose": "returned"}),
    ):
        refused = await custody.send("eve", item, verb, **body)
        assert refused.status_code == 409, refused.text
        found = {unmet["code"]: unmet["detail"] for unmet in refused.json()["unmet"]}
        assert found == {"under_hold": "its incident is under legal hold: Docket 7"}
    await people.does("lars", incident, "release-legal-hold", hold="Docket 7", reason="lifted")
    await custody.does("eve", item, "request-disposal", reason="over")
    await people.does("lars", incident, "place-legal-hold", hold="Docket 8", reason="a court")
    refused = await custody.send("carl", item, "dispose")
    assert [unmet["code"] for unmet in refused.json()["unmet"]] == ["under_hold"]


async def test_a_hold_that_was_placed_meanwhile_is_seen(people: People) -> None:
    """After all that stands against it was looked at, and before the key is gone."""
    world = people.world
    incident = await dismissed(people, "placed meanwhile")
    (key,) = await sql(
        world, "SELECT key_id FROM cases.data_keys WHERE subject = $1 AND scope = 'incident'",
        UUID(incident).bytes,
    )  # fmt: skip
    blocker = await asyncpg.connect(world.admin_dsn)
    try:
        async with blocker.transaction():
            await blocker.execute(
                "SELECT FROM cases.data_keys WHERE key_id = $1 FOR SHARE", key["key_id"]
            )
            erasing = asyncio.create_task(erase(people, incident_id=incident))

            async def destroying() -> bool:
                found = await sql(
                    world,
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND query LIKE 'SELECT erase_key_at%' AND datname = current_database()",
                )
                return bool(found)

            await until(destroying)
            held = {"hold": "Docket 9", "reason": "in the last moment"}
            await people.does("lars", incident, "place-legal-hold", **held)
        answer = await erasing
    finally:
        await blocker.close()
    assert (answer.status_code, answer.json()["code"]) == (409, "under_hold")
    assert (await people.shown(incident))["notes"][0]["text"] == f"note: {SECRET}"


async def test_a_rebuild_that_overlaps_an_erasure_puts_nothing_back(people: People) -> None:
    world = people.world
    incident = await dismissed(people, "rebuilt meanwhile")
    async with held_in_the_middle(world):
        running = asyncio.create_task(rebuild(world.engine("cases"), world.vault))
        await until(lambda: waits(world))  # its tables have the text
        answer = await erase(people, incident_id=incident)
        assert answer.status_code == 200, answer.text
    with pytest.raises(GapError, match="erased meanwhile"):
        await running
    assert not await filled(world)
    assert "hunter2" not in str(await people.shown(incident))
    assert (await rebuild(world.engine("cases"), world.vault)).differing == []
    assert "hunter2" not in str(await people.shown(incident))


async def test_others_are_told_and_the_message_names_nobody(people: People) -> None:
    incident = await people.opened("told to others")
    named = {"type": "email", "value": "marvin@example.com"}
    await people.does("sam", incident, "add-indicator", role="found_later", **named)
    await people.does("sam", incident, "set-severity", level="SEV4", inputs={})
    verdict = {"classification": "false_positive", "reason": "depressed"}
    await people.does("sam", incident, "dismiss-at-triage", **verdict)
    answer = await erase(people, person="Marvin@example.com")
    assert answer.status_code == 200, answer.text

    async def told() -> list[bytes]:
        return [
            data
            for subject, headers, data in await people.world.messages("CASES")
            if subject == IncidentErasedV1.SUBJECT and headers["ce-subject"] == incident
        ]

    (data,) = await until(told)
    message = IncidentErasedV1.from_json(data)
    assert str(message.erasure_id) == answer.json()["erasure_id"]
    assert (message.scope, message.basis, message.reference) == (
        "person", "data_subject_request", "DSR-7",
    )  # fmt: skip
    assert b"marvin" not in data.lower()


@asynccontextmanager
async def process(world: World) -> AsyncIterator[tuple[asyncio.subprocess.Process, People]]:
    """Run the service as a process of its own."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cases",
        env={
            **{name: value for name, value in os.environ.items() if "TOCSIN_" not in name},
            "TOCSIN_DATABASE_URL": world.service_dsn("cases"),
            "TOCSIN_NATS_URL": world.nats_url,
            "TOCSIN_NATS_NKEY_SEED": world.seeds["cases"],
            "TOCSIN_JWKS_FILE": str(world.issuer.jwks_file),
            "TOCSIN_CASES_MASTER_KEY_FILE": str(world.master_key_file),
            "TOCSIN_CASES_HOST": "127.0.0.1",
            "TOCSIN_CASES_PORT": "0",
        },
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    reading = None
    try:
        async with asyncio.timeout(60):
            while not (found := re.search(rb"running on http://[\d.]+:(\d+)", await _line(child))):
                pass
        assert child.stdout
        reading = asyncio.create_task(child.stdout.read())  # so that it never waits for us
        url = f"http://127.0.0.1:{int(found[1])}"
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            yield child, People(world, client)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
        if reading is not None:
            await reading


async def _line(child: asyncio.subprocess.Process) -> bytes:
    assert child.stdout
    line = await child.stdout.readline()
    assert line, "the service ended"
    return line


async def test_kill_9_after_the_destruction_and_before_the_views_are_made_anew(
    world: World,
) -> None:
    """The next process finishes it, unasked: no view shows what the log cannot any more."""

    async def written() -> list[str]:
        rows = await sql(
            world,
            "SELECT i.document || i.search::text AS t FROM cases.incidents i UNION ALL"
            " SELECT t::text FROM cases.timeline t",
        )
        return [row["t"] for row in rows if "slartibartfast" in row["t"].lower()]

    blocker = await asyncpg.connect(world.admin_dsn)
    try:
        async with process(world) as (child, people):
            incident = await people.opened("Slartibartfast designed it")
            await people.does("sam", incident, "set-severity", level="SEV4", inputs={})
            verdict = {"classification": "false_positive", "reason": "Slartibartfast again"}
            await people.does("sam", incident, "dismiss-at-triage", **verdict)
            assert len(await written()) > 1
            async with blocker.transaction():
                # What follows the destruction is an event in the log, and nobody appends now.
                await blocker.execute("SELECT FROM cases.log_head WHERE id = 1 FOR UPDATE")
                asking = asyncio.create_task(erase(people, incident_id=incident))

                async def destroyed() -> bool:
                    rows = "SELECT 1 FROM cases.erasures WHERE incident_id = $1"
                    return bool(await sql(world, rows, UUID(incident)))

                await until(destroyed)
                child.kill()
                await child.wait()
                with pytest.raises(httpx.TransportError):
                    await asking
        assert await written()  # the views still have it: nobody was left to make them anew
    finally:
        await blocker.close()
    async with process(world) as (_, people):

        async def finished() -> bool:
            rows = (
                "SELECT 1 FROM cases.erasures JOIN cases.erasures_done USING (erasure_id)"
                " WHERE incident_id = $1"
            )
            return bool(await sql(world, rows, UUID(incident)))

        await until(finished)
        assert await written() == []
        assert (await people.shown(incident))["erasures"][0]["basis"] == "data_subject_request"
