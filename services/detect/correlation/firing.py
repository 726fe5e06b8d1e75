"""What the engine is given and what it gives back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from services.detect.correlation.plan import Step
from shared.ids import derived_id

__all__ = ["SEPARATOR", "Counted", "Firing", "Matched", "Outcome", "Tally"]

SEPARATOR = "\x1f"
"""Stands between the values of a group's key."""


class Matched(NamedTuple):
    """A detection rule held for an event: the input of correlations.

    *time* is the event's, in microseconds since 1970. *event_id* has 16 bytes. *ref* says where
    the event can be read again (0: nowhere). *fields* hold one text a name; an absent name was
    absent in the event. *family* limits it to one family of correlations ("": all).
    """

    rule_id: str
    event_id: bytes
    time: int
    fields: Mapping[str, str]
    ref: int = 0
    family: str = ""


class Counted(NamedTuple):
    """An event as evidence; *via* are the events behind it, if it is a correlation's firing."""

    time: int
    event_id: bytes
    ref: int
    position: int
    via: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Firing:
    """A correlation held for a group. *start* to *end* is what its evidence spans."""

    step: Step
    key: str
    start: int
    end: int
    number: float
    events: int
    evidence: tuple[Counted, ...]
    fields: Mapping[str, str]
    values: tuple[str, ...] = ()
    at: bytes = b""
    """The event that decided it, where every event may (`refire: every`)."""

    @property
    def detection_id(self) -> UUID:
        """Return what the same rule, group and window always lead to."""
        rule = self.step.rule
        return derived_id("correlation", rule.id, rule.version, self.key, self.start, self.at.hex())

    @property
    def group(self) -> dict[str, str]:
        """Return the values that its events share, as folded for comparison."""
        if not self.step.rule.group_by:
            return {}
        return dict(zip(self.step.rule.group_by, self.key.split(SEPARATOR), strict=False))


@dataclass(frozen=True, slots=True)
class Tally:
    """A window that had fired is over: so many events it had in all, the last at *end*."""

    detection_id: UUID
    events: int
    end: int


@dataclass(slots=True)
class Outcome:
    """What one step of the engine gave."""

    firings: list[Firing] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
