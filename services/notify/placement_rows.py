"""Pure: placements from CSV or NDJSON, held against the inventory they belong to, line by line.

CSV has a header of ``tenant,server,from,to,role,data``; data classes are separated by ``|``. NDJSON
has the same names as keys, ``data`` a list. Instants are RFC 3339; empty is unbounded.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.notify.inventory import Inventory, Placement, Placements
from services.notify.placements import ROLES
from shared.clock import parse_instant

__all__ = ["Diff", "Rejected", "difference", "parse_rows"]

KEYS = frozenset({"tenant", "server", "from", "to", "role", "data"})


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be taken; ``line`` counts from 1."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Diff:
    """What the new placements change."""

    added: tuple[Placement, ...]
    removed: tuple[Placement, ...]
    unchanged: int


class _RowError(Exception):
    pass


def parse_rows(
    text: str, kind: str, inventory: Inventory
) -> tuple[list[Placement], list[Rejected]]:
    """Return the placements in *text* (*kind*: csv or ndjson) and every row that is none.

    Of two rows that contradict each other the first stands.
    """
    taken: list[Placement] = []
    rejected: list[Rejected] = []
    seen: dict[tuple[str, str, str], list[tuple[Placement, int]]] = {}
    for line, given in _csv(text) if kind == "csv" else _ndjson(text):
        if isinstance(given, str):
            rejected.append(Rejected(line, given))
            continue
        try:
            placement = _placement(given, inventory)
        except _RowError as error:
            rejected.append(Rejected(line, str(error)))
            continue
        same = seen.setdefault((placement.tenant, placement.server, placement.role), [])
        first = next((number for other, number in same if _overlap(placement, other)), None)
        if first is not None:
            why = f"overlaps line {first}: same tenant, server and role"
            rejected.append(Rejected(line, why))
            continue
        same.append((placement, line))
        taken.append(placement)
    return taken, rejected


def difference(before: Placements, after: list[Placement]) -> Diff:
    """Return what *after* adds to *before* and takes away."""
    old = {placement for server in before for placement in before[server]}
    new = set(after)
    return Diff(
        added=tuple(sorted(new - old, key=_order)),
        removed=tuple(sorted(old - new, key=_order)),
        unchanged=len(old & new),
    )


def _order(p: Placement) -> tuple[str, str, str, str]:
    return p.tenant, p.server, p.role, p.valid_from.isoformat() if p.valid_from else ""


def _csv(text: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not {"tenant", "server"} <= set(header) <= KEYS or len(set(header)) < len(header):
            yield 1, f"the header has to be of {', '.join(sorted(KEYS))}"
            return
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                yield reader.line_num, f"has {len(row)} cells, the header {len(header)}"
                continue
            given: dict[str, Any] = dict(zip(header, row, strict=True))
            given["data"] = [name for name in given.get("data", "").split("|") if name]
            yield reader.line_num, given
    except csv.Error as error:
        yield reader.line_num, f"not CSV: {error}"


def _ndjson(text: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except (ValueError, RecursionError):
            yield number, "not JSON"
            continue
        yield number, given if isinstance(given, dict) else "not an object"


def _placement(given: Mapping[str, Any], inventory: Inventory) -> Placement:
    if unknown := sorted(set(given) - KEYS):
        raise _RowError(f"{unknown[0]!r} is none of {', '.join(sorted(KEYS))}")
    tenant, server = _text(given, "tenant"), _text(given, "server")
    role = _text(given, "role") or "primary"
    if tenant not in inventory.tenants:
        raise _RowError(f"tenant {tenant!r} is not defined")
    if server not in inventory.servers:
        raise _RowError(f"server {server!r} is not defined")
    if role not in ROLES:
        raise _RowError(f"role {role!r} is none of {', '.join(ROLES)}")
    data = given.get("data") or []
    if not isinstance(data, list) or not all(isinstance(name, str) and name for name in data):
        raise _RowError("data is not a list of names")
    start, end = _instant(given, "from"), _instant(given, "to")
    if start is not None and end is not None and start >= end:
        raise _RowError("ends before it begins")
    return Placement(
        tenant=tenant,
        server=server,
        valid_from=start,
        valid_to=end,
        role=role,
        data_classes=tuple(sorted({name.strip() for name in data})),
    )


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _RowError(f"{key} is not text")
    return value.strip()


def _instant(given: Mapping[str, Any], key: str) -> datetime | None:
    text = _text(given, key)
    if not text:
        return None
    try:
        return parse_instant(text)
    except ValueError:
        raise _RowError(f"{key} {text!r} is not an instant with its offset") from None


def _overlap(a: Placement, b: Placement) -> bool:
    return (a.valid_to is None or b.valid_from is None or b.valid_from < a.valid_to) and (
        b.valid_to is None or a.valid_from is None or a.valid_from < b.valid_to
    )
