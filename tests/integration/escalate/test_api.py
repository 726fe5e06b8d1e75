"""What escalate answers, and what it refuses."""

from functools import partial
from typing import Any

import httpx
import pytest

from services.escalate.app import create_app
from services.escalate.policy import SHIPPED_SEVERITY
from services.escalate.settings import Settings
from shared.cloudevents import outgoing
from shared.settings import SettingsError
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import detection, severity_policy

pytestmark = pytest.mark.integration

S2 = {
    "privacy": "suspected", "impact": "no_impact_to_services", "scope": "server",
    "affected_tenants": 1, "region": "standard", "service": "tier2", "details": "engage",
    "industry_regulation": "general_privacy_law",
}  # fmt: skip
FACTORS = {"functional": "low", "informational": "none", "recoverability": "regular"}
PATHS = ("/v1/proposals", "/v1/pages", "/v1/policies/severity")


async def test_a_severity_is_previewed_with_its_reasons(escalate: httpx.AsyncClient) -> None:
    answer = await escalate.post("/v1/severity/preview", json=S2)
    body = answer.json()
    assert (answer.status_code, body["level"], body["points"]) == (200, "SEV2", 40)
    assert [c["points"] for c in body["contributions"]] == [15, 2, 2, 5, 0, 6, 5, 5]
    assert body["digest"] == severity_policy().digest
    nothing = (await escalate.post("/v1/severity/preview", json={})).json()
    assert (nothing["points"], len(nothing["unknown_inputs"])) == (59, 8)


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        ({"privacy": "lots"}, "body.privacy"),
        ({"privacy": 1}, "body.privacy"),
        ({"affected_tenants": -1}, "body.affected_tenants"),
        ({"affected_tenants": True}, "body.affected_tenants"),
        ({"affected_tenants": "a few"}, "body.affected_tenants"),
        ({"weather": "bad"}, "body.weather"),
    ],
)
async def test_a_wrong_input_is_a_422_that_names_it(
    escalate: httpx.AsyncClient, changed: dict[str, Any], at: str
) -> None:
    answer = await escalate.post("/v1/severity/preview", json={**S2, **changed})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["at"].startswith(at)


async def test_a_priority_is_previewed_and_a_wrong_factor_named(
    escalate: httpx.AsyncClient,
) -> None:
    answer = await escalate.post("/v1/priority/preview", json=FACTORS)
    assert (answer.status_code, answer.json()["priority"]) == (200, "P4")
    several = {**FACTORS, "informational": ["none", "integrity_loss"]}
    assert (await escalate.post("/v1/priority/preview", json=several)).json()["priority"] == "P2"
    for changed, at in (
        ({"functional": "total"}, "body.functional"),
        ({"informational": []}, "body.informational"),
        ({"extra_factors": {"mood": "bad"}}, "body.mood"),
    ):
        refused = await escalate.post("/v1/priority/preview", json={**FACTORS, **changed})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["at"] == at
    posing = {**FACTORS, "extra_factors": {"functional": "high"}}
    assert (await escalate.post("/v1/priority/preview", json=posing)).json()["priority"] == "P4"


async def test_the_policy_in_force_can_be_read(escalate: httpx.AsyncClient) -> None:
    body = (await escalate.get("/v1/policies/severity")).json()
    assert (body["version"], body["digest"]) == ("2026.11.0", severity_policy().digest)
    assert body["criteria"]["affected_tenants"]["bands"][1] == [1, 5]


async def test_proposals_and_pages_are_paged(world: World, escalate: httpx.AsyncClient) -> None:
    async with world.bus("detect") as bus:
        for n in range(5):
            found = detection(f"paged-{n}", entities={"host": f"paged-{n}"})
            await bus.publish(outgoing(found, source="detect"), stream="DETECTIONS")
    for path, key in (("/v1/proposals", "incident_id"), ("/v1/pages", "page_id")):
        await until(partial(_at_least, escalate, path, 5))
        whole = (await escalate.get(path)).json()["items"]
        walked: list[Any] = []
        query: dict[str, Any] | None = {"limit": 2}
        while query:
            page = (await escalate.get(path, params=query)).json()
            assert len(page["items"]) <= 2
            walked += page["items"]
            following = page["next_cursor"]
            query = {"limit": 2, "cursor": following} if following else None
        assert [i[key] for i in walked] == [i[key] for i in whole]
    first = (await escalate.get("/v1/proposals?limit=1")).json()["items"][0]
    assert first["grouping"]["explanation"].startswith("1 detection of 1 rule on host paged-")
    assert first["detection_count"] == 1


async def _at_least(client: httpx.AsyncClient, path: str, count: int) -> bool:
    return len((await client.get(path)).json()["items"]) >= count


@pytest.mark.parametrize("cursor", ["zzz", "ÿ", "", "bm9uZQ==", "MHwx"])
async def test_a_foreign_cursor_is_refused(escalate: httpx.AsyncClient, cursor: str) -> None:
    for path in ("/v1/proposals", "/v1/pages"):
        assert (await escalate.get(path, params={"cursor": cursor})).status_code == 422


async def test_what_is_not_there_is_404(escalate: httpx.AsyncClient) -> None:
    missing = await escalate.get("/v1/proposals/00000000-0000-0000-0000-000000000000")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_roles(world: World, escalate: httpx.AsyncClient) -> None:
    async def status(path: str, *roles: str) -> int:
        headers = {"authorization": f"Bearer {world.token('x', *roles)}"}
        return (await escalate.get(path, headers=headers)).status_code

    for path in PATHS:
        assert await status(path, "customer_contact") == 403
        assert await status(path, "ingest_client") == 403
        assert await status(path, "service_team") == 200
        bare = await escalate.get(path, headers={"authorization": ""})
        assert bare.status_code == 401
    # An operator sees no case content, a title is that already.
    assert await status("/v1/pages", "operator") == 403
    assert await status("/v1/policies/severity", "operator") == 200


async def test_it_is_ready(escalate: httpx.AsyncClient) -> None:
    async def ready() -> bool:
        return (await escalate.get("/readyz")).status_code == 200

    await until(ready)


async def test_a_wrong_policy_ends_the_boot_with_a_sentence(world: World, tmp_path: Any) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SHIPPED_SEVERITY.read_text().replace("personal: 25", "personal: much"))
    with pytest.raises(SettingsError, match=r"mine\.yaml, line \d+: criteria\.privacy\.personal"):
        create_app(world.settings(Settings, severity_policy_file=file))
