"""SigmaHQ's rules fire on what real shippers send, and not on what is nearly it."""

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.detect.detection import event_of
from services.detect.rules.load import load_rules
from services.detect.rules.match import Event, PlainMatcher
from services.detect.rules.model import LogSource
from services.detect.shapes.model import ShapeError, read_shapes
from services.detect.shapes.shapes import fields_of_line, shaped
from services.detect.shapes.table import default_shapes
from shared.lines.syslog import parse_line

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 4, tzinfo=UTC)
SAMPLES: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("shipper_samples.yml").read_text(encoding="utf-8")
)


def envelope(sample: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope that ingest makes of *sample*."""
    raw, fields = sample["raw"], dict(sample.get("fields", {}))
    if sample.get("text"):
        fields |= parse_line(raw, NOW)
    return {"raw": raw, "logsource": {}} | ({"fields": fields} if fields else {})


def spoiled(sample: dict[str, Any]) -> dict[str, Any]:
    """Return *sample* with what `not` changes."""
    changed = copy.deepcopy(sample)
    for place, value in sample["not"].items():
        if place.startswith("fields/"):
            assert place[7:] in changed["fields"]
            changed["fields"][place[7:]] = value
        elif isinstance(changed["raw"], str):
            assert place in changed["raw"]
            changed["raw"] = changed["raw"].replace(place, value)
        else:
            *way, last = place.split(".")
            inner = changed["raw"]
            for key in way:
                inner = inner[key]
            assert last in inner
            inner[last] = value
    return changed


@pytest.mark.corpus
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["name"])
def test_a_sigmahq_rule_fires_on_what_the_shipper_sends(
    corpus: Path, sample: dict[str, Any]
) -> None:
    report = load_rules([corpus / "sigma" / "rules" / sample["rule"]])
    matcher = PlainMatcher(report.rules)
    assert len(report.rules) == 1, report.errors
    event = event_of(envelope(sample))
    assert matcher.match(event), (event.logsource, event.fields)
    assert not matcher.match(event_of(envelope(spoiled(sample))))


def test_every_shape_of_the_table_has_a_name_of_its_own() -> None:
    names = [shape.name for shape in default_shapes()]
    assert len(set(names)) == len(names)
    assert "?" not in names


def test_what_the_protocol_says_beside_an_event_is_read_and_never_replaces_its_own_fields() -> None:
    event = event_of({"raw": {"user": "al"}, "fields": {"user": "x", "k8s.pod.name": "p"}})
    assert event.fields == {"user": "al", "k8s.pod.name": "p"}


def test_the_envelope_stands_above_the_shape() -> None:
    okta = {"eventType": "user.session.start", "displayMessage": "d", "published": "p"}
    assert shaped(okta, {"product": "acme"}).logsource == {"product": "acme"}
    assert shaped(okta, {"product": "okta"}).logsource == LogSource("okta", None, "okta")
    assert shaped(okta).logsource == LogSource("okta", None, "okta")
    hint = LogSource("okta", None, "other")
    assert shaped(okta, hint).logsource == hint


def test_an_event_of_no_shape_is_left_alone_with_its_text() -> None:
    fields = {"a": 1}
    assert shaped(fields, {}, b'{"a":1}') == Event(fields, {}, b'{"a":1}')
    assert shaped([1], {}).fields == [1]  # type: ignore[arg-type,comparison-overlap]


def test_the_event_given_is_not_changed_and_its_own_fields_win() -> None:
    raw = {"winlog": {"channel": "Security", "event_data": {"a b": 1, "EventID": 2}}, "EventID": 5}
    before = copy.deepcopy(raw)
    event = shaped(raw)
    assert raw == before
    assert (event.fields["ab"], event.fields["EventID"]) == (1, 5)


@pytest.mark.parametrize(
    "line",
    [
        "", "{", "[1]", "<Event", "<Event><!DOCTYPE a></Event>", "type=", "type=X msg=audit(1.1:2",
        '] "', '<!ENTITY a "b"><Event/>', "{" * 100, "\x00", "<Event><System/></Event>",
    ],
)  # fmt: skip
def test_odd_lines_have_no_fields_and_do_no_harm(line: str) -> None:
    assert set(fields_of_line(line)) <= {"message"}
    shaped({"log": line})
    shaped({"message": line, "@version": "1"})


def test_a_table_with_an_unknown_word_is_refused() -> None:
    with pytest.raises(ShapeError, match="'nmes'"):
        read_shapes([{"shape": "s", "when": {"a": []}, "nmes": {}}])
    with pytest.raises(ShapeError, match="nothing says when"):
        read_shapes([{"shape": "s"}])
