"""Pure: a notification regime (§4.1): who owes what to whom, from which clock, in which phases."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum

from services.notify.obligations.conditions import Classifier, Part
from services.notify.obligations.deadlines import Rule

__all__ = [
    "CLOCKS", "Duty", "HoldKind", "Phase", "Regime", "Regimes", "Status", "Trigger",
    "submitted",
]  # fmt: skip

CLOCKS = (
    "occurred", "detected", "aware", "declared", "confirmed", "classified_major",
    "determined_material", "determined_notifiable", "ransom_paid", "measure_available", "handled",
)  # fmt: skip
"""Instants of an incident from which a duty can run; phases run from `submitted` ones too."""


class Duty(StrEnum):
    """Towards whom the operator owes, and with that, how often."""

    OPERATOR = "operator"  # one obligation of the operator itself
    TENANT = "tenant"  # one towards each affected tenant
    CLAUSE = "clause"  # one for each clause of an affected tenant's contract


class Status(StrEnum):
    """Whether a row may be relied upon."""

    IN_FORCE = "in_force"
    PROPOSED = "proposed"
    UNVERIFIED = "unverified"


class HoldKind(StrEnum):
    """What an authority may do to the deadline."""

    NONE = "none"
    HOLD = "hold"  # nothing is due before its end
    DELAY = "delay"  # days are added to the deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """All of it must hold; an exception in ``unless`` must be established to count."""

    when: tuple[Part, ...] = ()
    unless: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One notice of a regime. ``after`` names the phase whose submission starts its clock.

    One that ``repeats`` comes again after each submission, by the rule ``again`` if it has one.
    """

    id: str
    rule: Rule
    clock: str
    recipients: tuple[str, ...]
    content: tuple[str, ...]
    after: str | None = None
    repeats: bool = False
    again: Rule | None = None
    when: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """One row of the table. ``tz`` and ``calendar`` stand for the authority's where it has one."""

    id: str
    version: str
    title: str
    duty: Duty
    status: Status
    enabled: bool
    trigger: Trigger
    phases: tuple[Phase, ...]
    source: str
    basis: str
    in_force_from: date | None = None
    in_force_to: date | None = None
    capacities: frozenset[str] = frozenset()
    tz: str | None = None
    calendar: str | None = None
    hold: HoldKind = HoldKind.NONE
    late_reasons_required: bool = False
    notes: str = ""
    verified_on: date | None = None
    verified_by: str | None = None
    line: int = field(default=0, compare=False)

    def covers(self, moment: datetime) -> bool:
        """Return whether the regime was in force then; both bounds are UTC dates, inclusive."""
        day = moment.astimezone(UTC).date()
        return (self.in_force_from is None or day >= self.in_force_from) and (
            self.in_force_to is None or day <= self.in_force_to
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Regimes:
    """All rows, and the classifiers that derive a fact such as ``significant_incident``."""

    rows: tuple[Regime, ...]
    classifiers: tuple[Classifier, ...] = ()

    @property
    def enabled(self) -> tuple[Regime, ...]:
        return tuple(row for row in self.rows if row.enabled)


def submitted(phase: str) -> str:
    """Return the clock that the submission of *phase* starts."""
    return f"submitted:{phase}"
