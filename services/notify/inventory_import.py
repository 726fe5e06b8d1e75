"""Pure: rows on their way in become the next version of the inventory, or are named by their line.

What comes out is free of contradictions whatever goes in: a row that names what is not there, or
says again what an earlier row said, is left out; what others still stand on is not taken away.
Both are told, and whoever imports decides whether the rest is taken.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.notify.inventory import (
    ENTRY_KINDS,
    REFERENCES,
    Entry,
    Inventory,
    Kind,
    assemble,
)
from services.notify.inventory_diff import Difference, difference
from services.notify.inventory_entries import SINGULAR, entry, flat
from services.notify.inventory_formats import Given
from services.notify.inventory_tenant import Secrets
from services.notify.placement_rows import contradictions, merge, take, unknown
from services.notify.placements import PlacementRows, Placements
from shared.yaml_lines import LineError, Listing, Node, Scalar, Table, node_of, plain

__all__ = ["MAX_REJECTED", "Change", "Draft", "Rejected", "TooManyRejectedError", "apply"]

MAX_REJECTED = 10_000


class TooManyRejectedError(Exception):
    """So many rows cannot be taken that the document is not what it was taken for."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be taken; ``line`` counts from 1 and is 0 for what stands in no line."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Change:
    """What an import makes of the inventory, and what it leaves out."""

    base: Inventory
    inventory: Inventory
    difference: Difference
    rejected: tuple[Rejected, ...]


@dataclass(slots=True)
class Draft:
    """Rows that were read, each right in itself; `apply` holds them against one another."""

    secrets: Secrets = "elsewhere"
    only: Kind | None = None
    """The one kind that may be in it; None: all."""
    kinds: set[Kind] = field(default_factory=set)
    entries: dict[Kind, dict[str, tuple[Entry, int]]] = field(default_factory=dict)
    rows: PlacementRows = field(default_factory=PlacementRows)
    rejected: list[Rejected] = field(default_factory=list)

    def read(self, given: Iterable[Given]) -> "Draft":
        """Take all rows; TooManyRejectedError when that has no point."""
        for one in given:
            if one.kind is not None and self.only in {None, one.kind}:
                self.kinds.add(one.kind)
            if one.why:
                self.reject(one.line, one.why)
            elif one.row is not None and one.kind is not None:
                self.take(one.kind, one.row, one.line)
        return self

    def take(self, kind: Kind, row: Mapping[str, Any], line: int) -> None:
        """Take one row, and what is inside of it."""
        try:
            if kind == "placements":
                take(self.rows, row, line)
                self.kinds.add(kind)
            else:
                self.take_node(kind, node_of(dict(row), line))
        except LineError as error:
            self.reject(error.line, error.why)

    def take_node(self, kind: Kind, node: Node) -> None:
        """Take one row that knows the lines of its fields; LineError when it is none."""
        if kind == "placements":
            take(self.rows, _texts(node), node.line)
            self.kinds.add(kind)
            return
        for inner, part in flat(kind, node):
            if self.only not in {None, inner}:
                raise LineError(part.line, f"holds {inner}; this is an import of {self.only}")
            self.kinds.add(inner)
            row = entry(inner, part, self.secrets)
            known = self.entries.setdefault(inner, {})
            if row.name in known:
                first, name = known[row.name][1], row.name.replace("\t", " on ")
                raise LineError(
                    _line_of(part),
                    f"{SINGULAR[inner]} {name!r} stands twice (first in line {first})",
                )
            known[row.name] = row, _line_of(part)

    def reject(self, line: int, why: str) -> None:
        if len(self.rejected) >= MAX_REJECTED:
            raise TooManyRejectedError(f"More than {MAX_REJECTED} rows cannot be taken.")
        self.rejected.append(Rejected(line, why))


def _line_of(node: Node) -> int:
    """Return the line of a row's name, by which it is known."""
    named = node.entries.get("name") if isinstance(node, Table) else None
    return named.line if named is not None else node.line


def _texts(node: Node) -> dict[str, Any]:
    """Return a placement as it was written: a name of digits is a name."""
    if not isinstance(node, Table):
        raise LineError(node.line, "placement must be a table")
    return {
        key: value.text
        if isinstance(value, Scalar) and value.value is not None
        else [item.text if isinstance(item, Scalar) else plain(item) for item in value.items]
        if isinstance(value, Listing)
        else plain(value)
        for key, value in node.entries.items()
    }


def apply(base: Inventory, draft: Draft, *, replace: bool) -> Change:
    """Return what *draft* makes of *base*.

    With *replace* each kind in it is all there is of that kind; without, its rows are added, or put
    in place of those of the same name (placements: of the same tenant, server, role and beginning).
    A rejected row of another kind leaves what was recorded under its name; a placement is left out.
    """
    rejected = list(draft.rejected)
    tables: dict[Kind, dict[str, Entry]] = {}
    for kind in ENTRY_KINDS:
        recorded = base.entries[kind]
        table: dict[str, Entry] = {}
        refused: set[str] = set()
        for name, (row, line) in draft.entries.get(kind, {}).items():
            if why := _missing(kind, row, tables):
                rejected.append(Rejected(line, why))
                refused.add(name)
            else:
                table[name] = row
        whole = replace and kind in draft.kinds
        kept = {n: e for n, e in recorded.items() if n in refused} if whole else recorded
        tables[kind] = {**kept, **table}
    placements = _placements(base, draft, tables, replace, rejected)
    rejected += _keep_what_is_needed(base, tables, placements)
    changes = difference(base, tables, placements)
    return Change(
        base=base,
        inventory=assemble(changes.version, tables, placements),
        difference=changes,
        rejected=tuple(sorted(rejected, key=lambda r: (not r.line, r.line))),
    )


def _missing(kind: Kind, row: Entry, tables: Mapping[Kind, Mapping[str, Entry]]) -> str:
    for (_, of), name in zip(REFERENCES[kind].items(), row.refers, strict=True):
        if name not in tables[of]:
            who = row.refers[0] if kind == "dependencies" else row.name
            what = "service" if kind == "dependencies" else SINGULAR[kind]
            return f"{what} {who!r} names {SINGULAR[of]} {name!r}, which is not defined"
    return ""


def _placements(
    base: Inventory,
    draft: Draft,
    tables: Mapping[Kind, Mapping[str, Entry]],
    replace: bool,
    rejected: list[Rejected],
) -> Placements:
    if "placements" not in draft.kinds:
        return base.placements
    rows = draft.rows
    bad = list(unknown(rows, tables["tenants"], tables["servers"]))
    if not replace:
        merge(rows, base.placements)
    order = rows.in_order(without={one.row for one in bad})
    clashes = contradictions(rows, order)
    rejected += [Rejected(one.line, one.why) for one in (*bad, *clashes)]
    left_out = {one.row for one in clashes}
    return Placements(rows, [row for row in order if row not in left_out] if left_out else order)


def _keep_what_is_needed(
    base: Inventory, tables: dict[Kind, dict[str, Entry]], placements: Placements
) -> list[Rejected]:
    """Put back into *tables* what would be taken away from under a row that stays."""
    told = []
    used = {placements.tenants[number] for number in set(placements.tenant)}
    needed: dict[Kind, dict[str, str]] = {kind: {} for kind in ENTRY_KINDS}
    needed["tenants"] |= dict.fromkeys(used, "placements")
    needed["servers"] |= dict.fromkeys(placements, "placements")
    for kind in reversed(ENTRY_KINDS):
        for name, by in needed[kind].items():
            if name not in tables[kind]:
                tables[kind][name] = base.entries[kind][name]
                why = f"{SINGULAR[kind]} {name!r} is not in the import, but {by} name it"
                told.append(Rejected(0, why))
        for row in tables[kind].values():
            for (_, of), name in zip(REFERENCES[kind].items(), row.refers, strict=True):
                needed[of].setdefault(name, kind.replace("_", " "))
    return told
