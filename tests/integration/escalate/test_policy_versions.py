"""Policies change through two persons; every version answers, and old results stay explained."""

from typing import Any

import httpx
import pytest

from services.escalate.policy import SHIPPED_SEVERITY
from shared.contracts.escalate import PolicyChangedV1
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import severity_policy

pytestmark = pytest.mark.integration

S1 = {
    "privacy": "none", "impact": "no_impact", "scope": "server", "affected_tenants": 0,
    "region": "standard", "service": "tier3", "details": "prepare", "industry_regulation": "none",
}  # fmt: skip
TEXT = SHIPPED_SEVERITY.read_text()
STRICTER = TEXT.replace('"2026.11.0"', '"2026.12.0"').replace("prepare: 2", "prepare: 12")
VERSIONS = "/v1/policies/severity/versions"
WHY = {"reason": "a test of the four eyes"}


def as_admin(world: World, name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {world.token(name, 'policy_admin')}"}


async def test_a_version_is_proposed_by_one_and_approved_by_another(
    world: World, escalate: httpx.AsyncClient
) -> None:
    ann, ben = as_admin(world, "ann"), as_admin(world, "ben")
    body = {"text": STRICTER, "reason": "scans of the DMZ matter more"}
    made = await escalate.post(VERSIONS, json=body, headers=ann)
    assert made.status_code == 201, made.text
    new = made.json()
    assert new["effect"]["lowered"] == 0
    taken = await escalate.post(VERSIONS, json=body, headers=ben)
    assert (taken.status_code, taken.json()["code"]) == (409, "version_taken")

    async def points(version: str | None = None) -> tuple[int, int, str]:
        query = {"version": version} if version else {}
        answer = await escalate.post("/v1/severity/preview", json=S1, params=query)
        found = answer.json()
        return answer.status_code, found["points"], found["digest"]

    old = severity_policy().digest
    assert await points() == (200, 6, old)
    assert await points("2026.12.0") == (200, 16, new["digest"])  # what if
    approve = f"{VERSIONS}/2026.12.0/approve"
    own = await escalate.post(approve, json=WHY, headers=ann)
    assert (own.status_code, own.json()["code"]) == (409, "approver_is_author")
    assert await points() == (200, 6, old)
    done = await escalate.post(approve, json=WHY, headers=ben)
    assert (done.status_code, done.json()["status"]) == (200, "active")
    assert await points() == (200, 16, new["digest"])
    assert await points("2026.11.0") == (200, 6, old)
    assert await points(old) == (200, 6, old)
    kept = (await escalate.get(f"{VERSIONS}/2026.12.0")).json()
    assert (kept["content"], kept["author"], kept["decided_by"]) == (STRICTER, "ann", "ben")
    listed = (await escalate.get(VERSIONS)).json()["items"]
    assert {v["version"]: v["in_force"] for v in listed} == {"2026.12.0": True, "2026.11.0": False}
    again = await escalate.post(approve, json=WHY, headers=ben)
    assert (again.status_code, again.json()["code"]) == (409, "not_proposed")
    changes = await until(lambda: told(world, 2))
    assert [(c.change, c.author, c.decided_by) for c in changes] == [
        ("proposed", "ann", None), ("approved", "ann", "ben"),
    ]  # fmt: skip


async def told(world: World, count: int) -> list[PolicyChangedV1] | None:
    messages = await world.messages("ESCALATIONS")
    found = [PolicyChangedV1.from_json(m[2]) for m in messages if m[0] == PolicyChangedV1.SUBJECT]
    return found if len(found) >= count else None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("policy: severity", "policy: severity\nmood: bad", "unknown key"),
        ("[1, 5], [10, 10]", "[10, 5], [10, 10]", "above the band before"),
        ("SEV0: 100", "SEV0: 900", "cannot be reached"),
        ("SEV3: 15", "SEV3: 3", "cannot be reached"),
        ("details: {none: 0, prepare", "details: {none: 0, ready", "which proposals use"),
    ],
)
async def test_a_wrong_policy_is_refused_and_the_running_one_stays(
    world: World, escalate: httpx.AsyncClient, old: str, new: str, reason: str
) -> None:
    assert old in TEXT
    before = (await escalate.get("/v1/policies/severity")).json()["digest"]
    body = {"text": TEXT.replace(old, new, 1).replace("2026.11.0", "2027.1.0"), **WHY}
    refused = await escalate.post(VERSIONS, json=body, headers=as_admin(world, "ann"))
    problem: dict[str, Any] = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "policy_rejected")
    assert reason in problem["detail"]
    if reason != "which proposals use":
        assert problem["line"] > 1
    assert (await escalate.get("/v1/policies/severity")).json()["digest"] == before


async def test_only_policy_admins_change_policies(
    world: World, escalate: httpx.AsyncClient
) -> None:
    for path, body in (
        (VERSIONS, {"text": STRICTER, **WHY}),
        (f"{VERSIONS}/2026.12.0/approve", WHY),
        (f"{VERSIONS}/2026.12.0/reject", WHY),
    ):
        assert (await escalate.post(path, json=body)).status_code == 403
    missing = await escalate.post("/v1/severity/preview", json=S1, params={"version": "none"})
    assert missing.status_code == 404


async def test_nciss_stands_beside_the_priority(escalate: httpx.AsyncClient) -> None:
    factors = {"functional": "low", "informational": "none", "recoverability": "regular"}
    body = {**factors, "nciss": {"observed_activity": "effect"}}
    found = (await escalate.post("/v1/priority/preview", json=body)).json()
    assert found["priority"] == "P4"
    assert found["nciss"]["level"] == "baseline"
    assert len(found["nciss"]["unknown_inputs"]) == 7
    wrong = await escalate.post("/v1/priority/preview", json={**factors, "nciss": {"mood": "b"}})
    assert wrong.status_code == 422
