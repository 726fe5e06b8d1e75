"""Pure: deadline arithmetic (§4.1): an instant in, an instant out, every step in words."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

__all__ = ["CalendarDays", "Deadline", "ElapsedHours", "Rule", "WithoutUndueDelay", "deadline"]


@dataclass(frozen=True, slots=True)
class ElapsedHours:
    """Absolute hours; no roll for weekends or holidays, no effect of daylight saving.

    ``event_hour_not_counted`` adds the reading of EU Reg. 1182/71 Art. 3(1) as latest arguable.
    """

    hours: int
    event_hour_not_counted: bool = False


@dataclass(frozen=True, slots=True)
class CalendarDays:
    """Days in *tz*, to the last second of the last one; *inclusive* counts the first day as 1."""

    days: int
    tz: str
    inclusive: bool = False


@dataclass(frozen=True, slots=True)
class WithoutUndueDelay:
    """The law names no number; the hours are the operator's own target, never called law."""

    internal_target_hours: int


Rule = ElapsedHours | CalendarDays | WithoutUndueDelay


@dataclass(frozen=True, slots=True)
class Deadline:
    """The strict (earliest) reading; ``latest_arguable`` is shown beside it, drives no alarm."""

    due_at: datetime
    steps: tuple[str, ...]
    latest_arguable: datetime | None = None
    internal_target: bool = False


def deadline(rule: Rule, clock: str, clock_at: datetime) -> Deadline:
    """Return when *rule* is due that *clock* started at *clock_at*, with the arithmetic."""
    start = clock_at.astimezone(UTC)
    steps: tuple[str, ...]
    began = f"{clock} at {_z(start)}"
    match rule:
        case ElapsedHours(hours, event_hour_not_counted):
            due = start + timedelta(hours=hours)
            steps = (began, f"+ {hours} h elapsed (weekends, holidays, clock changes do not count)")
            arguable = None
            if event_hour_not_counted:
                next_hour = start.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
                arguable = next_hour + timedelta(hours=hours)
                steps += (
                    f"latest arguable {_z(arguable)}: EU Reg. 1182/71, hour of the event not "
                    "counted",
                )
            return Deadline(due, (*steps, f"= due {_z(due)}"), arguable)
        case CalendarDays(days, tz, inclusive):
            zone = ZoneInfo(tz)
            first = start.astimezone(zone).date()
            last = first + timedelta(days=days - 1 if inclusive else days)
            # An hour that comes twice is taken the first time: the strict reading.
            due = datetime.combine(last, time(23, 59, 59), zone).astimezone(UTC)
            counted = "counted as day 1" if inclusive else "not counted"
            return Deadline(
                due,
                (
                    began,
                    f"local date {first} in {tz}, {counted}",
                    f"+ {days} calendar days → end of {last} in {tz}",
                    f"= due {_z(due)}",
                ),
            )
        case WithoutUndueDelay(hours):
            due = start + timedelta(hours=hours)
            steps = (
                began,
                "without undue delay: the law names no number of hours",
                f"+ {hours} h internal target of the operator, not law",
                f"= due {_z(due)}",
            )
            return Deadline(due, steps, internal_target=True)
        case _:
            assert_never(rule)


def _z(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
