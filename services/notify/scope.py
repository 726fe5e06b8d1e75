"""Pure: which tenants a scope touches, and why (§5). A scope that names nothing is refused."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from services.notify.inventory import Inventory, Placement, Server
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
    """A tenant with everything that explains why it is on the list."""

    tenant: str
    confidence: Confidence
    matches: tuple[Match, ...]

    @property
    def data_classes(self) -> tuple[str, ...]:
        return tuple(sorted({c for m in self.matches for c in m.placement.data_classes}))


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

    def overlap(self, p: Placement) -> tuple[datetime | None, datetime] | None:
        begins = [t for t in (self.start, p.valid_from) if t is not None]
        start = max(begins) if begins else None
        end = self.end if p.valid_to is None else min(self.end, p.valid_to)
        return None if start is not None and start >= end else (start, end)

    def depends_on_start(self, p: Placement) -> bool:
        """Tell whether *p* overlaps only if the unknown start is early enough.

        What holds in the window's last moment is inside it wherever the window began.
        """
        return self.start is None and p.valid_to is not None and p.valid_to < self.end


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
    wanted = None if roles is None else frozenset(roles)
    placed = {
        server: tuple(p for p in placements if wanted is None or p.role in wanted)
        for server, placements in inventory.placements.items()
    }
    direct = _select(inventory, scope.include, placed, window)
    via = _dependants(inventory, {s.service for s in direct.values()}, scope.follow_dependencies)
    reached = {s.name: s for s in inventory.servers.values() if s.service in via}
    excluded = {
        s.name
        for selector in scope.exclude
        if selector.tenant is None
        for s in inventory.servers.values()
        if _matches(selector, s)
    }
    servers = {n: s for n, s in {**direct, **reached}.items() if n not in excluded}
    found: dict[str, list[Match]] = {}
    for name, server in servers.items():
        for placement in placed.get(name, ()):
            match = _match(scope, server, placement, window, via)
            if match is not None:
                found.setdefault(placement.tenant, []).append(match)
    return Resolution(
        tenants=tuple(_affected(name, found[name]) for name in sorted(found)),
        servers=tuple(sorted(servers)),
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


def _select(
    inventory: Inventory,
    selectors: Sequence[ScopeSelector],
    placed: Mapping[str, tuple[Placement, ...]],
    window: _Window,
) -> dict[str, Server]:
    """Return the servers that *selectors* name; one that names a tenant means its servers."""
    return {
        server.name: server
        for selector in selectors
        for server in inventory.servers.values()
        if _matches(selector, server)
        and (
            selector.tenant is None
            or any(
                p.tenant == selector.tenant and window.overlap(p)
                for p in placed.get(server.name, ())
            )
        )
    }


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


def _match(
    scope: Scope, server: Server, p: Placement, window: _Window, via: Mapping[str, str]
) -> Match | None:
    overlap = window.overlap(p)
    if overlap is None:
        return None
    if any(x.tenant == p.tenant and _matches(x, server) for x in scope.exclude):
        return None
    named = any(s.tenant == p.tenant and _matches(s, server) for s in scope.include)
    placed = any(s.tenant is None and _matches(s, server) for s in scope.include)
    if named:
        confidence, reason = Confidence.CONFIRMED, "the scope names the tenant"
    elif placed:
        confidence, reason = Confidence.PROBABLE, f"placed on {server.name}, which is in the scope"
    elif server.service in via:
        confidence = Confidence.POSSIBLE
        reason = f"{server.service} depends on {via[server.service]}, which is in the scope"
    else:
        return None  # the server was selected for another tenant that the scope names
    if window.depends_on_start(p) and confidence is not Confidence.POSSIBLE:
        confidence = Confidence.POSSIBLE
        reason += "; whether in time is open, as the window's start is not known"
    return Match(
        server=server,
        placement=p,
        overlap_from=overlap[0],
        overlap_to=overlap[1],
        confidence=confidence,
        reason=reason,
    )


def _affected(name: str, matches: list[Match]) -> AffectedTenant:
    ordered = sorted(matches, key=lambda m: (_RANK[m.confidence], m.server.name, m.placement.role))
    return AffectedTenant(tenant=name, confidence=ordered[0].confidence, matches=tuple(ordered))


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
