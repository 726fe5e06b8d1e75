"""Checklist points 91 to 95: order, lateness, repetition, restart and limits change no finding."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.detect.correlation.engine import Engine
from services.detect.correlation.firing import Firing, Matched
from services.detect.correlation.model import SECOND
from services.detect.correlation.plan import Plan
from services.detect.correlation.snapshot import dump, load
from tests.support.correlation import EPOCH, base, correlation, ids, matched, plan_of, run, seconds

pytestmark = pytest.mark.unit

GROUPED = "group-by: [user]\ntimespan: 20s\n"
PLAN = plan_of(
    base("a", "b", "c"),
    correlation(f"type: event_count\nrules: [a, b]\n{GROUPED}condition: {{gte: 4}}",
                title="count", head="name: count\n"),
    correlation(f"type: event_count\nrules: [a]\n{GROUPED}condition: {{lt: 2}}", title="few"),
    correlation(f"type: event_count\nrules: [c]\n{GROUPED}condition: {{eq: 0}}", title="silence"),
    correlation(f"type: value_count\nrules: [a, b]\n{GROUPED}condition: {{field: n, gte: 3}}",
                title="distinct"),
    correlation(f"type: value_sum\nrules: [a]\n{GROUPED}condition: {{field: n, gt: 8}}",
                title="sum"),
    correlation(f"type: value_avg\nrules: [a]\n{GROUPED}condition: {{field: n, gte: 3}}",
                title="average"),
    correlation(f"type: value_percentile\nrules: [b]\n{GROUPED}condition: {{field: n, lte: 30}}",
                title="rare"),
    correlation(f"type: temporal\nrules: [a, b, c]\n{GROUPED}", title="together"),
    correlation(f"type: temporal\nrules: [a, b, c]\n{GROUPED}condition: a and not b",
                title="without"),
    correlation(f"type: temporal_ordered\nrules: [a, b, c]\n{GROUPED}", title="in order"),
    correlation(f"type: temporal_ordered\nrules: [count, c]\n{GROUPED}", title="chained"),
)  # fmt: skip
events = st.lists(
    st.tuples(st.integers(0, 90), st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 5)),
    max_size=40,
)
TEST_SETTINGS = settings(max_examples=60, deadline=None)
LATENESS = 10 * SECOND


def matches(table: list[tuple[int, str, str, int]]) -> list[Matched]:
    return [
        matched(PLAN, second, rule, {"user": user, "n": n}, event=number)
        for number, (second, rule, user, n) in enumerate(table)
    ]


def key(match: Matched) -> tuple[int, bytes]:
    return match.time, match.event_id


def told(firings: list[Firing]) -> list[tuple[Any, ...]]:
    """Return all that a firing says, in an order of its own."""
    return sorted(
        (f.detection_id, f.start, f.end, f.number, f.events, f.evidence, f.values) for f in firings
    )


def in_blocks(
    plan: Plan, arriving: list[Matched], size: int, restart: bool = False
) -> list[Firing]:
    """Return the firings of *arriving*, *size* at a time; with a restart after each block."""
    engine = Engine(plan, lateness=LATENESS)
    found: list[Firing] = []
    for at in range(0, len(arriving), size):
        # The wall clock stands still: only events move the watermark.
        engine.feed(arriving[at : at + size], EPOCH)
        found += engine.advance(EPOCH).firings
        if restart:
            chunks = list(dump(engine))
            engine = Engine(plan, lateness=LATENESS)
            load(engine, chunks)
    assert engine.counts.total() == 0 or not any("late" in what for _, what in engine.counts)
    return found + engine.finish().firings


@given(events, st.integers(0, 10_000), st.integers(1, 7))
@TEST_SETTINGS
def test_point_91_out_of_order_within_lateness_is_as_sorted(
    table: list[tuple[int, str, str, int]], seed: int, size: int
) -> None:
    in_order = sorted(matches(table), key=key)
    # Each arrives up to the allowed lateness after its time.
    delay = random.Random(seed)  # noqa: S311 - a shuffle
    shuffled = sorted(in_order, key=lambda m: m.time + delay.randrange(LATENESS))
    assert told(in_blocks(PLAN, shuffled, size)) == told(in_blocks(PLAN, in_order, len(table) + 1))


@given(events, st.integers(0, 10_000), st.integers(1, 7))
@TEST_SETTINGS
def test_point_92_redelivered_events_do_not_count(
    table: list[tuple[int, str, str, int]], seed: int, size: int
) -> None:
    in_order = sorted(matches(table), key=key)
    delay = random.Random(seed)  # noqa: S311 - a shuffle
    twice = sorted([*in_order, *in_order], key=lambda m: m.time + delay.randrange(LATENESS))
    assert told(in_blocks(PLAN, twice, size)) == told(in_blocks(PLAN, in_order, len(table) + 1))


@given(events, st.integers(1, 7))
@TEST_SETTINGS
def test_point_93_a_restart_in_mid_window_loses_and_doubles_nothing(
    table: list[tuple[int, str, str, int]], size: int
) -> None:
    in_order = sorted(matches(table), key=key)
    assert told(in_blocks(PLAN, in_order, size, restart=True)) == told(
        in_blocks(PLAN, in_order, size)
    )


def test_the_properties_are_about_something() -> None:
    found = in_blocks(PLAN, matches([(i * 3, "aabc"[i % 4], "x", i % 5) for i in range(30)]), 4)
    assert len({firing.step.rule.title for firing in found}) >= 9


COUNT = plan_of(
    base("a"),
    correlation("type: event_count\nrules: [a]\ngroup-by: [user]\ntimespan: 60s\n"
                "condition: {gte: 3}"),
)  # fmt: skip


def fails(*times: float, user: str = "x") -> list[Matched]:
    return [matched(COUNT, time, "a", {"user": user}) for time in times]


def test_point_91_what_is_late_is_counted_and_still_taken_in() -> None:
    engine = Engine(COUNT, lateness=10 * SECOND)
    engine.feed(fails(0, 5), EPOCH)
    engine.feed(fails(100, user="y"), EPOCH)
    assert engine.advance(EPOCH).firings == []
    engine.feed(fails(6), EPOCH)
    found = engine.advance(EPOCH).firings
    assert [seconds(f) for f in found] == []  # its group is over by a minute
    assert sum(times for (_, what), times in engine.counts.items() if what == "late") == 1
    # A source that comes back after an hour delivers in order: its groups go on as if in time.
    engine.feed(fails(10, 11, 12, user="z"), EPOCH)
    assert [seconds(f) for f in engine.advance(EPOCH).firings] == [(10, 12)]


def test_point_91_the_wall_clock_moves_the_watermark_when_no_event_does() -> None:
    engine = Engine(COUNT, lateness=10 * SECOND)
    engine.feed(fails(0, 1, 2), EPOCH)
    assert engine.advance(EPOCH + 9 * SECOND).firings == []
    assert len(engine.advance(EPOCH + 10 * SECOND).firings) == 1


def test_point_94_going_back_over_the_stream_finds_the_same_detections() -> None:
    engine = Engine(COUNT, lateness=10 * SECOND)
    stream = fails(*range(0, 50, 5))
    engine.feed(stream, EPOCH)
    first = engine.advance(EPOCH + 100 * SECOND).firings
    assert len(first) == 1
    engine.feed(stream, EPOCH + 100 * SECOND)
    again = engine.advance(EPOCH + 101 * SECOND).firings
    assert set(ids(again)) <= set(ids(first))
    engine.feed(fails(*range(200, 300, 5), user="y"), EPOCH + 300 * SECOND)
    engine.feed(stream, EPOCH + 300 * SECOND)
    again = engine.advance(EPOCH + 330 * SECOND).firings
    assert set(ids([f for f in again if f.key == "x"])) <= set(ids(first))


def test_point_95_groups_over_the_limit_are_evicted_and_counted() -> None:
    outcome_engine = Engine(COUNT, groups=2)
    outcome_engine.feed(
        [m for user in "pqr" for m in fails(0, 1, user=user)] + fails(2, user="p"), EPOCH
    )
    found = outcome_engine.finish().firings
    assert [f.key for f in found] in ([], ["p"])
    assert {what: n for (_, what), n in outcome_engine.counts.items()}["evicted_groups"] >= 1
    assert outcome_engine.groups <= 2


def test_groups_end_when_their_time_is_over() -> None:
    engine = Engine(COUNT, lateness=SECOND)
    for second in range(0, 3_000, 10):
        engine.feed(fails(second, user=f"u{second}"), EPOCH)
        engine.advance(EPOCH)
    assert engine.groups < 20
    assert run(COUNT, fails(0)).firings == []


def test_a_changed_rule_begins_anew() -> None:
    engine = Engine(COUNT, lateness=SECOND)
    engine.feed(fails(0, 1, 5), EPOCH)
    engine.advance(EPOCH)
    other = plan_of(
        base("a"),
        correlation("type: event_count\nrules: [a]\ngroup-by: [user]\ntimespan: 61s\n"
                    "condition: {gte: 3}"),
    )  # fmt: skip
    changed = Engine(other, lateness=SECOND)
    load(changed, dump(engine))
    assert changed.groups == 0
    assert changed.watermark == engine.watermark
    same = Engine(COUNT, lateness=SECOND)
    load(same, dump(engine))
    assert same.groups == 1
