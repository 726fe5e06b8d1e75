"""Pure: which rows of which servers a scope touches, how surely, and why (§5)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from services.notify.inventory import Inventory, Server
from services.notify.placements import NEVER, Placement, micros
from shared.contracts.cases import Scope, ScopeSelector

__all__ = ["Confidence", "Match", "Matcher", "Window", "asks"]

Follow = Literal["none", "direct", "transitive"]


class Confidence(StrEnum):
    """The weakest assumption that is needed to call a tenant affected, strongest first."""

    CONFIRMED = "confirmed"
    PROBABLE = "probable"
    POSSIBLE = "possible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One placement that makes a tenant affected; the overlap is half-open, None unbounded."""

    server: Server
    placement: Placement
    overlap_from: datetime | None
    overlap_to: datetime | None
    confidence: Confidence
    reason: str


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end); a start that is not known reaches back without bound."""

    start: datetime | None
    end: datetime

    def micros(self) -> tuple[int, int]:
        return NEVER if self.start is None else micros(self.start), micros(self.end)

    def overlap(self, p: Placement) -> tuple[datetime | None, datetime]:
        """Return when *p*, which overlaps, does."""
        begins = [t for t in (self.start, p.valid_from) if t is not None]
        end = self.end if p.valid_to is None else min(self.end, p.valid_to)
        return max(begins) if begins else None, end


Worn = frozenset[tuple[str, str]]


def asks(selector: ScopeSelector, server: Server) -> Worn | None:
    """Return the tags that *selector* wants and *server* does not wear; None: another server."""
    if not all(
        wanted is None or wanted == actual
        for wanted, actual in (
            (selector.region, server.region),
            (selector.datacenter, server.datacenter),
            (selector.service, server.service),
            (selector.server_farm, server.farm),
            (selector.server, server.name),
        )
    ):
        return None
    return frozenset((selector.tags or {}).items()) - server.tags


def _dependants(inventory: Inventory, services: set[str], follow: Follow) -> dict[str, str]:
    """Return service → the service it depends on, for all that depend on *services*."""
    found: dict[str, str] = {}
    frontier = set() if follow == "none" else set(services)
    while frontier:
        step = {
            service.name: min(service.depends_on & frontier)
            for service in inventory.services.values()
            if service.depends_on & frontier and service.name not in found
        }
        found |= step
        frontier = set() if follow == "direct" else set(step)
    return found


class _Wearers:
    """Tells which rows wear tags that their servers do not: their own, or their tenant's."""

    def __init__(self, inventory: Inventory) -> None:
        self._placements, self._entries = inventory.placements, inventory.entries["tenants"]
        self._tenants: dict[Worn, frozenset[int]] = {}
        self._rests: dict[tuple[Worn, int], Worn] = {}
        self._all: set[tuple[str, str]] | None = None

    def anywhere(self, tags: Worn) -> bool:
        """Tell whether each of *tags* is on some placement or tenant: else no row wears them."""
        if self._all is None:
            of_tenants = (entry.tags for entry in self._entries.values())
            self._all = set().union(*of_tenants, *self._placements.tag_sets)
        return tags <= self._all

    def __call__(self, tags: Worn, row: int) -> bool:
        """Tell whether *row* wears all of *tags*."""
        key = tags, self._placements.tag[row]
        rest = self._rests.get(key)
        if rest is None:
            rest = self._rests[key] = tags.difference(self._placements.tags(row))
        return not rest or self._placements.tenant[row] in self._of_tenants(rest)

    def _of_tenants(self, tags: Worn) -> frozenset[int]:
        if tags not in self._tenants:
            names = enumerate(self._placements.tenants)
            self._tenants[tags] = frozenset(
                number
                for number, name in names
                if (entry := self._entries.get(name)) and tags.issubset(entry.tags)
            )
        return self._tenants[tags]


@dataclass(frozen=True, slots=True)
class _Pick:
    """Rows of one server: those of a tenant (by its number), those that wear tags, or both."""

    tenant: int | None
    tags: Worn


class Matcher:
    """Tells which rows of which servers a scope touches, how surely, and why."""

    def __init__(
        self, inventory: Inventory, scope: Scope, window: Window, roles: frozenset[int] | None
    ) -> None:
        self.inventory, self._window, self._roles = inventory, window, roles
        self._start, self._end = window.micros()
        self._wear = _Wearers(inventory)
        numbers = {name: number for number, name in enumerate(inventory.placements.tenants)}
        self._placed, picked = self._chosen(scope.include, numbers)
        # A selector that names a tenant, or tags of it, means its servers, and only it on them.
        self._picked = {
            server: picks
            for server, picks in picked.items()
            if any(self._in(picks, row) for row in self._overlapping(server))
        }
        direct = self._placed | set(self._picked)
        services = {inventory.servers[name].service for name in direct}
        self._via = _dependants(inventory, services, scope.follow_dependencies)
        every = inventory.servers.values()
        reached = {s.name for s in every if s.service in self._via} if self._via else set()
        excluded, self._spared = self._chosen(scope.exclude, numbers)
        self.servers = sorted((direct | reached) - excluded)

    def _chosen(
        self, selectors: Iterable[ScopeSelector], numbers: Mapping[str, int]
    ) -> tuple[set[str], dict[str, list[_Pick]]]:
        """Return the servers that *selectors* mean as a whole, and what they mean of others."""
        whole: set[str] = set()
        parts: dict[str, list[_Pick]] = {}
        for selector in selectors:
            if selector.tenant is not None and selector.tenant not in numbers:
                continue
            number = None if selector.tenant is None else numbers[selector.tenant]
            for server in self.inventory.servers.values():
                tags = asks(selector, server)
                if tags is None or (tags and not self._wear.anywhere(tags)):
                    continue
                if tags or number is not None:
                    parts.setdefault(server.name, []).append(_Pick(number, tags))
                else:
                    whole.add(server.name)
        return whole, parts

    def _in(self, picks: Iterable[_Pick], row: int) -> bool:
        return any(
            (pick.tenant is None or pick.tenant == self.inventory.placements.tenant[row])
            and (not pick.tags or self._wear(pick.tags, row))
            for pick in picks
        )

    def _overlapping(self, server: str) -> list[int]:
        placements = self.inventory.placements
        begin, stop = placements.span(server)
        since, until = placements.valid_from, placements.valid_to
        start, end = self._start, self._end
        rows = [row for row in range(begin, stop) if since[row] < end and start < until[row]]
        if self._roles is not None:
            rows = [row for row in rows if placements.role[row] in self._roles]
        return rows

    def rows(self, server: str) -> list[int]:
        """Return the rows of *server* that the scope touches."""
        rows = self._overlapping(server)
        if spared := self._spared.get(server):
            rows = [row for row in rows if not self._in(spared, row)]
        if server in self._placed or self.inventory.servers[server].service in self._via:
            return rows
        picks = self._picked.get(server, [])
        return [row for row in rows if self._in(picks, row)]

    def rank_of_all(self, server: str) -> int | None:
        """Return the rank of every row of *server*, where it is the same for all."""
        if self._start == NEVER or server in self._picked:
            return None
        return 1 if server in self._placed else 2

    def rank(self, server: str, row: int) -> int:
        """Return the confidence of one row as its place in `Confidence`."""
        rank, _ = self._sure(server, row)
        # What holds in the window's last moment is inside it wherever the window began.
        open_ = self._start == NEVER and self.inventory.placements.valid_to[row] < self._end
        return 2 if open_ else rank

    def _sure(self, server: str, row: int) -> tuple[int, str]:
        """Return the rank of one row as far as place goes, and the reason for it."""
        picks = [pick for pick in self._picked.get(server, ()) if self._in((pick,), row)]
        if any(pick.tenant is not None for pick in picks):
            return 0, "the scope names the tenant"
        if server in self._placed:
            return 1, f"placed on {server}, which is in the scope"
        if picks:
            tags = ", ".join(f"{key}={value}" for key, value in sorted(picks[0].tags))
            return 1, f"placed on {server}, and wears the tags {tags} that the scope asks for"
        service = self.inventory.servers[server].service
        return 2, f"{service} depends on {self._via[service]}, which is in the scope"

    def match(self, row: int) -> Match:
        """Return one row with its explanation."""
        server = self.inventory.placements.server(row)
        placement = self.inventory.placements.placement(server, row)
        known = self.inventory.servers[server]
        sure, reason = self._sure(server, row)
        rank = self.rank(server, row)
        if rank > sure:
            reason += "; whether in time is open, as the window's start is not known"
        begins, ends = self._window.overlap(placement)
        return Match(
            server=known,
            placement=placement,
            overlap_from=begins,
            overlap_to=ends,
            confidence=tuple(Confidence)[rank],
            reason=reason,
        )
