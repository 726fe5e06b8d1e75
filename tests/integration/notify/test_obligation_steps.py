"""Obligations from draft to acknowledgement, the clock board, its alarms and its calendar."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import icalendar
import pytest

from shared.clock import rfc3339
from shared.contracts.notify import (
    ObligationDecidedV1,
    ObligationDueSoonV1,
    ObligationMetV1,
    ObligationOverdueV1,
    ObligationWaivedV1,
)
from shared.ids import uuid7
from tests.integration.notify.stage import AWARE, Desk, Stage, clock_set, confirmed, scoped
from tests.support.waiting import until

pytestmark = pytest.mark.integration

_ASKED = ("nature", "categories_and_numbers", "dpo_contact", "consequences", "measures")
CONTENT = dict.fromkeys(_ASKED, "as far as known")


async def _one(desk: Desk, incident: UUID, regime: str, phase: str) -> dict[str, Any]:
    async def probe() -> Any:
        items = (await desk.get(f"/v1/obligations?incident_id={incident}"))["items"]
        fitting = [o for o in items if (o["regime"], o["phase"]) == (regime, phase)]
        return fitting[0] if fitting else None

    found: dict[str, Any] = await until(probe)
    return found


async def _do(desk: Desk, path: str, verb: str, body: Any, who: str, role: str) -> httpx.Response:
    return await desk.call("POST", f"{path}/{verb}", json=body, who=who, role=role)


async def _hand_in(desk: Desk, obligation_id: str, at: datetime) -> None:
    """Draft, approve and submit what a regime asks for, by two people."""
    path = f"/v1/obligations/{obligation_id}"
    content = dict.fromkeys((await desk.get(path))["content"], "as far as known")
    await _do(desk, path, "draft", {"content": content}, "iris", "legal")
    await _do(desk, path, "approve", None, "lena", "legal")
    body = {"submitted_at": rfc3339(at), "reference": "DPA-78"}
    assert (await _do(desk, path, "submit", body, "lena", "legal")).status_code == 200


async def test_a_statutory_notice_from_draft_to_acknowledgement(stage: Stage) -> None:
    incident, now = uuid7(), stage.clock()
    # Aware two hours ago, so that nothing is late however long this test runs.
    aware = now - timedelta(hours=2)
    times: dict[str, Any] = {
        "aware_at": aware,
        "confirmed_at": now,
        "detected_at": aware - timedelta(hours=1),
    }
    async with stage.running() as desk:
        await stage.say(confirmed(incident, **times))
        found = await _one(desk, incident, "gdpr_33_1", "initial")
        path = f"/v1/obligations/{found['obligation_id']}"

        refused = await _do(desk, path, "draft", {"content": CONTENT}, "dora", "service_team")
        assert refused.status_code == 403
        part = {**CONTENT, "measures": "  "}
        drafted = await _do(desk, path, "draft", {"content": part}, "iris", "legal")
        assert (drafted.json()["stage"], drafted.json()["missing"]) == ("drafted", ["measures"])
        refused = await _do(desk, path, "approve", None, "iris", "legal")
        assert refused.status_code == 409
        codes = {one["code"] for one in refused.json()["unmet"]}
        assert codes == {"approver_is_author", "content_missing"}

        await _do(desk, path, "draft", {"content": CONTENT}, "iris", "incident_communications")
        approved = await _do(desk, path, "approve", None, "lena", "legal")
        assert approved.json()["stage"] == "approved"
        handed_in = {"submitted_at": rfc3339(now), "reference": "DPA-77"}
        done = await _do(desk, path, "submit", handed_in, "lena", "legal")
        assert (done.json()["stage"], done.json()["late"]) == ("submitted", False)
        acknowledged = await _do(desk, path, "acknowledge", {}, "lena", "legal")
        assert acknowledged.json()["stage"] == "acknowledged"

        met = await until(lambda: stage.published(incident, ObligationMetV1))
        assert (met[0].reference, met[0].regime) == ("DPA-77", "gdpr_33_1")
        # The supplement runs from the actual submission.
        later = await _one(desk, incident, "gdpr_33_1", "supplement")
        assert later["due_at"] == rfc3339(now + timedelta(days=14))
        assert not later["provisional"]

        # Submitted, it is followed by the next; that one is ended with a reason, and told.
        await _hand_in(desk, later["obligation_id"], now)
        second = await _one(desk, incident, "gdpr_33_1", "supplement#2")
        assert second["due_at"] == rfc3339(now + timedelta(days=14))
        path = f"/v1/obligations/{second['obligation_id']}"
        ended = await _do(desk, path, "end-series", {"reason": "all is said"}, "lena", "legal")
        assert (ended.json()["stage"], ended.json()["period"]) == ("not_required", 2)
        board = await desk.get(f"/v1/clock-board?incident_id={incident}&regime=gdpr_33_1")
        assert board["items"] == []

        # An unmet obligation is decided, held and waived by the people whose part it is.
        other = await _one(desk, incident, "gdpr_34", "communication")
        path = f"/v1/obligations/{other['obligation_id']}"
        assert other["state"] == "undecided"
        decided = {"required": True, "reason": "high risk cannot be excluded"}
        assert (await _do(desk, path, "decide", decided, "lena", "legal")).status_code == 200
        hold = {"authority": "police", "tz": "UTC", "until": "2030-01-01"}
        held = await _do(desk, path, "hold", hold, "lena", "legal")
        assert [one["code"] for one in held.json()["unmet"]] == ["no_hold"]
        bad = await _do(desk, path, "hold", {**hold, "tz": "Mars"}, "lena", "legal")
        assert bad.status_code == 422
        await _do(desk, path, "propose-waiver", {"reason": "encrypted"}, "lena", "legal")
        role = "executive_incident_manager"
        same = await _do(desk, path, "approve-waiver", None, "lena", role)
        assert [one["code"] for one in same.json()["unmet"]] == ["approver_is_proposer"]
        waived = await _do(desk, path, "approve-waiver", None, "eve", role)
        assert waived.json()["stage"] == "waived"
        await until(lambda: stage.published(incident, ObligationWaivedV1))
        decided_ones = await stage.published(incident, ObligationDecidedV1)
        assert [(one.regime, one.decision) for one in decided_ones] == [
            ("gdpr_33_1", "not_required"), ("gdpr_34", "required"),
        ]  # fmt: skip
        assert (await desk.call("GET", f"/v1/obligations/{uuid7()}")).status_code == 404


async def test_the_board_shows_what_runs_and_the_calendar_too(stage: Stage) -> None:
    incident, now = uuid7(), stage.clock()
    async with stage.running() as desk:
        await stage.say(confirmed(incident, aware_at=now - timedelta(hours=60), detected_at=AWARE))
        await _one(desk, incident, "gdpr_33_1", "initial")
        board = await desk.get(f"/v1/clock-board?incident_id={incident}&regime=gdpr_33_1")
        first = board["items"][0]
        assert (first["phase"], first["warning"]) == ("initial", "four_fifths")
        assert 0.83 < first["used"] < 0.84
        assert 11 * 3600 < first["seconds_left"] < 12 * 3600

        # Pages do not overlap, and together they are everything.
        seen: list[str] = []
        after = ""
        while True:
            page = await desk.get(f"/v1/clock-board?incident_id={incident}&limit=3{after}")
            seen += [item["obligation_id"] for item in page["items"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        whole = await desk.get(f"/v1/clock-board?incident_id={incident}&limit=500")
        assert seen == [item["obligation_id"] for item in whole["items"]]
        assert (await desk.call("GET", "/v1/clock-board?after=x")).status_code == 422

        made = await desk.call("POST", "/v1/clock-board/feeds", json={"incident_id": str(incident)})
        assert made.status_code == 201
        path = made.json()["path"]
        text = (await desk.client.get(path)).text  # without a token: the address is the key
        events = icalendar.Calendar.from_ical(text).walk("VEVENT")
        assert len(events) == len(seen)
        starts = {str(event["summary"]): event.decoded("dtstart") for event in events}
        summary = "TOCSIN-2026-0001: gdpr_33_1/initial due to lead_supervisory_authority"
        assert rfc3339(starts[summary])[:19] == first["due_at"][:19]
        assert (await desk.client.get("/v1/feeds/guess.ics")).status_code == 404
        await desk.call("DELETE", "/v1/clock-board/feeds")
        assert (await desk.client.get(path)).status_code == 404


async def test_a_clock_that_runs_out_is_told_at_each_step_once(stage: Stage) -> None:
    incident, now = uuid7(), stage.clock()
    async with stage.running(alarm_seconds=0.2) as desk:
        await stage.say(confirmed(incident, aware_at=now, detected_at=now, confirmed_at=now))
        await _one(desk, incident, "gdpr_33_1", "initial")

        async def told() -> list[str]:
            soon = await stage.published(incident, ObligationDueSoonV1)
            late = await stage.published(incident, ObligationOverdueV1)
            levels = [m.level for m in soon if m.regime == "gdpr_33_1" and m.phase == "initial"]
            return levels + [
                "overdue" for m in late if m.regime == "gdpr_33_1" and m.phase == "initial"
            ]

        async def are(*levels: str) -> None:
            await until(lambda: _same(told, list(levels)))

        stage.clock.wind(hours=37)
        await are("half")
        stage.clock.wind(hours=34)  # past four fifths and two hours: only the nearer one is told
        await are("half", "two_hours")
        stage.clock.wind(hours=2)
        await are("half", "two_hours", "overdue")
        # V29: corrected to an earlier instant it is another deadline, and overdue at once.
        await stage.say(clock_set(incident, 9, "aware", now - timedelta(hours=1)))
        await are("half", "two_hours", "overdue", "overdue")


async def _same(told: Any, levels: list[str]) -> bool:
    return bool(await told() == levels)


async def test_a_notice_to_a_tenant_meets_what_was_owed_to_it(stage: Stage) -> None:
    incident = uuid7()
    async with stage.running() as desk:
        await stage.say(confirmed(incident), scoped(incident, "m1"))
        listed = await desk.newest_list(incident)
        await desk.approve(listed["list_id"])
        await desk.all_are(incident, "sent")

        async def met() -> Any:
            found = await stage.published(incident, ObligationMetV1)
            return {(m.regime, m.tenant) for m in found} >= {
                ("contract_sla", "alpha"),
                ("gdpr_33_2", "alpha"),
            }

        await until(met)
        # AWARE is long ago: it went out late, and somebody has to say why.
        one = await _one(desk, incident, "contract_sla", "9.1")
        path = f"/v1/obligations/{one['obligation_id']}"
        shown = await desk.get(path)
        assert (shown["stage"], shown["late"], shown["late_reason"]) == ("submitted", True, "")
        board = await desk.get(f"/v1/clock-board?incident_id={incident}&done=true&tenant=alpha")
        assert any(item["late_reason_missing"] for item in board["items"])
        told = await _do(desk, path, "explain-late", {"reason": "found late"}, "lena", "legal")
        assert told.json()["late_reason"] == "found late"
