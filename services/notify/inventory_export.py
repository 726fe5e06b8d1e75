"""An inventory as rows that an import takes again: NDJSON, one row a line, each with its kind."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from services.notify.inventory import ENTRY_KINDS, Inventory
from services.notify.inventory_entries import document
from services.notify.placements import Placement
from shared.clock import rfc3339

__all__ = ["lines", "placement_document"]

_BATCH = 1000  # rows of a chunk


def lines(inventory: Inventory) -> Iterator[bytes]:
    """Yield the rows, what others refer to first; secrets are not among them."""
    rows = _rows(inventory)
    while batch := list(islice(rows, _BATCH)):
        yield b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in batch)


def _rows(inventory: Inventory) -> Iterator[dict[str, Any]]:
    for kind in ENTRY_KINDS:
        for _, row in sorted(inventory.entries[kind].items()):
            yield {"kind": kind, **document(kind, row)}
    for server in inventory.placements:
        for placement in inventory.placements[server]:
            told = placement_document(placement)
            yield {"kind": "placements", **{k: v for k, v in told.items() if v}}


def placement_document(p: Placement) -> dict[str, Any]:
    """Return a placement as the API shows it, and as an import takes it."""
    return {
        "tenant": p.tenant,
        "server": p.server,
        "role": p.role,
        "from": rfc3339(p.valid_from) if p.valid_from else None,
        "to": rfc3339(p.valid_to) if p.valid_to else None,
        "data": list(p.data_classes),
        "tags": dict(p.tags),
    }
