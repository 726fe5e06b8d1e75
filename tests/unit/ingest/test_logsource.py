"""What an event says of its log: as detect understands it, beside what the source says."""

from typing import Any

import orjson
import pytest
import yaml

from services.detect.rules.model import LogSource
from services.detect.shapes.shapes import shaped
from services.ingest.envelope import Sealed
from services.ingest.logsource import _HERE, probes, said_by
from services.ingest.store.rows import decode, envelope_of
from shared.contracts.ingest import Logsource
from tests.support.log_store import NOW, sealed

pytestmark = pytest.mark.unit

EVENTS: list[tuple[dict[str, Any], dict[str, str]]] = [
    (
        {"winlog": {"channel": "Security", "event_id": 4625}},
        {"product": "windows", "service": "security"},
    ),
    ({"winlog": {"channel": "Contoso/Operational"}}, {"product": "windows"}),
    (
        {"Event": {"System": {"Channel": "Microsoft-Windows-Sysmon/Operational", "EventID": 1}}},
        {"product": "windows", "service": "sysmon"},
    ),
    ({"Channel": "system", "EventID": 7045}, {"product": "windows", "service": "system"}),
    ({"Channel": "Linux-Sysmon/Operational", "EventID": 1}, {"product": "linux"}),
    ({"auditd": {"message_type": "syscall"}}, {"product": "linux", "service": "auditd"}),
    ({"MESSAGE": "x", "_TRANSPORT": "stdout"}, {"product": "linux"}),
    (
        {"eventSource": "s3.amazonaws.com", "eventName": "GetObject", "awsRegion": "eu-west-1"},
        {"product": "aws", "service": "cloudtrail"},
    ),
    ({"event": {"dataset": "nginx.access"}, "message": "x"}, {"category": "webserver"}),
    (
        {"Workload": "Exchange", "Operation": "New-InboxRule", "RecordType": 1},
        {"product": "m365", "service": "audit"},
    ),
    (
        {"protoPayload": {"methodName": "SetIamPolicy"}},
        {"product": "gcp", "service": "gcp.audit"},
    ),
    (
        {"auditID": "1", "verb": "create", "apiVersion": "audit.k8s.io/v1"},
        {"product": "kubernetes", "category": "application", "service": "audit"},
    ),
    (
        {"eventType": "user.session.start", "displayMessage": "x", "published": "2026-01-01"},
        {"product": "okta", "service": "okta"},
    ),
]


def said(event: dict[str, Any]) -> Any:
    found = said_by(event, probes(event))
    return None if found is None else orjson.loads(b"{" + found[1:] + b"}")["observed_logsource"]


@pytest.mark.parametrize(("event", "logsource"), EVENTS)
def test_an_event_says_what_log_it_is_of(event: dict[str, Any], logsource: dict[str, str]) -> None:
    assert said(event) == logsource
    # The two tables agree: what search calls it is what detect takes it for.
    known = shaped(event).logsource
    known = known if isinstance(known, LogSource) else LogSource.of(known)
    assert known.product in (logsource.get("product"), None)
    assert known.category in (logsource.get("category"), None)


def test_channels_are_those_of_detects_routing() -> None:
    routing = yaml.safe_load(
        (_HERE.parent / "detect" / "rules" / "routing.yml").read_text(encoding="utf-8")
    )
    theirs = {
        channel: service
        for source in routing
        if source.get("product") == "windows"
        for service, condition in source.get("services", {}).items()
        if isinstance(condition, dict) and set(condition) == {"Channel"}
        for channel in condition["Channel"]
    }
    assert yaml.safe_load((_HERE / "channels.yml").read_text(encoding="utf-8")) == theirs


@pytest.mark.parametrize("event", [{}, {"winlog": 1}, {"Event": {"System": []}}, {"Channel": None}])
def test_what_says_nothing_or_nonsense_has_none(event: dict[str, Any]) -> None:
    assert said(event) is None


def test_what_the_source_says_goes_before_and_detect_is_told_nothing_new() -> None:
    event = {"winlog": {"channel": "Security"}}
    (registered,) = sealed([event], logsource=Logsource(product="linux"))
    assert "observed_logsource" not in orjson.loads(registered.data)
    (silent,) = sealed([event], logsource=Logsource())
    assert orjson.loads(silent.data)["logsource"] == {}
    assert orjson.loads(silent.data)["observed_logsource"]["service"] == "security"


def test_it_is_stored_under_names_that_can_be_asked_for_and_comes_back_as_it_was() -> None:
    (one,) = sealed([{"winlog": {"channel": "Security"}}], now=NOW, logsource=Logsource())
    assert isinstance(one, Sealed)
    (row,) = decode(b"[" + one.data + b"]")
    assert row.record["f.logsource.product"] == "windows"
    assert row.record["f.logsource.service"] == "security"
    assert row.record["product"] is None
    assert orjson.loads(envelope_of(row.record)) == orjson.loads(one.data)
