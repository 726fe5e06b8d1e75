"""How the store lies on disk: columns, partitions and file names. Pure.

``date=2026-03-01/hour=14/source=web/<first>-<last>-<sha256>.parquet`` (Hive partitions), so that
DuckDB, ClickHouse, Trino and Spark read it in place. A file's columns are the envelope's, the event
as it was sent under ``raw``, and one text column ``f.<path>`` for each path that many of the file's
events have; what is rarer, repeated or oddly named stands in ``rest`` as key and value.
"""

import re
from datetime import UTC, datetime

__all__ = [
    "COLUMNS", "FIELD_PREFIX", "MAX_PATHS", "field_column", "file_name", "is_column_path",
    "is_file_key", "partition",
]  # fmt: skip

COLUMNS = {
    "id": "UUID",
    "time": "TIMESTAMPTZ",  # as claimed, else observed_time
    "observed_time": "TIMESTAMPTZ",
    "claimed": "BOOLEAN",  # whether the event named its time
    "source_id": "VARCHAR",
    "tenant": "VARCHAR",
    "region": "VARCHAR",
    "datacenter": "VARCHAR",
    "service": "VARCHAR",
    "server": "VARCHAR",
    "product": "VARCHAR",  # Sigma's logsource
    "category": "VARCHAR",
    "logsource_service": "VARCHAR",
    "is_text": "BOOLEAN",  # raw is a line of text, not a JSON object
    "raw": "VARCHAR",  # verbatim
    "fields": "VARCHAR",  # JSON: what the door read out of raw
    "extra": "VARCHAR",  # JSON: whatever else the envelope carried
    "rest": "STRUCT(k VARCHAR, v VARCHAR)[]",
}
FIELD_PREFIX = "f."
MAX_PATHS = 96  # columns of their own, in one file

# Names of columns come out of events, so they are held to characters that need no escaping.
_PATH = re.compile(r"[a-z0-9_@$#/:+-]+( ?[a-z0-9_@$#/:.+-]+)*")
_KEY = re.compile(
    r"date=\d{4}-\d\d-\d\d/hour=\d\d/source=[a-z0-9][a-z0-9-]{0,62}/[0-9a-f-]{1,80}\.parquet"
)


def is_column_path(path: str) -> bool:
    """Tell whether *path* (small letters) may become a column's name."""
    return len(path) <= 120 and _PATH.fullmatch(path) is not None


def field_column(path: str) -> str:
    """Return the quoted column of *path*."""
    if not is_column_path(path):
        raise ValueError(f"{path!r} is no path of a column")
    return f'"{FIELD_PREFIX}{path}"'


def partition(hour: datetime, source_id: str) -> str:
    """Return the folder of the events of *source_id* in *hour*."""
    at = hour.astimezone(UTC)
    return f"date={at:%Y-%m-%d}/hour={at:%H}/source={source_id}"


def file_name(first_seq: int, last_seq: int, sha256: str) -> str:
    """Return the name of a file made of blocks between these sequence numbers of EVENTS.

    The content is part of it: whoever writes the same again replaces it by itself.
    """
    return f"{first_seq}-{last_seq}-{sha256[:24]}.parquet"


def is_file_key(key: str) -> bool:
    """Tell whether *key* is one that this store writes."""
    return _KEY.fullmatch(key) is not None
