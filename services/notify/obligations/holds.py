"""Pure: what an authority may put between a duty and its deadline; it never shortens (§4.1)."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import assert_never

from services.notify.obligations.deadlines import END_OF_DAY, Deadline, instant, z
from shared.zones import zone

__all__ = ["Delay", "Hold", "HoldForDays", "HoldUntil", "held"]


@dataclass(frozen=True, slots=True)
class HoldUntil:
    """A hold to the end of a date, as in a written statement (45 CFR 164.412(a))."""

    day: date
    tz: str


@dataclass(frozen=True, slots=True)
class HoldForDays:
    """A hold of calendar days after a statement, the day of it not counted (164.412(b))."""

    days: int
    stated_at: datetime
    tz: str


@dataclass(frozen=True, slots=True)
class Delay:
    """Days added to the deadline itself, at the same local time (Form 8-K Item 1.05(c))."""

    days: int
    tz: str


Hold = HoldUntil | HoldForDays | Delay


def held(base: Deadline, hold: Hold) -> Deadline:
    """Return *base* under *hold*: the later of the deadline and the end of the hold."""
    match hold:
        case HoldUntil(day, tz):
            end, words = instant(day, END_OF_DAY, zone(tz)), f"held until the end of {day} in {tz}"
        case HoldForDays(days, stated_at, tz):
            last = stated_at.astimezone(zone(tz)).date() + timedelta(days=days)
            end = instant(last, END_OF_DAY, zone(tz))
            words = f"held for {days} days from {z(stated_at)} → end of {last} in {tz}"
        case Delay(days, tz):
            local = base.due_at.astimezone(zone(tz))
            end = instant(local.date() + timedelta(days=days), local.time(), zone(tz))
            words = f"delayed by {days} days at the same local time in {tz}"
        case _:
            assert_never(hold)
    arguable = base.latest_arguable and max(base.latest_arguable, end)
    due = max(base.due_at, end)
    return replace(
        base,
        due_at=due,
        latest_arguable=arguable,
        steps=(*base.steps, words, f"= due {z(due)}, the later of deadline and hold"),
    )
