"""What leaves the straight line, through the API: merge, split, reopen, retract, lose (§3.7)."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from services.cases.domain import commands as c
from services.cases.domain.incident import UNOPENED
from services.cases.handle import decide_all
from services.cases.postgres import PostgresStore
from services.cases.projector import Projector
from services.cases.queries import Queries
from services.cases.split import Splitter
from shared.clock import rfc3339, utc_now
from shared.cloudevents import outgoing
from shared.contracts.base import Contract
from shared.ids import uuid7
from tests.integration.cases import told
from tests.integration.cases.conversation import People
from tests.support.incidents import command
from tests.support.incidents import detection as told_detection
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration


async def tell(world: World, service: str, stream: str, contract: Contract) -> None:
    async with world.bus(service) as bus:
        await bus.publish(outgoing(contract, source=service), stream=stream)


async def merged(people: People, incident: str, target: str) -> None:
    await people.does("rita", incident, "merge-into", target_id=target, reason="one attack")


async def test_several_merge_into_one_and_their_old_ids_lead_there(people: People) -> None:
    one, two, three = [await people.opened(f"part {n}") for n in range(3)]
    await merged(people, one, three)
    await merged(people, two, three)
    answer = await people.get("sam", f"/v1/incidents/{one}")
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["state"], shown["merged_into"], shown["canonical_id"]) == ("merged", three, three)
    assert answer.headers["link"] == f'</v1/incidents/{three}>; rel="canonical"'
    target = await people.get("sam", f"/v1/incidents/{three}")
    assert "link" not in target.headers
    assert {row["incident_id"] for row in target.json()["merged_from"]} == {one, two}
    assert target.json()["version"] == 1  # it is the others' history
    # The target goes on as yet another one: the old id names the end of the line.
    last = await people.opened("the whole")
    await merged(people, three, last)
    shown = await people.shown(one)
    assert (shown["merged_into"], shown["canonical_id"]) == (three, last)


async def test_a_merged_incident_only_comes_back(people: People) -> None:
    one, two = await people.opened("a"), await people.opened("b")
    await merged(people, one, two)
    refused = await people.send("sam", one, "add-note", {"text": "hello?"})
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
    circle = await people.send("rita", two, "merge-into", {"target_id": one, "reason": "x"})
    assert {u["code"] for u in circle.json()["unmet"]} == {"target_not_open", "merge_cycle"}
    back = await people.does("rita", one, "unmerge", reason="two attackers")
    assert back["events"] == ["IncidentUnmerged"]
    assert (await people.shown(one))["state"] == "opened"
    assert (await people.shown(two))["merged_from"] == []


async def test_of_two_that_merge_into_each_other_one_stays(people: People) -> None:
    for n in range(3):
        one, two = await people.opened(f"left {n}"), await people.opened(f"right {n}")
        answers = await asyncio.gather(
            people.send("rita", one, "merge-into", {"target_id": two, "reason": "same"}, version=1),
            people.send("rita", two, "merge-into", {"target_id": one, "reason": "same"}, version=1),
        )
        assert sorted(a.status_code for a in answers) == [200, 409]
        states = sorted([(await people.shown(x))["state"] for x in (one, two)])
        assert states == ["merged", "opened"]


async def test_a_target_has_to_exist_and_be_another(people: People) -> None:
    one = await people.opened()
    for target, code in ((str(uuid7()), "other_unknown"), (one, "other_is_itself")):
        answer = await people.send("rita", one, "merge-into", {"target_id": target, "reason": "x"})
        assert (answer.status_code, answer.json()["code"]) == (409, code)


async def test_what_is_told_of_a_merged_incident_is_told_of_its_target(
    people: People, world: World
) -> None:
    one, two = await people.opened("early"), await people.opened("late")
    await merged(people, one, two)
    await tell(world, "escalate", "ESCALATIONS", told.extended(UUID(one), 1, told.detection()))
    await tell(world, "notify", "NOTIFICATIONS", told.owed(UUID(one)))

    async def seen() -> bool:
        shown = await people.shown(two)
        return len(shown["detections"]) == 1 and len(shown["obligations"]) == 1

    await until(seen)
    assert len((await people.get("anna", f"/v1/incidents/{one}/events")).json()["items"]) == 2


async def test_what_ended_is_reopened_with_its_clocks(people: People) -> None:
    incident = await people.investigating()
    instant = rfc3339(utc_now() - timedelta(days=1))
    clock = {"clock": "occurred", "instant": instant, "basis": "the log"}
    await people.does("lars", incident, "record-clock", **clock)
    await people.does(
        "rita", incident, "dismiss", classification="false_positive", reason="a scanner"
    )
    bare = await people.send("lars", incident, "reopen", {"reason": "", "new_information_ref": ""})
    assert {u["code"] for u in bare.json()["unmet"]} == {
        "reason_missing",
        "new_information_missing",
    }
    await people.does(
        "lars", incident, "reopen", reason="seen again", new_information_ref="ticket 77"
    )
    shown = await people.shown(incident)
    assert (shown["state"], shown["verdict"]) == ("investigating", None)
    assert shown["clocks"]["occurred"]["instant"] == instant


async def test_a_clock_is_corrected_with_its_history(people: People) -> None:
    incident = await people.confirmed()
    first = (await people.shown(incident))["clocks"]["aware"]["instant"]
    earlier = rfc3339(utc_now() - timedelta(hours=5))
    again = await people.send(
        "lars", incident, "record-clock", {"clock": "aware", "instant": earlier, "basis": "mail"}
    )
    assert again.json()["code"] == "clock_set"
    body = {"clock": "aware", "instant": earlier, "reason": "the mail of Tuesday"}
    assert (await people.send("sam", incident, "correct-clock", body)).status_code == 403
    await people.does("lars", incident, "correct-clock", **body)
    clock = (await people.shown(incident))["clocks"]["aware"]
    assert clock["instant"] == earlier
    assert [c["supersedes"] for c in clock["corrections"]] == [first]


async def test_a_confirmation_is_retracted_by_a_whole_team(people: People) -> None:
    incident = await people.confirmed()
    gone = {"person": "ines", "reason": "off duty"}
    left = await people.send("rita", incident, "remove-v-team-member", gone)
    assert left.json()["events"] == ["VTeamMemberRemoved", "VTeamCompositionBroken"]
    assert (await people.shown(incident))["v_team"]["missing"] == ["incident_communications"]
    refused = await people.send("rita", incident, "retract-confirmation", {"reason": "red team"})
    assert refused.json()["code"] == "member_kind_missing"
    member = {"person": "ivo", "kind": "incident_communications"}
    assert (await people.send("rita", incident, "add-v-team-member", member)).status_code == 200
    await people.does("rita", incident, "retract-confirmation", reason="red team")
    shown = await people.shown(incident)
    assert (shown["state"], shown["v_team"]["missing"]) == ("investigating", [])
    assert shown["retraction"]["reason"] == "red team"


async def test_a_lost_containment_is_back_at_confirmed(people: People) -> None:
    incident = await people.confirmed()
    action = await people.does(
        "sam", incident, "record-action", kind="containment", text="Disable root", owner="sam"
    )
    key = action["created"]["action_id"]
    await people.does("sam", incident, "update-action", action_id=key, status="done")
    criteria = [{"text": "no session left", "met": True}]
    await people.does("rita", incident, "contain", criteria=criteria)
    lost = await people.does("ines", incident, "report-containment-loss", new_assets=["m7"])
    assert lost["events"] == ["ContainmentLost"]
    shown = await people.shown(incident)
    assert (shown["state"], shown["containment"]) == ("confirmed", None)
    assert shown["containment_losses"][0]["new_assets"] == ["m7"]


async def test_detections_are_split_off_as_an_incident_of_their_own(
    people: People, world: World
) -> None:
    incident = str(uuid7())
    found = told.proposed(UUID(incident), told.detection(), told.detection("198.51.100.7"))
    await tell(world, "escalate", "ESCALATIONS", found)

    async def opened_() -> bool:
        return (await people.get("anna", f"/v1/incidents/{incident}")).status_code == 200

    await until(opened_)
    key = {"Idempotency-Key": str(uuid7())}
    version = len((await people.get("anna", f"/v1/incidents/{incident}/events")).json()["items"])
    second = str(found.detections[1].detection_id)
    body = {"title": "Another attacker", "detection_ids": [second], "reason": "another tool"}
    answers = [
        await people.send("rita", incident, "split", body, version=version, headers=key)
        for _ in range(2)
    ]
    assert [a.status_code for a in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    new = answers[0].json()["created"]["new_id"]
    opened = await people.shown(new)
    assert (opened["title"], opened["detection_count"]) == ("Another attacker", 1)
    assert opened["source"]["refs"] == [f"split:{incident}"]
    assert opened["detections"][0]["detection_id"] == second
    shown = await people.shown(incident)
    assert shown["split_off"][0]["new_id"] == new
    assert len(shown["detections"]) == 2  # nothing is deleted


async def test_what_was_split_off_is_opened_even_if_the_process_died(
    people: People, world: World
) -> None:
    engine = world.engine("cases")
    store, origin = PostgresStore(engine, world.vault), uuid7()
    two = (told_detection(1), told_detection(2, "198.51.100.7"))
    happened = decide_all(
        UNOPENED,
        [
            command(c.OpenIncident, number=str(origin)),
            command(c.AttachDetections, detections=two, count=2),
            command(c.SplitIncident, new_id=(new := uuid7())),
        ],
    )
    appended = await store.append(origin, happened, expected=0, command_id=uuid7(), digest="d")
    assert await Projector(engine, world.vault).reached(appended.last_position)
    woken: list[int] = []
    splitter = Splitter(store, Queries(engine, world.vault), lambda: woken.append(1))
    for _ in range(2):
        await splitter.once()
    types = [x.type for x in await store.stream_after(new, 0, 10)]
    assert types[:2] == ["IncidentOpened.v1", "DetectionsAttached.v1"]
    assert types.count("IncidentOpened.v1") == 1


async def test_links_are_seen_from_both_ends(people: People) -> None:
    child, parent = await people.opened("child"), await people.opened("parent")
    body = {"other_id": child, "relation": "parent_of", "reason": "the same campaign"}
    await people.does("mia", parent, "link-incident", **body)
    seen = (await people.get("sam", f"/v1/incidents/{child}/related")).json()["links"]
    assert [(x["incident_id"], x["relation"], x["made_here"]) for x in seen] == [
        (parent, "child_of", False)
    ]
    both = await people.send("mia", child, "link-incident", {**body, "other_id": parent})
    assert both.json()["code"] == "link_contradicted"
    await people.does("mia", parent, "unlink-incident", **{**body, "reason": "it was not"})
    assert (await people.shown(child))["links"] == (await people.shown(parent))["links"] == []


async def test_an_accepted_recommendation_is_done_with_its_action(people: People) -> None:
    incident = await people.confirmed()
    added = await people.does(
        "mia", incident, "add-recommendation", text="Second factors", priority="P2"
    )
    key = added["created"]["recommendation_id"]
    decided = await people.does(
        "sam", incident, "decide-recommendation", recommendation_id=key, decision="accepted"
    )
    assert decided["events"] == ["RecommendationDecided", "ActionRecorded"]
    action = decided["created"]["action_id"]
    [shown] = (await people.shown(incident))["recommendations"]
    assert (shown["status"], shown["action_id"]) == ("accepted", action)
    await people.does("sam", incident, "update-action", action_id=action, status="done")
    assert (await people.shown(incident))["recommendations"][0]["status"] == "done"


async def test_a_privileged_note_is_for_legal(people: People) -> None:
    incident = await people.opened()
    await people.does(
        "lars", incident, "add-note", text="we may be liable", visibility="legal_privileged"
    )
    for person, reads in (("lars", True), ("anna", True), ("rita", False), ("emil", False)):
        note = (await people.shown(incident, person))["notes"][0]
        assert (note["text"] == "we may be liable") is reads
        told_ = (await people.get(person, f"/v1/incidents/{incident}/timeline")).text
        assert ("liable" in told_) is reads
    log = await people.get("rita", f"/v1/incidents/{incident}/events")
    assert "liable" not in log.text
    assert log.json()["items"][-1]["withheld"] == ["text"]


async def test_the_analysis_counts_what_indicators_came_to_elsewhere(people: People) -> None:
    name = f"{uuid7()}.example"
    good, bad = f"good.{name}", f"bad.{name}"
    for _ in range(2):
        await people.confirmed(good)
    dismissed = await people.investigating()
    await people.indicates(dismissed, bad)
    await people.does(
        "rita", dismissed, "dismiss", classification="false_positive", reason="a scanner"
    )
    here = await people.opened()
    await people.indicates(here, good)
    key = await people.indicates(here, bad)
    found = (await people.get("mia", f"/v1/incidents/{here}/analysis")).json()
    [group] = found["groups"]
    counts = ("true_positives", "benign_positives", "false_positives")
    assert [group[name] for name in counts] == [2, 0, 1]
    assert [x["value"] for x in group["indicators"]] == [good, bad]
    assert group["indicators"][0]["wilson_lower_bound"] == 0.3424
    assert found["advice"] == group["advice"] == "weak"
    classified = {"indicator_id": key, "attack_vector": "attrition", "techniques": ["T1110"]}
    await people.does("mia", here, "classify-indicator", **classified)
    found = (await people.get("mia", f"/v1/incidents/{here}/analysis")).json()
    assert [g["attack_vector"] for g in found["groups"]] == ["web", "attrition"]
    assert found["groups"][1]["attack_techniques"] == ["T1110"]
    assert found["advice"] == "inconclusive"
    suggested = (await people.get("mia", f"/v1/incidents/{here}/related")).json()["suggestions"]
    assert dismissed in {row["incident_id"] for row in suggested}
    assert (await people.get("mia", f"/v1/incidents/{uuid7()}/analysis")).status_code == 404


async def test_completeness_is_shown_and_confirming_names_what_is_missing(people: People) -> None:
    incident = await people.investigating()
    phases = {x["phase"]: x for x in (await people.shown(incident))["completeness"]["phases"]}
    assert phases["opened"]["complete"]
    assert phases["investigating"]["missing"] == ["summary", "potential_impact"]
    refused = await people.send("rita", incident, "confirm", {"rationale": "real"})
    details = [u["detail"] for u in refused.json()["unmet"] if u["code"] == "field_missing"]
    assert [d.partition(" ")[0] for d in details] == ["summary", "potential_impact"]
