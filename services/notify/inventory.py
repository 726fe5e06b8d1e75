"""Pure: what runs where and for whom (§5): regions, servers, services, tenants, placements."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.notify.obligations.deadlines import Rule
from services.notify.placements import ROLES, Placement, Placements

__all__ = [
    "NOTICE", "ROLES", "Clause", "Contacts", "Farm", "Inventory", "Placement", "Placements",
    "Server", "Service", "Tenant", "Webhook",
]  # fmt: skip

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
    """One server, with every level that a selector can name."""

    name: str
    farm: str
    service: str
    datacenter: str
    region: str


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
    secret: str | None = field(default=None, repr=False)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """One version of everything above; free of contradictions (`inventory_file` sees to it)."""

    version: str
    regions: frozenset[str]
    datacenters: Mapping[str, str] = field(repr=False)  # datacenter → region
    services: Mapping[str, Service] = field(repr=False)
    farms: Mapping[str, Farm] = field(repr=False)
    servers: Mapping[str, Server] = field(repr=False)
    tenants: Mapping[str, Tenant] = field(repr=False)
    placements: Placements = field(repr=False)

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        return {
            "regions": len(self.regions),
            "datacenters": len(self.datacenters),
            "services": len(self.services),
            "server_farms": len(self.farms),
            "servers": len(self.servers),
            "tenants": len(self.tenants),
            "placements": self.placements.rows,
        }
