"""One incident from the first word to the last, through the API (R10, R23–R34, I6)."""

from datetime import timedelta

import pytest

from shared.clock import rfc3339, utc_now
from tests.integration.cases.conversation import People

pytestmark = pytest.mark.integration


async def test_from_opened_to_closed(people: People) -> None:
    incident = await people.investigating()
    refused = await people.send("rita", incident, "confirm", {"rationale": "it is real"})
    assert refused.status_code == 409
    assert {u["code"] for u in refused.json()["unmet"]} == {
        "summary_missing",
        "potential_impact_missing",
        "no_supporting_indicator",
        "field_missing",
    }

    await people.does(
        "sam", incident, "record-summary", summary="Root guessed", potential_impact="One tenant"
    )
    added = await people.does("mia", incident, "add-indicator", type="ip", value="203.0.113.9")
    await people.does(
        "rita",
        incident,
        "assess-indicator",
        indicator_id=added["created"]["indicator_id"],
        verdict="supports",
        confidence=90,
        rationale="in every session",
    )
    early = rfc3339(utc_now() - timedelta(hours=1))
    await people.does("rita", incident, "confirm", rationale="it is real", aware_at=early)
    await people.does(
        "rita", incident, "set-scope", include=[{"region": "eu-west", "service": "mail"}]
    )
    action = await people.does(
        "sam", incident, "record-action", kind="containment", text="Disable root", owner="sam"
    )
    await people.does(
        "sam", incident, "update-action", action_id=action["created"]["action_id"], status="done"
    )
    await people.does(
        "rita", incident, "contain", criteria=[{"text": "no session left", "met": True}]
    )
    await people.does(
        "sam", incident, "record-root-cause", status="determined", cause="a weak password"
    )
    await people.does("sam", incident, "draft-recovery-plan", steps=["Rotate keys", "Rebuild m1"])
    own = await people.send("sam", incident, "approve-recovery-plan", {"version": 1})
    assert own.status_code == 403  # the service team approves no plan, its own least of all
    await people.does("rita", incident, "approve-recovery-plan", version=1)
    await people.does("rita", incident, "eradicate", verification="nothing found")
    until = rfc3339(utc_now() + timedelta(days=14))
    await people.does(
        "sam", incident, "recover", verification="checks pass", monitoring_until=until
    )
    started = await people.does("rita", incident, "start-review")
    early_close = await people.send("rita", incident, "close")
    codes = {unmet["code"] for unmet in early_close.json()["unmet"]}
    assert codes == {"affected_customers_open", "review_open"}
    await people.signed_off(started["created"]["review_id"])
    await people.does(
        "rita", incident, "declare-no-customers-affected", reason="the mailbox was empty"
    )
    closed = await people.does("rita", incident, "close")
    assert closed["events"] == ["IncidentClosed"]

    shown = (await people.get("anna", f"/v1/incidents/{incident}")).json()
    assert shown["state"] == "closed"
    assert shown["verdict"]["aware_at"] == early
    assert shown["recovery_plan"]["status"] == "executed"
    told = (await people.get("anna", f"/v1/incidents/{incident}/timeline")).json()["items"]
    assert [entry["version"] for entry in told] == list(range(1, shown["version"] + 1))
    assert all(entry["sentence"] for entry in told)
