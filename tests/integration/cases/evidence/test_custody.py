"""Custody over HTTP: versions, holds, retention, two persons, reports, messages, rebuild."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.cases.evidence.domain.rules import RULES
from services.cases.evidence.keeper import Janitor
from services.cases.evidence.queries import EvidenceQueries
from services.cases.evidence.store_local import LocalStore
from services.cases.postgres import PostgresStore
from services.cases.rebuild import rebuild
from tests.integration.cases.evidence.keeping import Custody, metadata
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration

OLD = "2026-01-02T03:04:05Z"
PAST = "2026-08-01T00:00:00Z"  # 180 days after OLD, and over


async def ended(custody: Custody, data: bytes, incident: str | None = None) -> str:
    """Return an item that is sealed and whose retention has ended."""
    item = await custody.collected(data, incident, acquired_at=OLD)
    await custody.does("eve", item, "seal")
    await custody.does("eve", item, "set-retention", retention_class="log", until=PAST)
    return item


async def test_two_persons_dispose_and_the_bytes_go(custody: Custody, world: World) -> None:
    data = b"no longer needed"
    item = await ended(custody, data)
    await custody.does("eve", item, "request-disposal", reason="retention ended")
    alone = await custody.send("eve", item, "dispose")
    assert (alone.status_code, alone.json()["code"]) == (409, "approver_is_requester")
    assert custody.path(data).exists()
    assert await custody.does("carl", item, "dispose") == ["EvidenceDisposed"]
    seen = await custody.see(item)
    assert seen["item"]["state"] == "disposed"
    assert (seen["custody"][-1]["from"], seen["custody"][-1]["actor"]) == ("eve", "carl")
    assert (await custody.read("eve", item)).status_code == 409
    # The bytes are young here, so the janitor spares them today and takes them tomorrow.
    ahead = Janitor(
        PostgresStore(world.engine("cases"), world.vault),
        LocalStore(custody.folder),
        EvidenceQueries(world.engine("cases")),
        lambda: datetime.now(UTC) + timedelta(hours=25),
    )
    await ahead.once()
    assert not custody.path(data).exists()


async def test_bytes_that_another_item_needs_stay(custody: Custody, world: World) -> None:
    data = b"shared by two"
    first, second = await ended(custody, data), await custody.collected(data)
    await custody.does("eve", first, "request-disposal", reason="over")
    await custody.does("carl", first, "dispose")
    ahead = Janitor(
        PostgresStore(world.engine("cases"), world.vault),
        LocalStore(custody.folder),
        EvidenceQueries(world.engine("cases")),
        lambda: datetime.now(UTC) + timedelta(hours=25),
    )
    await ahead.once()
    assert (await custody.read("eve", second)).content == data


async def test_a_hold_keeps_an_item_and_all_that_is_missing_is_named(custody: Custody) -> None:
    item = await custody.collected(b"held")
    refused = await custody.send("eve", item, "place-legal-hold", hold="case 12", reason="r")
    assert (refused.status_code, refused.json()["code"]) == (403, "role_missing")
    await custody.does("lena", item, "place-legal-hold", hold="case 12", reason="litigation")
    refused = await custody.send("carl", item, "dispose")
    assert refused.status_code == 409
    assert [u["code"] for u in refused.json()["unmet"]] == [
        "disposal_not_requested", "under_hold", "retention_missing"
    ]  # fmt: skip
    far = (datetime.now(UTC) + timedelta(days=4000)).isoformat()
    await custody.does("eve", item, "set-retention", retention_class="evidence", until=far)
    await custody.does("lena", item, "release-legal-hold", hold="case 12", reason="settled")
    refused = await custody.send("eve", item, "request-disposal", reason="now?")
    assert [u["code"] for u in refused.json()["unmet"]] == ["retention_running"]


async def test_versions_and_keys_work_as_everywhere(custody: Custody) -> None:
    people = custody.people
    incident = await people.opened()
    headers = {**people.bearer("eve"), "Idempotency-Key": "announce-1"}
    url = f"/v1/incidents/{incident}/evidence"
    answers = [await custody.client.post(url, json=metadata(), headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    other = await custody.client.post(url, json=metadata(tool="dd"), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    item = answers[0].json()["evidence_id"]
    assert answers[0].headers["location"] == f"/v1/evidence/{item}"
    await custody.put(item, b"once")
    seal = f"/v1/evidence/{item}/seal"
    missing = await custody.client.post(seal, json={}, headers=people.bearer("eve"))
    assert (missing.status_code, missing.json()["code"]) == (428, "version_missing")
    stale = {**people.bearer("eve"), "If-Match": '"1"'}
    answer = await custody.client.post(seal, json={}, headers=stale)
    assert (answer.status_code, answer.json()["current_version"]) == (412, 2)
    unknown = {**people.bearer("eve"), "If-Match": '"2"'}
    answer = await custody.client.post(seal, json={"x": 1}, headers=unknown)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


@pytest.mark.parametrize("field", ["collector", "tool", "method", "source_asset", "acquired_at"])
async def test_an_announcement_that_lacks_something_is_refused(
    custody: Custody, field: str
) -> None:
    incident, body = await custody.people.opened(), metadata()
    del body[field]
    answer = await custody.client.post(
        f"/v1/incidents/{incident}/evidence", json=body, headers=custody.people.bearer("eve")
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed")


async def test_a_copy_is_of_an_item_of_the_same_incident(custody: Custody) -> None:
    incident = await custody.people.opened()
    original = await custody.collected(b"original", incident)
    copy = await custody.announced(incident, copy_of=original)
    assert (await custody.see(copy))["original"] is False
    elsewhere = await custody.people.opened()
    answer = await custody.client.post(
        f"/v1/incidents/{elsewhere}/evidence",
        json=metadata(copy_of=original),
        headers=custody.people.bearer("eve"),
    )
    assert answer.status_code == 422


async def test_the_incident_says_how_its_evidence_stands(custody: Custody) -> None:
    incident = await custody.people.opened()
    shown = (await custody.people.get("sam", f"/v1/incidents/{incident}")).json()
    assert shown["evidence"] == {
        "count": 0, "sealed": 0, "with_retention": 0, "frozen": [], "not_secured": [],
        "all_secured": True,
    }  # fmt: skip
    item = await custody.collected(b"one", incident)
    shown = (await custody.people.get("sam", f"/v1/incidents/{incident}")).json()
    assert (shown["evidence"]["count"], shown["evidence"]["not_secured"]) == (1, [item])
    await custody.does("eve", item, "seal")
    await custody.does("eve", item, "set-retention", retention_class="log", until=PAST)
    shown = (await custody.people.get("sam", f"/v1/incidents/{incident}")).json()
    assert shown["evidence"]["all_secured"] is True


async def test_the_report_tells_who_had_it_when(custody: Custody) -> None:
    incident = await custody.people.opened()
    item = await custody.collected(b"passed on", incident)
    await custody.does(
        "eve", item, "transfer-custody", from_person="eve", to_person="rita", purpose="analysis"
    )
    await custody.read("rita", item, "timeline")
    await custody.does("rita", item, "verify-integrity")
    report = (await custody.people.get("anna", f"/v1/evidence/{item}/custody-report")).json()
    assert (report["custodian"], report["accesses"], report["gaps"]) == ("rita", 1, [])
    assert [x["type"] for x in report["custody"]] == [
        "EvidenceRegistered", "EvidenceCollected", "EvidenceCustodyTransferred",
        "EvidenceAccessed", "EvidenceIntegrityVerified",
    ]  # fmt: skip
    assert [(x["from"], x["to"]) for x in report["custody"][1:3]] == [
        ("mail-01", "eve"), ("eve", "rita")
    ]  # fmt: skip
    url = f"/v1/incidents/{incident}/evidence/manifest"
    manifest = (await custody.people.get("anna", url)).json()
    assert [x["sha256"] for x in manifest["items"]] == [custody.path(b"passed on").name]
    assert manifest["items"][0]["custody"] == report["custody"]
    # Each line can be found in the log.
    log = (await custody.people.get("anna", f"/v1/incidents/{item}/events")).json()["items"]
    assert [x["event_id"] for x in log] == [x["event_id"] for x in report["custody"]]


async def test_what_happens_to_evidence_is_published_in_order(
    custody: Custody, world: World
) -> None:
    item = await custody.collected(b"published")

    async def told() -> list[dict[str, Any]]:
        return [
            json.loads(data)
            for subject, headers, data in await world.messages("CASES")
            if subject == "tocsin.v1.cases.evidence.recorded" and headers["ce-subject"] == item
        ]

    for _ in range(100):
        if len(messages := await told()) == 2:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("not published")
    assert [(m["event"], m["version"]) for m in messages] == [
        ("EvidenceRegistered", 1), ("EvidenceCollected", 2)
    ]  # fmt: skip
    assert messages[1]["sha256"] == custody.path(b"published").name


async def test_made_anew_the_rows_are_the_same(custody: Custody, world: World) -> None:
    await custody.collected(b"rebuilt")

    async def rows() -> list[list[Any]]:
        connection = await asyncpg.connect(world.admin_dsn)
        try:
            return [
                [tuple(r) for r in await connection.fetch(f"SELECT * FROM cases.{t} ORDER BY 1")]  # noqa: S608 - our own names
                for t in ("evidence", "custody", "incidents", "timeline")
            ]
        finally:
            await connection.close()

    before = await rows()
    assert before[0]
    await rebuild(world.engine("cases"), world.vault)
    assert await rows() == before


async def test_of_two_who_act_at_once_one_wins(custody: Custody) -> None:
    item = await custody.collected(b"raced")
    version = (await custody.see(item))["version"]

    async def pass_on(to: str) -> int:
        answer = await custody.client.post(
            f"/v1/evidence/{item}/transfer-custody",
            json={"from_person": "eve", "to_person": to, "purpose": "p"},
            headers={"If-Match": f'"{version}"', **custody.people.bearer("eve")},
        )
        return answer.status_code

    assert sorted(await asyncio.gather(*(pass_on(f"p{n}") for n in range(4)))) == [
        200, 412, 412, 412
    ]  # fmt: skip


async def test_the_same_upload_twice_at_once_is_one_event(custody: Custody) -> None:
    item = await custody.announced()
    answers = await asyncio.gather(*(custody.put(item, b"twice" * 99_999) for _ in range(4)))
    assert {a.status_code for a in answers} == {200}
    types = [x["type"] for x in (await custody.see(item))["custody"]]
    assert types == ["EvidenceRegistered", "EvidenceCollected"]
    await until(lambda: custody.temps() == [])


async def test_every_command_has_its_verb(custody: Custody) -> None:
    paths = (await custody.client.get("/openapi.json")).json()["paths"]
    verbs = {
        path.rsplit("/", 1)[1]
        for path, item in paths.items()
        if path.startswith("/v1/evidence/{") and "post" in item
    }
    # Announcing is a POST to the incident, collecting a PUT of the bytes.
    assert verbs == {rule.verb for rule in RULES.values()} - {"register", "collect"}
