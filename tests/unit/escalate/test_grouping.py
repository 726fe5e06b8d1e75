"""Grouping: which detections are one thing, whatever the order they come in."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.escalate.grouping import Group, Outcome, Rules, receive
from services.escalate.risk import WEIGHTS, Tally, risk_of
from services.escalate.sighting import sighting_of
from shared.contracts.detect import DetectionRaisedV1
from tests.unit.escalate.given import NOON, detection

pytestmark = pytest.mark.unit
NEVER = 10**9


class Desk:
    """Does with groups what the store does, in memory."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.groups: dict[object, Group] = {}
        self.proposals: list[object] = []

    def take(self, *detections: DetectionRaisedV1) -> list[Outcome]:
        return [self._take(d) for d in detections]

    def _take(self, found: DetectionRaisedV1) -> Outcome:
        sighting = sighting_of(found)
        known = [g for g in self.groups.values() if g.key == sighting.key]
        outcome = receive(known, sighting, self.rules)
        for gone in outcome.absorbed:
            del self.groups[gone]
        group = outcome.group
        if outcome.over:
            self.proposals.append(group.id)
            group = replace(group, proposed=True)
        self.groups[group.id] = group
        return outcome

    def seen(self) -> list[tuple[Any, ...]]:
        """Return all about the groups that must not depend on the order of delivery."""
        return sorted(
            (
                g.kind,
                g.value,
                g.tenant or "",
                g.first,
                g.last,
                g.count,
                g.risk(self.rules),
                str(g.facts.tactics),
            )
            for g in self.groups.values()
        )


def numbers(groups: Iterable[Group]) -> list[int]:
    return sorted(g.count for g in groups)


@pytest.mark.parametrize(
    ("entities", "kind", "value"),
    [
        ({"service": "mail", "ip": "1.2.3.4", "user": "u", "host": "h"}, "host", "h"),
        ({"service": "mail", "ip": "1.2.3.4", "account": "a", "user": "u"}, "user", "u"),
        ({"service": "mail", "ip": "1.2.3.4", "account": "a"}, "account", "a"),
        ({"service": "mail", "ip": "1.2.3.4"}, "ip", "1.2.3.4"),
        ({"service": "mail"}, "service", "mail"),
        ({}, "source", "winlogs"),
        ({"host": " \x00\x1b "}, "source", "winlogs"),
    ],
)
def test_the_primary_entity(entities: dict[str, str], kind: str, value: str) -> None:
    sighting = sighting_of(detection(entities=entities))
    assert (sighting.kind, sighting.value) == (kind, value)


def test_names_are_one_line_of_text_whatever_the_log_held() -> None:
    hostile = detection(entities={"host": "a\x00b\n\u202ec" + "x" * 999}, rule="r\x00")
    sighting = sighting_of(hostile)
    assert sighting.value.startswith("a b c")
    assert len(sighting.value) == 256
    assert sighting.rule_id == "r"


def test_the_spelling_of_a_host_does_not_split_it_but_the_tenant_does() -> None:
    desk = Desk()
    desk.take(
        detection(1, entities={"host": "WS01.corp"}),
        detection(2, entities={"host": "ws01.CORP."}),
        detection(3, entities={"host": "ws01.corp"}, tenant="t1"),
        detection(4, entities={"user": "ws01.corp"}),
    )
    assert numbers(desk.groups.values()) == [1, 1, 2]


@pytest.mark.parametrize(("second", "groups"), [(60, 1), (60.01, 2), (-60, 1), (-60.01, 2), (0, 1)])
def test_the_gap_is_inclusive_on_both_sides(second: float, groups: int) -> None:
    desk = Desk()
    desk.take(detection(1), detection(2, at=second))
    assert len(desk.groups) == groups


def test_the_window_slides_with_the_last_detection() -> None:
    desk = Desk()
    desk.take(*(detection(n, at=50 * n) for n in range(10)))
    assert numbers(desk.groups.values()) == [10]


def test_a_late_detection_that_closes_the_gap_makes_two_groups_one() -> None:
    desk = Desk(Rules(threshold=NEVER))
    desk.take(detection(1), detection(2, at=100))
    assert len(desk.groups) == 2
    (outcome,) = desk.take(detection(3, at=50))
    assert numbers(desk.groups.values()) == [3]
    assert len(outcome.absorbed) == 1


def test_two_incidents_that_grow_together_stay_two_and_lose_nothing() -> None:
    desk = Desk()
    desk.take(detection(1), detection(2, at=100), detection(3, at=50))
    assert len(desk.proposals) == 2
    assert numbers(desk.groups.values()) == [1, 2]


def test_a_proposed_group_takes_in_one_that_is_not() -> None:
    desk = Desk()
    desk.take(detection(1, level="low"), detection(2, at=100))
    assert len(desk.proposals) == 1
    (outcome,) = desk.take(detection(3, at=50, level="low"))
    assert outcome.group.proposed
    assert not outcome.over
    assert outcome.group.first == NOON
    assert numbers(desk.groups.values()) == [3]


def test_a_group_never_spans_more_than_its_bound() -> None:
    desk = Desk(Rules(threshold=NEVER))
    desk.take(*(detection(n, at=30 * n) for n in range(100)))
    assert all(g.last - g.first <= timedelta(hours=24) for g in desk.groups.values())
    assert numbers(desk.groups.values()) == [2, 49, 49]


def test_a_long_detection_is_a_group_that_others_within_it_join() -> None:
    desk = Desk(Rules(threshold=NEVER))
    desk.take(
        detection(1, at=0, last_seen=NOON + timedelta(days=3)),
        detection(2, at=1500),
        detection(3, at=-10),
    )
    assert numbers(desk.groups.values()) == [1, 2]


@pytest.mark.parametrize("year", [1, 1969, 9999])
@pytest.mark.parametrize("offset", ["+14:00", "-14:00", "+00:00"])
def test_an_impossible_event_time_is_grouped_all_the_same(year: int, offset: str) -> None:
    forged = datetime.fromisoformat(f"{year:04d}-01-01T00:00:00{offset}")
    desk = Desk()
    desk.take(
        detection(1, first_seen=forged, last_seen=forged),
        detection(2, first_seen=forged, last_seen=NOON),
        detection(3),
    )
    assert sum(g.count for g in desk.groups.values()) == 3


@pytest.mark.parametrize(
    ("level", "repeats", "risk"),
    [
        ("informational", 1, 5), ("informational", 1000, 10),
        ("low", 1, 20), ("low", 10, 38), ("low", 11, 40), ("low", 1000, 40),
        ("medium", 1, 45), ("medium", 2, 49), ("medium", 1000, 90),
        ("high", 1, 70), ("high", 1000, 100),
        ("critical", 1, 95), ("critical", 2, 100),
    ],
)  # fmt: skip
def test_a_rule_weighs_in_full_once_and_repeats_a_tenth(
    level: str, repeats: int, risk: int
) -> None:
    weight = WEIGHTS[level]
    tally = Tally("t", repeats, weight, weight * repeats)
    assert risk_of({"r": tally}) == risk


def test_the_threshold_is_crossed_once() -> None:
    desk = Desk()
    outcomes = desk.take(*(detection(n, level="low", at=n) for n in range(30)))
    assert [n for n, o in enumerate(outcomes, 1) if o.over] == [11]
    other = desk.take(detection(99, level="critical", at=31))
    assert not other[0].over
    assert other[0].new_rule is False
    assert desk.take(detection(100, rule="rule-b", at=31))[0].new_rule is True


def test_noise_of_one_informational_rule_is_never_an_incident() -> None:
    desk = Desk()
    desk.take(*(detection(n, level="informational", at=n / 10) for n in range(300)))
    assert desk.proposals == []
    assert numbers(desk.groups.values()) == [300]


LEVELS = st.sampled_from(sorted(WEIGHTS))
DETECTIONS = st.lists(
    st.tuples(
        st.integers(0, 20 * 60), LEVELS, st.sampled_from("abc"), st.sampled_from(["h1", "H1", "h2"])
    ),
    max_size=25,
)


def made(drawn: list[tuple[int, str, str, str]]) -> list[DetectionRaisedV1]:
    return [
        detection(n, at=at, level=level, rule=rule, entities={"host": host})
        for n, (at, level, rule, host) in enumerate(drawn)
    ]


@settings(max_examples=150, deadline=None)
@given(DETECTIONS, st.randoms(use_true_random=False))
def test_the_order_of_delivery_does_not_change_the_groups(drawn: Any, shuffle: Any) -> None:
    detections = made(drawn)
    in_order, shuffled = (Desk(Rules(threshold=NEVER)) for _ in range(2))
    in_order.take(*detections)
    shuffle.shuffle(detections)
    shuffled.take(*detections)
    assert shuffled.seen() == in_order.seen()


@settings(max_examples=150, deadline=None)
@given(DETECTIONS, st.randoms(use_true_random=False))
def test_nothing_is_lost_and_no_group_is_proposed_twice(drawn: Any, shuffle: Any) -> None:
    detections = made(drawn)
    shuffle.shuffle(detections)
    desk = Desk()
    desk.take(*detections)
    assert sum(g.count for g in desk.groups.values()) == len(detections)
    assert len(set(desk.proposals)) == len(desk.proposals)
    for group in desk.groups.values():
        assert group.proposed == (group.risk(desk.rules) >= desk.rules.threshold)
        assert sum(t.times for t in group.tallies.values()) == group.count


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), LEVELS, st.sampled_from("abc")), min_size=1, max_size=25
    ),
    st.randoms(use_true_random=False),
)
def test_within_one_window_there_is_one_proposal_in_whatever_order(
    drawn: Any, shuffle: Any
) -> None:
    detections = made([(*d, "h1") for d in drawn])
    shuffle.shuffle(detections)
    desk = Desk()
    desk.take(*detections)
    (group,) = desk.groups.values()
    assert len(desk.proposals) == (1 if group.risk(desk.rules) >= desk.rules.threshold else 0)
