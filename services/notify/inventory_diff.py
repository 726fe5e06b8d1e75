"""Pure: what one version of the inventory has that another has not, and the name of the next one.

A version is the SHA-256 of the version before it and of what changed: it names the rows and how
they came about. Where nothing changed the version stays.
"""

import hashlib
import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.notify.inventory import ENTRY_KINDS, Entry, Inventory, Kind
from services.notify.inventory_entries import document
from services.notify.placements import Placements

__all__ = ["Difference", "EntryChanges", "PlacementChanges", "difference"]


@dataclass(frozen=True, slots=True)
class EntryChanges:
    """Names of one kind, in order."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class PlacementChanges:
    """Rows of the placements before and after, server by server; changed ones stand in pairs."""

    before: Placements
    after: Placements
    added: "array[int]" = field(default_factory=lambda: array("i"))
    removed: "array[int]" = field(default_factory=lambda: array("i"))
    changed_from: "array[int]" = field(default_factory=lambda: array("i"))
    changed_to: "array[int]" = field(default_factory=lambda: array("i"))
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """What is new, gone and said anew, of each kind; ``version`` is what it leads to."""

    version: str
    entries: Mapping[Kind, EntryChanges]
    placements: PlacementChanges

    def counts(self) -> dict[Kind, dict[str, int]]:
        """Return how many of each kind were added, removed, changed and left."""
        found: dict[Kind, dict[str, int]] = {
            kind: {
                "added": len(one.added),
                "removed": len(one.removed),
                "changed": len(one.changed),
                "unchanged": one.unchanged,
            }
            for kind, one in self.entries.items()
        }
        rows = self.placements
        found["placements"] = {
            "added": len(rows.added),
            "removed": len(rows.removed),
            "changed": len(rows.changed_to),
            "unchanged": rows.unchanged,
        }
        return found

    def __bool__(self) -> bool:
        return any(
            number
            for one in self.counts().values()
            for name, number in one.items()
            if name != "unchanged"
        )


def difference(
    base: Inventory, entries: Mapping[Kind, Mapping[str, Entry]], placements: Placements
) -> Difference:
    """Return what leads from *base* to these rows."""
    digest = hashlib.sha256(base.version.encode())
    by_kind = {}
    for kind in ENTRY_KINDS:
        by_kind[kind] = one = _entries(base.entries[kind], entries[kind])
        for sign, names, of in (
            ("+", one.added, entries[kind]),
            ("-", one.removed, base.entries[kind]),
            ("~", one.changed, entries[kind]),
        ):
            for name in names:
                said = json.dumps(document(kind, of[name]), sort_keys=True)
                digest.update(f"{kind}{sign}{said}\n".encode())
    rows = _placements(base.placements, placements, digest)
    found = Difference("", by_kind, rows)
    same = base.version and not found
    return Difference(base.version if same else digest.hexdigest(), by_kind, rows)


def _entries(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> EntryChanges:
    both = before.keys() & after.keys()
    changed = sorted(name for name in both if before[name] != after[name])
    return EntryChanges(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(changed),
        unchanged=len(both) - len(changed),
    )


def _placements(before: Placements, after: Placements, digest: "hashlib._Hash") -> PlacementChanges:
    if before is after:
        return PlacementChanges(before, after, unchanged=after.rows)
    found = PlacementChanges(before, after)
    unchanged = 0
    for server in sorted(before.keys() | after.keys()):
        old, new = _by_key(before, server), _by_key(after, server)
        lines = []
        for key, row in new.items():
            was = old.get(key)
            if was is None:
                found.added.append(row)
                lines.append(_said("+", server, key, after, row))
            elif _value(before, was) != _value(after, row):
                found.changed_from.append(was)
                found.changed_to.append(row)
                lines.append(_said("~", server, key, after, row))
            else:
                unchanged += 1
        for key, row in old.items():
            if key not in new:
                found.removed.append(row)
                lines.append(_said("-", server, key, before, row))
        digest.update("".join(sorted(lines)).encode())
    return PlacementChanges(
        before, after, found.added, found.removed, found.changed_from, found.changed_to, unchanged
    )


_Key = tuple[str, int, int]


def _by_key(placements: Placements, server: str) -> dict[_Key, int]:
    names, tenant = placements.tenants, placements.tenant
    role, since = placements.role, placements.valid_from
    rows = range(*placements.span(server))
    return {(names[tenant[row]], role[row], since[row]): row for row in rows}


def _value(placements: Placements, row: int) -> tuple[object, ...]:
    return placements.valid_to[row], placements.data_classes(row), placements.tags(row)


def _said(sign: str, server: str, key: _Key, placements: Placements, row: int) -> str:
    return f"{sign}{server}\t{key}\t{_value(placements, row)}\n"
