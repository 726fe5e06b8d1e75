"""Pure: placements in columns, so that a million of them are counted in megabytes and walked fast.

Rows of one server stand together. Instants are microseconds since 1970; what is unbounded is the
lowest and the highest number, so that half-open overlap is two comparisons.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["FOREVER", "NEVER", "ROLES", "Placement", "Placements", "micros"]

ROLES = ("primary", "replica", "backup")
NEVER, FOREVER = -(1 << 62), 1 << 62
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A tenant on a server during [valid_from, valid_to); None is unbounded."""

    tenant: str
    server: str
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    role: str = "primary"
    data_classes: tuple[str, ...] = ()


def micros(at: datetime) -> int:
    """Return *at* as microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def _instant(value: int) -> datetime | None:
    return None if value in (NEVER, FOREVER) else _EPOCH + timedelta(microseconds=value)


class Placements(Mapping[str, tuple[Placement, ...]]):
    """Server → its placements, made when asked for; ``rows`` of them in all.

    The columns are for reading row by row: ``tenant[row]`` is a number of ``tenants``.
    """

    __slots__ = (
        "_begins", "_data", "_data_of", "_servers", "_spans", "role", "tenant", "tenants",
        "valid_from", "valid_to",
    )  # fmt: skip

    def __init__(self, placements: Iterable[Placement]) -> None:
        self.tenants: list[str] = []
        self.tenant, self.role = array("i"), array("b")
        self.valid_from, self.valid_to = array("q"), array("q")
        self._data_of: list[tuple[str, ...]] = [()]
        self._data = array("i")
        self._spans: dict[str, tuple[int, int]] = {}
        names: dict[str, int] = {}
        kinds: dict[tuple[str, ...], int] = {(): 0}
        roles = {role: number for number, role in enumerate(ROLES)}
        server, begin = None, 0
        for p in sorted(placements, key=lambda p: p.server):
            if p.server != server:
                if server is not None:
                    self._spans[server] = (begin, len(self.tenant))
                server, begin = p.server, len(self.tenant)
            self.tenant.append(names.setdefault(p.tenant, len(names)))
            self.role.append(roles[p.role])
            self.valid_from.append(NEVER if p.valid_from is None else micros(p.valid_from))
            self.valid_to.append(FOREVER if p.valid_to is None else micros(p.valid_to))
            if p.data_classes not in kinds:
                kinds[p.data_classes] = len(kinds)
                self._data_of.append(p.data_classes)
            self._data.append(kinds[p.data_classes])
        if server is not None:
            self._spans[server] = (begin, len(self.tenant))
        self.tenants = list(names)
        self._servers = list(self._spans)
        self._begins = [begin for begin, _ in self._spans.values()]

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

    def placement(self, server: str, row: int) -> Placement:
        """Return one row of *server* as what it stands for."""
        return Placement(
            tenant=self.tenants[self.tenant[row]],
            server=server,
            valid_from=_instant(self.valid_from[row]),
            valid_to=_instant(self.valid_to[row]),
            role=ROLES[self.role[row]],
            data_classes=self.data_classes(row),
        )

    def bytes(self) -> int:
        """Return what the columns take, without the names."""
        columns = (self.tenant, self.role, self.valid_from, self.valid_to, self._data)
        return sum(column.itemsize * len(column) for column in columns)

    def __getitem__(self, server: str) -> tuple[Placement, ...]:
        begin, end = self._spans[server]
        return tuple(self.placement(server, row) for row in range(begin, end))

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)
