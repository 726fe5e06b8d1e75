"""Evidence of a restricted incident, by its own id: at every route there is (§7)."""

import pytest

from tests.integration.cases.conversation import TEAM
from tests.integration.cases.evidence.keeping import Custody, metadata

pytestmark = pytest.mark.integration


async def restricted(custody: Custody) -> tuple[str, str]:
    """Return a restricted incident and an item of it; rita, sam and ines are its v-team."""
    people = custody.people
    incident = await people.opened("celeriac")
    await people.does("sam", incident, "set-severity", level="SEV3")
    await people.does("sam", incident, "escalate", owning_team="blue")
    await people.does("rita", incident, "form-v-team", members=TEAM, lead="rita")
    item = await custody.collected(b"who logged in as celeriac", incident)
    await people.does("rita", incident, "restrict", reason="the suspect reads along")
    return incident, item


async def routes(custody: Custody) -> list[tuple[str, str]]:
    """Return method and path of every route that names an item of evidence."""
    paths = (await custody.client.get("/openapi.json")).json()["paths"]
    return [
        (method.upper(), path)
        for path, methods in paths.items()
        if "{evidence_id}" in path
        for method in methods
    ]


async def test_no_route_by_an_items_id_leads_around_the_restriction(custody: Custody) -> None:
    _, item = await restricted(custody)
    there = await routes(custody)
    assert len(there) >= 15
    for method, path in there:
        for person in ("rob", "carl"):  # roles that may try, persons who need not know
            answer = await custody.client.request(
                method,
                path.format(evidence_id=item),
                params={"purpose": "curious"},
                json={},
                headers={"If-Match": '"2"', **custody.people.bearer(person)},
            )
            told = (answer.status_code, answer.json()["code"])
            # What is forbidden to the role is forbidden whether there is an item or not.
            assert told in {(404, "not_found"), (403, "forbidden")}, (method, path, person, told)
            assert "celeriac" not in answer.text
            nothing = await custody.client.request(
                method,
                path.format(evidence_id="0" * 8 + "-0000-4000-8000-" + "0" * 12),
                params={"purpose": "curious"},
                json={},
                headers={"If-Match": '"2"', **custody.people.bearer(person)},
            )
            if answer.status_code == 403:
                assert nothing.status_code == 403
    assert (await custody.see(item))["version"] == 2  # nothing happened


async def test_who_is_in_reads_and_stands_in_the_record(custody: Custody) -> None:
    incident, item = await restricted(custody)
    paths = [
        f"/v1/incidents/{incident}/evidence",
        f"/v1/incidents/{incident}/evidence/manifest",
        f"/v1/evidence/{item}",
        f"/v1/evidence/{item}/custody-report",
    ]
    for path in paths:
        assert (await custody.people.get("rita", path)).status_code == 200
    assert (await custody.read("rita", item)).content == b"who logged in as celeriac"
    reads = (await custody.people.get("anna", f"/v1/incidents/{incident}/reads")).json()["items"]
    seen = [r["what"] for r in reads if r["person"] == "rita"]
    assert [what for what in seen if what in paths] == paths  # once each
    assert f"/v1/evidence/{item}/content" in seen


async def test_looking_at_evidence_is_recorded_where_nothing_is_restricted(
    custody: Custody,
) -> None:
    incident = await custody.people.opened()
    item = await custody.collected(b"open", incident)
    version = (await custody.see(item))["version"]
    await custody.people.get("rob", f"/v1/evidence/{item}/custody-report")
    reads = (await custody.people.get("anna", f"/v1/incidents/{incident}/reads")).json()["items"]
    assert [(r["person"], r["what"]) for r in reads] == [
        ("anna", f"/v1/evidence/{item}"),
        ("rob", f"/v1/evidence/{item}/custody-report"),
    ]
    assert (await custody.see(item))["version"] == version  # a look makes nothing stale


async def test_a_copy_of_what_one_may_not_know_is_a_copy_of_nothing(custody: Custody) -> None:
    _, item = await restricted(custody)
    mine = await custody.people.opened()
    told = []
    for original in (item, "0" * 8 + "-0000-4000-8000-" + "0" * 12):
        answer = await custody.client.post(
            f"/v1/incidents/{mine}/evidence",
            json=metadata(copy_of=original),
            headers=custody.people.bearer("carl"),
        )
        told.append((answer.status_code, answer.json()["detail"]))
    assert told[0] == told[1]
    assert told[0][0] == 422
