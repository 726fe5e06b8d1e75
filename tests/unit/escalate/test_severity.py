"""The severity policy: the worked examples of §2.1, and the properties it promises."""

import random
from typing import Any

import pytest

from services.escalate.policy import (
    CRITERIA,
    LEVELS,
    SHIPPED_SEVERITY,
    Bands,
    Criterion,
    SeverityPolicy,
    parse_severity_policy,
)
from services.escalate.preview import severity_from_mapping
from services.escalate.severity import InputError, assess
from tests.unit.escalate.given import severity_policy

pytestmark = pytest.mark.unit

NOTHING: dict[str, str | int] = {
    "privacy": "none", "impact": "no_impact", "scope": "server", "affected_tenants": 0,
    "region": "standard", "service": "tier3", "details": "none", "industry_regulation": "none",
}  # fmt: skip
S10: dict[str, Any] = {"privacy": "personal", "impact": "minimal_noncritical"}
EXAMPLES: dict[str, tuple[dict[str, Any], list[int], list[str], str]] = {
    "S1": ({"details": "prepare"}, [0, 0, 2, 0, 0, 2, 2, 0], [], "SEV4"),
    "S2": (
        {
            "privacy": "suspected", "impact": "no_impact_to_services", "affected_tenants": 1,
            "service": "tier2", "details": "engage", "industry_regulation": "general_privacy_law",
        },
        [15, 2, 2, 5, 0, 6, 5, 5], [], "SEV2",
    ),
    "S4": (
        {"impact": "denial_noncritical", "scope": "server_farm", "details": "effect"},
        [0, 12, 5, 0, 0, 2, 15, 0], [], "SEV3",
    ),
    "S6": (
        {
            "privacy": "credentials", "impact": "no_impact_to_services", "affected_tenants": 2,
            "service": "tier0", "details": "presence",
        },
        [35, 2, 2, 5, 0, 20, 10, 0], ["F2"], "SEV0",
    ),
    "S8": (dict.fromkeys(CRITERIA, "unknown"), [10, 10, 10, 10, 3, 6, 5, 5], [], "SEV2"),
    "S9": (
        {
            "privacy": "credentials", "impact": "denial_critical_or_loss_of_control",
            "scope": "multi_region", "affected_tenants": 10_000, "region": "sovereign",
            "service": "tier0", "details": "effect",
            "industry_regulation": "critical_infrastructure_or_24h_regime",
        },
        [35, 30, 25, 25, 10, 20, 15, 15], ["F1", "F2", "F3", "F5"], "SEV0",
    ),
    "S10a": ({**S10, "affected_tenants": 9}, [25, 5, 2, 5, 0, 2, 0, 0], [], "SEV3"),
    "S10b": ({**S10, "affected_tenants": 10}, [25, 5, 2, 10, 0, 2, 0, 0], [], "SEV2"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_example(name: str) -> None:
    changed, points, floors, level = EXAMPLES[name]
    inputs: dict[str, Any] = {**NOTHING, **changed}
    result = assess(severity_policy(), inputs)
    assert [c.points for c in result.contributions] == points
    assert (result.points, result.level) == (sum(points), level)
    assert list(result.floors_applied) == floors
    assert result.inputs == inputs


def test_s8_names_all_eight_unknown_inputs() -> None:
    assert assess(severity_policy(), {}).unknown_inputs == CRITERIA
    assert assess(severity_policy(), {}) == assess(
        severity_policy(), dict.fromkeys(CRITERIA, "unknown")
    )


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_criterion_that_is_left_out_is_listed_as_unknown(criterion: str) -> None:
    inputs = {name: value for name, value in NOTHING.items() if name != criterion}
    assert assess(severity_policy(), inputs).unknown_inputs == (criterion,)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_unknown_never_counts_less_than_nothing(criterion: str) -> None:
    known = assess(severity_policy(), NOTHING)
    unknown = assess(severity_policy(), {**NOTHING, criterion: "unknown"})
    assert unknown.points >= known.points
    assert unknown.level <= known.level


def scale(policy: SeverityPolicy) -> dict[str, list[tuple[int, str | int]]]:
    """Return the values of each criterion with their points."""
    found: dict[str, list[tuple[int, str | int]]] = {}
    for name, criterion in policy.criteria.items():
        match criterion:
            case Criterion():
                found[name] = [(points, value) for value, points in criterion.points.items()]
            case Bands():
                found[name] = [(points, start) for start, points in criterion.bands]
                found[name] += [(points, start + 1) for start, points in criterion.bands[1:]]
    return found


def test_raising_one_criterion_never_lowers_the_level() -> None:
    policy = severity_policy()
    values, pick = scale(policy), random.Random(20261100)  # noqa: S311 - a fixed sequence, no secret
    for _ in range(40_000):
        inputs: dict[str, str | int] = {n: pick.choice(v)[1] for n, v in values.items()}
        name = pick.choice(CRITERIA)
        points = next(p for p, v in values[name] if v == inputs[name])
        higher = [v for p, v in values[name] if p > points]
        if not higher:
            continue
        before = assess(policy, inputs)
        after = assess(policy, {**inputs, name: pick.choice(higher)})
        assert after.level <= before.level, (inputs, name)  # SEV0 sorts before SEV4
        assert after.points > before.points


def test_every_point_is_explained_and_the_range_is_4_to_175() -> None:
    policy = severity_policy()
    pick, totals = random.Random(1), set()  # noqa: S311 - same
    values = scale(policy)
    for _ in range(2000):
        result = assess(policy, {n: pick.choice(v)[1] for n, v in values.items()})
        assert sum(c.points for c in result.contributions) == result.points
        assert [c.criterion for c in result.contributions] == list(CRITERIA)
        for c in result.contributions:
            assert str(c.points) in c.reason
            assert c.reason.endswith(".")
        totals.add(result.points)
    assert min(totals) >= 4
    assert max(totals) <= 175
    assert assess(policy, NOTHING).points == 4


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"privacy": "lots"}, "privacy"),
        ({"privacy": 3}, "privacy"),
        ({"affected_tenants": -1}, "affected_tenants"),
        ({"affected_tenants": "many"}, "affected_tenants"),
        ({"affected_tenants": True}, "affected_tenants"),
        ({"affected_tenants": 10**12}, "affected_tenants"),
        ({"weather": "bad"}, "weather"),
        ({"scope": ["server"]}, "scope"),
        ({"scope": 1.5}, "scope"),
    ],
)
def test_a_wrong_input_is_refused_by_name(inputs: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError) as refused:
        severity_from_mapping(inputs, severity_policy())
    assert refused.value.field == named


def test_the_preview_is_plain_data_and_takes_null_for_missing() -> None:
    result = severity_from_mapping({**NOTHING, "region": None}, severity_policy())
    assert result["unknown_inputs"] == ("region",)
    assert result["contributions"][4] == {
        "criterion": "region", "value": "unknown", "points": 3,
        "reason": "Region is unknown and counts 3 points until it is known.",
    }  # fmt: skip
    assert set(LEVELS) >= {result["level"]}


def test_versions_stand_side_by_side_and_each_result_names_its_own() -> None:
    old = severity_policy()
    text = (
        SHIPPED_SEVERITY.read_text()
        .replace('"2026.11.0"', '"2027.1.0"')
        .replace("personal: 25", "personal: 30")
    )
    new = parse_severity_policy(text)
    inputs = {**NOTHING, "privacy": "personal"}
    first, second = assess(old, inputs), assess(new, inputs)
    assert (first.version, second.version) == ("2026.11.0", "2027.1.0")
    assert second.points == first.points + 5
    assert first.digest != second.digest
    assert assess(old, first.inputs) == first
