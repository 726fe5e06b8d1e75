"""Risk, suppression and throttling as decisions (R03, R26b)."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.detect.noise import Suppression, group_key, labels, weigh, within_limit
from shared.contracts.detect import DetectionRaisedV1, Entity

pytestmark = pytest.mark.unit
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=1)
FOUND = DetectionRaisedV1(
    event_id=ID, detection_id=ID, occurred_at=NOW, rule_id="r", rule_version="v", title="t",
    level="high", risk_score=70, confidence=75, first_seen=NOW, last_seen=NOW, source_id="s",
    entities=[Entity(type="host", value="Web-1"), Entity(type="user", value="Alice")],
)  # fmt: skip


def test_risk_is_impact_times_likelihood_times_tier() -> None:
    assert weigh(FOUND, 0.5, None).detection.risk_score == 70  # nothing is known: as the rule says
    scores = [weigh(FOUND, 0.5, tier).detection.risk_score for tier in (1, 2, 3, 4)]
    assert scores == [98, 80, 70, 56]
    assert weigh(FOUND, 0.0, 3).detection.risk_score == 42
    assert weigh(FOUND, 1.0, 1).detection.risk_score == 100


def test_confidence_and_hint_follow_the_verdicts() -> None:
    unsure, sure = weigh(FOUND, 0.1, None).detection, weigh(FOUND, 0.6, None).detection
    assert (unsure.confidence, unsure.verdict_hint) == (51, "suspicious")
    assert (sure.confidence, sure.verdict_hint) == (81, "malicious")
    low = FOUND.model_copy(update={"level": "low"})
    assert weigh(low, 1.0, None).detection.verdict_hint == "suspicious"


@pytest.mark.parametrize(
    ("suppression", "fits"),
    [
        (Suppression(ID, "r", None, None, None), True),
        (Suppression(ID, "other", None, None, None), False),
        (Suppression(ID, None, "host", "web-1", None), True),
        (Suppression(ID, None, "user", "web-1", None), False),
        (Suppression(ID, "r", "user", "ALICE", None), True),
        (Suppression(ID, "r", "user", "bob", None), False),
        (Suppression(ID, "r", None, None, "t1"), False),
    ],
)
def test_every_part_of_a_suppression_must_fit(suppression: Suppression, fits: bool) -> None:
    assert suppression.fits(FOUND) is fits


def test_the_group_is_rule_and_principal() -> None:
    assert group_key(FOUND) == "r|user:alice"
    assert group_key(FOUND.model_copy(update={"entities": []})) == "r|source:s"
    assert labels(FOUND) == ["host:web-1", "user:alice"]


def test_the_first_within_the_limit_are_told() -> None:
    assert within_limit(["a", "a", "b"], {"a": 2, "b": 1}, 1) == [True, False, True]
    assert within_limit(["a"], {"a": 5}, 4) == [False]
    assert within_limit([], {}, 1) == []
