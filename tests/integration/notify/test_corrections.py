"""What was told and does not hold is taken back; what legal holds does not leave (R35b, I8)."""

from typing import Any
from uuid import UUID

import pytest

from shared.contracts.cases import (
    ConfirmationRetractedV1,
    IncidentDismissedV1,
    IncidentMergedV1,
    IncidentUnmergedV1,
)
from shared.contracts.notify import CustomersNotifiedV1, NotificationCorrectedV1
from shared.ids import uuid7
from tests.integration.notify.stage import Desk, Stage, confirmed, scoped, told_by_cases
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def notified(stage: Stage, desk: Desk, *servers: str) -> UUID:
    incident = uuid7()
    await stage.say(confirmed(incident), scoped(incident, *servers))
    listed = await desk.newest_list(incident)
    assert (await desk.approve(listed["list_id"])).status_code == 200
    await desk.all_are(incident, "sent")
    return incident


async def corrections(desk: Desk, incident: UUID) -> list[dict[str, Any]]:
    found = await desk.get(f"/v1/incidents/{incident}/corrections")
    return list(found["items"])


async def items(desk: Desk, incident: UUID, kind: str) -> list[dict[str, Any]]:
    found = await desk.get(f"/v1/notifications?incident_id={incident}")
    return [item for item in found["items"] if item["kind"] == kind]


async def test_a_told_tenant_that_is_off_the_list_gets_a_correction(stage: Stage) -> None:
    async with stage.running() as desk:
        incident = await notified(stage, desk, "m2")
        await stage.say(scoped(incident, "m3", scope_version=2))
        second = await desk.newest_list(incident, 2)
        approved = (await desk.approve(second["list_id"])).json()
        assert (approved["notifications_created"], approved["corrections_created"]) == (1, 2)
        await desk.all_are(incident, "sent")
        first, corrected = stage.smtp.to("it@gamma.example")
        notices = {
            n["channel"]: n for n in await items(desk, incident, "notice") if n["tenant"] == "gamma"
        }
        assert notices["email"]["notification_id"] in corrected.message.get_content()
        assert first.id != corrected.id
        (told, taken_back) = stage.hooks.at("/gamma")
        assert taken_back.body["data"]["supersedes"] == told.id
        messages = await until(lambda: stage.published(incident, NotificationCorrectedV1))
        assert {m.reason for m in messages} == {"the tenant is not affected after all"}
        assert {str(m.supersedes) for m in messages} == {
            n["notification_id"] for n in notices.values()
        }
        # Affected after all: that is news again, and told again, once.
        await stage.say(scoped(incident, "m2", "m3", scope_version=3))
        third = await desk.newest_list(incident, 3)
        again = (await desk.approve(third["list_id"])).json()
        assert (again["notifications_created"], again["corrections_created"]) == (2, 0)
        await desk.all_are(incident, "sent")
        assert await until(lambda: len(stage.smtp.to("it@gamma.example")) >= 3)
        assert len(stage.smtp.to("it@gamma.example")) == 3
        done = await until(lambda: _completed(stage, incident, 3))
        assert [d.version for d in done] == [1, 2, 3]


async def _completed(stage: Stage, incident: UUID, count: int) -> Any:
    found = await stage.published(incident, CustomersNotifiedV1)
    return found if len(found) == count else None


@pytest.mark.parametrize("how", ["retracted", "dismissed"])
async def test_a_verdict_taken_back_withdraws_and_corrects(stage: Stage, how: str) -> None:
    stage.smtp.answer = {"it@gamma.example": "451 later"}.get
    async with stage.running() as desk:
        incident = uuid7()
        await stage.say(confirmed(incident), scoped(incident, "m1", "m2"))
        listed = await desk.newest_list(incident)
        await desk.approve(listed["list_id"])

        async def mostly_sent() -> bool:
            found = await items(desk, incident, "notice")
            return sorted(n["state"] for n in found) == ["pending", "sent", "sent", "sent"]

        await until(mostly_sent)
        if how == "retracted":
            await stage.say(told_by_cases(ConfirmationRetractedV1, incident, 20))
        else:
            why = {"classification": "false_positive", "reason": "incorrect_alert_logic"}
            await stage.say(told_by_cases(IncidentDismissedV1, incident, 20, **why))
        (owed,) = await until(lambda: corrections(desk, incident))
        assert (owed["why"], owed["written_by"], owed["approved_by"]) == (
            "no_incident",
            "sam",
            None,
        )
        (gone,) = [n for n in await items(desk, incident, "notice") if n["state"] == "withdrawn"]
        assert (gone["tenant"], gone["channel"]) == ("gamma", "email")

        path = f"/v1/corrections/{owed['correction_id']}/approve"
        own = await desk.call("POST", path, who="sam")
        assert [u["code"] for u in own.json()["unmet"]] == ["approver_is_author"]
        assert (await desk.post(path, None))["corrections_created"] == 3
        assert (await desk.post(path, None))["corrections_created"] == 0
        messages = await until(lambda: _corrected(stage, incident, 3))
        assert {m.reason for m in messages} == {"the verdict was taken back"}
        stage.clock.wind(hours=1)  # what was withdrawn stays here
        assert stage.smtp.to("it@gamma.example") == []
        assert len(stage.smtp.to("security@alpha.example")) == 2
        # Nothing that was owed goes away by itself: a person decides it anew (I7).
        due = (await desk.get(f"/v1/obligations?incident_id={incident}"))["items"]
        assert "triggered" not in {o["state"] for o in due}


async def _corrected(stage: Stage, incident: UUID, count: int) -> Any:
    found = await stage.published(incident, NotificationCorrectedV1)
    return found if len(found) == count else None


async def test_a_merged_incident_signs_nothing_more_and_says_where_it_goes_on(
    stage: Stage,
) -> None:
    async with stage.running() as desk:
        target = uuid7()
        await stage.say(confirmed(target, number="TOCSIN-2026-0009"))
        incident = await notified(stage, desk, "m3")
        await stage.say(scoped(incident, "m2", "m3", scope_version=2))
        second = await desk.newest_list(incident, 2)
        merge = {"target_id": target, "former": "confirmed"}
        await stage.say(told_by_cases(IncidentMergedV1, incident, 20, **merge))
        (owed,) = await until(lambda: corrections(desk, incident))
        assert "TOCSIN-2026-0009" in owed["statement"]
        refused = await desk.approve(second["list_id"])
        assert [u["code"] for u in refused.json()["unmet"]] == ["incident_not_confirmed"]
        back = {"target_id": target, "state": "contained"}
        await stage.say(told_by_cases(IncidentUnmergedV1, incident, 21, **back))

        async def signed() -> bool:
            return (await desk.approve(second["list_id"])).status_code == 200

        await until(signed)


async def test_what_a_notice_said_is_corrected_by_another_person(stage: Stage) -> None:
    async with stage.running() as desk:
        incident = uuid7()
        path = f"/v1/incidents/{incident}/corrections"
        body = {"statement": "It was two hours, not one."}
        assert (await desk.call("POST", path, json=body)).status_code == 404
        await stage.say(confirmed(incident))

        async def nobody_told() -> bool:
            return (await desk.call("POST", path, json=body)).status_code == 409

        await until(nobody_told)
        told = await notified(stage, desk, "m3")
        path = f"/v1/incidents/{told}/corrections"
        correction = await desk.post(path, body)
        approve = f"/v1/corrections/{correction['correction_id']}/approve"
        assert (await desk.call("POST", approve)).status_code == 409
        assert (await desk.call("POST", approve, who="erin")).status_code == 200
        mails = await until(lambda: _mails(stage, "soc@delta.example", 2))
        assert "It was two hours, not one." in mails[1].message.get_content()


async def _mails(stage: Stage, to: str, count: int) -> Any:
    found = stage.smtp.to(to)
    return found if len(found) == count else None


async def test_nothing_leaves_under_a_hold_of_legal(stage: Stage) -> None:
    async with stage.running() as desk:
        incident = uuid7()
        await stage.say(confirmed(incident), scoped(incident, "m3"))
        listed = await desk.newest_list(incident)
        hold = f"/v1/incidents/{incident}/hold-communication"
        body = {"reason": "investigators asked", "authority": "LKA"}
        assert (await desk.call("POST", hold, json=body)).status_code == 403
        await desk.post(hold, body, role="legal")
        await desk.post(hold, body, role="legal")  # saying it twice is saying it once
        assert (await desk.approve(listed["list_id"])).json()["notifications_created"] == 1
        other = await notified(stage, desk, "m2")  # other incidents go on
        assert len(await items(desk, other, "notice")) == 2
        (waiting,) = await items(desk, incident, "notice")
        assert (waiting["state"], waiting["attempt"]) == ("pending", 0)
        assert await inbox(desk, "delta", incident) == []
        lift = f"/v1/incidents/{incident}/lift-communication-hold"
        await desk.post(lift, {"reason": "agreed"}, role="legal")
        again = await desk.call("POST", lift, role="legal", json={"reason": "agreed"})
        assert again.status_code == 409
        await desk.all_are(incident, "sent")
        (past,) = (await desk.get(f"/v1/incidents/{incident}/communication-holds"))["items"]
        assert (past["authority"], past["lift_reason"]) == ("LKA", "agreed")


async def test_nobody_affected_is_decided_by_two_with_a_reason(stage: Stage) -> None:
    async with stage.running() as desk:
        incident = uuid7()
        await stage.say(confirmed(incident))
        path = f"/v1/incidents/{incident}/nobody-affected"
        body = {"reason": "Only a laptop of our own."}

        async def proposed() -> bool:
            answer = await desk.call("POST", path, who="sam", role="service_team", json=body)
            return answer.status_code == 200

        await until(proposed)
        listed = await desk.newest_list(incident)
        assert listed["nobody_reason"] == body["reason"]
        own = await desk.approve(listed["list_id"], who="sam")
        assert [u["code"] for u in own.json()["unmet"]] == ["approver_is_compiler"]
        assert (await desk.approve(listed["list_id"])).status_code == 200
        (done,) = await until(lambda: stage.published(incident, CustomersNotifiedV1))
        assert (done.tenants, done.nobody_reason) == (0, body["reason"])
        # It was wrong: a scope makes the next version, which is signed as ever.
        await stage.say(scoped(incident, "m3"))
        second = await desk.newest_list(incident, 2)
        assert (await desk.approve(second["list_id"])).json()["notifications_created"] == 1
        # And wrong again: delta was told, so delta is corrected.
        await desk.call("POST", path, who="sam", role="service_team", json=body)
        third = await desk.newest_list(incident, 3)
        await desk.all_are(incident, "sent")
        assert (await desk.approve(third["list_id"])).json()["corrections_created"] == 1


async def inbox(desk: Desk, tenant: str, incident: UUID) -> list[dict[str, Any]]:
    """Return what the portal shows *tenant* of the incident, newest first."""
    ids = {
        n["notification_id"]
        for kind in ("notice", "correction")
        for n in await items(desk, incident, kind)
    }
    shown = (await desk.portal("GET", "?limit=200", tenant)).json()["items"]
    return [n for n in shown if n["notice_id"] in ids]


async def test_a_tenant_reads_its_own_notices_and_no_other(stage: Stage) -> None:
    async with stage.running() as desk:
        incident = await notified(stage, desk, "m1", "m2")
        (gamma,) = await inbox(desk, "gamma", incident)  # by mail and webhook: one
        assert "Somebody read mail on one server." in gamma["text"]
        own = f"/{gamma['notice_id']}"
        assert (await desk.portal("GET", own, "gamma")).json() == gamma
        for tenant in ("alpha", "nobody"):
            assert (await desk.portal("GET", own, tenant)).status_code == 404
            answer = await desk.portal("POST", f"{own}/acknowledge", tenant)
            assert answer.status_code == 404
        assert (await desk.portal("GET", "", None)).status_code == 403
        first = await desk.portal("POST", f"{own}/acknowledge", "gamma")
        second = await desk.portal("POST", f"{own}/acknowledge", "gamma", who="quinn")
        assert first.json()["acknowledged_by"] == second.json()["acknowledged_by"] == "pat"
        assert (await desk.call("GET", "/v1/portal/notices")).status_code == 403
        body = {"statement": "Two hours."}
        correction = await desk.post(f"/v1/incidents/{incident}/corrections", body)
        path = f"/v1/corrections/{correction['correction_id']}/approve"
        await desk.call("POST", path, who="erin")
        newest, oldest = await inbox(desk, "gamma", incident)
        assert (newest["kind"], oldest["notice_id"]) == ("correction", gamma["notice_id"])
        page = (await desk.portal("GET", f"?limit=1&before={newest['notice_id']}", "gamma")).json()
        assert [n["notice_id"] for n in page["items"]] == [gamma["notice_id"]]


async def test_a_webhook_is_replayed_under_its_id(stage: Stage) -> None:
    async with stage.running() as desk:
        incident = await notified(stage, desk, "m2")
        sent = await desk.notifications(incident)
        hook, mail = sent["gamma", "webhook"], sent["gamma", "email"]
        refused = await desk.call("POST", f"/v1/notifications/{mail['notification_id']}/replay")
        assert (refused.status_code, refused.json()["code"]) == (409, "not_replayable")
        await desk.post(f"/v1/notifications/{hook['notification_id']}/replay", None)

        async def twice() -> Any:
            one = await desk.get(f"/v1/notifications/{hook['notification_id']}")
            return one if len(one["attempts"]) == 2 and one["state"] == "sent" else None

        replayed = await until(twice)
        assert replayed["sent_at"] == hook["sent_at"]
        first, second = stage.hooks.at("/gamma")
        assert (first.id, first.body) == (second.id, second.body)
        (done,) = await until(lambda: stage.published(incident, CustomersNotifiedV1))
        assert done.sent == 2
        unknown = await desk.call("POST", f"/v1/notifications/{uuid7()}/replay")
        assert unknown.status_code == 404
