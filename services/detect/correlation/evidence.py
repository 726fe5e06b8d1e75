"""A firing into a detection: with the events behind it, read again from their messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.detect.correlation.extract import Extractor, instant_of, referenced
from services.detect.correlation.firing import Counted, Firing
from services.detect.detection import (
    RISK,
    attack_tactics,
    attack_techniques,
    confidence_of,
    event_of,
    level_of,
    reason_of,
    sample_of,
)
from services.detect.entities import entities_of
from services.detect.rules.explain import reasons
from shared.contracts.detect import DetectionRaisedV1, Entity, Reason
from shared.contracts.ingest import Envelope

__all__ = ["MAX_SAMPLES", "Found", "detection_of_firing", "messages_of"]

MAX_SAMPLES = 6
_MAX_ENTITIES = 20
_MAX_REASONS = 50
_MAX_EVENTS = 100


@dataclass(frozen=True, slots=True)
class Found:
    """An event behind a firing, and the detection rule it fulfilled (None: through a chain)."""

    envelope: Envelope
    rule_id: str | None


def messages_of(firing: Firing) -> list[int]:
    """Return the stream sequences of the messages that hold *firing*'s samples."""
    return sorted({referenced(event.ref)[0] for event in _chosen(firing) if event.ref})


def detection_of_firing(
    firing: Firing,
    events: Mapping[int, Sequence[Envelope]],
    extractor: Extractor,
    now: datetime,
) -> DetectionRaisedV1:
    """Return the detection that *firing* is; *events* that are gone leave it without samples."""
    rule = firing.step.rule
    identity = firing.detection_id
    found = _found(firing, events)
    last = found[-1].envelope if found else {}
    level = level_of(firing.step.level)
    entities = dict.fromkeys(
        (entity.type, entity.value)
        for item in reversed(found)
        for entity in entities_of(event_of(item.envelope).fields, item.envelope)
    )
    leaves = dict.fromkeys(
        leaf for event in firing.evidence for leaf in (event.via or (event.event_id,))
    )
    return DetectionRaisedV1(
        event_id=identity,
        detection_id=identity,
        occurred_at=now,
        technique="correlation",
        rule_id=rule.id,
        rule_version=rule.version,
        title=rule.title,
        level=level,
        risk_score=RISK[level],
        confidence=confidence_of(rule.status),
        event_count=firing.events,
        attack_techniques=attack_techniques(rule.tags),
        attack_tactics=attack_tactics(rule.tags),
        entities=[Entity(type=t, value=v) for t, v in list(entities)[:_MAX_ENTITIES]],
        first_seen=instant_of(firing.start),
        last_seen=instant_of(firing.end),
        source_id=last.get("source_id", "detect"),
        **{
            name: last.get(name) for name in ("tenant", "region", "datacenter", "service", "server")
        },
        reasons=[_summary(firing), *_reasons(found, extractor)][:_MAX_REASONS],
        event_ids=[UUID(bytes=leaf) for leaf in list(leaves)[:_MAX_EVENTS]],
        samples=[sample_of(item.envelope) for item in found],
    )


def _chosen(firing: Firing) -> list[Counted]:
    """Return the first and the last event of each member, within MAX_SAMPLES, by time."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for index, event in enumerate(firing.evidence):
        first.setdefault(event.position, index)
        last[event.position] = index
    picked = dict.fromkeys([*first.values(), *last.values()])
    indexes = sorted(list(picked)[:MAX_SAMPLES])
    return [firing.evidence[index] for index in indexes]


def _found(firing: Firing, events: Mapping[int, Sequence[Envelope]]) -> list[Found]:
    found = []
    for event in _chosen(firing):
        seq, index = referenced(event.ref)
        stored = events.get(seq, ())
        if event.ref and index < len(stored):
            envelope = stored[index]
            direct = UUID(envelope["id"]).bytes == event.event_id
            member = firing.step.members[event.position] if direct else None
            found.append(Found(envelope, member))
    return found


def _summary(firing: Firing) -> Reason:
    """Return the leaf that is the correlation itself."""
    rule = firing.step.rule
    shown = rule.condition.shown if rule.condition else f"all of {', '.join(rule.rules)}"
    if rule.expression is not None:
        shown = rule.words
    values = f": {', '.join(firing.values)}" if firing.values else ""
    group = ", ".join(f"{name}={value}" for name, value in firing.group.items())
    return Reason(
        selection=rule.title,
        field=", ".join(rule.condition.fields)
        if rule.condition and rule.condition.fields
        else None,
        operator=rule.type.value,
        pattern=f"{shown} within {rule.timespan // 1_000_000} s"[:2048],
        value=f"{firing.number:g}{values}{' for ' + group if group else ''}"[:2048],
    )


def _reasons(found: Sequence[Found], extractor: Extractor) -> list[Reason]:
    leaves = {}
    for item in found:
        if item.rule_id is None:
            continue
        for reason in reasons(extractor.reasons(item.rule_id, event_of(item.envelope))):
            leaf = reason_of(reason)
            leaves[leaf.selection, leaf.field, leaf.pattern, leaf.value] = leaf
    return list(leaves.values())
