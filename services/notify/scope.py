"""Pure: which tenants a scope touches, and why (§5). A scope that names nothing is refused."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.notify.inventory import Inventory
from services.notify.placements import ROLES
from services.notify.scope_match import Confidence, Match, Matcher, Window, asks
from shared.contracts.cases import Scope

__all__ = ["AffectedTenant", "Confidence", "Match", "Resolution", "ScopeError", "check", "resolve"]

LEVELS = ("region", "datacenter", "service", "server_farm", "server")


class ScopeError(Exception):
    """The scope means nothing, or everything; it is never taken for "everyone" (A10)."""


_RANK = {confidence: rank for rank, confidence in enumerate(Confidence)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedTenant:
    """A tenant with everything that explains why it is on the list.

    ``matches`` are made when asked for: a region-wide scope has a million of them.
    """

    tenant: str
    confidence: Confidence
    rows: tuple[int, ...]
    """Of each placement that matched; numbers, as a million tuples would be the collector's."""
    matcher: "Matcher" = field(repr=False, compare=False)

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


def resolve(
    inventory: Inventory,
    scope: Scope,
    *,
    as_of: datetime,
    roles: Iterable[str] | None = None,
) -> Resolution:
    """Return the tenants that *scope* touches; ScopeError when it selects by nothing.

    Selectors are OR, levels and tags inside one are AND, excludes subtract servers last. A tag that
    the server does not wear may be its tenant's or the placement's own: then only those rows are
    meant. A window without an end is still open: it reaches to *as_of*, when the scope was set.
    """
    check(scope)
    window = _window(scope, as_of)
    wanted = None if roles is None else frozenset(ROLES.index(r) for r in roles if r in ROLES)
    matcher = Matcher(inventory, scope, window, wanted)
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
        if not any(getattr(selector, level) for level in (*LEVELS, "tenant", "tags")):
            raise ScopeError("A selector without any level or tag would select everything.")
    if scope.window_from and scope.window_to and scope.window_from >= scope.window_to:
        raise ScopeError("The window ends before it begins.")


def _window(scope: Scope, as_of: datetime) -> Window:
    if scope.window_to is not None:
        return Window(scope.window_from, scope.window_to)
    latest = as_of if scope.window_from is None else max(as_of, scope.window_from)
    return Window(scope.window_from, latest + timedelta(microseconds=1))


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
    selectors = (*scope.include, *scope.exclude)
    worn = _worn(inventory) if any(selector.tags for selector in selectors) else set()
    for selector in selectors:
        for level, names in known.items():
            wanted = getattr(selector, level)
            if wanted is not None and wanted not in names:
                yield f"The inventory knows no {level.replace('_', ' ')} {wanted!r}."
                break
        else:
            if all(asks(selector, server) is None for server in inventory.servers.values()):
                yield f"No server fits all of {selector.model_dump(exclude_none=True)}."
        for key, value in (selector.tags or {}).items():
            if (key, value) not in worn:
                yield f"Nothing wears the tag {key}={value}."


def _worn(inventory: Inventory) -> set[tuple[str, str]]:
    """Return every tag that a server, a tenant or a placement wears."""
    of_servers = {server.tags for server in inventory.servers.values()}
    of_tenants = (entry.tags for entry in inventory.entries["tenants"].values())
    return set().union(*of_servers, *of_tenants, *inventory.placements.tag_sets)
