"""Routing: exactly one owner, every engaged team by a rule that is named (§6)."""

from typing import Any

import pytest

from services.escalate.routing import escalates_by_policy, route
from tests.unit.escalate.given import directory

pytestmark = pytest.mark.unit
HARMLESS: dict[str, Any] = {"privacy": "none", "service": "tier2", "scope": "server"}


def test_s2_engages_response_service_communications_legal_and_compliance() -> None:
    routing = route(directory(), "SEV2", {**HARMLESS, "privacy": "suspected"}, ["api"], [])
    assert routing.engaged == ("sr-global", "api", "ic", "legal", "compliance")
    assert routing.rules == ("RT1", "RT2")


def test_s6_engages_platform_security_and_managers_too() -> None:
    inputs = {"privacy": "credentials", "service": "tier0", "scope": "server"}
    routing = route(directory(), "SEV0", inputs, ["id"], ["eu-west"])
    assert routing.owning_team == "sr-identity"
    assert routing.engaged == (
        "sr-identity", "identity", "ic", "legal", "compliance", "cps", "em", "dm",
    )  # fmt: skip
    assert routing.rules == ("RT1", "RT2", "RT5", "RT7")


@pytest.mark.parametrize(
    ("level", "changed", "rules"),
    [
        ("SEV1", {}, ["RT1"]),
        ("SEV1", {"privacy": "unknown"}, ["RT1", "RT2"]),
        ("SEV1", {"industry_regulation": "regulated_sector"}, ["RT1"]),
        ("SEV1", {"industry_regulation": "critical_infrastructure_or_24h_regime"}, ["RT1", "RT2"]),
        ("SEV1", {"scope": "service"}, ["RT1"]),
        ("SEV1", {"scope": "datacenter"}, ["RT1", "RT5"]),
        ("SEV1", {"scope": "multi_region"}, ["RT1", "RT5"]),
        ("SEV0", {}, ["RT1", "RT7"]),
    ],
)
def test_rules(level: str, changed: dict[str, str], rules: list[str]) -> None:
    assert list(route(directory(), level, {**HARMLESS, **changed}, [], []).rules) == rules


def test_without_inputs_privacy_is_unknown_not_none() -> None:
    assert "RT2" in route(directory(), "SEV2", {}, [], []).rules


@pytest.mark.parametrize(
    ("services", "regions", "owner"),
    [
        ([], [], "sr-global"),
        (["api"], ["eu-west"], "sr-global"),
        (["api"], ["us-east"], "sr-americas"),
        (["id"], ["eu-west"], "sr-identity"),
        (["id"], ["us-east"], "sr-identity-americas"),
        (["api", "id"], ["eu-west", "us-east"], "sr-identity-americas"),
    ],
)
def test_the_most_precise_owner_wins(services: list[str], regions: list[str], owner: str) -> None:
    assert route(directory(), "SEV2", HARMLESS, services, regions).owning_team == owner


def test_all_service_teams_are_engaged_and_the_default_for_the_unlisted() -> None:
    engaged = route(directory(), "SEV2", HARMLESS, ["mail", "api", "new"], []).engaged
    assert engaged == ("sr-global", "api", "mail", "platform", "ic")


def test_sev3_and_sev4_wait_for_the_service_team() -> None:
    assert [n for n in range(5) if escalates_by_policy(f"SEV{n}")] == [0, 1, 2]
