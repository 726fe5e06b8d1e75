"""Checklist points 79 to 90 and 96: what each type of correlation finds, and what it does not."""

from typing import Any

import pytest

from tests.support.correlation import base, correlation, fire, matched, plan_of, run, seconds

pytestmark = pytest.mark.unit

COUNT = """
type: event_count
rules: [fail]
group-by: [user]
timespan: 1m
condition: {%s}
"""


def count(condition: str) -> Any:
    return plan_of(base("fail"), correlation(COUNT % condition))


def at(*times: float, user: str = "a") -> list[tuple[float, str, dict[str, Any]]]:
    return [(time, "fail", {"user": user}) for time in times]


def test_point_79_gte_counts_inside_the_span_only() -> None:
    assert [seconds(f) for f in fire(count("gte: 3"), *at(0, 10, 20))] == [(0, 20)]
    assert fire(count("gte: 3"), *at(0, 10)) == []
    assert fire(count("gte: 3"), *at(0, 50, 100)) == []


def test_point_79_gt_is_one_more() -> None:
    assert fire(count("gt: 3"), *at(0, 1, 2)) == []
    assert len(fire(count("gt: 3"), *at(0, 1, 2, 3))) == 1


@pytest.mark.parametrize(
    ("condition", "events", "fires"),
    [
        ("eq: 2", 2, True), ("eq: 2", 3, False), ("eq: 2", 1, False),
        ("lt: 3", 2, True), ("lt: 3", 3, False),
        ("lte: 3", 3, True), ("lte: 3", 4, False),
        ("neq: 2", 2, False), ("neq: 2", 3, True),
        ("gt: 2, lte: 4", 2, False), ("gt: 2, lte: 4", 4, True), ("gt: 2, lte: 4", 5, False),
    ],
)  # fmt: skip
def test_point_79_an_upper_bound_is_decided_when_the_window_closes(
    condition: str, events: int, fires: bool
) -> None:
    found = fire(count(condition), *at(*range(events)))
    windows = [seconds(f) for f in found if f.events]  # without what silence says (point 96)
    assert windows == ([(0, 60)] if fires else [])


def test_point_80_distinct_values_are_counted() -> None:
    plan = plan_of(
        base("fail"),
        correlation(
            "type: value_count\nrules: [fail]\ngroup-by: [ip]\ntimespan: 1m\n"
            "condition: {field: user, gte: 3}"
        ),
    )

    def users(*names: str | None) -> list[tuple[float, str, dict[str, Any]]]:
        return [(i, "fail", {"ip": "1", "user": name}) for i, name in enumerate(names)]

    found = fire(plan, *users("a", "b", "A", "b", "c"))
    assert [(f.number, f.values) for f in found] == [(3, ("a", "b", "c"))]
    assert fire(plan, *users("a", "b", "B", "a")) == []
    assert fire(plan, *users("a", "b", None)) == []  # what is absent is no value


def test_point_80_several_fields_count_as_one_value() -> None:
    plan = plan_of(
        base("fail"),
        correlation(
            "type: value_count\nrules: [fail]\ntimespan: 1m\n"
            "condition: {field: [user, host], gte: 3}"
        ),
    )
    pairs = [("a", "x"), ("a", "y"), ("b", "x")]
    events = [(i, "fail", {"user": u, "host": h}) for i, (u, h) in enumerate(pairs)]
    assert len(fire(plan, *events)) == 1
    assert fire(plan, *events[:2], (5, "fail", {"user": "c"})) == []


TEMPORAL = "type: {}\nrules: [a, b, c]\ngroup-by: [host]\ntimespan: 1m\n"


def story(letters: str, hosts: str = "") -> list[tuple[float, str, dict[str, Any]]]:
    return [
        (i * 10, letter, {"host": hosts[i] if hosts else "h"}) for i, letter in enumerate(letters)
    ]


def test_point_81_temporal_takes_any_order_in_one_group() -> None:
    plan = plan_of(base("a", "b", "c"), correlation(TEMPORAL.format("temporal")))
    assert [seconds(f) for f in fire(plan, *story("cab"))] == [(0, 20)]
    assert fire(plan, *story("abb")) == []
    assert fire(plan, *story("abc", "hhi")) == []  # hayabusa PR #1841
    assert fire(plan, (0, "a", {"host": 1}), (10, "b", {"host": 1}), (61, "c", {"host": 1})) == []


def test_point_81_temporal_with_a_number_of_rules() -> None:
    plan = plan_of(
        base("a", "b", "c"), correlation(TEMPORAL.format("temporal") + "condition: {gte: 2}")
    )
    assert len(fire(plan, *story("ac"))) == 1
    assert fire(plan, *story("aa")) == []


def test_point_82_order_matters_and_one_instant_has_any_order() -> None:
    plan = plan_of(base("a", "b", "c"), correlation(TEMPORAL.format("temporal_ordered")))
    assert [seconds(f) for f in fire(plan, *story("abc"))] == [(0, 20)]
    assert [seconds(f) for f in fire(plan, *story("aabac"))] == [(10, 40)]  # the latest start
    assert fire(plan, *story("acb")) == []
    assert fire(plan, *story("cba")) == []
    same = [(0, letter, {"host": "h"}) for letter in "cab"]
    assert len(fire(plan, *same)) == 1


def test_point_82_one_event_is_not_two_steps() -> None:
    plan = plan_of(base("a", "b", "c"), correlation(TEMPORAL.format("temporal_ordered")))
    once = [matched(plan, 0, letter, {"host": "h"}, event="the same") for letter in "abc"]
    assert run(plan, once).firings == []


def test_extended_condition_with_or() -> None:
    plan = plan_of(
        base("a", "b", "c"), correlation(TEMPORAL.format("temporal") + "condition: a and (b or c)")
    )
    assert len(fire(plan, *story("ca"))) == 1
    assert fire(plan, *story("bc")) == []


def test_extended_condition_with_not_waits_for_the_end_of_the_window() -> None:
    plan = plan_of(
        base("a", "b", "c"),
        correlation(TEMPORAL.format("temporal") + "condition: a and b and not c"),
    )
    assert [seconds(f) for f in fire(plan, *story("ab"))] == [(0, 60)]
    assert fire(plan, *story("abc")) == []
    assert fire(plan, *story("cab")) == []


def test_extended_condition_of_an_order_forbids_what_lies_between() -> None:
    plan = plan_of(
        base("a", "b", "c"),
        correlation(TEMPORAL.format("temporal_ordered") + "condition: a and not b and c"),
    )
    assert len(fire(plan, *story("ac"))) == 1
    assert fire(plan, *story("abc")) == []
    assert len(fire(plan, *story("bac"))) == 1
    assert fire(plan, *story("ca")) == []


METRIC = "type: {}\nrules: [fail]\ngroup-by: [user]\ntimespan: 1m\ncondition: {{field: n, {}}}"


def metric(kind: str, condition: str, *numbers: object) -> list[float]:
    plan = plan_of(base("fail"), correlation(METRIC.format(kind, condition)))
    events = [(i, "fail", {"user": "a", "n": n}) for i, n in enumerate(numbers)]
    return [firing.number for firing in fire(plan, *events)]


@pytest.mark.parametrize(
    ("kind", "condition", "numbers", "found"),
    [
        ("value_sum", "gt: 10", (5, 5, "1.5"), [11.5]),
        ("value_sum", "gt: 10", (5, 5), []),
        ("value_sum", "gt: 10", (5, "many", 5), []),
        ("value_sum", "gt: 10", (11, -5), [11]),
        ("value_sum", "lt: 3", (1, 1), [2]),
        ("value_sum", "lt: 3", (1, 1, 1), []),
        ("value_avg", "gt: 5", (4, 8), [6]),
        ("value_avg", "gt: 5", (8, 1), []),  # 8 alone would be above: the window counts
        ("value_avg", "gt: 5", ("x",), []),
        ("value_percentile", "percentile: 95, gte: 100", (*[1] * 18, 100, 100), [100]),
        ("value_percentile", "percentile: 95, gte: 100", (*[1] * 19, 100), []),
        ("value_percentile", "lte: 10", ("cmd", *["svc"] * 9), [10]),
        ("value_percentile", "lte: 10", ("cmd", *["svc"] * 8), []),
        ("value_median", "gte: 5", (1, 5, 9), [5]),
        ("value_median", "gte: 5", (1, 4, 9), []),
    ],
)
def test_point_83_numbers_of_a_field(
    kind: str, condition: str, numbers: tuple[object, ...], found: list[float]
) -> None:
    assert metric(kind, condition, *numbers) == found


def test_point_84_groups_never_meet() -> None:
    plan = plan_of(
        base("fail"),
        correlation(
            "type: event_count\nrules: [fail]\ngroup-by: [user, host]\ntimespan: 1m\n"
            "condition: {gte: 2}"
        ),
    )

    def events(*groups: dict[str, Any]) -> list[tuple[float, str, dict[str, Any]]]:
        return [(i, "fail", group) for i, group in enumerate(groups)]

    found = fire(plan, *events({"user": "A", "host": "x"}, {"user": "a", "host": "X"}))
    assert [firing.group for firing in found] == [{"user": "a", "host": "x"}]
    assert fire(plan, *events({"user": "a", "host": "x"}, {"user": "a", "host": "y"})) == []
    # Values that run into each other when joined are still different groups.
    assert fire(plan, *events({"user": "ab", "host": "c"}, {"user": "a", "host": "bc"})) == []


def test_point_84_a_missing_field_counts_nowhere_unless_the_rule_says_so() -> None:
    events = [(i, "fail", {"other": 1}) for i in range(3)]
    assert fire(count("gte: 3"), *events) == []
    own = plan_of(base("fail"), correlation(COUNT % "gte: 3", head="tocsin: {missing: own}\n"))
    assert len(fire(own, *events)) == 1
    assert fire(own, *events[:2], (4, "fail", {"user": ""})) == []  # empty is a value


def test_point_85_aliases_join_different_fields() -> None:
    plan = plan_of(
        base("internal_error", "new_network_connection"),
        correlation(
            """
type: temporal
rules: [internal_error, new_network_connection]
group-by: [internal_ip, remote_ip]
timespan: 10s
aliases:
  internal_ip: {internal_error: destination.ip, new_network_connection: source.ip}
  remote_ip: {internal_error: source.ip, new_network_connection: destination.ip}
"""
        ),
    )
    error = (0, "internal_error", {"destination.ip": "10.0.0.1", "source.ip": "203.0.113.5"})
    back = (5, "new_network_connection", {"source.ip": "10.0.0.1", "destination.ip": "203.0.113.5"})
    wrong = (
        5,
        "new_network_connection",
        {"destination.ip": "10.0.0.1", "source.ip": "203.0.113.5"},
    )
    found = fire(plan, error, back)
    assert [f.group for f in found] == [{"internal_ip": "10.0.0.1", "remote_ip": "203.0.113.5"}]
    assert fire(plan, error, wrong) == []


CHAIN = (
    base("fail", "success", "admin"),
    correlation(
        "type: event_count\nrules: [fail]\ngroup-by: [user]\ntimespan: 1m\ncondition: {gte: 3}",
        title="many failures", head="name: many_failures\n",
    ),
    correlation(
        "type: temporal_ordered\nrules: [many_failures, success]\ngroup-by: [user]\ntimespan: 5m",
        title="guessed", head="name: guessed\n",
    ),
    correlation(
        "type: temporal_ordered\nrules: [guessed, admin]\ngroup-by: [user]\ntimespan: 10m",
        title="guessed and used", head="level: critical\n",
    ),
)  # fmt: skip


def test_point_86_chains_three_deep_by_name() -> None:
    plan = plan_of(*CHAIN)
    events = [*at(0, 1, 2), (30, "success", {"user": "a"}), (60, "admin", {"user": "A"})]
    found = fire(plan, *events)
    assert [f.step.rule.title for f in found] == ["many failures", "guessed", "guessed and used"]
    top = found[-1]
    leaves = {leaf for event in top.evidence for leaf in (event.via or (event.event_id,))}
    assert leaves == {matched(plan, *event).event_id for event in events}  # down to the events
    assert [f.step.rule.title for f in fire(plan, *events[1:])] == []
    assert len(fire(plan, *events[:3], *at(100, user="b"))) == 1
    late = [*events[:3], (400, "success", {"user": "a"})]
    assert [f.step.rule.title for f in fire(plan, *late)] == ["many failures"]


def test_point_87_generate_decides_whether_members_speak_for_themselves() -> None:
    body = COUNT % "gte: 3"
    silent = plan_of(base("fail"), correlation(body))
    assert len(silent.silent) == 1
    assert plan_of(base("fail"), correlation(body, head="generate: true\n")).silent == frozenset()
    # One correlation that asks for it is enough.
    both = plan_of(
        base("fail"), correlation(body, title="x"), correlation(body, head="generate: true\n")
    )
    assert both.silent == frozenset()


def test_point_88_windows_slide_and_know_no_calendar() -> None:
    found = fire(count("gte: 3"), *at(3_599, 3_600, 3_601))
    assert [seconds(f) for f in found] == [(3_599, 3_601)]
    assert [seconds(f) for f in fire(count("gte: 3"), *at(0, 50, 70, 90))] == [(50, 90)]


def test_point_89_exactly_a_timespan_apart_is_inside() -> None:
    assert len(fire(count("gte: 2"), *at(0, 60))) == 1
    assert fire(count("gte: 2"), *at(0, 60.000001)) == []
    assert [f.events for f in fire(count("eq: 2"), *at(0, 60)) if f.events] == [2]


def test_point_90_once_a_window_and_the_rest_is_tallied() -> None:
    plan = count("gte: 3")
    outcome = run(plan, [matched(plan, *e) for e in at(*range(0, 70, 5))])
    assert [seconds(f) for f in outcome.firings] == [(0, 10)]
    assert [(t.detection_id, t.events) for t in outcome.tallies] == [
        (outcome.firings[0].detection_id, 13)
    ]
    again = fire(plan, *at(*range(0, 140, 5)))
    assert [seconds(f)[0] for f in again] == [0, 65]
    assert len({f.detection_id for f in again}) == 2


def test_point_90_every_event_where_the_rule_says_so() -> None:
    every = plan_of(base("fail"), correlation(COUNT % "gte: 3", head="tocsin: {refire: every}\n"))
    found = fire(every, *at(0, 1, 2, 3, 4))
    assert [f.events for f in found] == [3, 4, 5]
    assert len({f.detection_id for f in found}) == 3


def test_point_96_silence_is_found_by_time_alone() -> None:
    plan = count("eq: 0")
    assert [seconds(f) for f in fire(plan, *at(0, 30, 80))] == [(80, 140)]
    assert [seconds(f) for f in fire(plan, *at(0, 30, 200))] == [(30, 90), (200, 260)]
    few = fire(count("lt: 3"), *at(0, 1, 2, 3))
    assert [(seconds(f), f.events) for f in few] == [((3, 63), 0)]
