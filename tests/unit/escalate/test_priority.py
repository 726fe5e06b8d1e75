"""The priority matrix: all 64 cells of §2.2 as they stand there."""

import pytest

from services.escalate.preview import priority_from_mapping
from services.escalate.priority import SHIPPED_PRIORITY, assess_priority, parse_priority_policy
from services.escalate.severity import InputError
from tests.unit.escalate.given import priority_policy

pytestmark = pytest.mark.unit

RECOVERABILITY = ("regular", "supplemented", "extended", "not_recoverable")
BREACH = {
    "none": "P3 P3 P3 P2",
    "low": "P3 P3 P2 P2",
    "medium": "P2 P2 P2 P1",
    "high": "P1 P1 P1 P1",
}
MATRIX = {
    "none": {
        "none": "P5 P5 P5 P5",
        "low": "P4 P4 P3 P3",
        "medium": "P3 P3 P3 P2",
        "high": "P2 P2 P2 P2",
    },
    "privacy_breach": BREACH,
    "proprietary_breach": BREACH,
    "integrity_loss": {
        "none": "P3 P3 P2 P2",
        "low": "P2 P2 P2 P1",
        "medium": "P2 P2 P1 P1",
        "high": "P1 P1 P1 P1",
    },
}
CELLS = [
    (informational, functional, recoverability, priority)
    for informational, rows in MATRIX.items()
    for functional, row in rows.items()
    for recoverability, priority in zip(RECOVERABILITY, row.split(), strict=True)
]


@pytest.mark.parametrize(("informational", "functional", "recoverability", "priority"), CELLS)
def test_cell(informational: str, functional: str, recoverability: str, priority: str) -> None:
    result = assess_priority(
        priority_policy(),
        {
            "functional": [functional],
            "informational": [informational],
            "recoverability": [recoverability],
        },
    )
    assert result.priority == priority
    assert priority in result.reason
    assert result.points == sum(c.points for c in result.contributions)


def test_there_are_64_cells_and_as_many_of_each_as_the_reference_counts() -> None:
    counts = [sum(cell[3] == f"P{n}" for cell in CELLS) for n in (1, 2, 3, 4, 5)]
    assert (len(CELLS), counts) == (64, [17, 24, 17, 2, 4])


def test_of_several_informational_impacts_the_highest_counts() -> None:
    result = priority_from_mapping(
        {
            "functional": "low",
            "informational": ["privacy_breach", "integrity_loss", "none"],
            "recoverability": "regular",
        },
        priority_policy(),
    )
    assert (result["informational"], result["priority"]) == ("integrity_loss", "P2")


def test_a_floor_says_why_it_lifts() -> None:
    result = assess_priority(
        priority_policy(),
        {"functional": ["high"], "informational": ["none"], "recoverability": ["regular"]},
    )
    assert result.floors_applied == ("H1",)
    assert result.reason == (
        "Functional high (3) + informational none (0) + recoverability regular (0) = 3 points,"
        " which is P3; raised to P2 (H1: functional is high)."
    )


def test_a_factor_is_added_as_data_and_explained() -> None:
    text = SHIPPED_PRIORITY.read_text().replace(
        "factors:\n", "factors:\n  cross_sector: {none: 0, energy: 4}\n"
    )
    policy = parse_priority_policy(text)
    core = {"functional": "low", "informational": "none", "recoverability": "regular"}
    assert priority_from_mapping(core, policy)["priority"] == "P4"
    more = priority_from_mapping({**core, "cross_sector": "energy"}, policy)
    assert more["priority"] == "P2"
    assert "cross_sector energy (4)" in more["reason"]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"functional": None}, "functional"),
        ({"functional": "total"}, "functional"),
        ({"informational": []}, "informational"),
        ({"informational": [1]}, "informational"),
        ({"recoverability": 3}, "recoverability"),
        ({"mood": "bad"}, "mood"),
    ],
)
def test_a_wrong_factor_is_refused_by_name(changed: dict[str, object], named: str) -> None:
    core = {"functional": "low", "informational": "none", "recoverability": "regular"}
    with pytest.raises(InputError) as refused:
        priority_from_mapping({**core, **changed}, priority_policy())
    assert refused.value.field == named
