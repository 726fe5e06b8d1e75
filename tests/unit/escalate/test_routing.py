"""Routing: exactly one owner, every engaged team by a rule that is named (§6)."""

from typing import Any

import pytest

from services.escalate.file_spots import FileError
from services.escalate.routing import escalates_by_policy, route
from services.escalate.routing_file import SHIPPED_ROUTING, load_routing, parse_routing
from tests.unit.escalate.given import directory
from tests.unit.escalate.oncall.given import staffed

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


S6 = {"privacy": "credentials", "service": "tier0", "scope": "server", "details": "presence"}


@pytest.mark.parametrize(
    ("facts", "kind", "rule", "engaged"),
    [
        ({"shortest_regime": "within_72h"}, "", "RT2", ("legal", "compliance")),
        ({"actor": "apt", "details": "presence"}, "", "RT3", ("ti",)),
        ({"actor": "apt", "details": "engage"}, "", None, ()),
        ({"threat_intel_match": True}, "", "RT3", ("ti",)),
        ({}, "threat_intel", "RT3", ("ti",)),
        ({"own_product_vulnerability": True}, "", "RT4", ("vrc",)),
        ({}, "external_researcher", "RT4", ("vrc",)),
        ({"platform_component": True}, "", "RT5", ("cps",)),
        ({"component": ["firewall"]}, "", "RT6", ("pe",)),
        ({"tenant_industry": "health"}, "", "RT8", ("compliance",)),
        ({"tenant_industry": ["retail", "financial"]}, "", "RT8", ("compliance",)),
        ({}, "law_enforcement", "RT9", ("legal",)),
        ({"legal_hold": True}, "", "RT9", ("legal",)),
        ({}, "customer_case", "RT10", ()),
        ({"tenant_industry": "retail", "actor": "insider"}, "rule", None, ()),
    ],
)
def test_every_rule_engages_whom_it_names(
    facts: dict[str, Any], kind: str, rule: str | None, engaged: tuple[str, ...]
) -> None:
    routing = route(staffed(), "SEV2", {**HARMLESS, **facts}, ["mail"], [], source_kind=kind)
    assert routing.rules == (("RT1", rule) if rule else ("RT1",))
    assert routing.engaged == ("sr-global", "mail", "ic", *engaged)


def test_s6_with_an_unknown_actor_engages_threat_intelligence_too() -> None:
    routing = route(staffed(), "SEV0", {**S6, "actor": "unknown"}, ["id"], ["eu-west"])
    assert set(routing.engaged) == {
        "sr-identity", "identity", "ic", "legal", "compliance", "ti", "cps", "em", "dm",
    }  # fmt: skip
    assert routing.rules == ("RT1", "RT2", "RT3", "RT5", "RT7")


def test_rt6_engages_the_people_who_know_the_component_of_the_service() -> None:
    routing = route(staffed(), "SEV2", HARMLESS, ["api"], [])
    (engaged,) = [e for e in routing.engagements if e.kind == "product_engineering"]
    assert (engaged.team, engaged.people, engaged.rules) == ("pe", ("ana",), ("RT6",))


def test_required_wins_over_optional_and_all_rules_are_named() -> None:
    inputs = {**HARMLESS, "privacy": "suspected", "tenant_industry": "financial"}
    by_team = {e.team: e for e in route(staffed(), "SEV2", inputs, ["api"], []).engagements}
    assert by_team["compliance"].required
    assert by_team["compliance"].rules == ("RT2", "RT8")
    assert by_team["legal"].required
    assert not by_team["ic"].required


def test_a_seventh_kind_is_engaged_by_data_alone() -> None:
    text = SHIPPED_ROUTING.read_text() + (
        "  RT11:\n    when: [{details: effect}]\n    engage: [forensics]\n"
    )
    rules = parse_routing(text)
    routing = route(staffed(), "SEV2", {**HARMLESS, "details": "effect"}, [], [], rules=rules)
    assert routing.engaged[-1] == "forensics"
    assert routing.rules == ("RT1", "RT11")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("  RT1:\n    engage: [owner, ", "  RT1:\n    engage: [", "engages owner"),
        ("severity: SEV0", "severity: SEV9", "none of"),
        ("severity: SEV0", "gravity: SEV0", "unknown key"),
        ("{service: tier0}", "{}", "names no field"),
        ("{not: none}", "{nor: none}", "unknown key"),
        ("{not: none}", "{not: []}", "lists no value"),
        ('{legal_hold: "true"}', '{legal_hold: {not: ["true", "false"]}}', "leaves no value"),
        ("required: true", "required: 1", "true or false"),
        ("engage: [threat_intelligence]", "engage: []", "engages nobody"),
        ("engage: [threat_intelligence]", "engage: [Threat Intelligence]", "small letters"),
        ("      - {service: tier0}\n", "      - {service: tier0}\n" * 2, "stands twice"),
        ("    when:\n      - {severity: SEV0}", "    when: []", "never match"),
        ("  RT8:", "  RT7:", "stands twice"),
    ],
)
def test_routing_that_cannot_work_is_refused_with_its_line(old: str, new: str, reason: str) -> None:
    text = SHIPPED_ROUTING.read_text()
    assert old in text
    with pytest.raises(FileError) as refused:
        parse_routing(text.replace(old, new, 1), "routing.yml")
    assert reason in refused.value.reason
    assert refused.value.line > 1


def test_the_shipped_rules_are_rt1_to_rt10() -> None:
    assert [rule.id for rule in load_routing()] == [f"RT{n}" for n in range(1, 11)]
