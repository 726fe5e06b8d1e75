"""What grouping needs to know of a detection: its entity, its time, its weight, where it was."""

import unicodedata
from collections.abc import Sequence, Set
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from services.escalate.progression import Spans
from services.escalate.risk import WEIGHTS
from services.escalate.stage import stage_of
from shared.contracts.detect import DetectionRaisedV1
from shared.ids import derived_id

__all__ = ["SOURCE", "Facts", "Sighting", "printable", "sighting_of"]

SOURCE = "source"
# The most telling first: what a rule says of a host is about the host, whoever used it.
_PRECEDENCE = ("host", "user", "account", "ip", "service")
_MOST_VALUES = 50
_NONE: frozenset[str] = frozenset()
_LONGEST = 256
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Facts:
    """Where the detections of a group were, and what they were about; each set is bounded."""

    services: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    datacenters: frozenset[str] = frozenset()
    servers: frozenset[str] = frozenset()
    tactics: frozenset[str] = frozenset()

    def plus(self, other: "Facts") -> "Facts":
        """Return both together, of each set the first 50 by name: so whatever the order."""
        if (
            other.services <= self.services
            and other.regions <= self.regions
            and other.datacenters <= self.datacenters
            and other.servers <= self.servers
            and other.tactics <= self.tactics
        ):
            return self  # nearly always: the next detection is of what the group knows
        return Facts(*(_some(getattr(self, f.name) | getattr(other, f.name)) for f in fields(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One detection, as far as it matters for grouping."""

    detection_id: UUID
    key: UUID
    kind: str
    value: str
    tenant: str | None
    rule_id: str
    title: str
    weight: int
    first: datetime
    last: datetime
    facts: Facts
    suppressed: bool = False

    @property
    def stages(self) -> Spans:
        """Return how far the activity has got that it shows; what is suppressed shows nothing."""
        stage = stage_of(self.facts.tactics) if self.weight else None
        return {stage: (self.first, self.last)} if stage else {}


def sighting_of(detection: DetectionRaisedV1) -> Sighting:
    """Return *detection* as grouping sees it."""
    kind, value = _primary(detection)
    hosts = [e.value for e in detection.entities if e.type == "host"]
    one, other = _plausible(detection.first_seen), _plausible(detection.last_seen)
    return Sighting(
        detection_id=detection.detection_id,
        key=_key(detection.tenant or "", kind, value.casefold().rstrip(".")),
        kind=kind,
        value=value,
        tenant=printable(detection.tenant) if detection.tenant else None,
        rule_id=printable(detection.rule_id),
        title=printable(detection.title),
        weight=WEIGHTS[detection.level],
        first=min(one, other),
        last=max(one, other),
        facts=Facts(
            services=_one(detection.service),
            regions=_one(detection.region),
            datacenters=_one(detection.datacenter),
            servers=_one(detection.server) if detection.server else _named(hosts),
            tactics=_named(detection.attack_tactics),
        ),
    )


def printable(text: str, longest: int = _LONGEST) -> str:
    """Return *text* on one line, bounded, without control and formatting characters.

    Names come from logs, so an attacker chooses them: they must not break a log line, a column
    (PostgreSQL takes no NUL) or the reading order of a page.
    """
    if text.isascii() and text.isprintable():  # nearly all; the loop below costs microseconds
        return (" ".join(text.split()) if " " in text else text)[:longest]
    clean = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text[: 4 * longest])
    return " ".join(clean.split())[:longest]


@lru_cache(maxsize=4096)  # many detections are of few entities
def _key(tenant: str, kind: str, name: str) -> UUID:
    return derived_id("group-key", tenant, kind, name)


def _primary(detection: DetectionRaisedV1) -> tuple[str, str]:
    for kind in _PRECEDENCE:
        for entity in detection.entities:
            if entity.type == kind and (value := printable(entity.value)):
                return kind, value
    return SOURCE, printable(detection.source_id)


def _plausible(instant: datetime) -> datetime:
    """Return *instant* in UTC, no further from now than arithmetic and PostgreSQL can go.

    Event time is what a log claims; a line dated to the year 1 must not keep us from grouping it.
    """
    if instant.year < _EARLIEST.year:
        return _EARLIEST
    return _LATEST if instant.year > _LATEST.year else instant.astimezone(UTC)


def _one(value: str | None) -> frozenset[str]:
    name = printable(value) if value else ""
    return frozenset((name,)) if name else _NONE


def _named(values: Sequence[str]) -> frozenset[str]:
    if len(values) <= 1:
        return _one(values[0]) if values else _NONE
    return _some({*map(printable, values)} - {""})


def _some(values: Set[str]) -> frozenset[str]:
    return frozenset(values if len(values) <= _MOST_VALUES else sorted(values)[:_MOST_VALUES])
