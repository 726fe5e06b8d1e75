"""Pure: what runs where and for whom (§5): regions, servers, services, tenants, placements.

An inventory is rows: an `Entry` for each thing that has a name, and placements in columns. What a
selector asks of a server (its levels, the tags it wears) is worked out once, by `assemble`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from services.notify.obligations.deadlines import Rule
from services.notify.placements import ROLES, Placement, Placements, Tags

__all__ = [
    "EMPTY", "ENTRY_KINDS", "KINDS", "NOTICE", "REFERENCES", "ROLES", "Clause", "Contacts",
    "Entries", "Entry", "Farm", "Inventory", "Kind", "Placement", "Placements", "Server", "Service",
    "Tags", "Tenant", "Webhook", "assemble",
]  # fmt: skip

Kind = Literal[
    "regions", "datacenters", "services", "dependencies", "server_farms", "servers", "tenants",
    "placements",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Each kind after those that it refers to."""
ENTRY_KINDS = KINDS[:-1]

REFERENCES: Mapping[Kind, Mapping[str, Kind]] = {
    "regions": {},
    "datacenters": {"region": "regions"},
    "services": {},
    "dependencies": {"service": "services", "on": "services"},
    "server_farms": {"service": "services", "datacenter": "datacenters"},
    "servers": {"server_farm": "server_farms"},
    "tenants": {},
}
"""Kind → field → the kind that the field names."""

# The least that a customer notice says (R36).
NOTICE = ("description", "effect_on_customer_data", "actions_taken", "suggested_actions",
          "next_update")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Farm:
    """Servers of one service in one datacenter."""

    name: str
    service: str
    datacenter: str
    region: str


@dataclass(frozen=True, slots=True)
class Server:
    """One server, with every level that a selector can name, and the tags it wears.

    It wears those of its region, datacenter, service and farm as well; of one key, the nearest.
    """

    name: str
    farm: str
    service: str
    datacenter: str
    region: str
    tags: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Service:
    """A service and the services it cannot work without."""

    name: str
    depends_on: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where a tenant's system listens. The secret is in the file or, by name, in a secret file."""

    url: str
    secret_ref: str | None = None
    secret: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contacts:
    """The tenant's administrators and privacy contact, and its system.

    ``alternates`` are written to when mail to the others comes back.
    """

    emails: tuple[str, ...] = ()
    alternates: tuple[str, ...] = ()
    webhook: Webhook | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """A duty to notify out of the tenant's contract (R36b): a regime of its own.

    ``terms`` is the rule as it was written, in canonical JSON.
    """

    id: str
    clock: str
    terms: str
    rule: Rule
    regime: str = "contract_sla"
    content: tuple[str, ...] = NOTICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A customer. ``region`` is where it is established in law; None is: not known.

    ``locale`` is the language of its notices (``de``, ``pt-BR``).
    ``capacities`` say under which laws it has duties of its own (controller, financial_entity, …).
    """

    name: str
    display_name: str
    contacts: Contacts
    region: str | None = None
    data_subject_regions: frozenset[str] | None = None
    industry: str | None = None
    locale: str | None = None
    capacities: frozenset[str] | None = None
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One row that has a name, as it is recorded; a dependency is called by both its services.

    ``refers`` are the names in the fields of `REFERENCES`, in their order.
    """

    name: str
    refers: tuple[str, ...] = ()
    tags: Tags = ()
    tenant: Tenant | None = None


Entries = Mapping[Kind, Mapping[str, Entry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """One version of everything above; free of contradictions (`inventory_import` sees to it)."""

    version: str
    entries: Entries = field(repr=False)
    services: Mapping[str, Service] = field(repr=False)
    farms: Mapping[str, Farm] = field(repr=False)
    servers: Mapping[str, Server] = field(repr=False)
    tenants: Mapping[str, Tenant] = field(repr=False)
    placements: Placements = field(repr=False)

    @property
    def regions(self) -> Mapping[str, Entry]:
        return self.entries["regions"]

    @property
    def datacenters(self) -> Mapping[str, Entry]:
        return self.entries["datacenters"]

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        entries: dict[str, int] = {kind: len(self.entries[kind]) for kind in ENTRY_KINDS}
        return {**entries, "placements": self.placements.rows}


def assemble(version: str, entries: Entries, placements: Placements) -> Inventory:
    """Return the inventory of these rows, all of whose references are there."""
    needs: dict[str, set[str]] = {name: set() for name in entries["services"]}
    for entry in entries["dependencies"].values():
        service, on = entry.refers
        needs[service].add(on)
    farms, worn = {}, {}
    for name, entry in entries["server_farms"].items():
        service, datacenter = entry.refers
        place = entries["datacenters"][datacenter]
        region = place.refers[0]
        farms[name] = Farm(name, service, datacenter, region)
        outer = (entries["regions"][region], place, entries["services"][service], entry)
        worn[name] = _nearest(*(one.tags for one in outer))
    servers = {}
    for name, entry in entries["servers"].items():
        farm = farms[entry.refers[0]]
        tags = worn[farm.name]
        if entry.tags:
            tags = _nearest(tuple(tags), entry.tags)
        servers[name] = Server(name, farm.name, farm.service, farm.datacenter, farm.region, tags)
    return Inventory(
        version=version,
        entries=entries,
        services={name: Service(name, frozenset(on)) for name, on in needs.items()},
        farms=farms,
        servers=servers,
        tenants={name: e.tenant for name, e in entries["tenants"].items() if e.tenant},
        placements=placements,
    )


def _nearest(*tags: Tags) -> frozenset[tuple[str, str]]:
    """Return the tags, outermost first, with the innermost value of each key."""
    return frozenset({key: value for of_one in tags for key, value in of_one}.items())


EMPTY = assemble("", MappingProxyType({kind: {} for kind in ENTRY_KINDS}), Placements(()))
"""Before the first row."""
