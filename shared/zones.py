"""Time zones out of the pinned `tzdata` package, so that every machine reckons alike.

The operating system's own data may be of another year or absent; a deadline or a shift has to be
the same everywhere, and it has to be able to name the version it was reckoned with.
"""

from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import tzdata

__all__ = ["TZDB", "UnknownZoneError", "zone", "zone_names"]

TZDB: str = tzdata.IANA_VERSION
"""The version of the tz database, e.g. ``2026a``."""


class UnknownZoneError(Exception):
    """The tz database has no zone of that name."""


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all zones."""
    return frozenset(files("tzdata").joinpath("zones").read_text("utf-8").split())


@cache
def zone(name: str) -> ZoneInfo:
    """Return the zone of that name; UnknownZoneError if there is none."""
    if name not in zone_names():  # a name becomes a path only after it was found in the list
        raise UnknownZoneError(f"there is no time zone {name!r}")
    with files("tzdata.zoneinfo").joinpath(*name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)
