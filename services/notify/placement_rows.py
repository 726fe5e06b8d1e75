"""Pure: rows of placements on their way in: each read, held against the others and what is known.

A row has ``tenant``, ``server``, ``from``, ``to``, ``role``, ``data``, and its tags as ``tags`` or
``labels``. Instants are RFC 3339; empty is unbounded.
"""

from bisect import bisect_right
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.notify.inventory_tags import TAG_KEYS, read_tags
from services.notify.placements import (
    FOREVER,
    NEVER,
    ROLES,
    PlacementRows,
    Placements,
    instant,
    micros,
)
from shared.clock import parse_instant, rfc3339
from shared.yaml_lines import LineError

__all__ = ["PlacementKey", "Refused", "contradictions", "key_of", "merge", "take", "unknown"]

KEYS = frozenset({"tenant", "server", "from", "to", "role", "data", *TAG_KEYS})

PlacementKey = tuple[str, str, int, int]
"""Tenant, server, role and beginning: what a placement is known by; all else can be corrected."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be taken, and why."""

    row: int
    line: int
    why: str


def take(rows: PlacementRows, given: Mapping[str, Any], line: int) -> None:
    """Add *given* to *rows*; LineError says what is wrong with it."""
    if not KEYS.issuperset(given):
        unknown_key = min(set(given) - KEYS)
        raise LineError(
            line, f"placement: unknown key {unknown_key!r} (known: {', '.join(sorted(KEYS))})"
        )
    tenant, server = _text(given, "tenant", line), _text(given, "server", line)
    if not tenant or not server:
        raise LineError(line, f"placement has no {'server' if tenant else 'tenant'}")
    role = _text(given, "role", line) or "primary"
    if role not in ROLES:
        raise LineError(line, f"placement: role {role!r} is none of {', '.join(ROLES)}")
    start, end = _instant(given, "from", line), _instant(given, "to", line)
    since = NEVER if start is None else micros(start)
    until = FOREVER if end is None else micros(end)
    if since >= until:
        raise LineError(line, "placement ends before it begins")
    rows.add(
        tenant,
        server,
        ROLES.index(role),
        since,
        until,
        _data(given.get("data"), line),
        read_tags(given, "placement", line),
        line,
    )


def _data(given: object, line: int) -> tuple[str, ...]:
    if not given:
        return ()
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LineError(line, "placement: data is not a list of names")
    return tuple(sorted({name.strip() for name in names} - {""}))


def _text(given: Mapping[str, Any], key: str, line: int) -> str:
    value = given.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise LineError(line, f"placement: {key} is not text")
    text = value.strip()
    if not text.isprintable():
        raise LineError(line, f"placement: {key} holds control characters")
    return text


def _instant(given: Mapping[str, Any], key: str, line: int) -> datetime | None:
    text = _text(given, key, line)
    if not text:
        return None
    try:
        return parse_instant(text)
    except (ValueError, OverflowError):
        raise LineError(
            line, f"placement: {key} {text!r} is not RFC 3339 or has no offset from UTC"
        ) from None


def unknown(
    rows: PlacementRows, tenants: Container[str], servers: Container[str]
) -> Iterator[Refused]:
    """Yield the rows whose tenant or server is not among these, with the reason."""
    no_tenant = {n: t for t, n in rows.tenants.items() if t not in tenants}
    no_server = {n: s for s, n in rows.servers.items() if s not in servers}
    if not no_tenant and not no_server:
        return
    for row in range(len(rows)):
        kind, name = "tenant", no_tenant.get(rows.tenant[row])
        if name is None:
            kind, name = "server", no_server.get(rows.server[row])
        if name is not None:
            why = f"placement names {kind} {name!r}, which is not defined"
            yield Refused(row, rows.line[row], why)


def key_of(placements: Placements, server: str, row: int) -> PlacementKey:
    """Return what one row of *server* is known by."""
    tenant = placements.tenants[placements.tenant[row]]
    return tenant, server, placements.role[row], placements.valid_from[row]


def merge(
    rows: PlacementRows, recorded: Placements, without: Collection[PlacementKey] = ()
) -> None:
    """Add to *rows* what is *recorded*, not said anew by them, and not among *without*.

    It has no line.
    """
    tenants, servers = list(rows.tenants), list(rows.servers)
    anew = {
        (tenants[rows.tenant[n]], servers[rows.server[n]], rows.role[n], rows.since[n])
        for n in range(len(rows))
    } | set(without)
    for server in recorded:
        for row in range(*recorded.span(server)):
            key = key_of(recorded, server, row)
            if key not in anew:
                tenant, _, role, since = key
                until, data = recorded.valid_to[row], recorded.data_classes(row)
                rows.add(tenant, server, role, since, until, data, recorded.tags(row))


def contradictions(rows: PlacementRows, order: list[int]) -> list[Refused]:
    """Return those of *order* (as `PlacementRows.in_order` has it) that overlap an earlier line."""
    groups = rows.groups()
    suspect: set[int] = set()
    group, reach = -1, NEVER
    for row in order:
        if groups[row] != group:
            group, reach = groups[row], rows.until[row]
            continue
        if rows.since[row] < reach:
            suspect.add(group)
        reach = max(reach, rows.until[row])
    if not suspect:
        return []
    found: list[Refused] = []
    # Of each group those that stand: apart from one another, so that only neighbours can overlap.
    standing: dict[int, tuple[list[int], list[int]]] = {}
    by_line = sorted((r for r in order if groups[r] in suspect), key=lambda r: (rows.line[r], r))
    for row in by_line:
        begins, others = standing.setdefault(groups[row], ([], []))
        place = bisect_right(begins, rows.since[row])
        near = others[max(0, place - 1) : place + 1]
        first = next(
            (
                o
                for o in near
                if rows.since[row] < rows.until[o] and rows.since[o] < rows.until[row]
            ),
            None,
        )
        if first is None:
            begins.insert(place, rows.since[row])
            others.insert(place, row)
        else:
            found.append(Refused(row, rows.line[row], _overlap(rows, first)))
    return found


def _overlap(rows: PlacementRows, first: int) -> str:
    if line := rows.line[first]:
        return f"placement overlaps the one in line {line}: same tenant, server and role"
    since = instant(rows.since[first])
    words = f"from {rfc3339(since)}" if since else "without a beginning"
    return f"placement overlaps the one recorded {words}: same tenant, server and role"
