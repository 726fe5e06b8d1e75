"""NCISS: the worked examples of §2.3, and files that are refused."""

import pytest

from services.escalate.file_spots import FileError
from services.escalate.nciss import (
    CATEGORIES,
    SHIPPED_NCISS,
    load_nciss_policy,
    parse_nciss_policy,
    score,
)
from services.escalate.severity import InputError

pytestmark = pytest.mark.unit
POLICY = load_nciss_policy()
TEXT = SHIPPED_NCISS.read_text()

# F, O, L, A, I, R, X, P as numbers; sum, score, level
EXAMPLES = {
    "N1": ([0, 0, 30, 20, 0, 20, 15, 0], 325, 0.00, "baseline"),
    "N2": ([100] * 8, 3400, 100.00, "emergency"),
    "N3": ([0, 40, 30, 50, 0, 20, 80, 0], 840, 16.75, "baseline"),
    "N4": ([60, 100, 40, 40, 60, 40, 80, 25], 1850, 49.59, "low"),
    "N9": ([0, 70, 40, 40, 0, 20, 80, 0], 990, 21.63, "baseline"),
    "N10": ([100, 100, 30, 20, 0, 20, 80, 50], 1920, 51.87, "medium"),
}


def inputs_of(numbers: list[int]) -> dict[str, str]:
    return {
        name: next(v for v, n in POLICY.categories[name].values.items() if n == number)
        for name, number in zip(CATEGORIES, numbers, strict=True)
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_example(name: str) -> None:
    numbers, total, expected, level = EXAMPLES[name]
    result = score(POLICY, inputs_of(numbers))
    assert (result.weighted_sum, result.score, result.level) == (total, expected, level)
    assert sum(c.points for c in result.contributions) == total
    assert result.digest == POLICY.digest


def test_the_published_configuration_has_these_sums() -> None:
    assert sum(c.weight for c in POLICY.categories.values()) == 34
    for pick, expected in ((max, 3400), (min, 325)):
        found = sum(c.weight * pick(c.values.values()) for c in POLICY.categories.values())
        assert found == expected


def test_raising_a_category_never_lowers_the_score() -> None:
    for name in CATEGORIES:
        values = sorted(POLICY.categories[name].values.items(), key=lambda item: item[1])
        base = inputs_of(EXAMPLES["N4"][0])
        scores = [score(POLICY, {**base, name: value}).score for value, _ in values]
        assert scores == sorted(scores)


def test_what_is_not_given_is_named() -> None:
    result = score(POLICY, {})
    assert result.unknown_inputs == CATEGORIES
    assert {c.criterion: c.value for c in result.contributions}["actor_characterization"] == (
        "unknown"
    )


@pytest.mark.parametrize(
    ("inputs", "named"),
    [({"weather": "bad"}, "weather"), ({"recoverability": "soon"}, "recoverability")],
)
def test_a_wrong_input_is_refused_by_name(inputs: dict[str, str], named: str) -> None:
    with pytest.raises(InputError) as refused:
        score(POLICY, inputs)
    assert refused.value.field == named


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("severe: 75", "severe: 95", "less than 90"),
        ("baseline: 0", "baseline: 1", "from 0"),
        ("weight: 6", "weight: 0", "adds nothing"),
        ("weight: 6", "wait: 6", "unknown key"),
        ("  potential_impact:", "  potential:", "unknown key"),
        ("minimal: 0, low: 25", "minimal: 0, low: 250", "from 0 to 100"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(old: str, new: str, reason: str) -> None:
    assert old in TEXT
    with pytest.raises(FileError, match=reason) as refused:
        parse_nciss_policy(TEXT.replace(old, new, 1), "n.yaml")
    assert refused.value.line > 1
