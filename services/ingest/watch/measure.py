"""A batch held against its service's logging requirement and against the receiver's clock. Pure.

What does not conform is accepted and counted (R12b).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.clock import parse_instant, rfc3339

__all__ = ["AHEAD_SECONDS", "Measure", "Measured", "Requirement", "has", "merged", "skew"]

AHEAD_SECONDS = 5.0  # a clock this far ahead of ours is told; less is how long the way takes
# Where shippers put what an event is; read where a requirement does not say where.
TYPE_FIELDS = ("event.action", "action", "eventName", "event_type", "eventType", "type",
               "event.type", "EventID", "program")  # fmt: skip

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Requirement:
    """What the security team asks of a service's logs, in one of its versions."""

    service: str
    version: int
    event_types: frozenset[str] = frozenset()
    event_type_field: str | None = None
    required_fields: tuple[str, ...] = ()
    max_delay_seconds: float | None = None
    max_silence_seconds: int | None = None
    retention_days: int | None = None


@dataclass(slots=True)
class Measured:
    """What was seen of a source, in one batch or in several."""

    events: int = 0
    batches: int = 0
    newest: str | None = None  # RFC 3339, as claimed, of the last batch
    received: datetime | None = None
    ahead: int = 0
    nonconformant: int = 0
    nonconformant_batches: int = 0
    late: int = 0
    ahead_seconds: float = 0.0  # the most that a batch's newest event was ahead
    missing: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)


class Measure:
    """Looks at the events of one batch, received at *now*."""

    def __init__(self, requirement: Requirement | None, now: datetime) -> None:
        self.requirement = requirement
        self.result = Measured(batches=1, received=now)
        # Claimed times all have one form, so they compare as text.
        self._ahead = rfc3339(now + timedelta(seconds=AHEAD_SECONDS))
        delay = requirement.max_delay_seconds if requirement else None
        self._late = rfc3339(now - timedelta(seconds=delay)) if delay is not None else ""

    def see(self, event: Fields, beside: Fields | None, time: str | None) -> None:
        """Count *event*, with the fields *beside* it, that claims to be of *time*."""
        result = self.result
        result.events += 1
        if time is not None:
            if result.newest is None or time > result.newest:
                result.newest = time
            if time > self._ahead:
                result.ahead += 1
            elif time < self._late:
                result.late += 1
        requirement = self.requirement
        if requirement is None:
            return
        missing = [
            name
            for name in requirement.required_fields
            if not has(event, name) and not (beside and has(beside, name))
        ]
        if missing:
            result.nonconformant += 1
            result.nonconformant_batches = 1
            result.missing.update(missing)
        if requirement.event_types:
            names = (requirement.event_type_field,) if requirement.event_type_field else TYPE_FIELDS
            result.seen.update(_types(event, beside, names) & requirement.event_types)


def skew(measured: Measured) -> float | None:
    """Return by how many seconds the newest claimed time is ahead of the receiver's clock.

    A little below 0 for a sender that is live and right; None where no event claimed a time.
    """
    if measured.newest is None or measured.received is None:
        return None
    return (parse_instant(measured.newest) - measured.received).total_seconds()


def merged(one: Measured, other: Measured) -> Measured:
    """Return both together, *other* being the later one."""
    return Measured(
        events=one.events + other.events,
        batches=one.batches + other.batches,
        newest=other.newest or one.newest,
        received=other.received,
        ahead=one.ahead + other.ahead,
        nonconformant=one.nonconformant + other.nonconformant,
        nonconformant_batches=one.nonconformant_batches + other.nonconformant_batches,
        late=one.late + other.late,
        ahead_seconds=max(one.ahead_seconds, other.ahead_seconds),
        missing=one.missing + other.missing,
        seen=one.seen + other.seen,
    )


def has(fields: Fields, name: str) -> bool:
    """Return whether *fields* has a value under *name*, a key or a dotted path; null is none."""
    return _value(fields, name) is not None


def _value(fields: Fields, name: str) -> Any:
    found = fields.get(name)
    if found is not None or "." not in name:
        return found
    inner: Any = fields
    for key in name.split("."):
        inner = inner.get(key) if isinstance(inner, Mapping) else None
        if inner is None:
            return None
    return inner


def _types(event: Fields, beside: Fields | None, names: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        value = _value(event, name)
        if value is None and beside:
            value = _value(beside, name)
        values = value if isinstance(value, list) else [value]
        found.update(str(v) for v in values if isinstance(v, str | int))
    return found
