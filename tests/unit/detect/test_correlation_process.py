"""What goes between the service and the process that counts, and what waits for the watermark."""

import pickle
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from services.detect.correlation import metrics
from services.detect.correlation.plan import NO_PLAN
from services.detect.correlation.process import Begin
from services.detect.correlation.waiting import Waiting
from services.detect.correlation.windows import Update
from tests.support.correlation import base, correlation, plan_of

pytestmark = pytest.mark.unit


def update(time: int, number: int) -> Update:
    return Update(time, 0, UUID(int=number).bytes, number, 0, "", None, 0, (), {})


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(-250_000, 450_000), max_size=8), st.integers(-300_000, 500_000)
        ),
        max_size=8,
    )
)
def test_what_is_due_comes_in_order_once(steps: list[tuple[list[int], int]]) -> None:
    waiting, naive, number = Waiting(), list[Update](), 0
    for times, watermark in steps:
        for time in times:
            number += 1
            waiting.add(update(time, number))
            naive.append(update(time, number))
        due = waiting.until(watermark)
        assert due == sorted(one for one in naive if one.time <= watermark)
        naive = [one for one in naive if one.time > watermark]
        assert sorted(waiting) == sorted(naive)
        assert len(waiting) == len(naive)


def test_rules_can_be_told_also_where_nothing_correlates() -> None:
    plan = plan_of(
        base("a"),
        correlation("type: event_count\nrules: [a]\ntimespan: 20s\ncondition: {gte: 4}"),
    )
    for each in (NO_PLAN, plan):
        told = pickle.loads(pickle.dumps(each))  # noqa: S301 - ours
        assert told.feeds == each.feeds


def test_what_a_process_counts_is_added_once_also_after_another_one() -> None:
    def shown(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"tocsin_detect_correlation_{name}", labels) or 0.0

    before = shown("firings_total", rule="told")
    first, second = metrics.Taken(), metrics.Taken()
    rule = (("rule", "told"),)
    first.take([("fired", rule, 2.0), ("groups", (("partition", "77"),), 5.0)])
    first.take([("fired", rule, 3.0)])
    assert shown("groups", partition="77") == 5
    first.forget()
    assert REGISTRY.get_sample_value(
        "tocsin_detect_correlation_groups", {"partition": "77"}
    ) is None  # fmt: skip
    second.take([("fired", rule, 1.0)])  # another process begins at nothing
    assert shown("firings_total", rule="told") == before + 4
    assert ("fired", rule, before + 4) in metrics.samples()


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(Begin("postgresql://u:secret@h/d", "nats://h", "secret", 4, 1, 1))
