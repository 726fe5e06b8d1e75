"""Containment's other half: protect the services under attack, and watch where it may go (R32)."""

import pytest

from tests.integration.cases.conversation import People

pytestmark = pytest.mark.integration


async def test_a_protective_action_is_linked_to_services(people: People) -> None:
    incident = await people.confirmed("protected.example")
    body = {"kind": "protection", "text": "Rate limit", "owner": "sam"}
    refused = await people.send("sam", incident, "record-action", body)
    assert [unmet["code"] for unmet in refused.json()["unmet"]] == ["services_missing"]
    made = await people.does("sam", incident, "record-action", services=["mail"], **body)
    await people.does("rita", incident, "set-scope", include=[{"service": "id"}])
    watch = (await people.get("sam", f"/v1/incidents/{incident}/spread")).json()
    assert watch["under_attack"]["services"] == ["id", "mail"]
    assert [(p["service"], p["protected"]) for p in watch["protection"]] == [
        ("id", False),
        ("mail", False),
    ]
    key = made["created"]["action_id"]
    await people.does("sam", incident, "update-action", action_id=key, status="done")
    watch = (await people.get("sam", f"/v1/incidents/{incident}/spread")).json()
    assert watch["protection"][1]["protected"] is True


async def test_services_of_incidents_that_share_something_are_watched(people: People) -> None:
    here = await people.confirmed("spreading.example")
    there = await people.client.post(
        "/v1/incidents",
        json={"title": "Odd", "reason": "seen", "services": ["billing"], "regions": ["us-east"]},
        headers=people.bearer("sam"),
    )
    other = there.json()["incident_id"]
    await people.indicates(other, "spreading.example")
    watch = (await people.get("sam", f"/v1/incidents/{here}/spread")).json()["watch"]
    [row] = [row for row in watch["services"] if row["name"] == "billing"]
    assert [why["incident_id"] for why in row["because"]] == [other]
    assert "us-east" in [row["name"] for row in watch["regions"]]


async def test_incidents_that_share_a_host_are_suggested_and_never_counted(people: People) -> None:
    here, there = await people.investigating(), await people.investigating()
    for incident in (here, there):
        await people.does("rita", incident, "set-scope", include=[{"server": "only-here-9"}])
    found = (await people.get("sam", f"/v1/incidents/{here}/related")).json()["suggestions"]
    assert there in [row["incident_id"] for row in found]
    analysis = (await people.get("sam", f"/v1/incidents/{here}/analysis")).json()
    assert analysis["groups"] == []


async def test_a_wider_scope_after_confirmation_asks_for_the_severity_anew(people: People) -> None:
    incident = await people.confirmed("wider.example")
    await people.does("rita", incident, "set-scope", include=[{"server": "m1"}])
    wider = await people.does(
        "rita", incident, "set-scope", include=[{"server": "m1"}, {"server": "m2"}]
    )
    assert wider["events"] == ["ScopeSet", "SeverityReassessmentRequested"]
    assert (await people.shown(incident))["severity_reassessment"]["scope_version"] == 2
    await people.does("sam", incident, "set-severity", level="SEV1", reason="it spreads")
    assert (await people.shown(incident))["severity_reassessment"] is None


async def test_the_actions_of_the_v_team_are_listed_in_their_order(people: People) -> None:
    incident = await people.confirmed("acts.example")
    keys = []
    for person, owner in (("sam", "sam"), ("mia", "olga"), ("mia", "rita")):
        body = {"kind": "investigation", "text": f"for {owner}", "owner": owner}
        made = await people.does(person, incident, "record-action", **body)
        keys.append(made["created"]["action_id"])
    await people.does("rita", incident, "update-action", action_id=keys[-1], status="done")
    path = f"/v1/incidents/{incident}/actions"

    async def owners(**filters: bool) -> list[str]:
        items = (await people.get("sam", path, **filters)).json()["items"]
        return [row["owner"] for row in items]

    assert await owners() == ["sam", "olga", "rita"]
    assert await owners(v_team=True) == ["sam", "rita"]  # Mia is not on it, and Olga neither
    assert await owners(v_team=True, open=True) == ["sam"]
