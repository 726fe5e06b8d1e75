"""Drafts and facts go when cases erased them; what was sent is proof for as long as it is (I10)."""

import hashlib
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy.exc import ProgrammingError

from services.notify.erasure import Eraser
from shared.clock import rfc3339
from shared.contracts.cases import IncidentClosedV1, IncidentErasedV1, IncidentEvent
from shared.ids import uuid7
from tests.integration.notify.stage import Stage, confirmed, scoped, told_by_cases
from tests.integration.notify.test_obligation_steps import _do, _one
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration

SECRET = "Zaphod read the mail"
PROOF = timedelta(days=3653)


def erased(incident: UUID, version: int = 30, scope: str = "incident") -> IncidentEvent:
    values: dict[str, Any] = {"erasure_id": uuid7(), "scope": scope, "basis": "court_order"}
    return told_by_cases(IncidentErasedV1, incident, version, **values)


async def everything(world: World) -> str:
    """Return all that is in notify's tables; messages age out by themselves."""
    connection = await asyncpg.connect(world.admin_dsn)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'notify'"
            " AND tablename NOT IN ('inbox', 'outbox') AND tablename NOT LIKE 'inventor%'"
        )
        rows = [
            row["t"]
            for table in tables
            for row in await connection.fetch(
                f'SELECT t::text AS t FROM notify."{table["tablename"]}" t'  # noqa: S608
            )
        ]
        return "\n".join(rows)
    finally:
        await connection.close()


async def forgotten(world: World, incident: UUID) -> bool:
    async with world.engine("notify").connect() as connection:
        found = await connection.exec_driver_sql(
            "SELECT 1 FROM erasures WHERE incident_id = $1", (incident,)
        )
        return found.first() is not None


async def test_drafts_go_at_once_and_what_was_sent_stays_until_its_proof_ends(
    stage: Stage,
) -> None:
    incident = uuid7()
    fields = {
        "description": f"{SECRET} at length.",
        "effect_on_customer_data": "Read.",
        "actions_taken": "Locked out.",
        "suggested_actions": "None.",
        "next_update": "Tomorrow.",
    }
    async with stage.running() as desk:
        await stage.say(
            confirmed(incident, summary=f"{SECRET}, drafted"), scoped(incident, "m1", "m2")
        )
        listed = await desk.newest_list(incident)
        answer = await desk.call("PUT", f"/v1/incidents/{incident}/notice", who="nora", json=fields)
        assert answer.status_code == 200, answer.text
        assert (await desk.approve(listed["list_id"])).status_code == 200
        sent = await desk.all_are(incident, "sent")
        closed = told_by_cases(IncidentClosedV1, incident, 29, disposition="true_positive")
        await stage.say(closed, erased(incident))

        async def hashed() -> dict[tuple[str, str], dict[str, Any]]:
            found = await desk.notifications(incident)
            return found if all(n["content_sha256"] for n in found.values()) else {}

        kept = await until(hashed)
        # The proof: the same words, to the same people, with the hash of what they got.
        (mail,) = stage.smtp.to("security@alpha.example")
        alpha = kept["alpha", "email"]
        assert alpha["text"] == sent["alpha", "email"]["text"]
        assert SECRET in alpha["text"]
        assert alpha["recipients"] == list(mail.recipients)
        assert alpha["content_sha256"] == hashlib.sha256(alpha["text"].encode()).hexdigest()
        assert (alpha["sent_at"], alpha["proof"]) == (
            sent["alpha", "email"]["sent_at"], sent["alpha", "email"]["proof"],
        )  # fmt: skip
        (hook,) = stage.hooks.at("/beta")
        told = json.dumps(hook.body, ensure_ascii=False, separators=(",", ":"))
        assert kept["beta", "webhook"]["content_sha256"] == (
            hashlib.sha256(told.encode()).hexdigest()
        )
        # The copies to work with: facts and drafts.
        rows = await everything(stage.world)
        assert f"{SECRET}, drafted" not in rows
        for table in ("incidents", "notices"):
            query = f"SELECT t::text FROM {table} t WHERE incident_id = $1"  # noqa: S608
            async with stage.world.engine("notify").connect() as connection:
                found = (await connection.exec_driver_sql(query, (incident,))).scalars()
                text = "\n".join(found)
            assert "[erased]" in text
            assert "Zaphod" not in text
        await stage.say(erased(incident, 31))  # told again: nothing is left to do
        again = await until(hashed)
        assert again == kept

        # Ten years later only hash, tenant and the fact of sending are left.
        later = Eraser(
            stage.world.engine("notify"), lambda: stage.clock() + PROOF + timedelta(days=1), PROOF
        )
        while await later.once():
            pass
        final = await desk.notifications(incident)
        for key, row in final.items():
            assert (row["text"], row["subject"], row["recipients"]) == ("[erased]", "[erased]", [])
            assert (row["state"], row["sent_at"]) == ("sent", sent[key]["sent_at"])
            assert row["content_sha256"] == kept[key]["content_sha256"]
            assert row["text_erased_at"]
            assert {a["outcome"] for a in row["attempts"]} == {"sent"}
        rows = await everything(stage.world)
        assert [word for word in ("Zaphod", "alpha.example") if word in rows] == []
        replayed = await desk.call(
            "POST", f"/v1/notifications/{final['beta', 'webhook']['notification_id']}/replay"
        )
        assert (replayed.status_code, replayed.json()["code"]) == (409, "not_replayable")
        assert "its words were erased" in replayed.text


async def test_what_is_owed_goes_out_first_and_what_never_left_goes_at_once(stage: Stage) -> None:
    incident = uuid7()
    async with stage.running() as desk:
        stage.smtp.answer = lambda _: "451 later"
        await stage.say(confirmed(incident, summary=f"{SECRET} once"), scoped(incident, "m1"))
        listed = await desk.newest_list(incident)
        assert (await desk.approve(listed["list_id"])).status_code == 200

        async def waits() -> bool:
            found = await desk.notifications(incident)
            mail, hook = found["alpha", "email"], found["beta", "webhook"]
            return (mail["state"], hook["state"]) == ("pending", "sent") and mail["attempt"] > 0

        await until(waits)
        await stage.say(erased(incident))
        await until(lambda: forgotten(stage.world, incident))

        async def hashed() -> bool:
            found = await desk.notifications(incident)
            return bool(found["beta", "webhook"]["content_sha256"])

        await until(hashed)
        waiting = (await desk.notifications(incident))["alpha", "email"]
        assert SECRET in waiting["text"]  # it is still to be told
        assert waiting["content_sha256"] is None
        # It fails for good, never having left: nobody's proof.
        async with stage.world.engine("notify").begin() as connection:
            await connection.exec_driver_sql(
                "UPDATE notifications SET state = 'failed' WHERE notification_id = $1",
                (UUID(waiting["notification_id"]),),
            )
        eraser = Eraser(stage.world.engine("notify"), stage.clock, PROOF)
        while await eraser.once():
            pass
        gone = (await desk.notifications(incident))["alpha", "email"]
        assert (gone["text"], gone["recipients"]) == ("[erased]", [])
        retried = await desk.call("POST", f"/v1/notifications/{gone['notification_id']}/retry")
        assert retried.status_code == 409


async def test_a_form_goes_with_the_draft_that_it_was_made_from(stage: Stage) -> None:
    incident, now = uuid7(), stage.clock()
    times: dict[str, Any] = {"aware_at": now - timedelta(hours=2), "confirmed_at": now}
    async with stage.running() as desk:
        await stage.say(confirmed(incident, summary=SECRET, **times))
        found = await _one(desk, incident, "gdpr_33_1", "initial")
        path = f"/v1/obligations/{found['obligation_id']}"
        asked = ("categories_and_numbers", "dpo_contact", "measures")
        content = {"content": dict.fromkeys(asked, "as known")}
        await _do(desk, path, "draft", content, "iris", "legal")
        await _do(desk, path, "approve", None, "lena", "legal")
        body = {"submitted_at": rfc3339(stage.clock()), "reference": "DPA-80"}
        assert (await _do(desk, path, "submit", body, "lena", "legal")).status_code == 200
        form = await desk.call("GET", f"{path}/form.json")
        assert SECRET in form.text

        await stage.say(erased(incident))
        await until(lambda: forgotten(stage.world, incident))
        assert (await desk.call("GET", f"{path}/form.json")).content == form.content
        # What is not drafted yet is not filled with what is gone.
        other = await _one(desk, incident, "gdpr_34", "communication")
        fresh = await desk.get(f"/v1/obligations/{other['obligation_id']}/form.json")
        assert "nature_in_plain_language" in fresh["missing"]

        engine = stage.world.engine("notify")
        later = Eraser(engine, lambda: stage.clock() + PROOF + timedelta(days=1), PROOF)
        while await later.once():
            pass
        for ending in ("json", "pdf"):
            gone = await desk.call("GET", f"{path}/form.{ending}")
            assert gone.status_code == 410
            assert gone.json()["json_sha256"] == hashlib.sha256(form.content).hexdigest()
        assert (await desk.get(path))["form"]["erased"]
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with engine.begin() as connection:
                await connection.exec_driver_sql("UPDATE obligation_forms SET document = '{}'")


async def test_an_erased_notice_is_not_signed_and_a_person_is_no_matter_of_notify(
    stage: Stage,
) -> None:
    incident, other = uuid7(), uuid7()
    async with stage.running() as desk:
        await stage.say(confirmed(incident), scoped(incident, "m3"), erased(incident))
        listed = await desk.newest_list(incident)
        await until(lambda: forgotten(stage.world, incident))
        refused = await desk.approve(listed["list_id"])
        assert refused.status_code == 409
        assert {u["code"] for u in refused.json()["unmet"]} == {"notice_erased"}
        # A person, whom the message does not name: what notify has of persons is proof.
        await stage.say(confirmed(other), scoped(other, "m3"), erased(other, scope="person"))
        kept = await desk.newest_list(other)
        approved = await desk.approve(kept["list_id"])
        assert approved.status_code == 200, approved.text
        sent = await desk.all_are(other, "sent")
        assert "Somebody read mail" in sent["delta", "email"]["text"]
        # A message of before that comes late changes nothing back.
        await stage.say(confirmed(incident, 4))
        await stage.say(confirmed(uuid7()), erased(uuid7()))  # unknown here: nothing to do
        again = await desk.approve(listed["list_id"])
        assert {u["code"] for u in again.json()["unmet"]} == {"notice_erased"}


async def test_a_superseded_draft_goes_at_once_and_one_that_was_handed_in_with_its_proof(
    stage: Stage,
) -> None:
    incident, now = uuid7(), stage.clock()
    times: dict[str, Any] = {"aware_at": now - timedelta(hours=2), "confirmed_at": now}
    async with stage.running() as desk:
        await stage.say(confirmed(incident, **times))
        found = await _one(desk, incident, "gdpr_33_1", "initial")
        path = f"/v1/obligations/{found['obligation_id']}"
        for words in ("Marvin was seen", "Marvin was told of"):
            content = dict.fromkeys(found["content"], words)
            drafted = await _do(desk, path, "draft", {"content": content}, "iris", "legal")
            assert drafted.status_code == 200, drafted.text
        await _do(desk, path, "approve", None, "lena", "legal")
        body = {"submitted_at": rfc3339(stage.clock()), "reference": "DPA-79"}
        handed_in = await _do(desk, path, "submit", body, "lena", "legal")
        assert handed_in.status_code == 200, handed_in.text
        await stage.say(erased(incident))

        async def superseded() -> bool:
            return "Marvin was seen" not in await everything(stage.world)

        await until(superseded)
        kept = await desk.get(path)
        assert set(kept["draft"].values()) == {"Marvin was told of"}
        engine = stage.world.engine("notify")
        later = Eraser(engine, lambda: stage.clock() + PROOF + timedelta(days=1), PROOF)
        while await later.once():
            pass
        assert "Marvin" not in await everything(stage.world)
        after = await desk.get(path)
        assert set(after["draft"].values()) == {"[erased]"}
        same = ("stage", "missing", "reference", "due_at")
        assert [after.get(n) for n in same] == [kept.get(n) for n in same]
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with engine.begin() as connection:
                await connection.exec_driver_sql("UPDATE obligation_steps SET detail = '{}'")
