"""From a scope to notified customers: list, second signature, mails and webhooks, once each."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.clock import rfc3339
from shared.contracts.cases import IncidentDismissedV1
from shared.contracts.notify import (
    AffectedCustomersIdentifiedV1,
    CustomersNotifiedV1,
    NotificationSentV1,
    ObligationIdentifiedV1,
)
from shared.ids import derived_id, uuid7
from tests.integration.notify.stage import AWARE, Desk, Stage, clock_set, confirmed, scoped
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def test_a_scope_becomes_a_list_a_signature_and_one_message_each(stage: Stage) -> None:
    incident = uuid7()
    async with stage.running() as desk:
        await stage.say(confirmed(incident), scoped(incident, "m1", "m2"))
        listed = await desk.newest_list(incident)
        assert (listed["state"], listed["compiled_by"]) == ("compiled", "sam")
        assert listed["counts"] == {"confirmed": 0, "probable": 3, "possible": 0}

        explained = await desk.get(f"/v1/affected-lists/{listed['list_id']}")
        assert explained["changes"] == {"added": 3, "unchanged": 0, "removed": 0}
        assert [t["tenant"] for t in explained["tenants"]] == ["alpha", "beta", "gamma"]
        match = explained["tenants"][0]["matches"][0]
        assert (match["server"], match["overlap_to"]) == ("m1", rfc3339(AWARE))

        assert stage.smtp.mails == []  # nothing leaves without the second signature (I8)
        approved = await desk.approve(listed["list_id"])
        assert approved.status_code == 200, approved.text
        assert approved.json()["notifications_created"] == 4
        sent = await desk.all_are(incident, "sent")

        (alpha,) = stage.smtp.to("security@alpha.example")
        assert alpha.recipients == ("security@alpha.example", "privacy@alpha.example")
        assert alpha.id == f"<{sent['alpha', 'email']['notification_id']}@op.example>"
        assert "Somebody read mail on one server." in alpha.message.get_content()
        assert "gamma" not in alpha.raw.decode()
        (beta,) = stage.hooks.at("/beta")
        assert beta.id == sent["beta", "webhook"]["notification_id"]
        assert beta.body["data"]["tenant"] == "beta"
        assert stage.hooks.unverified == []

        (attempt,) = sent["alpha", "email"]["attempts"]
        assert attempt["outcome"] == "sent"
        assert set(attempt["recipients"]) == set(alpha.recipients)
        assert "250 queued" in sent["alpha", "email"]["proof"]
        assert "HTTP 204" in sent["beta", "webhook"]["proof"]
        assert sent["beta", "webhook"]["recipients"] == [f"http://{stage.hooks.end}"]

        (done,) = await until(lambda: stage.published(incident, CustomersNotifiedV1))
        assert (done.tenants, done.sent, str(done.list_id)) == (3, 4, listed["list_id"])
        assert len(await stage.published(incident, NotificationSentV1)) == 4
        (identified,) = await stage.published(incident, AffectedCustomersIdentifiedV1)
        assert identified.tenants == ["alpha", "beta", "gamma"]

        again = await desk.approve(listed["list_id"])  # saying it twice is saying it once
        assert again.json()["notifications_created"] == 0
        assert again.json()["notified_at"] is not None
    assert len(stage.smtp.mails) == 2
    assert len(stage.hooks.received) == 2


@pytest.mark.parametrize("scope_first", [True, False])
async def test_obligations_arise_from_confirmation_and_list_in_either_order(
    stage: Stage, scope_first: bool
) -> None:
    incident = uuid7()
    confirmation, scope = confirmed(incident), scoped(incident, "m1")
    async with stage.running() as desk:
        await stage.say(*((scope, confirmation) if scope_first else (confirmation, scope)))
        due = await until(lambda: _obligations(desk, incident))
        assert due["gdpr_33_1", "initial", None]["due_at"] == rfc3339(AWARE + timedelta(hours=72))
        assert due["gdpr_33_2", "notice", "alpha"]["state"] == "triggered"
        assert due["gdpr_33_2", "notice", "alpha"]["internal_target"] is True
        # Where beta's data subjects are is not stated.
        assert due["gdpr_33_2", "notice", "beta"]["state"] == "undecided"
        assert due["contract_sla", "9.1", "alpha"]["due_at"] == rfc3339(AWARE + timedelta(hours=24))
        assert due["dora_19", "initial", None]["state"] == "not_required"  # said, not left out (I7)
        open_ = {UUID(o["obligation_id"]) for o in due.values() if o["state"] != "not_required"}
        messages = await until(lambda: _messages(stage, incident, len(open_)))
        assert {m.obligation_id for m in messages} == open_
        assert {m.state for m in messages} == {"triggered", "undecided"}

        # A corrected clock is a revision; what did not change is not said again.
        await stage.say(confirmed(incident, 9, aware_at=AWARE - timedelta(hours=1)))
        await until(lambda: _messages(stage, incident, len(open_) + 1))
        revised = await _obligations(desk, incident)
        authority = revised["gdpr_33_1", "initial", None]
        assert (authority["revision"], authority["due_at"]) == (
            2,
            rfc3339(AWARE + timedelta(hours=71)),
        )

        # An instant that cases recorded later, and facts that legal states, change it too (V29).
        bare = await desk.get(f"/v1/incidents/{incident}/facts")
        assert bare["items"] == []
        await stage.say(clock_set(incident, 10, "aware", AWARE - timedelta(hours=2)))
        await until(lambda: _due_is(desk, incident, AWARE + timedelta(hours=70)))
        statement = {"facts": {"risk_unlikely": True}, "reason": "encrypted, key not lost"}
        await desk.post(f"/v1/incidents/{incident}/facts", statement, role="legal")
        decided = await _obligations(desk, incident)
        assert decided["gdpr_33_1", "initial", None]["state"] == "not_required"


async def _due_is(desk: Desk, incident: UUID, due_at: datetime) -> bool:
    found = await _obligations(desk, incident)
    return bool(found["gdpr_33_1", "initial", None]["due_at"] == rfc3339(due_at))


async def _obligations(desk: Desk, incident: UUID) -> dict[tuple[str, str, str | None], Any]:
    """The newest revision of each, once there is one towards a tenant and one of the operator."""
    items = (await desk.get(f"/v1/obligations?incident_id={incident}"))["items"]
    found = {(o["regime"], o["phase"], o["tenant"]): o for o in items}
    done = any(o["tenant"] for o in items) and ("gdpr_33_1", "initial", None) in found
    return found if done else {}


async def _messages(stage: Stage, incident: UUID, count: int) -> list[Any]:
    found = await stage.published(incident, ObligationIdentifiedV1)
    return found if len(found) >= count else []


async def test_a_second_version_notifies_only_whom_the_first_did_not(stage: Stage) -> None:
    incident = uuid7()
    async with stage.running() as desk:
        await stage.say(confirmed(incident), scoped(incident, "m2"))
        first = await desk.newest_list(incident)
        await desk.approve(first["list_id"])
        await desk.all_are(incident, "sent")

        await stage.say(scoped(incident, "m2", "m3", scope_version=2))
        second = await desk.newest_list(incident, 2)
        explained = await desk.get(f"/v1/affected-lists/{second['list_id']}")
        assert [(t["tenant"], t["change"], t["told"]) for t in explained["tenants"]] == [
            ("delta", "added", False),
            ("gamma", "unchanged", True),
        ]
        approved = await desk.approve(second["list_id"])
        assert approved.json()["notifications_created"] == 1
        await desk.all_are(incident, "sent")
        assert len(stage.smtp.to("it@gamma.example")) == 1
        assert len(stage.hooks.at("/gamma")) == 1
        assert len(stage.smtp.to("soc@delta.example")) == 1

        async def both() -> Any:
            done = await stage.published(incident, CustomersNotifiedV1)
            return done if len(done) == 2 else None

        done = await until(both)
        assert [(d.version, d.tenants, d.sent) for d in done] == [(1, 1, 2), (2, 2, 3)]

        # An old scope that comes late changes nothing; a tenant that was told stays visible.
        await stage.say(scoped(incident, "m1", scope_version=1))
        await stage.say(scoped(incident, "m3", scope_version=3))
        third = await desk.newest_list(incident, 3)
        assert third["version"] == 3
        explained = await desk.get(f"/v1/affected-lists/{third['list_id']}")
        gamma = next(t for t in explained["tenants"] if t["tenant"] == "gamma")
        assert (gamma["change"], gamma["told"]) == ("removed", True)


async def test_the_same_message_twice_has_one_effect(stage: Stage) -> None:
    incident = uuid7()
    scope = scoped(incident, "m3")
    async with stage.running() as desk:
        await stage.say(confirmed(incident), scope)
        await desk.newest_list(incident)
        copy = scope.model_copy(update={"event_id": uuid7()})  # same scope, another message
        await stage.say(copy, scoped(incident, "m3", scope_version=2))
        await desk.newest_list(incident, 2)
        items = (await desk.get(f"/v1/incidents/{incident}/affected-lists"))["items"]
        assert [(i["version"], i["state"]) for i in items] == [(2, "compiled"), (1, "superseded")]
        async with stage.world.engine("notify").connect() as connection:
            for event_id in (scope.event_id, copy.event_id):
                seen = await connection.scalar(
                    text("SELECT count(*) FROM inbox WHERE event_id = :id"), {"id": event_id}
                )
                assert seen == 1


async def test_approval_needs_another_person_the_newest_list_and_a_confirmed_incident(
    stage: Stage,
) -> None:
    incident = uuid7()
    async with stage.running() as desk:
        await stage.say(scoped(incident, "m1", set_by="sam"))
        first = await desk.newest_list(incident)
        refused = await desk.approve(first["list_id"], who="sam")
        assert refused.status_code == 409
        assert refused.json()["code"] == "list_not_approvable"
        codes = [u["code"] for u in refused.json()["unmet"]]
        assert codes == [
            "approver_is_compiler",
            "incident_not_confirmed",
            "notice_incomplete",
            "notice_incomplete",
        ]
        await stage.say(confirmed(incident), scoped(incident, "m1", "m2", scope_version=2))
        second = await desk.newest_list(incident, 2)
        stale = await desk.approve(first["list_id"])
        assert [u["code"] for u in stale.json()["unmet"]] == ["not_latest"]

        path = f"/v1/incidents/{incident}/notice"
        written = await desk.call(
            "PUT", path, who="dora", json={"suggested_actions": "Rotate your keys."}
        )
        assert written.json()["author"] == "dora"
        own = await desk.approve(second["list_id"], who="dora")
        assert [u["code"] for u in own.json()["unmet"]] == ["approver_is_author"]
        st = await desk.call(
            "POST", f"/v1/affected-lists/{second['list_id']}/approve", role="service_team"
        )
        assert st.status_code == 403
        assert (await desk.approve(second["list_id"])).status_code == 200
        await desk.all_are(incident, "sent")
        (mail,) = stage.smtp.to("security@alpha.example")
        assert "Rotate your keys." in mail.message.get_content()
        late = await desk.approve(second["list_id"], who="erin")
        assert [u["code"] for u in late.json()["unmet"]] == ["already_approved"]
        unknown = await desk.approve(str(uuid7()))
        assert unknown.status_code == 404


async def test_a_dismissed_incident_notifies_nobody(stage: Stage) -> None:
    incident = uuid7()
    whole = confirmed(incident)
    dismissal = IncidentDismissedV1(
        **{
            **whole.model_dump(include={"incident_id", "number", "actor", "occurred_at"}),
            "event_id": uuid7(),
            "version": 9,
            "position": 9,
            "classification": "false_positive",
            "reason": "incorrect_alert_logic",
        }
    )
    async with stage.running() as desk:
        await stage.say(whole, dismissal, scoped(incident, "m1"))
        listed = await desk.newest_list(incident)
        refused = await desk.approve(listed["list_id"])
        assert [u["code"] for u in refused.json()["unmet"]] == ["incident_not_confirmed"]


async def test_nobody_affected_is_a_result_too(stage: Stage) -> None:
    incident = uuid7()
    async with stage.running() as desk:
        await stage.say(confirmed(incident), scoped(incident, "gone"))
        listed = await desk.newest_list(incident)
        assert listed["warnings"] == ["The inventory knows no server 'gone'."]
        bare = await desk.approve(listed["list_id"])
        assert [u["code"] for u in bare.json()["unmet"]] == ["reason_missing"]
        reason = {"nobody_reason": "The server was taken out of service in January."}
        await desk.post(f"/v1/affected-lists/{listed['list_id']}/approve", reason)
        (done,) = await until(lambda: stage.published(incident, CustomersNotifiedV1))
        assert (done.tenants, done.sent) == (0, 0)
        assert done.nobody_reason == reason["nobody_reason"]


async def test_a_bad_new_inventory_is_shown_and_the_running_one_stays(stage: Stage) -> None:
    async with stage.running() as desk:
        before = await until(lambda: _loaded(desk))
        good = stage.file.read_text()
        stage.file.write_text(good.replace("server: m1", "server: m9", 1))
        bad = await until(lambda: _refused(desk))
        assert bad["version"] == before["version"]
        assert "server 'm9'" in bad["refused_file"]["why"]
        assert bad["refused_file"]["line"] == 26
        stage.file.write_text(good + "  - {tenant: delta, server: m1}\n")
        after = await until(lambda: _healed(desk))
        assert after["version"] != before["version"]
        assert after["counts"]["placements"] == 5


async def _loaded(desk: Desk) -> Any:
    found = await desk.get("/v1/inventory")
    return found if found["version"] and found["counts"]["placements"] == 4 else None


async def _refused(desk: Desk) -> Any:
    found = await desk.get("/v1/inventory")
    return found if found["refused_file"] else None


async def _healed(desk: Desk) -> Any:
    found = await desk.get("/v1/inventory")
    return found if not found["refused_file"] else None


async def test_a_preview_changes_nothing_and_never_means_everyone(stage: Stage) -> None:
    async with stage.running() as desk:
        await until(lambda: _loaded(desk))
        body = {"include": [{"server": "m1"}], "window_from": "2026-03-01T00:00:00Z"}
        found = (await desk.call("POST", "/v1/scopes/preview", json=body)).json()
        assert [t["tenant"] for t in found["tenants"]] == ["alpha", "beta"]
        refused: tuple[dict[str, Any], ...] = (
            {"include": []},
            {"include": [{}]},
            {"include": [{"planet": "x"}]},
        )
        for bad in refused:
            answer = await desk.call("POST", "/v1/scopes/preview", json=bad)
            assert answer.status_code == 422, answer.text


async def test_ids_are_derived_from_their_causes(stage: Stage) -> None:
    incident = uuid7()
    async with stage.running() as desk:
        await stage.say(confirmed(incident), scoped(incident, "m3"))
        listed = await desk.newest_list(incident)
        await desk.approve(listed["list_id"])
        sent = await desk.all_are(incident, "sent")
    expected = derived_id("notification", incident, 1, "delta", "email")
    assert sent["delta", "email"]["notification_id"] == str(expected)
    async with stage.world.engine("notify").connect() as connection:
        documents = await connection.execute(
            text(
                "SELECT e.document FROM inventory_entries e"
                " JOIN inventories ON revision = recorded_from WHERE version = :v"
            ),
            {"v": listed["inventory_version"]},
        )
        stored = json.dumps([row.document for row in documents])
    assert "hooks" in stored or "webhook" in stored
    assert "whsec" not in stored
