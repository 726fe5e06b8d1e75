"""Proposals: what detections show, what they leave unknown, and how large a message becomes."""

from typing import Any

import pytest

from services.escalate.directory import load_directory
from services.escalate.grouping import Group, Rules, receive
from services.escalate.policy import SHIPPED_SEVERITY, parse_severity_policy
from services.escalate.priority import assess_priority
from services.escalate.proposal import (
    Policies,
    explanation_of,
    priority_inputs,
    propose,
    severity_inputs,
    title_of,
)
from services.escalate.sighting import sighting_of
from services.escalate.verbatim import MOST_DETECTIONS, fitted, most_telling
from shared.contracts.detect import DetectionRaisedV1, Entity, Reason
from shared.contracts.escalate import IncidentProposedV1
from shared.errors import UserError
from tests.unit.escalate.given import (
    NOON,
    detection,
    directory,
    priority_policy,
    severity_policy,
)

pytestmark = pytest.mark.unit
POLICIES = Policies(Rules(), directory(), severity_policy(), priority_policy())


def group_of(*detections: DetectionRaisedV1) -> Group:
    groups: dict[object, Group] = {}
    for found in detections:
        outcome = receive(groups.values(), sighting_of(found), Rules())
        groups[outcome.group.id] = outcome.group
    (group,) = groups.values()
    return group


def inputs_of(**more: Any) -> dict[str, Any]:
    return severity_inputs(group_of(detection(**more)), directory())


def test_what_no_detection_shows_is_unknown() -> None:
    assert inputs_of(entities={}) == {
        "privacy": "unknown", "impact": "unknown", "scope": "unknown",
        "affected_tenants": "unknown", "region": "unknown", "service": "unknown",
        "details": "unknown", "industry_regulation": "unknown",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tactics", "details", "privacy"),
    [
        (["reconnaissance"], "prepare", "unknown"),
        (["resource-development"], "prepare", "unknown"),
        (["initial-access", "reconnaissance"], "engage", "unknown"),
        (["execution"], "presence", "unknown"),
        (["persistence", "privilege-escalation", "initial-access"], "presence", "unknown"),
        (["stealth"], "presence", "unknown"),
        (["credential-access"], "presence", "credentials"),
        (["collection"], "presence", "suspected"),
        (["exfiltration"], "effect", "suspected"),
        (["exfiltration", "credential-access"], "effect", "credentials"),
        (["impact"], "effect", "unknown"),
        (["something-new"], "unknown", "unknown"),
    ],
)
def test_tactics_tell_the_stage_and_what_may_be_lost(
    tactics: list[str], details: str, privacy: str
) -> None:
    inputs = inputs_of(attack_tactics=tactics)
    assert (inputs["details"], inputs["privacy"]) == (details, privacy)


@pytest.mark.parametrize(
    ("places", "scope"),
    [
        ([{"server": "s1"}], "server"),
        ([{"server": "s1", "service": "a"}, {"server": "s1", "service": "b"}], "server"),
        ([{"server": "s1", "service": "a"}, {"server": "s2", "service": "a"}], "server_farm"),
        ([{"server": "s1", "service": "a"}, {"server": "s2", "service": "b"}], "service"),
        ([{"server": "s1", "datacenter": "d"}, {"server": "s2", "datacenter": "e"}], "region"),
        ([{"region": "r"}, {"region": "q"}], "multi_region"),
        ([{"service": "a"}], "service"),
        ([{"service": "a"}, {"service": "b"}], "unknown"),
        ([{}], "unknown"),
    ],
)
def test_the_scope_is_the_least_that_holds_all_places(
    places: list[dict[str, Any]], scope: str
) -> None:
    found = [detection(n, entities={"user": "u"}, **place) for n, place in enumerate(places)]
    assert severity_inputs(group_of(*found), directory())["scope"] == scope


@pytest.mark.parametrize(
    ("services", "tier"),
    [
        (["mail"], "tier1"),
        (["api", "mail"], "tier1"),
        (["api", "nobody-knows"], "unknown"),
        (["id", "nobody-knows"], "tier0"),
    ],
)
def test_the_tier_is_of_the_most_critical_service(services: list[str], tier: str) -> None:
    found = [detection(n, service=service) for n, service in enumerate(services)]
    assert severity_inputs(group_of(*found), directory())["service"] == tier


def test_the_class_of_the_region_comes_from_the_directory() -> None:
    assert inputs_of(region="eu-west")["region"] == "data_residency"
    assert inputs_of(region="moon")["region"] == "unknown"


@pytest.mark.parametrize(
    ("tactics", "tier", "priority"),
    [
        (["reconnaissance"], None, "P5"),
        ([], None, "P4"),
        (["persistence"], "tier0", "P4"),
        (["credential-access"], "tier2", "P3"),
        (["exfiltration"], "tier2", "P2"),
        (["impact"], "tier2", "P3"),
        (["impact"], "tier1", "P2"),
        (["impact", "exfiltration"], "tier0", "P1"),
    ],
)
def test_the_priority_follows_what_was_observed(
    tactics: list[str], tier: str | None, priority: str
) -> None:
    group = group_of(detection(attack_tactics=tactics))
    assert assess_priority(priority_policy(), priority_inputs(group, tier)).priority == priority


def test_title_and_explanation_say_what_where_and_why() -> None:
    group = group_of(
        detection(1, level="high", rule="rule-h", tenant="t1"),
        detection(2, level="low", rule="rule-l", at=5, tenant="t1"),
        detection(3, level="low", rule="rule-l", at=42, tenant="t1"),
    )
    assert title_of(group) == "Title of rule-h and 1 other rule on host ws01"
    assert explanation_of(group, Rules()) == (
        "3 detections of 2 rules on host ws01 of tenant t1, from 2026-03-01T12:00:00.000000Z to"
        " 2026-03-01T12:42:00.000000Z, none more than 60 minutes from the next."
        " Risk 92 (Title of rule-h ×1: 70; Title of rule-l ×2: 22) reaches the threshold of 40."
    )


def test_a_log_source_stands_in_where_no_entity_is_named() -> None:
    proposal = propose(group_of(detection(entities={})), [detection()], POLICIES, NOON)
    assert proposal.title == "Title of rule-a on log source winlogs"
    assert proposal.grouping.entity == Entity(type="service", value="winlogs")


def test_a_proposal_is_whole_and_its_ids_follow_from_the_group() -> None:
    found = detection(service="mail", region="eu-west", server="m1")
    group = group_of(found)
    proposal = propose(group, [found], POLICIES, NOON)
    assert proposal == propose(group, [found], POLICIES, NOON)
    assert proposal.services == ["mail"]
    assert proposal.regions == ["eu-west"]
    assert proposal.severity.digest == severity_policy().digest
    assert proposal.severity.unknown_inputs == [
        "privacy", "impact", "affected_tenants", "details", "industry_regulation",
    ]  # fmt: skip
    assert sum(c.points for c in proposal.severity.contributions) == proposal.severity.points
    assert proposal.priority.reason.startswith("Estimated from the stage reached.")
    assert proposal.detections == [found]
    assert IncidentProposedV1.from_json(proposal.to_json()) == proposal


def test_of_many_detections_each_rule_is_shown_before_any_is_repeated() -> None:
    noise = [detection(n, level="critical", rule="noisy", at=n) for n in range(100)]
    rare = [detection(f"r{n}", level="low", rule=f"rare-{n}", at=200 + n) for n in range(12)]
    shown = most_telling([*noise, *rare])
    assert len(shown) == MOST_DETECTIONS
    assert {d.rule_id for d in shown} == {"noisy", *(d.rule_id for d in rare)}
    assert shown[0] == noise[0]
    assert most_telling([*rare, *reversed(noise)]) == shown


def test_twenty_of_the_largest_detections_fit_in_one_message() -> None:
    reasons = [
        Reason(selection="s", field="f", operator="o", pattern="p" * 2048, value="v" * 2048)
        for _ in range(50)
    ]
    large = [
        detection(n, raw="\u0001ü" * 8192, reasons=reasons, entities={"host": "h" * 256})
        for n in range(20)
    ]
    proposal = propose(group_of(*large), large, POLICIES, NOON)
    assert len(proposal.detections) == 20
    assert len(proposal.to_json()) < 1 << 20
    assert all(s.truncated for d in proposal.detections for s in d.samples)
    assert fitted(large[:1]) == large[:1]


def test_a_detection_that_no_cut_makes_small_is_counted_but_not_shown() -> None:
    monster = detection(1, title="t" * (900 * 1024))
    proposal = propose(group_of(monster, detection(2)), [monster, detection(2)], POLICIES, NOON)
    assert [d.detection_id for d in proposal.detections] == [detection(2).detection_id]
    assert proposal.detection_count == 2
    assert len(proposal.title) <= 256


def test_policies_without_a_word_that_proposals_use_are_refused() -> None:
    text = SHIPPED_SEVERITY.read_text().replace("suspected: 15, ", "")
    with pytest.raises(UserError, match="no privacy suspected"):
        Policies(Rules(), load_directory(), parse_severity_policy(text), priority_policy())
