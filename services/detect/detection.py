"""A match into a detection: pure, so that the same event always gives the same detection."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from services.detect.entities import entities_of
from services.detect.rules.match import Event, Match
from services.detect.rules.model import Status
from services.detect.shapes.shapes import fields_of_line, shaped
from shared.clock import parse_instant
from shared.contracts.detect import DetectionRaisedV1, Level, Reason, SampleEvent
from shared.contracts.ingest import Envelope
from shared.ids import derived_id

__all__ = [
    "RISK", "attack_tactics", "attack_techniques", "confidence_of", "detection_of", "event_of",
    "level_of", "reason_of", "sample_of",
]  # fmt: skip

RISK: Mapping[Level, int] = {
    "informational": 5, "low": 20, "medium": 45, "high": 70, "critical": 95,
}  # fmt: skip
_CONFIDENCE = {Status.STABLE: 90, Status.TEST: 75, Status.EXPERIMENTAL: 55}
_SAMPLE_CHARS = 16 * 1024
_MAX_REASONS = 50
_TECHNIQUE = re.compile(r"attack\.(t\d{4}(?:\.\d{3})?)", re.IGNORECASE)
_NOT_TACTICS = re.compile(r"attack\.[tgsm]\d", re.IGNORECASE)


def event_of(envelope: Envelope) -> Event:
    """Return what rules look at: the event itself, or the fields read from a text line.

    What the protocol said beside an event (OpenTelemetry's resource, a Loki label, a sourcetype)
    is read where the event has no field of that name.
    """
    raw = envelope["raw"]
    beside = envelope.get("fields")
    logsource = envelope.get("logsource") or {}
    if isinstance(raw, dict):
        return shaped({**beside, **raw} if beside else raw, logsource)
    fields = beside or {"message": raw}
    if isinstance(raw, str) and raw.startswith("<Event"):
        fields = {**fields_of_line(raw), **fields}
        logsource = logsource or {"product": "windows"}
    return shaped(fields, logsource)


def detection_of(match: Match, envelope: Envelope, now: datetime) -> DetectionRaisedV1:
    """Return the detection that *match* on *envelope* is.

    Its id follows from rule, rule version and event, so that evaluating again changes nothing.
    """
    rule = match.rule
    event_id = UUID(envelope["id"])
    identity = derived_id("detection", rule.id, rule.version, event_id)
    level = level_of(rule.level)
    observed = parse_instant(envelope["observed_time"])
    claimed = envelope.get("time")
    when = parse_instant(claimed) if claimed else observed
    return DetectionRaisedV1(
        event_id=identity,
        detection_id=identity,
        occurred_at=now,
        rule_id=rule.id,
        rule_version=rule.version,
        title=rule.title,
        level=level,
        risk_score=RISK[level],
        confidence=confidence_of(rule.status),
        attack_techniques=attack_techniques(rule.tags),
        attack_tactics=attack_tactics(rule.tags),
        entities=entities_of(event_of(envelope).fields, envelope),
        first_seen=when,
        last_seen=when,
        source_id=envelope["source_id"],
        **{
            name: envelope.get(name)
            for name in ("tenant", "region", "datacenter", "service", "server")
        },
        reasons=[reason_of(r) for r in match.reasons()[:_MAX_REASONS]],
        event_ids=[event_id],
        samples=[sample_of(envelope)],
    )


def confidence_of(status: Status | None) -> int:
    """Return how far a rule of *status* is to be trusted before any verdict (R14c)."""
    return 65 if status is None else _CONFIDENCE.get(status, 40)


def sample_of(envelope: Envelope) -> SampleEvent:
    """Return *envelope*'s event as evidence: its text, at most 16 KiB of it."""
    text = envelope["raw"]
    if not isinstance(text, str):
        text = orjson.dumps(text).decode()
    claimed = envelope.get("time")
    return SampleEvent(
        id=UUID(envelope["id"]),
        time=parse_instant(claimed) if claimed else None,
        raw=text[:_SAMPLE_CHARS],
        truncated=len(text) > _SAMPLE_CHARS,
    )


def level_of(level: str | None) -> Level:
    """Return the level to publish: a rule that does not say one is looked at, not ignored."""
    return level if level in RISK else "medium"  # type: ignore[return-value]  # it is a key


def attack_techniques(tags: Sequence[str]) -> list[str]:
    """Return the ATT&CK techniques that *tags* name."""
    found = (_TECHNIQUE.fullmatch(tag) for tag in tags)
    return sorted({m[1].upper() for m in found if m})


def attack_tactics(tags: Sequence[str]) -> list[str]:
    """Return the ATT&CK tactics that *tags* name."""
    return sorted(
        {
            tag[7:].lower().replace("_", "-")
            for tag in tags
            if tag.lower().startswith("attack.") and not _NOT_TACTICS.match(tag)
        }
    )


def reason_of(reason: Mapping[str, Any]) -> Reason:
    """Return a leaf as published."""
    return Reason(
        selection=reason["selection"],
        field=reason["field"],
        operator=reason["op"],
        pattern=str(reason["pattern"])[:2048],
        value=str(reason["value"])[:2048],
    )
