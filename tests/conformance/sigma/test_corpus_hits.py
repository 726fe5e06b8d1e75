"""Real attack events give exactly the expected hits: none missing, none extra."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.detect.rules.load import LoadReport
from services.detect.rules.match import Event, Matcher, PlainMatcher
from services.detect.rules.model import LogSource
from tests.support.windows_json import documents, flatten

pytestmark = [pytest.mark.conformance, pytest.mark.corpus, pytest.mark.timeout(240)]

# The plain evaluator sees one in so many of those that nothing fires on (`make corpus-full`: all).
SHARE = int(os.environ.get("TOCSIN_PLAIN_SHARE", "4"))
CLOUDTRAIL = LogSource("aws", None, "cloudtrail")
Hit = tuple[str, int, str]


def test_windows_attacks_give_the_expected_hits(corpus: Path, matcher: Matcher) -> None:
    folder = corpus / "windows-attacks"
    expected = json.loads((folder / "expected-hits-provider-alias.json").read_bytes())
    share = SHARE if isinstance(matcher, PlainMatcher) else 1
    found: set[Hit] = set()
    events = 0
    for name, hits in expected["files"].items():
        fire = {record for record, _ in hits}
        for record, fields in _lines(folder / name):
            events += 1
            if record in fire or events % share == 0:
                found |= {(name, record, hit.rule.id) for hit in matcher.match(Event(fields))}

    assert events == expected["events"] == 20385
    assert found == _hits(expected)
    assert len(found) == 328


def test_cloudtrail_gives_the_expected_hits(corpus: Path, matcher: Matcher) -> None:
    folder = corpus / "cloudtrail"
    expected = json.loads((folder / "expected-hits.json").read_bytes())
    found: set[Hit] = set()
    events = 0
    for name in expected["files"]:
        records = json.loads((folder / name).read_bytes())["Records"]
        for record, fields in enumerate(records):
            events += 1
            hits = matcher.match(Event(fields, CLOUDTRAIL))
            found |= {(name, record, hit.rule.id) for hit in hits}
            # Without an envelope that says so, the event is known by what it carries.
            assert matcher.match(Event(fields)) == hits

    assert events == expected["events"] == 2900
    assert found == _hits(expected)
    assert len(found) == 109


def test_all_regression_tests_of_sigmahq_fire(
    corpus: Path, sigmahq: LoadReport, matcher: Matcher
) -> None:
    data = sorted((corpus / "sigma" / "regression_data").rglob("*.json"))
    ids = {rule.id for rule in sigmahq.rules}
    fired = 0
    for path in data:
        assert path.stem in ids
        events = [flatten(document) for document in documents(path.read_text("utf-8"))]
        hits = [hit.rule.id for event in events for hit in matcher.match(Event(event))]
        assert path.stem in hits, path
        fired += 1

    assert fired == 202


def test_every_hit_can_be_explained(corpus: Path, matcher: Matcher) -> None:
    for path in sorted((corpus / "sigma" / "regression_data").rglob("*.json")):
        for document in documents(path.read_text("utf-8")):
            for hit in matcher.match(Event(flatten(document))):
                reasons = hit.reasons()
                assert reasons
                assert all(set(reason) == _REASON for reason in reasons)
                assert json.loads(json.dumps(reasons, allow_nan=False)) == reasons


_REASON = {"selection", "field", "op", "pattern", "value"}


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (record, event): records are physical lines, an empty one keeps its number."""
    for record, line in enumerate(path.read_bytes().split(b"\n")):
        if line.rstrip(b"\r"):
            yield record, json.loads(line)


def _hits(expected: dict[str, Any]) -> set[Hit]:
    files = expected["files"].items()
    return {(name, record, rule) for name, hits in files for record, rule in hits}
