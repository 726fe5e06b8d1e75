"""I7, I8 and I12 of §3.4, each as a test of its name, from the outside."""

from collections import Counter
from typing import Any
from uuid import UUID

import pytest

from shared.contracts.notify import CustomersNotifiedV1, NotificationSentV1
from shared.ids import uuid7
from tests.integration.notify.stage import Desk, Stage, confirmed, scoped
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def obligations(desk: Desk, incident: UUID, at_least: int) -> dict[tuple[str, str, Any], str]:
    async def probe() -> Any:
        items = (await desk.get(f"/v1/obligations?incident_id={incident}"))["items"]
        return items if len(items) >= at_least else None

    found = await until(probe)
    return {(row["regime"], row["phase"], row["tenant"]): row["state"] for row in found}


async def test_i7_what_cannot_be_ruled_out_is_undecided_and_never_absent(stage: Stage) -> None:
    known, unknown = uuid7(), uuid7()
    async with stage.running() as desk:
        await stage.say(confirmed(known), scoped(known, "m1"))
        sure = await obligations(desk, known, 4)
        await stage.say(confirmed(unknown, inputs={}), scoped(unknown, "m1"))
        unsure = await obligations(desk, unknown, len(sure))
    # Not knowing whether personal data is affected loses nothing that knowing it would owe.
    assert sure.keys() <= unsure.keys()
    owed = {key for key, state in sure.items() if state != "not_required"}
    assert owed
    assert all(unsure[key] in {"undecided", "triggered"} for key in owed)
    assert {state for key, state in unsure.items() if key[0] == "gdpr_33_1"} == {"undecided"}


async def test_i8_nothing_leaves_without_another_persons_approval_or_incomplete(
    stage: Stage,
) -> None:
    incident = uuid7()
    async with stage.running() as desk:
        await stage.say(confirmed(incident, summary=" "), scoped(incident, "m1"))
        listed = (await desk.newest_list(incident))["list_id"]
        incomplete = await desk.approve(listed)
        assert [u["code"] for u in incomplete.json()["unmet"]] == ["notice_incomplete"]
        path = f"/v1/incidents/{incident}/notice"
        fields = (await desk.call("GET", path)).json()["missing"]
        body = dict.fromkeys(fields, "Mail was read.")
        assert (await desk.call("PUT", path, who="dora", json=body)).status_code == 200
        own = await desk.approve(listed, who="dora")
        assert [u["code"] for u in own.json()["unmet"]] == ["approver_is_author"]
        compiler = await desk.approve(listed, who="sam")
        assert [u["code"] for u in compiler.json()["unmet"]] == ["approver_is_compiler"]
        assert await desk.notifications(incident) == {}
        assert await stage.published(incident, NotificationSentV1) == []
        assert (await desk.approve(listed)).status_code == 200
        await desk.all_are(incident, "sent")


async def test_i12_the_waves_are_the_signed_list_and_nobody_is_told_twice(stage: Stage) -> None:
    incident = uuid7()
    async with stage.running() as desk:
        told: Counter[tuple[str, str]] = Counter()
        tenants: set[str] = set()
        for version, servers in ((1, ["m2"]), (2, ["m2", "m3"])):
            scope = scoped(incident, *servers, scope_version=version)
            await stage.say(*([confirmed(incident)] if version == 1 else []), scope)
            listed = await desk.newest_list(incident, version)
            before = await desk.notifications(incident)
            await desk.approve(listed["list_id"])
            sent = await desk.all_are(incident, "sent")
            told.update(sent.keys() - before.keys())
            signed = (await desk.get(f"/v1/affected-lists/{listed['list_id']}"))["tenants"]
            tenants = {row["tenant"] for row in signed if row["change"] != "removed"}
            assert {tenant for tenant, _ in sent} == tenants
        assert set(told.values()) == {1}
        done = await until(lambda: stage.published(incident, CustomersNotifiedV1))
        assert done[-1].tenants == len(tenants)
        assert done[-1].sent == sum(told.values())
