"""Pure: placements in columns, so that a million of them are counted in megabytes and walked fast.

Rows of one server stand together. Instants are microseconds since 1970; what is unbounded is the
lowest and the highest number, so that half-open overlap is two comparisons.
"""

from array import array
from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = [
    "FOREVER", "NEVER", "ROLES", "Placement", "PlacementRows", "Placements", "Tags",
    "instant", "micros",
]  # fmt: skip

ROLES = ("primary", "replica", "backup")
NEVER, FOREVER = -(1 << 62), 1 << 62
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Tags = tuple[tuple[str, str], ...]
"""Keys with their values, in order of the keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A tenant on a server during [valid_from, valid_to); None is unbounded."""

    tenant: str
    server: str
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    role: str = "primary"
    data_classes: tuple[str, ...] = ()
    tags: Tags = ()


def micros(at: datetime) -> int:
    """Return *at* as microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def instant(value: int) -> datetime | None:
    """Return the other way round of `micros`; None for what is unbounded."""
    return None if value in (NEVER, FOREVER) else _EPOCH + timedelta(microseconds=value)


def _number(numbers: dict[Any, int], value: object) -> int:
    return numbers.setdefault(value, len(numbers))


class PlacementRows:
    """Placements as they come, in any order, each with its line."""

    def __init__(self) -> None:
        # Names and sets, each with its number.
        self.tenants: dict[str, int] = {}
        self.servers: dict[str, int] = {}
        self.kinds: dict[tuple[str, ...], int] = {(): 0}
        self.tag_sets: dict[Tags, int] = {(): 0}
        self.tenant, self.server, self.line = array("i"), array("i"), array("i")
        self.role, self.data, self.tag = array("b"), array("i"), array("i")
        self.since, self.until = array("q"), array("q")

    def __len__(self) -> int:
        return len(self.tenant)

    def add(
        self,
        tenant: str,
        server: str,
        role: int,
        since: int,
        until: int,
        data_classes: tuple[str, ...] = (),
        tags: Tags = (),
        line: int = 0,
    ) -> None:
        """Take one row; *role* is its place in `ROLES`, *line* where it stands."""
        self.tenant.append(_number(self.tenants, tenant))
        self.server.append(_number(self.servers, server))
        self.role.append(role)
        self.since.append(since)
        self.until.append(until)
        self.data.append(_number(self.kinds, data_classes))
        self.tag.append(_number(self.tag_sets, tags))
        self.line.append(line)

    def add_placement(self, p: Placement) -> None:
        self.add(
            p.tenant,
            p.server,
            ROLES.index(p.role),
            NEVER if p.valid_from is None else micros(p.valid_from),
            FOREVER if p.valid_to is None else micros(p.valid_to),
            p.data_classes,
            p.tags,
        )

    def in_order(self, without: Container[int] = ()) -> list[int]:
        """Return the rows but those *without*: by server, tenant, role and beginning."""
        groups = self.groups()
        order = [row for row in range(len(self)) if row not in without]
        order.sort(key=self.since.__getitem__)
        order.sort(key=groups.__getitem__)
        return order

    def groups(self) -> "array[int]":
        """Return of each row a number for its server, tenant and role, in order of the servers."""
        servers = list(self.servers)
        rank = array("i", bytes(4 * len(servers)))
        for place, number in enumerate(sorted(range(len(servers)), key=servers.__getitem__)):
            rank[number] = place
        width, roles = len(self.tenants), len(ROLES)
        each = zip(self.server, self.tenant, self.role, strict=True)
        return array("q", ((rank[s] * width + t) * roles + role for s, t, role in each))


class Placements(Mapping[str, tuple[Placement, ...]]):
    """Server → its placements, made when asked for; ``rows`` of them in all.

    The columns are for reading row by row: ``tenant[row]`` is a number of ``tenants``, ``tag[row]``
    one of ``tag_sets``.
    """

    __slots__ = (
        "_begins", "_data", "_data_of", "_servers", "_spans", "role", "tag", "tag_sets", "tenant",
        "tenants", "valid_from", "valid_to",
    )  # fmt: skip

    def __init__(
        self, placements: Iterable[Placement] | PlacementRows, order: Sequence[int] | None = None
    ) -> None:
        """Take *placements*; *order* are those of the rows to take, server by server."""
        if isinstance(placements, PlacementRows):
            rows = placements
        else:
            rows = PlacementRows()
            for placement in placements:
                rows.add_placement(placement)
        order = rows.in_order() if order is None else order
        self.tenants, self.tag_sets = list(rows.tenants), list(rows.tag_sets)
        self._data_of = list(rows.kinds)
        self.tenant = array("i", map(rows.tenant.__getitem__, order))
        self.role = array("b", map(rows.role.__getitem__, order))
        self.valid_from = array("q", map(rows.since.__getitem__, order))
        self.valid_to = array("q", map(rows.until.__getitem__, order))
        self._data = array("i", map(rows.data.__getitem__, order))
        self.tag = array("i", map(rows.tag.__getitem__, order))
        self._servers: list[str] = []
        self._begins: list[int] = []
        names, last = list(rows.servers), -1
        for place, row in enumerate(order):
            if (number := rows.server[row]) != last:
                self._servers.append(names[number])
                self._begins.append(place)
                last = number
        ends = [*self._begins[1:], *[len(order)][: len(self._begins)]]
        self._spans = dict(zip(self._servers, zip(self._begins, ends, strict=True), strict=True))

    @property
    def rows(self) -> int:
        return len(self.tenant)

    def span(self, server: str) -> tuple[int, int]:
        """Return the first row of *server* and the one after its last."""
        return self._spans.get(server, (0, 0))

    def server(self, row: int) -> str:
        """Return the server that *row* stands for."""
        return self._servers[bisect_right(self._begins, row) - 1]

    def data_classes(self, row: int) -> tuple[str, ...]:
        return self._data_of[self._data[row]]

    def tags(self, row: int) -> Tags:
        return self.tag_sets[self.tag[row]]

    def placement(self, server: str, row: int) -> Placement:
        """Return one row of *server* as what it stands for."""
        return Placement(
            tenant=self.tenants[self.tenant[row]],
            server=server,
            valid_from=instant(self.valid_from[row]),
            valid_to=instant(self.valid_to[row]),
            role=ROLES[self.role[row]],
            data_classes=self.data_classes(row),
            tags=self.tags(row),
        )

    def bytes(self) -> int:
        """Return what the columns take, without the names."""
        columns = (self.tenant, self.role, self.valid_from, self.valid_to, self._data, self.tag)
        return sum(column.itemsize * len(column) for column in columns)

    def __getitem__(self, server: str) -> tuple[Placement, ...]:
        begin, end = self._spans[server]
        return tuple(self.placement(server, row) for row in range(begin, end))

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)
