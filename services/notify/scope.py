"""Pure: which tenants a scope touches, and why (§5). A scope that names nothing is refused."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from services.notify.inventory import Inventory, Server
from services.notify.placements import NEVER, ROLES, Placement, micros
from shared.contracts.cases import Scope, ScopeSelector

__all__ = ["AffectedTenant", "Confidence", "Match", "Resolution", "ScopeError", "check", "resolve"]

LEVELS = ("region", "datacenter", "service", "server_farm", "server")
Follow = Literal["none", "direct", "transitive"]


class ScopeError(Exception):
    """The scope means nothing, or everything; it is never taken for "everyone" (A10)."""


class Confidence(StrEnum):
    """The weakest assumption that is needed to call a tenant affected, strongest first."""

    CONFIRMED = "confirmed"
    PROBABLE = "probable"
    POSSIBLE = "possible"


_RANK = {confidence: rank for rank, confidence in enumerate(Confidence)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One placement that makes a tenant affected; the overlap is half-open, None unbounded."""

    server: Server
    placement: Placement
    overlap_from: datetime | None
    overlap_to: datetime | None
    confidence: Confidence
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedTenant:
    """A tenant with everything that explains why it is on the list.

    ``matches`` are made when asked for: a region-wide scope has a million of them.
    """

    tenant: str
    confidence: Confidence
    rows: tuple[int, ...]
    """Of each placement that matched; numbers, as a million tuples would be the collector's."""
    matcher: "_Matcher" = field(repr=False, compare=False)

    @property
    def matches(self) -> tuple[Match, ...]:
        found = [self.matcher.match(row) for row in self.rows]
        order = sorted(found, key=lambda m: (_RANK[m.confidence], m.server.name, m.placement.role))
        return tuple(order)

    @property
    def data_classes(self) -> tuple[str, ...]:
        placements = self.matcher.inventory.placements
        return tuple(sorted({c for row in self.rows for c in placements.data_classes(row)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Who is affected, in order of name; ``warnings`` are for the person who set the scope."""

    tenants: tuple[AffectedTenant, ...]
    servers: tuple[str, ...]
    window_from: datetime | None
    window_to: datetime
    warnings: tuple[str, ...]

    def count(self, confidence: Confidence) -> int:
        return sum(tenant.confidence is confidence for tenant in self.tenants)


@dataclass(frozen=True, slots=True)
class _Window:
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


def resolve(
    inventory: Inventory,
    scope: Scope,
    *,
    as_of: datetime,
    roles: Iterable[str] | None = None,
) -> Resolution:
    """Return the tenants that *scope* touches; ScopeError when it selects by nothing.

    Selectors are OR, levels inside one are AND, excludes subtract servers last. A window without
    an end is still open: it reaches to *as_of*, the moment the scope was set.
    """
    check(scope)
    window = _window(scope, as_of)
    wanted = None if roles is None else frozenset(ROLES.index(r) for r in roles if r in ROLES)
    matcher = _Matcher(inventory, scope, window, wanted)
    found: dict[int, list[int]] = {}
    best: dict[int, int] = {}
    of = inventory.placements.tenant
    for server in matcher.servers:
        same = matcher.rank_of_all(server)
        for row in matcher.rows(server):
            tenant = of[row]
            if tenant in found:
                found[tenant].append(row)
            else:
                found[tenant], best[tenant] = [row], len(Confidence)
            rank = matcher.rank(server, row) if same is None else same
            if rank < best[tenant]:
                best[tenant] = rank
    names = inventory.placements.tenants
    confidences = tuple(Confidence)
    return Resolution(
        tenants=tuple(
            AffectedTenant(
                tenant=names[number],
                confidence=confidences[best[number]],
                rows=tuple(found[number]),
                matcher=matcher,
            )
            for number in sorted(found, key=names.__getitem__)
        ),
        servers=tuple(sorted(matcher.servers)),
        window_from=window.start,
        window_to=window.end,
        warnings=tuple(_warnings(inventory, scope)),
    )


def check(scope: Scope) -> None:
    """Refuse with ScopeError what selects by nothing, or in no time at all."""
    if not scope.include:
        raise ScopeError("The scope includes nothing; it is never taken for everyone.")
    for selector in (*scope.include, *scope.exclude):
        if not any(getattr(selector, level) for level in (*LEVELS, "tenant")):
            raise ScopeError("A selector without any level would select everything.")
    if scope.window_from and scope.window_to and scope.window_from >= scope.window_to:
        raise ScopeError("The window ends before it begins.")


def _window(scope: Scope, as_of: datetime) -> _Window:
    if scope.window_to is not None:
        return _Window(scope.window_from, scope.window_to)
    latest = as_of if scope.window_from is None else max(as_of, scope.window_from)
    return _Window(scope.window_from, latest + timedelta(microseconds=1))


def _matches(selector: ScopeSelector, server: Server) -> bool:
    return all(
        wanted is None or wanted == actual
        for wanted, actual in (
            (selector.region, server.region),
            (selector.datacenter, server.datacenter),
            (selector.service, server.service),
            (selector.server_farm, server.farm),
            (selector.server, server.name),
        )
    )


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


class _Matcher:
    """Tells which rows of which servers a scope touches, how surely, and why."""

    def __init__(
        self, inventory: Inventory, scope: Scope, window: _Window, roles: frozenset[int] | None
    ) -> None:
        self.inventory, self._scope, self._window, self._roles = inventory, scope, window, roles
        self._start, self._end = window.micros()
        placed = [s for s in scope.include if s.tenant is None]
        naming = [s for s in scope.include if s.tenant is not None]
        every = inventory.servers.values()
        self._placed = {s.name for x in placed for s in every if _matches(x, s)}
        # A selector that names a tenant means its servers, and only it on them.
        self._named: dict[str, set[int]] = {}
        numbers = {name: number for number, name in enumerate(inventory.placements.tenants)}
        for selector in naming:
            number = numbers.get(selector.tenant or "")
            if number is None:
                continue
            for server in every:
                if _matches(selector, server) and self._has(server.name, number):
                    self._named.setdefault(server.name, set()).add(number)
        direct = self._placed | set(self._named)
        services = {inventory.servers[name].service for name in direct}
        self._via = _dependants(inventory, services, scope.follow_dependencies)
        reached = {s.name for s in every if s.service in self._via} if self._via else set()
        without = [x for x in scope.exclude if x.tenant is None]
        excluded = {s.name for x in without for s in every if _matches(x, s)}
        self.servers = sorted((direct | reached) - excluded)
        self._spared = [
            (selector, numbers.get(selector.tenant or ""))
            for selector in scope.exclude
            if selector.tenant is not None
        ]

    def _has(self, server: str, number: int) -> bool:
        placements = self.inventory.placements
        return any(placements.tenant[row] == number for row in self._overlapping(server))

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
        tenant = self.inventory.placements.tenant
        known = self.inventory.servers[server]
        for selector, number in self._spared:
            if _matches(selector, known):
                rows = [row for row in rows if tenant[row] != number]
        if server in self._placed or known.service in self._via:
            return rows
        named = self._named.get(server, set())
        return [row for row in rows if tenant[row] in named]

    def rank_of_all(self, server: str) -> int | None:
        """Return the rank of every row of *server*, where it is the same for all."""
        if self._start == NEVER or server in self._named:
            return None
        return 1 if server in self._placed else 2

    def rank(self, server: str, row: int) -> int:
        """Return the confidence of one row as its place in `Confidence`."""
        placements = self.inventory.placements
        if self._named and placements.tenant[row] in self._named.get(server, ()):
            rank = 0
        else:
            rank = 1 if server in self._placed else 2
        # What holds in the window's last moment is inside it wherever the window began.
        return 2 if self._start == NEVER and placements.valid_to[row] < self._end else rank

    def match(self, row: int) -> Match:
        """Return one row with its explanation."""
        server = self.inventory.placements.server(row)
        placement = self.inventory.placements.placement(server, row)
        known = self.inventory.servers[server]
        number = self.inventory.placements.tenant[row]
        sure = 2
        if number in self._named.get(server, ()):
            sure, reason = 0, "the scope names the tenant"
        elif server in self._placed:
            sure, reason = 1, f"placed on {server}, which is in the scope"
        else:
            via = self._via[known.service]
            reason = f"{known.service} depends on {via}, which is in the scope"
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


def _warnings(inventory: Inventory, scope: Scope) -> Iterator[str]:
    if scope.window_from is None:
        yield "The start of the window is not known: it reaches back without bound."
    known: dict[str, Iterable[str]] = {
        "region": inventory.regions,
        "datacenter": inventory.datacenters,
        "service": inventory.services,
        "server_farm": inventory.farms,
        "server": inventory.servers,
        "tenant": inventory.tenants,
    }
    for selector in (*scope.include, *scope.exclude):
        for level, names in known.items():
            wanted = getattr(selector, level)
            if wanted is not None and wanted not in names:
                yield f"The inventory knows no {level.replace('_', ' ')} {wanted!r}."
                break
        else:
            if not any(_matches(selector, server) for server in inventory.servers.values()):
                yield f"No server fits all of {selector.model_dump(exclude_none=True)}."
