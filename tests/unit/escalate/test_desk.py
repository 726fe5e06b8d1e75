"""Triage of many detections at once: storms, suppressions, the risk of entities, snoozes."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.escalate.desk import Known, Settled, Verdict, settle
from services.escalate.grouping import STORM, Group, Rules
from services.escalate.progression import advance, path
from services.escalate.proposal import explanation_of
from services.escalate.risk import WEIGHTS
from services.escalate.sighting import sighting_of
from services.escalate.standing import Standing, explained, observe, risk_at
from services.escalate.suppression import Suppression, Suppressions
from shared.contracts.detect import DetectionRaisedV1
from shared.ids import derived_id
from tests.unit.escalate.given import NOON, detection

pytestmark = pytest.mark.unit

LATER = NOON + timedelta(days=60)


class Record:
    """Does with what is settled what the store does, in memory."""

    def __init__(self, rules: Rules | None = None, *suppressions: Suppression) -> None:
        self.rules, self.suppressions = rules or Rules(), Suppressions(suppressions)
        self.groups: dict[UUID, Group] = {}
        self.standings: dict[UUID, Standing] = {}
        self.recent: dict[str, int] = {}
        self.verdicts: list[Verdict] = []
        self.placed: dict[UUID, UUID] = {}
        self.hits = 0

    def take(self, detections: Iterable[DetectionRaisedV1]) -> Settled:
        known = Known(self.groups.values(), self.standings, self.suppressions, self.recent)
        done = settle(known, [sighting_of(d) for d in detections], self.rules, LATER)
        self.groups.update(done.groups)
        for gone in done.absorbed:
            self.groups.pop(gone, None)
        moved = {d: done.final(g) for d, g in self.placed.items()}
        self.placed = {**moved, **{s.detection_id: g for s, g, _ in done.placed}}
        self.standings |= done.standings
        for verdict in done.verdicts:
            self.recent[verdict.rule_id] = self.recent.get(verdict.rule_id, 0) + 1
            group = self.groups[verdict.group.id]
            self.groups[group.id] = replace(group, proposed=True)
        self.verdicts += done.verdicts
        self.hits += sum(done.hits.values())
        return done

    @property
    def counted(self) -> int:
        return sum(group.count for group in self.groups.values())


def on(host: str, name: object, **more: Any) -> DetectionRaisedV1:
    return detection(f"{host}-{name}", entities={"host": host}, **more)


def test_a_burst_of_one_rule_over_many_hosts_is_one_proposal_that_counts_all() -> None:
    record = Record()
    burst = [on(f"host-{n}", 1) for n in range(1000)]
    record.take(burst[:256])
    record.take(burst[256:])
    (verdict,) = record.verdicts
    assert (verdict.cause, verdict.rule_id, verdict.group.kind) == ("storm", "rule-a", STORM)
    (storm,) = record.groups.values()
    assert (storm.count, storm.members, record.counted) == (1000, 1000, 1000)
    assert set(record.placed.values()) == {storm.id}
    assert "they are one incident" in explanation_of(storm, record.rules, "storm")


def test_a_storm_that_builds_up_slowly_is_noticed_by_what_was_proposed_before() -> None:
    record = Record()
    for n in range(500):
        record.take([on(f"host-{n}", 1)])
    assert len(record.verdicts) == record.rules.storm_groups + 1
    assert record.verdicts[-1].cause == "storm"
    assert record.counted == 500


def test_what_else_was_found_on_a_host_is_not_lost_in_the_storm() -> None:
    record = Record()
    record.take([on(f"host-{n}", 1) for n in range(50)] + [on("host-7", 2, rule="rule-b")])
    assert [v.cause for v in record.verdicts] == ["group", "storm"]
    assert record.verdicts[0].group.value == "host-7"
    assert record.counted == 51


def test_the_words_of_few_detections_of_a_storm_are_kept() -> None:
    record = Record()
    kept = 0
    for start in range(0, 300, 100):
        done = record.take([on(f"host-{n}", 1) for n in range(start, start + 100)])
        kept += sum(k for _, _, k in done.placed)
    assert kept == 20


def test_different_rules_are_no_storm() -> None:
    record = Record()
    record.take([on(f"host-{n}", 1, rule=f"rule-{n}") for n in range(100)])
    assert [v.cause for v in record.verdicts] == ["group"] * 100


SUPPRESSED = [
    Suppression(derived_id("s", 1), rule_id="rule-a"),
    Suppression(derived_id("s", 1), kind="host", value="WS01."),
    Suppression(derived_id("s", 1), rule_id="rule-a", tenant="t1"),
]


@pytest.mark.parametrize("suppression", SUPPRESSED)
def test_what_is_suppressed_is_counted_and_weighs_nothing(suppression: Suppression) -> None:
    record = Record(Rules(), suppression)
    record.take(detection(n, level="critical", at=n, tenant="t1") for n in range(30))
    (group,) = record.groups.values()
    assert (group.count, group.suppressed, group.risk(record.rules)) == (30, 30, 0)
    assert record.hits == 30
    assert record.verdicts == []
    record.suppressions = Suppressions()  # it expired
    record.take([detection("after", level="medium", at=31, tenant="t1")])
    (verdict,) = record.verdicts
    assert verdict.group.count == 31
    told = explanation_of(verdict.group, record.rules)
    assert "30 of them are suppressed: counted, not weighed." in told
    assert "×31: 45)" in told


def test_a_suppression_holds_only_for_what_agrees_with_all_it_names() -> None:
    other = Suppression(derived_id("s", 1), rule_id="rule-a", kind="host", value="other")
    record = Record(Rules(), other)
    record.take([detection(1)])
    assert len(record.verdicts) == 1
    assert record.hits == 0


def test_a_snoozed_group_counts_on_and_is_not_proposed() -> None:
    record = Record()
    record.take([detection(1, level="low")])
    (group,) = record.groups.values()
    record.groups[group.id] = replace(group, snoozed_until=LATER + timedelta(hours=1))
    record.take(detection(n, at=n, level="critical") for n in range(2, 20))
    assert record.verdicts == []
    assert record.counted == 19
    (group,) = record.groups.values()
    record.groups[group.id] = replace(group, snoozed_until=LATER)
    record.take([detection(20, at=20)])
    assert len(record.verdicts) == 1


def test_risk_of_an_entity_accumulates_over_days_and_crosses_its_threshold_once() -> None:
    record = Record(Rules(half_life=timedelta(days=14)))
    day = 24 * 60
    for n in range(10):
        record.take([detection(n, at=n * day, level="low", rule=f"rule-{n}")])
    (verdict,) = record.verdicts
    assert verdict.cause == "entity"
    assert verdict.group.count == 1
    standing = record.standings[verdict.group.key]
    assert not standing.armed
    told = explanation_of(verdict.group, record.rules, "entity", standing)
    assert "has accumulated to" in told
    assert "fading by half in 14 days" in told


def test_an_entity_that_cooled_down_is_proposed_anew() -> None:
    record = Record(Rules(half_life=timedelta(days=1)))
    for at in (0, 40 * 24 * 60):
        spaced = [
            detection((at, n), at=at + n * 200, level="low", rule=f"rule-{n}") for n in range(8)
        ]
        for found in spaced:
            record.take([found])
    assert [v.cause for v in record.verdicts] == ["entity", "entity"]


def test_a_line_dated_to_the_future_hides_nothing() -> None:
    record = Record()
    then = NOON.replace(year=2990)
    record.take([detection("f", level="low", rule="x", first_seen=then, last_seen=then)])
    for n in range(8):
        at = (LATER - NOON) / timedelta(minutes=1) - 3000 + n * 300
        record.take([detection(n, at=at, level="low", rule=f"rule-{n}")])
    assert "entity" in [v.cause for v in record.verdicts]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**5), st.sampled_from("abc"), st.sampled_from(sorted(WEIGHTS))),
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_the_risk_of_an_entity_does_not_depend_on_the_order(drawn: Any, shuffle: Any) -> None:
    def total() -> tuple[int, list[str]]:
        standing = Standing("host", "h", None)
        for minutes, rule, level in drawn:
            at = NOON + timedelta(minutes=minutes)
            standing = observe(standing, rule, rule, WEIGHTS[level], at, timedelta(days=7))
        return round(risk_at(standing, LATER, timedelta(days=7))), explained(
            standing, LATER, timedelta(days=7)
        )

    first = total()
    shuffle.shuffle(drawn)
    assert total() == first


def test_a_later_stage_joins_over_a_longer_gap_and_a_repeat_does_not() -> None:
    for second, groups in (("execution", 1), ("initial-access", 2), ("reconnaissance", 2)):
        record = Record(Rules(threshold=10**9))
        record.take([
            detection(1, attack_tactics=["initial-access"]),
            detection(2, at=200, attack_tactics=[second]),
        ])  # fmt: skip
        assert len(record.groups) == groups


def test_progression_adds_to_the_risk_and_is_explained() -> None:
    record = Record()
    tactics = ["initial-access", "execution", "exfiltration"]
    record.take(
        detection(n, at=n * 90, level="informational", rule=f"r{n}", attack_tactics=[tactic])
        for n, tactic in enumerate(tactics)
    )
    (group,) = record.groups.values()
    assert path(group.stages) == ["engage", "presence", "effect"]
    assert advance(group.stages) == 2
    assert group.risk(record.rules) == 3 * 5 + 2 * 10
    told = explanation_of(group, record.rules)
    assert "The activity advanced by 2 stages (engage from 2026-03-01T12:00:00" in told


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1300),
            st.sampled_from(
                [[], ["reconnaissance"], ["initial-access"], ["execution"], ["impact"]]
            ),
            st.sampled_from(["h1", "h2"]),
        ),
        max_size=20,
    ),
    st.integers(1, 7),
    st.randoms(use_true_random=False),
)
def test_neither_order_nor_batches_change_the_groups(drawn: Any, size: int, shuffle: Any) -> None:
    detections = [
        detection(n, at=at, entities={"host": host}, attack_tactics=tactics)
        for n, (at, tactics, host) in enumerate(drawn)
    ]
    whole, parts = (Record(Rules(threshold=10**9, entity_threshold=10**9)) for _ in range(2))
    whole.take(detections)
    shuffle.shuffle(detections)
    for start in range(0, len(detections), size):
        parts.take(detections[start : start + size])
    seen = [
        sorted((g.value, g.first, g.last, g.count, path(g.stages)) for g in r.groups.values())
        for r in (whole, parts)
    ]
    assert seen[0] == seen[1]


def test_a_severity_is_asked_for_anew_only_where_detections_show_something_new() -> None:
    record = Record()
    record.take([on("ws01", "first", attack_tactics=["execution"])])

    def turned(name: str, **more: Any) -> list[Group]:
        known = Known(list(record.groups.values()))
        return record.take([on("ws01", name, **more)]).turned(known)

    assert turned("again", attack_tactics=["execution"]) == []
    (group,) = turned("worse", attack_tactics=["exfiltration"])
    assert group.facts.tactics == {"execution", "exfiltration"}
