"""A batch held against its service's logging requirement and against the receiver's clock. Pure.

What does not conform is accepted and counted (R12b).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.clock import rfc3339

__all__ = ["AHEAD_SECONDS", "Measure", "Measured", "Requirement", "has", "merge", "skew"]

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
    missing: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)


class Measure:
    """Looks at the events of one batch, received at *now*."""

    def __init__(self, requirement: Requirement | None, now: datetime) -> None:
        self.requirement, self._now = requirement, now
        self.result = Measured(batches=1, received=now)

    def see_times(self, events: int, times: Sequence[str]) -> None:
        """Count *events*, some of which claim to be of *times*."""
        result, now = self.result, self._now
        result.events += events
        if not times:
            return
        # Claimed times all have one form, so they compare as text.
        newest = max(times)
        if result.newest is None or newest > result.newest:
            result.newest = newest
        ahead = rfc3339(now + timedelta(seconds=AHEAD_SECONDS))
        if newest > ahead:
            result.ahead += sum([time > ahead for time in times])
        delay = self.requirement.max_delay_seconds if self.requirement else None
        if delay is not None:
            late = rfc3339(now - timedelta(seconds=delay))
            result.late += sum([time < late for time in times])

    def look_into(self, event: Fields, beside: Fields | None) -> None:
        """Count what the requirement asks for in *event* and in the fields *beside* it."""
        result, requirement = self.result, self.requirement
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
            _count(result.missing, missing)
        if requirement.event_types:
            names = (requirement.event_type_field,) if requirement.event_type_field else TYPE_FIELDS
            _count(result.seen, _types(event, beside, names) & requirement.event_types)


def _count(counts: dict[str, int], names: Iterable[str]) -> None:
    for name in names:
        counts[name] = counts.get(name, 0) + 1


def skew(measured: Measured) -> float | None:
    """Return by how many seconds the newest claimed time is ahead of the receiver's clock.

    A little below 0 for a sender that is live and right; None where no event claimed a time.
    """
    if measured.newest is None or measured.received is None:
        return None
    return (datetime.fromisoformat(measured.newest) - measured.received).total_seconds()


def merge(into: Measured, later: Measured) -> None:
    """Add what was measured *later*."""
    into.events += later.events
    into.batches += later.batches
    into.newest = later.newest or into.newest
    into.received = later.received
    into.ahead += later.ahead
    into.nonconformant += later.nonconformant
    into.nonconformant_batches += later.nonconformant_batches
    into.late += later.late
    into.ahead_seconds = max(into.ahead_seconds, later.ahead_seconds)
    for counts, more in ((into.missing, later.missing), (into.seen, later.seen)):
        for name, count in more.items():
            counts[name] = counts.get(name, 0) + count


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
