"""Detections, directories and policies for tests of escalate."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from services.escalate.directory import Directory, parse_directory
from services.escalate.policy import SeverityPolicy, load_severity_policy
from services.escalate.priority import PriorityPolicy, load_priority_policy
from shared.contracts.detect import DetectionRaisedV1, Entity, SampleEvent
from shared.ids import derived_id

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

DIRECTORY = """
security_response:
  global: sr-global
  owners:
    - {region: us-east, team: sr-americas}
    - {service: id, team: sr-identity}
    - {service: id, region: us-east, team: sr-identity-americas}
default_service_team: platform
teams:
  incident_communications: ic
  legal: legal
  security_compliance: compliance
  cloud_platform_security: cps
  executive_incident_manager: em
  duty_manager: dm
services:
  id: {tier: tier0, team: identity}
  mail: {tier: tier1, team: mail}
  api: {tier: tier2, team: api}
regions:
  eu-west: data_residency
  us-east: standard
  gov: sovereign
"""


def directory() -> Directory:
    return parse_directory(DIRECTORY)


@cache
def severity_policy() -> SeverityPolicy:
    return load_severity_policy()


@cache
def priority_policy() -> PriorityPolicy:
    return load_priority_policy()


def detection(
    name: object = 1,
    *,
    at: float = 0,
    rule: str = "rule-a",
    level: str = "medium",
    entities: dict[str, str] | None = None,
    raw: str = "a line",
    **more: Any,
) -> DetectionRaisedV1:
    """Return a detection; *at* is in minutes after noon."""
    identity = derived_id("test-detection", name)
    when = NOON + timedelta(minutes=at)
    values: dict[str, Any] = {
        "event_id": identity,
        "occurred_at": NOON,
        "detection_id": identity,
        "rule_id": rule,
        "rule_version": "0" * 64,
        "title": f"Title of {rule}",
        "level": level,
        "risk_score": 50,
        "entities": [
            Entity.model_validate({"type": k, "value": v})
            for k, v in ({"host": "ws01"} if entities is None else entities).items()
        ],
        "first_seen": when,
        "last_seen": when,
        "source_id": "winlogs",
        "samples": [SampleEvent(id=identity, time=when, raw=raw)],
    }
    return DetectionRaisedV1.model_validate({**values, **more})
