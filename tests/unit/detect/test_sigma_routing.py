"""A rule never sees events outside its logsource, and sees all that lie inside."""

from typing import Any

import pytest

from services.detect.rules.match import Event, PlainMatcher
from services.detect.rules.model import LogSource, RefusedError
from services.detect.rules.parse import parse_rule
from services.detect.rules.routing_table import default_routing, read_routing

pytestmark = pytest.mark.unit


def _sees(logsource: str, event: dict[str, Any], hint: LogSource | dict[str, Any]) -> bool:
    """Return whether a rule of *logsource* that holds for everything is asked about *event*."""
    text = f"""
title: t
logsource: {{{logsource}}}
detection:
  nothing: {{no-such-field: x}}
  condition: not nothing
"""
    return bool(PlainMatcher([parse_rule(text)]).match(Event(event, hint)))


NONE: dict[str, Any] = {}
SYSMON = {"Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1}


def test_windows_channels_and_event_ids() -> None:
    assert _sees("product: windows, category: process_creation", SYSMON, NONE)
    assert _sees("product: windows, service: sysmon", SYSMON, NONE)
    assert _sees("product: windows", SYSMON, NONE)
    assert _sees("category: process_creation", SYSMON, NONE)
    assert not _sees("product: windows, category: process_creation", SYSMON | {"EventID": 3}, NONE)
    assert not _sees("product: windows, service: security", SYSMON, NONE)
    assert not _sees("product: linux, category: process_creation", SYSMON, NONE)
    other = {"Channel": "Application", "EventID": 1}
    assert not _sees("product: windows, category: process_creation", other, NONE)


def test_channels_have_no_case_and_event_ids_no_type() -> None:
    event = {"Channel": "MICROSOFT-windows-SYSMON/operational", "EventID": "1"}
    assert _sees("product: windows, category: process_creation", event, NONE)


def test_event_type_tells_registry_categories_apart() -> None:
    event = SYSMON | {"EventID": 12, "EventType": "DeleteValue"}
    assert _sees("product: windows, category: registry_delete", event, NONE)
    assert _sees("product: windows, category: registry_event", event, NONE)
    assert not _sees("product: windows, category: registry_add", event, NONE)


def test_the_envelope_stands_above_what_an_event_says_of_itself() -> None:
    assert not _sees("product: windows, service: sysmon", SYSMON, LogSource("acme"))
    assert not _sees("product: windows", SYSMON, LogSource(None, "application"))
    assert _sees("product: windows, service: sysmon", SYSMON, LogSource("windows"))
    assert _sees("product: windows, service: security", {}, LogSource("windows", None, "security"))


def test_an_envelope_of_a_windows_service_stands_for_the_channel() -> None:
    hint = LogSource("windows", None, "security")
    assert _sees("product: windows, category: process_creation", {"EventID": 4688}, hint)
    assert not _sees("product: windows, category: process_creation", {"EventID": 4689}, hint)


def test_any_logsource_works_through_the_envelope() -> None:
    hint = {"product": "ACME", "category": "Application", "service": "api"}
    assert _sees("product: acme, category: application, service: api", {}, hint)
    assert _sees("product: acme", {}, hint)
    assert _sees("category: application, service: api", {}, hint)
    assert not _sees("product: acme, service: web", {}, hint)
    assert not _sees("product: acme, service: api", {}, {"product": "acme"})
    assert not _sees("product: acme", {}, {"product": 7, "service": None})


def test_linux_text_logs() -> None:
    linux = LogSource("linux", None, "syslog")
    sshd = {"message": "Failed password", "program": "sshd", "host": "web1"}
    assert _sees("product: linux, service: sshd", sshd, linux)
    assert _sees("product: linux, service: auth", sshd, linux)
    assert _sees("product: linux, service: syslog", sshd, linux)
    assert _sees("product: linux", sshd, linux)
    assert not _sees("product: linux, service: cron", sshd, linux)
    assert not _sees("product: linux, service: sshd", sshd, NONE)
    assert not _sees("product: linux, service: sshd", sshd, LogSource("macos"))
    assert _sees("product: linux, service: sshd", {"appname": "sshd"}, LogSource("linux"))
    assert _sees("product: linux, service: auth", {"facility": "authpriv"}, LogSource("linux"))
    assert _sees("product: linux, service: auditd", {}, LogSource("linux", None, "auditd"))


def test_cloudtrail_and_kubernetes_are_known_by_what_they_carry() -> None:
    trail = {"eventSource": "iam.amazonaws.com", "eventName": "x", "awsRegion": "eu-west-1",
             "eventType": "AwsApiCall"}  # fmt: skip
    assert _sees("product: aws, service: cloudtrail", trail, NONE)
    assert not _sees("product: aws, service: cloudtrail", trail, LogSource("acme"))
    audit = {"auditID": "1", "verb": "create", "apiVersion": "audit.k8s.io/v1"}
    assert _sees("product: kubernetes, service: audit", audit, NONE)
    assert _sees("product: kubernetes, category: application, service: audit", audit, NONE)


def test_web_servers() -> None:
    assert _sees("category: webserver", {}, LogSource(None, "webserver"))
    assert _sees("category: webserver", {}, LogSource(None, None, "nginx"))
    assert _sees("service: apache", {}, LogSource(None, None, "apache"))
    assert not _sees("service: apache", {}, LogSource(None, None, "nginx"))
    assert not _sees("category: webserver", {"message": "GET /"}, NONE)


def test_gcp_names_are_mapped() -> None:
    text = """
title: t
logsource: {product: gcp, service: gcp.audit}
detection:
  s: {gcp.audit.method_name: SetIamPolicy}
  condition: s
"""
    matcher = PlainMatcher([parse_rule(text)])
    event = {"protoPayload": {"methodName": "SetIamPolicy"}}
    assert matcher.match(Event(event, LogSource("gcp", None, "gcp.audit")))
    assert not matcher.match(Event(event, LogSource("gcp", None, "other")))


def test_rules_without_a_route_are_reported() -> None:
    text = "title: t\nlogsource: {product: acme}\ndetection: {s: [x], condition: s}"
    rule = parse_rule(text)
    assert PlainMatcher([rule]).unrouted == (rule,)
    assert PlainMatcher([parse_rule(text.replace("acme", "windows"))]).unrouted == ()


def test_a_rule_counts_once_though_two_routes_reach_it() -> None:
    text = "title: t\nlogsource: {category: process_creation}\n" \
        "detection: {s: {EventID: 1}, condition: s}"  # fmt: skip
    matcher = PlainMatcher([parse_rule(text)])
    hint = LogSource("windows", "process_creation", "sysmon")
    assert len(matcher.match(Event(SYSMON, hint))) == 1


def test_events_cannot_make_plans_without_bound() -> None:
    text = "title: t\nlogsource: {product: windows}\ndetection: {s: {f: 1}, condition: s}"
    matcher = PlainMatcher([parse_rule(text)])
    for number in range(6000):
        matcher.match(Event({"EventID": number, "Channel": f"c{number}"}))
        matcher.match(Event({}, LogSource(f"p{number}")))
    assert len(matcher._router._plans) <= 4096


def test_the_table_refuses_unknown_keys() -> None:
    assert default_routing().products
    with pytest.raises(RefusedError, match="unknown key 'sevices'"):
        read_routing("- product: x\n  sevices: {}")
    with pytest.raises(RefusedError, match="unknown key 'wen'"):
        read_routing("- product: x\n  categories: {c: [{wen: {}}]}")
