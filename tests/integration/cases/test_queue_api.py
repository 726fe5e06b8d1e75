"""The queue is narrowed, searched and counted."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.integration.cases.conversation import TEAM, People

pytestmark = pytest.mark.integration


async def found(people: People, **asked: Any) -> list[str]:
    answer = await people.client.get(
        "/v1/incidents", params=httpx.QueryParams(asked), headers=people.bearer("sam")
    )
    assert answer.status_code == 200, answer.text
    return [row["incident_id"] for row in answer.json()["items"]]


async def test_words_find_it_and_privileged_ones_do_not(people: People) -> None:
    incident = await people.opened("Kerberoasting of the payroll farm")
    await people.send("sam", incident, "add-note", {"text": "ticket from host quasar-17"})
    await people.send(
        "lars", incident, "add-note", {"text": "indemnity", "visibility": "legal_privileged"}
    )
    number = (await people.get("sam", f"/v1/incidents/{incident}")).json()["number"]
    for q in (
        "kerberoasting",
        "PAYROLL farm",
        '"payroll farm"',
        "quasar-17",
        number,
        "zzz or farm",
    ):
        assert await found(people, q=q) == [incident], q
    for q in ("indemnity", "payroll -farm", '"farm payroll"', "kerberoast!ing:*&|"):
        assert await found(people, q=q) == [], q
    for q in ("", "x" * 257, "a\0b"):
        assert (await people.get("sam", "/v1/incidents", q=q)).status_code == 422


async def test_filters_narrow_each_and_together(people: People) -> None:
    incident = await people.opened("filtered whole")
    await people.send("sam", incident, "set-severity", {"level": "SEV3"})
    await people.send("sam", incident, "escalate", {"owning_team": "crimson"})
    await people.send("rita", incident, "form-v-team", {"members": TEAM, "lead": "rita"})
    assert await found(people, owning_team="crimson") == [incident]
    assert await found(people, owning_team=["crimson", "none"], person="ines") == [incident]
    assert await found(people, owning_team="crimson", person="nobody") == []
    assert incident in await found(people, service="mail")
    assert await found(people, service="mail", region="nowhere", q="filtered") == []
    kind = (await people.get("sam", f"/v1/incidents/{incident}")).json()["source"]["kind"]
    assert incident in await found(people, source_kind=kind)
    assert await found(people, source_kind="carrier pigeon") == []
    assert (await people.get("sam", "/v1/incidents", priority="whatever")).status_code == 422
    assert (await people.get("sam", "/v1/incidents", service="a\0")).status_code == 422


async def test_what_holds_a_nul_is_still_found(people: People) -> None:
    incident = await people.opened("nul \0 inside marzipan")
    assert await found(people, q="marzipan") == [incident]


async def test_pages_of_a_search_hold_together_while_others_open(people: People) -> None:
    mine = [await people.opened(f"pageable tangerine {n}") for n in range(5)]
    first = (await people.get("sam", "/v1/incidents", q="tangerine", limit=2)).json()
    await asyncio.gather(*(people.opened(f"later tangerine {n}") for n in range(3)))
    seen = [row["incident_id"] for row in first["items"]]
    cursor = first["next_cursor"]
    while cursor:
        page = (
            await people.get("sam", "/v1/incidents", q="tangerine", limit=2, cursor=cursor)
        ).json()
        seen += [row["incident_id"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert seen == mine[::-1]


async def test_counts_count_what_the_queue_lists(people: People) -> None:
    incident = await people.opened("countable persimmon")
    await people.opened("another persimmon")
    await people.send("sam", incident, "set-severity", {"level": "SEV4"})
    counted = (await people.get("sam", "/v1/counts", q="persimmon")).json()
    assert counted == {
        "total": 2,
        "items": [
            {"state": "opened", "severity": None, "count": 1},
            {"state": "opened", "severity": "SEV4", "count": 1},
        ],
    }
    assert (await people.get("otto", "/v1/counts")).status_code == 403
