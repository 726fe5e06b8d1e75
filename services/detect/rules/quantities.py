"""Numbers and parts of dates, read from the values of events."""

import math
import re
from datetime import date
from typing import Any, assert_never

from .model import DatePart

_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?", re.ASCII)
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2})(?::[0-9]{2})?|(?=$))", re.ASCII
)


def number_of(value: Any) -> int | float | None:
    """Return the number that *value* is or spells out, None for anything else."""
    match value:
        case bool():
            return None
        case int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case str() if (found := _NUMBER.fullmatch(value)) is not None:
            return float(value) if found[1] else int(value)
        case _:
            return None


def date_part(value: Any, part: DatePart) -> int | None:
    """Return *part* of an ISO 8601 date, as written; None where *value* is no such date."""
    found = _DATE.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    try:
        day = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None
    match part:
        case DatePart.MINUTE:
            return int(found[5]) if found[5] else None
        case DatePart.HOUR:
            return int(found[4]) if found[4] else None
        case DatePart.DAY:
            return day.day
        case DatePart.WEEK:
            return day.isocalendar().week
        case DatePart.MONTH:
            return day.month
        case DatePart.YEAR:
            return day.year
        case _:
            assert_never(part)
