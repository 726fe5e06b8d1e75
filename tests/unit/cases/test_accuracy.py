"""The accuracy of indicators: vectors of §3.6, and advice that never is a verdict."""

from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cases.domain.accuracy import (
    Advice,
    Counts,
    Measured,
    advise,
    grouped,
    wilson_lower_bound,
)

pytestmark = pytest.mark.unit


def measured(n: int, vector: str, tp: int, fp: int, bp: int = 0) -> Measured:
    return Measured(
        indicator_id=UUID(int=n),
        type="ip",
        value=f"192.0.2.{n}",
        vector=vector,
        counts=Counts(tp, bp, fp),
    )


@pytest.mark.parametrize(
    ("tp", "fp", "bound"), [(45, 5, 0.7864), (1, 0, 0.2065), (0, 0, 0.0), (0, 20, 0.0)]
)
def test_the_vectors_of_the_reference(tp: int, fp: int, bound: float) -> None:
    assert round(wilson_lower_bound(tp, fp), 4) == bound


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_bound_is_cautious_and_grows_with_evidence(tp: int, fp: int) -> None:
    bound = wilson_lower_bound(tp, fp)
    assert 0 <= bound <= 1
    if tp + fp:
        assert bound <= tp / (tp + fp)
    assert wilson_lower_bound(tp + 1, fp) >= bound >= wilson_lower_bound(tp, fp + 1)


def test_a_benign_positive_is_shown_but_does_not_count() -> None:
    assert Counts(1, 50, 0).bound == Counts(1, 0, 0).bound
    assert Counts(3, 9, 1).precision == 0.75
    assert Counts(0, 9, 0).precision is None


def test_two_good_indicators_of_one_vector_support() -> None:
    two = [measured(1, "web", 25, 1), measured(2, "web", 20, 1)]
    assert advise(grouped(two)) is Advice.SUPPORTS
    assert advise(grouped([measured(1, "web", 45, 2)])) is Advice.INCONCLUSIVE  # only one
    # Split over two vectors neither group has two.
    apart = [measured(1, "web", 25, 1), measured(2, "attrition", 25, 1)]
    assert advise(grouped(apart)) is Advice.INCONCLUSIVE


def test_groups_without_a_record_that_speaks_for_them_are_weak() -> None:
    assert advise(grouped([measured(1, "web", 0, 20), measured(2, "other", 1, 0)])) is Advice.WEAK
    assert advise(grouped([measured(1, "web", 0, 20), measured(2, "other", 9, 3)])) is (
        Advice.INCONCLUSIVE
    )
    assert advise([]) is Advice.INCONCLUSIVE


def test_the_order_does_not_depend_on_the_order_of_asking() -> None:
    some = [measured(1, "web", 0, 0), measured(2, "web", 9, 1), measured(3, "attrition", 0, 0)]
    found = {grouped(order) for order in permutations(some)}
    assert len(found) == 1
    groups = found.pop()
    assert [g.vector for g in groups] == ["web", "attrition"]
    assert [x.value for x in groups[0].indicators] == ["192.0.2.2", "192.0.2.1"]
    assert all(advice.text.endswith(".") for advice in Advice)
