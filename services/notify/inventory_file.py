"""Inventory from YAML or JSON text: all of it, or an InventoryError with line and reason.

The version is the digest of the canonical document, which `canonical` writes and `parse` reads
back. Webhook secrets are no part of it: they are not stored, and a new one moves nobody.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from services.notify.inventory import (
    NOTICE,
    ROLES,
    Clause,
    Contacts,
    Farm,
    Inventory,
    Placement,
    Placements,
    Server,
    Service,
    Tenant,
    Webhook,
)
from services.notify.obligations.deadlines import ElapsedHours
from services.notify.obligations.regimes import CLOCKS
from services.notify.obligations.rule_file import parse_rule
from services.notify.wording.catalogue import is_locale
from shared.clock import rfc3339
from shared.yaml_lines import MAX_BYTES, Fields, LineError, Node, fields, plain, read

__all__ = ["InventoryError", "canonical", "parse", "with_placements"]

_EMAIL = re.compile(r"[!#-'*+\-./0-9=?A-Z^_`a-z{|}~]{1,64}@[A-Za-z0-9.-]{1,253}", re.ASCII)


class InventoryError(LineError):
    """The file contradicts itself, or names what it does not define; nothing of it was loaded."""


def parse(text: str, *, stored: bool = False) -> Inventory:
    """Return the inventory in *text*; InventoryError with the line of the first contradiction.

    What `canonical` wrote (*stored*) has lost its secrets and is taken without.
    """
    try:
        return _Builder(read(text), stored).inventory()
    except LineError as error:
        raise InventoryError(error.line, error.why) from None


def with_placements(inventory: Inventory, placements: Placements) -> Inventory:
    """Return the version of *inventory* that has *placements* in place of its own."""
    changed = replace(inventory, placements=placements)
    document = canonical(changed)
    if len(document) > MAX_BYTES:
        # It could be stored and not read back.
        raise InventoryError(0, f"the inventory would be larger than {MAX_BYTES >> 20} MiB")
    return replace(changed, version=hashlib.sha256(document.encode()).hexdigest())


class _Names:
    """Names of one kind: each once, so that a selector means one thing."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.lines: dict[str, int] = {}

    def add(self, name: str, line: int) -> str:
        if name in self.lines:
            raise LineError(
                line, f"{self.kind} {name!r} stands twice (first in line {self.lines[name]})"
            )
        self.lines[name] = line
        return name

    def known(self, name: str, line: int, where: str) -> str:
        if name not in self.lines:
            raise LineError(line, f"{where} names {self.kind} {name!r}, which is not defined")
        return name


class _Builder:
    def __init__(self, root: Node, stored: bool) -> None:
        self.stored = stored
        self.top = fields(root, "inventory", ("regions", "services", "tenants", "placements"))
        kinds = ("region", "datacenter", "service", "server farm", "server", "tenant")
        self.names = {kind: _Names(kind) for kind in kinds}
        self.datacenters: dict[str, str] = {}
        self.services: dict[str, Service] = {}
        self.farms: dict[str, Farm] = {}
        self.servers: dict[str, Server] = {}

    def inventory(self) -> Inventory:
        for key in ("regions", "services", "tenants", "placements"):
            if not self.top.has(key):
                raise LineError(self.top.line, f"inventory has no {key}")
        for node in self.top.items("regions"):
            self._region(node)
        depends = [self._service(node) for node in self.top.items("services")]
        for service, on in depends:
            for other, line in on:
                self.names["service"].known(other, line, f"service {service!r}")
                if other == service:
                    raise LineError(line, f"service {service!r} depends on itself")
            self.services[service] = Service(service, frozenset(other for other, _ in on))
        tenants = {t.name: t for t in map(self._tenant, self.top.items("tenants"))}
        placements = self._placements(self.top.items("placements"))
        parts: dict[str, Any] = {
            "regions": frozenset(self.names["region"].lines),
            "datacenters": self.datacenters,
            "services": self.services,
            "farms": self.farms,
            "servers": self.servers,
            "tenants": tenants,
            "placements": placements,
        }
        document = canonical(Inventory(version="", **parts))
        return Inventory(version=hashlib.sha256(document.encode()).hexdigest(), **parts)

    def _region(self, node: Node) -> None:
        region = fields(node, "region", ("name", "datacenters"))
        name = self.names["region"].add(region.text("name"), region.line_of("name"))
        for datacenter, line in region.texts("datacenters"):
            self.datacenters[self.names["datacenter"].add(datacenter, line)] = name

    def _service(self, node: Node) -> tuple[str, tuple[tuple[str, int], ...]]:
        service = fields(node, "service", ("name", "depends_on", "farms"))
        name = self.names["service"].add(service.text("name"), service.line_of("name"))
        for farm in service.items("farms"):
            self._farm(name, fields(farm, "server farm", ("name", "datacenter", "servers")))
        return name, service.texts("depends_on")

    def _farm(self, service: str, farm: Fields) -> None:
        name = self.names["server farm"].add(farm.text("name"), farm.line_of("name"))
        datacenter = self.names["datacenter"].known(
            farm.text("datacenter"), farm.line_of("datacenter"), f"server farm {name!r}"
        )
        region = self.datacenters[datacenter]
        self.farms[name] = Farm(name, service, datacenter, region)
        for server, line in farm.texts("servers"):
            self.names["server"].add(server, line)
            self.servers[server] = Server(server, name, service, datacenter, region)

    def _tenant(self, node: Node) -> Tenant:
        keys = ("name", "display_name", "region", "data_subject_regions", "industry", "locale",
                "contacts")  # fmt: skip
        tenant = fields(node, "tenant", (*keys, "capacities", "contract"))
        name = self.names["tenant"].add(tenant.text("name"), tenant.line_of("name"))
        subjects = tenant.texts("data_subject_regions")
        capacities = tenant.texts("capacities")
        locale = tenant.text_or_none("locale")
        if locale is not None and not is_locale(locale):
            raise LineError(
                tenant.line_of("locale"),
                f"tenant {name!r}: {locale!r} is no language like de",
            )
        return Tenant(
            name=name,
            display_name=tenant.text_or_none("display_name") or name,
            region=tenant.text_or_none("region"),
            data_subject_regions=frozenset(text for text, _ in subjects) if subjects else None,
            industry=tenant.text_or_none("industry"),
            locale=locale,
            capacities=frozenset(text for text, _ in capacities) if capacities else None,
            contacts=_contacts(tenant, name, self.stored),
            clauses=_clauses(tenant, name),
        )

    def _placements(self, nodes: Iterable[Node]) -> Placements:
        seen: dict[tuple[str, str, str], list[tuple[Placement, int]]] = {}
        found: list[Placement] = []
        for node in nodes:
            placement, line = self._placement(node)
            key = (placement.tenant, placement.server, placement.role)
            for other, other_line in seen.setdefault(key, []):
                if _overlap(placement, other):
                    raise LineError(
                        line, f"placement overlaps the one in line {other_line}: same tenant, "
                        "server and role",
                    )  # fmt: skip
            seen[key].append((placement, line))
            found.append(placement)
        return Placements(found)

    def _placement(self, node: Node) -> tuple[Placement, int]:
        keys = ("tenant", "server", "from", "to", "role", "data")
        given = fields(node, "placement", keys)
        role = given.text_or_none("role") or "primary"
        if role not in ROLES:
            raise LineError(
                given.line_of("role"), f"placement: role {role!r} is none of {', '.join(ROLES)}"
            )
        placement = Placement(
            tenant=self.names["tenant"].known(
                given.text("tenant"), given.line_of("tenant"), "placement"
            ),
            server=self.names["server"].known(
                given.text("server"), given.line_of("server"), "placement"
            ),
            valid_from=given.instant_or_none("from"),
            valid_to=given.instant_or_none("to"),
            role=role,
            data_classes=tuple(sorted({text for text, _ in given.texts("data")})),
        )
        start, end = placement.valid_from, placement.valid_to
        if start is not None and end is not None and start >= end:
            raise LineError(given.line_of("to"), "placement ends before it begins")
        return placement, given.line


def _overlap(a: Placement, b: Placement) -> bool:
    return (a.valid_to is None or b.valid_from is None or b.valid_from < a.valid_to) and (
        b.valid_to is None or a.valid_from is None or a.valid_from < b.valid_to
    )


def _contacts(tenant: Fields, name: str, stored: bool) -> Contacts:
    node = tenant.table("contacts")
    # An affected tenant that nobody can tell would be a silent drop (I12).
    if node is None:
        raise LineError(tenant.line, f"tenant {name!r} has no contacts")
    given = fields(node, f"contacts of {name!r}", ("email", "alternate_email", "webhook"))
    emails, others = given.texts("email"), given.texts("alternate_email")
    for email, line in (*emails, *others):
        if not _EMAIL.fullmatch(email):
            raise LineError(line, f"contacts of {name!r}: {email!r} is not an e-mail address")
    hook = given.table("webhook")
    if not emails and hook is None:
        raise LineError(given.line, f"tenant {name!r} has neither e-mail nor webhook")
    unique = tuple(dict.fromkeys(email for email, _ in emails))
    if others and not emails:
        raise LineError(others[0][1], f"tenant {name!r} has an alternate e-mail but no e-mail")
    return Contacts(
        emails=unique,
        alternates=tuple(dict.fromkeys(email for email, _ in others if email not in unique)),
        webhook=_webhook(hook, name, stored) if hook else None,
    )


def _webhook(node: Node, name: str, stored: bool) -> Webhook:
    given = fields(node, f"webhook of {name!r}", ("url", "secret_ref", "secret"))
    url = given.text("url")
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.username
        _ = parts.port
    except ValueError:
        good = False
    if not good or not url.isascii() or any(c.isspace() for c in url):
        raise LineError(given.line_of("url"), f"webhook of {name!r}: {url!r} is not a plain URL")
    ref, secret = given.text_or_none("secret_ref"), given.text_or_none("secret")
    if (ref is None) == (secret is None) and not stored:
        raise LineError(given.line, f"webhook of {name!r} needs either secret_ref or secret")
    return Webhook(url=url, secret_ref=ref, secret=secret)


def _clauses(tenant: Fields, name: str) -> tuple[Clause, ...]:
    names = _Names(f"clause of {name!r}")
    found = []
    for node in tenant.items("contract"):
        what = f"contract of {name!r}"
        given = fields(node, what, ("clause", "regime", "hours", "rule", "clock", "content"))
        clock = given.text("clock")
        if clock not in CLOCKS:
            raise LineError(
                given.line_of("clock"), f"clock {clock!r} is none of {', '.join(CLOCKS)}"
            )
        if (regime := given.text_or_none("regime") or "contract_sla") != "contract_sla":
            raise LineError(given.line_of("regime"), f"regime {regime!r} is not a contract's")
        hours, node_of_rule = given.number_or_none("hours", 1, 24 * 365), given.table("rule")
        if (hours is None) == (node_of_rule is None):
            raise LineError(given.line, f"{what} needs either hours or a rule")
        terms = {"elapsed_hours": hours} if node_of_rule is None else plain(node_of_rule)
        content = tuple(text for text, _ in given.texts("content"))
        found.append(
            Clause(
                id=names.add(given.text_or_none("clause") or "notice", given.line),
                clock=clock,
                terms=json.dumps(terms, sort_keys=True),
                rule=ElapsedHours(hours or 0)
                if node_of_rule is None
                else parse_rule(node_of_rule, what, CLOCKS),
                regime=regime,
                content=content or NOTICE,
            )
        )
    return tuple(found)


def canonical(inventory: Inventory) -> str:
    """Return *inventory* as the JSON that its version is the digest of; without secrets."""
    regions = sorted(inventory.regions)
    servers: dict[str, list[str]] = {}
    for server in sorted(inventory.servers):
        servers.setdefault(inventory.servers[server].farm, []).append(server)
    document = {
        "regions": [
            {
                "name": region,
                "datacenters": sorted(d for d, r in inventory.datacenters.items() if r == region),
            }
            for region in regions
        ],
        "services": [_service_json(inventory, s, servers) for s in sorted(inventory.services)],
        "tenants": [_tenant_json(inventory.tenants[name]) for name in sorted(inventory.tenants)],
        "placements": [
            _some(
                tenant=p.tenant,
                server=p.server,
                role=p.role,
                data=list(p.data_classes),
                **{"from": p.valid_from and rfc3339(p.valid_from)},
                to=p.valid_to and rfc3339(p.valid_to),
            )
            for server in sorted(inventory.placements)
            for p in sorted(inventory.placements[server], key=_placement_order)
        ],
    }
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _placement_order(p: Placement) -> tuple[str, str, str]:
    return p.tenant, p.role, rfc3339(p.valid_from) if p.valid_from else ""


def _some(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, [])}


def _service_json(inventory: Inventory, name: str, servers: dict[str, list[str]]) -> dict[str, Any]:
    farms = [
        {"name": farm.name, "datacenter": farm.datacenter, "servers": servers.get(farm.name, [])}
        for farm in sorted(inventory.farms.values(), key=lambda farm: farm.name)
        if farm.service == name
    ]
    return _some(name=name, depends_on=sorted(inventory.services[name].depends_on), farms=farms)


def _terms(clause: Clause) -> dict[str, Any]:
    """Return the clause's rule, in the short form where that says all."""
    if clause.rule == ElapsedHours(getattr(clause.rule, "hours", 0)):
        return {"hours": clause.rule.hours}
    return {"rule": json.loads(clause.terms)}


def _tenant_json(tenant: Tenant) -> dict[str, Any]:
    hook = tenant.contacts.webhook
    return _some(
        name=tenant.name,
        display_name=tenant.display_name,
        region=tenant.region,
        data_subject_regions=sorted(tenant.data_subject_regions or ()),
        industry=tenant.industry,
        locale=tenant.locale,
        capacities=sorted(tenant.capacities or ()),
        contacts=_some(
            email=list(tenant.contacts.emails),
            alternate_email=list(tenant.contacts.alternates),
            webhook=_some(url=hook.url, secret_ref=hook.secret_ref) if hook else None,
        ),
        contract=[
            _some(
                clause=c.id,
                regime=c.regime,
                clock=c.clock,
                **_terms(c),
                content=[] if c.content == NOTICE else list(c.content),
            )
            for c in tenant.clauses
        ],
    )
