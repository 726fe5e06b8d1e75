"""A hash of each view, row by row in the order of its key: two that are equal hold the same."""

import hashlib
from collections.abc import Mapping
from typing import Any

__all__ = ["VIEWS", "Fingerprints", "fingerprints", "state_hash"]

Fingerprints = Mapping[str, str]

# Every table that is projected from the log, with the columns of its key. Each has its row in
# `projected_views`, so that a rebuild makes it, too.
VIEWS: Mapping[str, str] = {
    "incidents": "incident_id",
    "timeline": "position",
    "incident_access": "incident_id, person",
    "incident_indicators": "incident_id, indicator_id",
    "splits": "new_id",
    "evidence": "evidence_id",
    "custody": "position",
    "reviews": "review_id",
    "improvement_items": "item_id",
    "work": "incident_id, kind, ref",
}


async def fingerprints(driver: Any, patience: float) -> Fingerprints:
    """Return SHA-256 of each view by its name; to be called within a transaction.

    *patience* in seconds is for each statement: the first rows of a large view take their time.

    It is the hash of the rows' hashes, which PostgreSQL makes, so that 32 bytes a row travel.
    """
    found: dict[str, str] = {}
    for view, key in VIEWS.items():
        sha = hashlib.sha256()
        rows = f"SELECT sha256(convert_to(v::text, 'UTF8')) FROM {view} v ORDER BY {key}"  # noqa: S608 - constants only
        async for row in driver.cursor(rows, prefetch=5000, timeout=patience):
            sha.update(row[0])
        found[view] = sha.hexdigest()
    return found


def state_hash(views: Fingerprints) -> str:
    """Return one hash for all views."""
    told = "".join(f"{view} {views[view]}\n" for view in VIEWS)
    return hashlib.sha256(told.encode()).hexdigest()
