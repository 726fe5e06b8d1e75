"""Checklist points 63 to 69: how a field's name finds its values in an event."""

import pytest

from services.detect.rules.match import Event, PlainMatcher
from services.detect.rules.model import LogSource
from services.detect.rules.parse import parse_rule
from tests.support.sigma import HEAD, holds
from tests.support.windows_json import documents, flatten

pytestmark = pytest.mark.unit


def test_point_63_a_literal_key_comes_before_a_path() -> None:
    assert holds("a.b: 1", {"a.b": 1})
    assert holds("a.b: 1", {"a": {"b": 1}})
    assert holds("a.b.c: 1", {"a": {"b.c": 1}})
    assert not holds("a.b: 1", {"a.b": 2, "a": {"b": 1}})
    assert not holds("a.b: 1", {"a": 1})
    assert not holds("a.b: 1", {"a": None})
    assert holds("a.b: null", {"a": None})


def test_point_64_any_member_of_an_array_will_do() -> None:
    assert holds("f: b", ["a", "b"])
    assert holds("f: b", [["a"], ["b"]])
    assert holds("f|contains|all: [a, b]", ["xa", "xb"])
    assert not holds("f: c", ["a", "b"])
    assert not holds("f: a", {"f": []})


def test_point_65_a_path_crosses_arrays_of_objects() -> None:
    event = {"r": [{"arn": "x"}, {"other": 1}, {"arn": ["y", "z"]}]}
    assert holds("r.arn: x", event)
    assert holds("r.arn: z", event)
    assert not holds("r.arn: w", event)
    assert not holds("r.arn: null", event)
    assert holds("r.nothing: null", event)
    assert not holds("r: x", event)


def test_point_66_two_conditions_may_meet_in_different_elements() -> None:
    body = "{r.name: a, r.open: true}"
    assert holds(body, {"r": [{"name": "a", "open": False}, {"name": "b", "open": True}]})
    assert not holds(body, {"r": [{"name": "a", "open": False}, {"name": "b", "open": False}]})


def test_point_66_array_matching_of_sigma_3_is_refused() -> None:
    from services.detect.rules.model import RuleError

    text = f"sigma-version: 3\n{HEAD}  s: {{'r[any].name': a}}\n  condition: s"
    with pytest.raises(RuleError, match="only Sigma versions 1 and 2"):
        parse_rule(text)
    assert parse_rule(text.replace("3", "2.1", 1)).title == "A rule"


def test_point_67_windows_names() -> None:
    text = """{"Event": {
      "System": {"Provider": {"#attributes": {"Name": "P", "Guid": "g"}},
                 "EventID": {"#attributes": {"Qualifiers": "0"}, "#text": 7},
                 "Execution": {"#attributes": {"ProcessID": 788}}, "Channel": "System"},
      "EventData": {"Threat Name": "Eicar", "#attributes": {"x": 1}}}}
      {"Event": {"System": {}, "UserData": {"Op": {"#attributes": {}, "User Name": "eve"}}}}"""
    first, second = map(flatten, documents(text))
    assert first == {
        "Provider_Name": "P",
        "Provider_Guid": "g",
        "EventID_Qualifiers": "0",
        "EventID": 7,
        "Execution_ProcessID": 788,
        "Channel": "System",
        "ThreatName": "Eicar",
    }
    assert second == {"UserName": "eve"}


def test_point_68_names_of_fields_have_case() -> None:
    assert holds("Image: a", {"Image": "A"})
    assert not holds("Image: a", {"image": "a"})


def _windows(category: str, field: str, event: dict[str, object]) -> bool:
    text = f"""
title: t
logsource: {{product: windows, {category}}}
detection:
  s: {{{field}: evil}}
  condition: s
"""
    return bool(PlainMatcher([parse_rule(text)]).match(Event(event)))


def test_point_69_fields_are_mapped_by_route() -> None:
    event = {"Channel": "security", "EventID": 4688, "NewProcessName": "evil"}
    assert _windows("category: process_creation", "Image", event)
    assert not _windows("service: security", "Image", event)
    assert _windows("service: security", "NewProcessName", event)
    # What the event itself says comes first.
    assert not _windows("category: process_creation", "Image", event | {"Image": "good"})
    assert not _windows("category: process_creation", "Image", event | {"EventID": 4689})
    assert _windows("service: system", "Provider_Name", {
        "Channel": "System", "EventID": 1, "SourceName": "evil"})  # fmt: skip


def test_the_leaf_names_the_field_as_read() -> None:
    text = """
title: t
logsource: {product: windows, category: process_creation}
detection:
  s: {Image|endswith: '\\evil.exe'}
  condition: s
"""
    event = {"Channel": "Security", "EventID": 4688, "NewProcessName": "C:\\EVIL.exe"}
    (found,) = PlainMatcher([parse_rule(text)]).match(Event(event, LogSource("windows")))
    assert found.reasons() == [
        {
            "selection": "s",
            "field": "NewProcessName",
            "op": "endswith",
            "pattern": "\\evil.exe",
            "value": "C:\\EVIL.exe",
        }
    ]
