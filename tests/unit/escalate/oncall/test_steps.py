"""Escalation policies: nobody's answer leads to the next step, an answer ends it (§6, R11)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.escalate.file_spots import FileError
from services.escalate.oncall.paging_file import load_paging, parse_paging
from services.escalate.oncall.steps import acknowledged, begin, policy_for, turn
from tests.unit.escalate.given import NOON

pytestmark = pytest.mark.unit
GOOD = """policies:
  one:
    for: default
    steps:
      - {after: 0, page: primary}
      - {after: 5, page: [secondary, lead]}
    repeat: 1
    pause: 10
    fallback: [duty_manager]
"""


def walk(text: str) -> list[tuple[int, tuple[str, ...]]]:
    policy = parse_paging(text)["default"]
    chain, now, found = begin(policy, NOON), NOON, []
    while chain.due is not None:
        now = chain.due
        taken = turn(policy, chain, now)
        assert taken is not None
        chain = taken.chain
        found.append((int((now - NOON).total_seconds() // 60), taken.targets))
    assert chain.ended == "exhausted"
    return found


def test_steps_repeat_and_fall_back() -> None:
    assert walk(GOOD) == [
        (0, ("primary",)),
        (5, ("secondary", "lead")),
        (15, ("primary",)),
        (20, ("secondary", "lead")),
        (30, ("duty_manager",)),
        (40, ()),
    ]


@pytest.mark.parametrize(
    ("level", "minutes"),
    [("SEV0", [0, 5, 10, 15]), ("SEV1", [0, 15, 30, 60]), ("SEV2", [0, 60, 240])],
)
def test_the_shipped_policies_are_those_of_the_domain_reference(
    level: str, minutes: list[int]
) -> None:
    policy = load_paging()[level]
    assert [step.after // timedelta(minutes=1) for step in policy.steps] == minutes
    assert policy.fallback == ("duty_manager", "executive_incident_manager")
    assert policy_for(load_paging(), "SEV9").name == "unset"


def test_an_answer_ends_it_and_nothing_begins_it_again() -> None:
    policy = load_paging()["SEV0"]
    chain = acknowledged(begin(policy, NOON))
    assert turn(policy, chain, NOON + timedelta(days=1)) is None
    assert acknowledged(chain).ended == "acknowledged"


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30))
def test_no_turn_is_skipped_and_none_comes_early_however_late_it_is(late: list[int]) -> None:
    policy = load_paging()["SEV1"]
    chain, now, numbers = begin(policy, NOON), NOON, []
    for seconds in late:
        assert chain.due is not None
        assert turn(policy, chain, chain.due - timedelta(seconds=1)) is None
        now = chain.due + timedelta(seconds=seconds)
        taken = turn(policy, chain, now)
        assert taken is not None
        numbers.append(taken.number)
        chain = taken.chain
        if chain.due is None:
            break
        assert chain.due > now
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("after: 5", "after: 0", 6, "not later than the step before"),
        ("[secondary, lead]", "primary", 6, "pages nobody whom"),
        ("page: primary", "page: boss", 5, "'boss' is none of"),
        ("after: 0", "after: 1", 5, "first step must be after 0"),
        ("for: default", "for: SEV0", 2, "none is for default"),
        ("for: default", "for: [default, default]", 3, "has the policy one already"),
        ("repeat: 1", "repeats: 1", 7, "unknown key"),
        ("pause: 10", "pause: 0", 8, "at least 1"),
        ("repeat: 1", "repeat: 11", 7, "from 0 to 10"),
        ("[duty_manager]", "[duty_manager, duty_manager]", 9, "stands twice"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_with_its_line(
    old: str, new: str, line: int, reason: str
) -> None:
    assert old in GOOD
    with pytest.raises(FileError) as refused:
        parse_paging(GOOD.replace(old, new, 1))
    assert reason in refused.value.reason
    assert refused.value.line == line
