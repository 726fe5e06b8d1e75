"""The same deadlines from python-dateutil and the live holidays library, over random clocks.

``TOCSIN_DEADLINE_CLOCKS=100000`` gives the full dose (`make deadlines-full`).
"""

import os
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import holidays
import pytest
from dateutil.relativedelta import relativedelta
from dateutil.rrule import DAILY, rrule
from dateutil.tz import gettz

from services.notify.obligations.deadlines import (
    BusinessDays,
    BusinessHours,
    CalendarDays,
    ElapsedHours,
    Months,
    Rule,
    Setting,
    YearEndPlusDays,
    deadline,
)

pytestmark = [pytest.mark.unit, pytest.mark.timeout(900)]

CLOCKS = int(os.environ.get("TOCSIN_DEADLINE_CLOCKS", "6000"))
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "America/Sao_Paulo",
         "Asia/Tokyo"]  # fmt: skip
LIVE = {
    "us-federal": holidays.country_holidays(
        "US", years=range(2024, 2036), categories=("government",)
    ),
    "de": holidays.country_holidays("DE", years=range(2024, 2036)),
    "br": holidays.country_holidays("BR", years=range(2024, 2036)),
}


def utc(local: datetime, tz: str) -> datetime:
    """The earlier instant of a wall time, by trying every offset that the zone has around it."""
    where = gettz(tz)
    naive = local.replace(tzinfo=UTC)
    offsets = {
        (naive + timedelta(hours=h)).astimezone(where).utcoffset() for h in (-30, -14, 0, 14, 30)
    }
    candidates = [naive - offset for offset in offsets if offset is not None]
    fitting = [c for c in candidates if c.astimezone(where).replace(tzinfo=None) == local]
    return min(fitting or candidates)


def open_days(calendar: str, first: date) -> Iterator[date]:
    start = datetime.combine(first, time())
    for day in rrule(DAILY, byweekday=(0, 1, 2, 3, 4), dtstart=start):
        if day.date() not in LIVE[calendar]:
            yield day.date()


def by_dateutil(rule: Rule, clock: datetime) -> datetime:
    """The deadline, reckoned without any code of ours."""
    match rule:
        case ElapsedHours(hours):
            return datetime.fromtimestamp(clock.timestamp() + hours * 3600, UTC)
        case CalendarDays(days=days, tz=tz, inclusive=inclusive, roll=roll, calendar=calendar):
            local = clock.astimezone(gettz(tz)).replace(tzinfo=None)
            last = (local + relativedelta(days=days - inclusive)).date()
            if roll:
                last = next(open_days(calendar, last))
            return utc(datetime.combine(last, time(23, 59, 59)), tz)
        case BusinessDays(days=days, tz=tz, calendar=calendar):
            first = clock.astimezone(gettz(tz)).date() + relativedelta(days=1)
            counted = open_days(calendar, first)
            last = [next(counted) for _ in range(days)][-1]
            return utc(datetime.combine(last, time(23, 59, 59)), tz)
        case Months(months=months, tz=tz):
            local = clock.astimezone(gettz(tz)).replace(tzinfo=None)
            return utc(local + relativedelta(months=months), tz)
        case YearEndPlusDays(days=days, tz=tz):
            year = clock.astimezone(gettz(tz)).year
            end = date(year, 12, 31) + relativedelta(days=days)
            return utc(datetime.combine(end, time(23, 59, 59)), tz)
        case BusinessHours(hours=hours, tz=tz, calendar=calendar):
            left = hours * 3600.0
            for day in open_days(calendar, clock.astimezone(gettz(tz)).date()):
                opens = max(utc(datetime.combine(day, time(9)), tz), clock).timestamp()
                closes = utc(datetime.combine(day, time(17)), tz).timestamp()
                if closes > opens:
                    if left <= closes - opens:
                        return datetime.fromtimestamp(opens + left, UTC)
                    left -= closes - opens
        case _:
            pass
    raise AssertionError(f"no independent computation of {rule}")


MAKERS: list[Callable[[random.Random, Any], Rule]] = [
    lambda r, _: ElapsedHours(r.randint(1, 2000)),
    lambda r, p: CalendarDays(
        days=r.randint(1, 120), inclusive=r.random() < 0.3, roll=r.random() < 0.4, **p
    ),
    lambda r, p: BusinessDays(days=r.randint(1, 25), **p),
    lambda r, p: Months(months=r.randint(1, 14), tz=p["tz"]),
    lambda r, p: YearEndPlusDays(days=r.randint(1, 90), tz=p["tz"]),
    lambda r, p: BusinessHours(hours=r.randint(1, 80), **p),
]


def test_every_rule_kind_agrees_with_an_independent_computation() -> None:
    chance = random.Random(20261125)  # noqa: S311 - reproducible, not secret
    start, span = datetime(2024, 1, 2, tzinfo=UTC), 9 * 365 * 86400
    for n in range(CLOCKS):
        clock = start + timedelta(seconds=chance.randrange(span))
        place = {"tz": chance.choice(ZONES), "calendar": chance.choice(sorted(LIVE))}
        rule = MAKERS[n % len(MAKERS)](chance, place)
        found = deadline(rule, "aware", Setting(clocks={"aware": clock})).due_at
        assert found == by_dateutil(rule, clock), f"{rule} from {clock.isoformat()}"
