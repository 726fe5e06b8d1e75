"""Suppressions: detections that are known to mean nothing until a given instant. Pure.

What is suppressed is recorded, grouped and counted like everything else; it weighs nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from uuid import UUID

from services.escalate.sighting import Sighting

__all__ = ["Suppression", "Suppressions"]

Pattern = tuple[str | None, ...]
"""Rule, kind of entity, its name without case, tenant; None agrees with anything."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """Which detections: all that are named have to agree; None agrees with anything."""

    id: UUID
    rule_id: str | None = None
    kind: str | None = None
    value: str | None = None
    tenant: str | None = None

    @property
    def pattern(self) -> Pattern:
        value = self.value.casefold().rstrip(".") if self.value is not None else None
        return (self.rule_id, self.kind, value, self.tenant)


class Suppressions:
    """Those in force, found by what a detection shows, however many there are."""

    def __init__(self, in_force: Iterable[Suppression] = ()) -> None:
        self._by_pattern = {s.pattern: s for s in in_force}

    def of(self, sighting: Sighting) -> Suppression | None:
        """Return one that *sighting* falls under, the most specific first; None without one."""
        if not self._by_pattern:
            return None
        value = sighting.value.casefold().rstrip(".")
        parts = (sighting.rule_id, sighting.kind, value, sighting.tenant)
        for pattern in product(*((part, None) for part in parts)):
            if found := self._by_pattern.get(pattern):
                return found
        return None
