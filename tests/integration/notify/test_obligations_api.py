"""Regimes and what-if over HTTP: the same arithmetic as the live path, refusals that say where."""

from typing import Any

import pytest

from tests.integration.notify.stage import Stage

pytestmark = pytest.mark.integration

SEC = {
    "clocks": {"determined_material": "2026-11-25T16:00:00-05:00"},
    "facts": {"material": True},
    "operator": {"capacities": ["registrant"]},
    "regimes": ["sec_8k_105"],
}


async def test_v11_over_http_with_each_step_of_the_arithmetic(stage: Stage) -> None:
    async with stage.running() as desk:
        answer = await desk.post("/v1/obligations/preview", SEC, role="legal")
    form = answer["items"][0]
    assert (form["due_at"], form["state"]) == ("2026-12-02T22:30:00.000000Z", "triggered")
    assert "not counted: 2026-11-26 Thanksgiving Day" in form["basis"]
    assert form["calendars"] == ["us-federal holidays-0.109"]
    assert answer["tzdb"] == form["tzdb"]


async def test_v27_a_delay_of_the_attorney_general(stage: Stage) -> None:
    delayed = {
        **SEC,
        "clocks": {"determined_material": "2026-09-01T12:00:00-04:00"},
        "holds": [{"regime": "sec_8k_105", "tz": "America/New_York", "delay_days": 30}],
    }
    async with stage.running() as desk:
        answer = await desk.post("/v1/obligations/preview", delayed, role="legal")
    assert answer["items"][0]["due_at"] == "2026-10-08T21:30:00.000000Z"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"regimes": ["gdpr"]}, "no regime gdpr"),
        ({"operator": {"country": "XX"}}, "operator_country 'XX' is none of"),
        ({"holds": [{"regime": "sec_8k_105", "tz": "UTC", "until": "2026-12-24"}]}, "delay_days"),
        ({"holds": [{"regime": "gdpr_33_1", "tz": "UTC", "days": 1}]}, "knows no hold"),
        ({"holds": [{"regime": "sec_8k_105", "tz": "Mars", "delay_days": 1}]}, "zone 'Mars'"),
        ({"tenants": [{"name": "a", "contract": [{"rule": {"weeks": 1}}]}]}, "unknown key 'weeks'"),
        ({"tenants": [{"name": "a", "contract": [{}]}]}, "needs either hours or a rule"),
        ({"clocks": {}}, "clocks"),
        ({"clocks": {"aware": "yesterday"}}, "aware"),
        ({"clocks": {"woken": "2026-01-01T00:00:00Z"}}, "woken"),
        ({"unheard": 1}, "unheard"),
    ],
)
async def test_what_cannot_be_answered_is_refused(
    stage: Stage, change: dict[str, Any], why: str
) -> None:
    async with stage.running() as desk:
        answer = await desk.call("POST", "/v1/obligations/preview", json={**SEC, **change})
    assert answer.status_code == 422
    assert why in answer.text


async def test_regimes_say_what_is_disabled_and_why(stage: Stage) -> None:
    async with stage.running(regimes_enabled={"pci": False}) as desk:
        rows = {row["id"]: row for row in (await desk.get("/v1/regimes"))["items"]}
    assert (rows["eu_omnibus"]["enabled"], rows["eu_omnibus"]["status"]) == (False, "proposed")
    assert rows["uk_gdpr"]["basis"] == "general_knowledge"
    assert not rows["pci"]["enabled"]
    assert rows["gdpr_33_1"]["enabled"]
    initial, supplement = rows["gdpr_33_1"]["phases"]
    assert initial["rule"] == {"elapsed_hours": 72, "latest_arguable": "eu_1182_71"}
    assert initial["sentence"].startswith("72 hours after the instant 'aware'")
    assert supplement["again"]["sentence"].startswith("Without undue delay after the submission of")
    assert rows["gdpr_33_1"]["unless"] == ["risk unlikely"]


async def test_facts_are_stated_by_legal_alone_and_in_their_kind(stage: Stage) -> None:
    path = "/v1/incidents/00000000-0000-7000-8000-000000000000/facts"
    body = {"facts": {"material": True}, "reason": "board decided"}
    async with stage.running() as desk:
        assert (await desk.call("POST", path, json=body)).status_code == 403
        assert (await desk.call("POST", path, role="legal", json=body)).status_code == 404
        for facts, why in (({"materiel": True}, "No regime asks"), ({"persons": True}, "a number")):
            answer = await desk.call("POST", path, role="legal", json={**body, "facts": facts})
            assert answer.status_code == 422
            assert why in answer.text
