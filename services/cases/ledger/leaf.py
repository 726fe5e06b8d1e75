"""What a leaf of the tree covers: every column of the event, as one line of canonical JSON.

The same text is made in SQL by `leaf_text` (migration 0002), under the lock that gives the event
its position; this is the independent second hand. ``data`` goes in as the very text that is
stored, so that a stored byte cannot change without changing the leaf.
"""

from collections.abc import Mapping
from json.encoder import encode_basestring as quoted
from typing import Any

from services.cases.ledger.verifier import leaf_hash
from shared.clock import rfc3339

__all__ = ["LEAF_COLUMNS", "leaf_of", "leaf_text"]

LEAF_COLUMNS = (
    "position, stream_id, version, event_id, type, schema, data, actor, occurred_at, recorded_at,"
    " command_id"
)


def leaf_text(row: Mapping[str, Any]) -> str:
    """Return the canonical text of an event in a row of LEAF_COLUMNS."""
    return (
        f'{{"actor":{quoted(row["actor"])},"command_id":"{row["command_id"]}"'
        f',"data":{row["data"]},"event_id":"{row["event_id"]}"'
        f',"occurred_at":"{rfc3339(row["occurred_at"])}","position":{row["position"]}'
        f',"recorded_at":"{rfc3339(row["recorded_at"])}","schema":{row["schema"]}'
        f',"stream_id":"{row["stream_id"]}","type":{quoted(row["type"])}'
        f',"version":{row["version"]}}}'
    )


def leaf_of(row: Mapping[str, Any]) -> bytes:
    """Return the leaf hash of an event in a row of LEAF_COLUMNS."""
    return leaf_hash(leaf_text(row).encode())
