"""Files of doors, and what other tools send, as one shape."""

import hashlib
import json

import pytest
from pydantic import ValidationError

from services.escalate.doors.alert import (
    LONGEST,
    AlertmanagerBody,
    PagerDutyBody,
    from_alertmanager,
    from_pagerduty,
)
from services.escalate.doors.register import parse_doors
from services.escalate.file_spots import FileError

KEY = "a-key-of-the-monitoring"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
GROUP = {
    "version": "4",
    "groupKey": '{}:{alertname="InstanceDown"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "tocsin",
    "groupLabels": {"alertname": "InstanceDown"},
    "commonLabels": {"alertname": "InstanceDown", "service": "api"},
    "commonAnnotations": {"summary": "Two instances do not answer"},
    "externalURL": "http://alertmanager.example",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "InstanceDown", "instance": f"api-{n}:9100"},
            "annotations": {"summary": "Two instances do not answer"},
            "startsAt": "2026-03-01T12:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example/graph",
            "fingerprint": f"{n:016x}",
        }
        for n in range(2)
    ],
}


def doors(**change: object) -> str:
    door = {"kind": "alertmanager", "key_sha256": DIGEST, "source_kind": "trend", **change}
    return json.dumps({"doors": {"monitoring": {k: v for k, v in door.items() if v is not None}}})


def test_a_key_opens_its_door_and_no_other_kind() -> None:
    register = parse_doors(doors())
    door = register.door("alertmanager", KEY)
    assert door is not None
    assert (door.name, door.source_kind) == ("monitoring", "trend")
    assert register.door("pagerduty", KEY) is None
    assert register.door("alertmanager", DIGEST) is None
    assert register.door("alertmanager", "\ud800") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (doors(key="x"), "unknown key"),
        (doors(kind="smoke"), "kind"),
        (doors(key_sha256="x"), "SHA-256"),
        (doors(source_kind="customer_case"), "tenant"),
        (doors(tenant="acme"), "tenant"),
        (doors(source_kind=None), "source_kind is missing"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_reason(text: str, reason: str) -> None:
    with pytest.raises(FileError, match=rf"line \d+.*{reason}"):
        parse_doors(text)


def test_two_doors_never_share_a_key() -> None:
    door = {"kind": "pagerduty", "key_sha256": DIGEST, "source_kind": "rule"}
    with pytest.raises(FileError, match="is the key of one already"):
        parse_doors(json.dumps({"doors": {"one": door, "two": door}}))


def test_a_group_of_alertmanager_is_one_report() -> None:
    alert = from_alertmanager(AlertmanagerBody.model_validate(GROUP))
    assert alert.action == "trigger"
    assert alert.key == GROUP["groupKey"]
    assert alert.title == "InstanceDown: Two instances do not answer"
    assert "instance=api-0:9100" in alert.statement
    assert "instance=api-1:9100" in alert.statement
    assert alert.services == ("api",)
    over = AlertmanagerBody.model_validate({**GROUP, "status": "resolved"})
    assert from_alertmanager(over).action == "resolve"


def test_another_version_is_refused() -> None:
    with pytest.raises(ValidationError, match="version"):
        AlertmanagerBody.model_validate({**GROUP, "version": "3"})


def test_pagerdutys_event_is_one_report() -> None:
    body = PagerDutyBody.model_validate(
        {
            "routing_key": KEY,
            "event_action": "trigger",
            "payload": {
                "summary": "A shell in a container",
                "source": "k8s-1",
                "severity": "critical",
                "custom_details": {"pod": "web-\u0000", "long": "x" * 30_000},
            },
        }
    )
    alert = from_pagerduty(body)
    assert alert.key  # drawn, since the sender named none
    assert alert.title == "A shell in a container"
    assert "severity: critical" in alert.statement
    assert "\x00" not in alert.statement
    assert len(alert.statement) <= LONGEST
    for action in ("acknowledge", "resolve"):
        with pytest.raises(ValueError, match="dedup_key"):
            from_pagerduty(PagerDutyBody(routing_key=KEY, event_action=action))
    with pytest.raises(ValueError, match="payload"):
        from_pagerduty(PagerDutyBody(routing_key=KEY, event_action="trigger"))
