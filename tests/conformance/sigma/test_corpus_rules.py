"""All rules of SigmaHQ load, but for those that wait for placeholder values."""

from dataclasses import fields

import msgspec
import pytest

from services.detect.engine.matcher import FastMatcher
from services.detect.rules.codec import decoded, encoded
from services.detect.rules.load import LoadReport, load_rules
from services.detect.rules.match import PlainMatcher

pytestmark = [pytest.mark.conformance, pytest.mark.corpus, pytest.mark.timeout(240)]


def test_point_102_every_rule_is_loaded_or_refused_with_a_reason(sigmahq: LoadReport) -> None:
    assert (sigmahq.files, sigmahq.documents) == (3780, 3780)
    assert (len(sigmahq.rules), len(sigmahq.errors), len(sigmahq.skipped)) == (3755, 25, 0)


def test_only_missing_placeholder_values_are_a_reason(sigmahq: LoadReport) -> None:
    assert {error.reason.split("%")[0] for error in sigmahq.errors} == {"placeholder "}
    assert all(error.line > 1 for error in sigmahq.errors)


def test_placeholder_values_make_the_rest_load(sigmahq: LoadReport) -> None:
    values: dict[str, list[str]] = {}
    report = sigmahq
    # Each round names one more placeholder of a rule that has several.
    for _ in range(5):
        values |= {error.reason.split("%")[1]: ["10.1.2.3", "10.3.2.1"] for error in report.errors}
        report = load_rules([error.path for error in sigmahq.errors], values)

    assert len(report.rules) == 25


def test_a_cached_rule_is_the_rule(sigmahq: LoadReport) -> None:
    for rule in sigmahq.rules:
        again = decoded(msgspec.msgpack.decode(msgspec.msgpack.encode(encoded(rule))), rule.path)
        assert all(getattr(again, f.name) == getattr(rule, f.name) for f in fields(rule)), rule.id


def test_rules_without_a_route_are_counted(matcher: PlainMatcher | FastMatcher) -> None:
    assert len(matcher.unrouted) == 84
    assert {rule.logsource.service for rule in matcher.unrouted} >= {"netflow"}


def test_versions_of_rules_are_distinct(sigmahq: LoadReport) -> None:
    assert len({rule.version for rule in sigmahq.rules}) == len(sigmahq.rules)
