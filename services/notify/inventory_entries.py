"""Pure: rows that have a name, read from what was written and written as they are stored.

A row may be flat (a server with its farm) or hold others (a service with its farms and their
servers, as in the file): `flat` takes it apart.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from services.notify.inventory import REFERENCES, Entry, Kind
from services.notify.inventory_tags import TAG_KEYS, read_tags
from services.notify.inventory_tenant import TENANT_KEYS, Secrets, read_tenant, tenant_document
from shared.yaml_lines import Fields, LineError, Listing, Node, Scalar, Table, fields, plain

__all__ = ["SINGULAR", "dependency", "document", "entry", "flat"]

SINGULAR: Mapping[Kind, str] = {
    "regions": "region",
    "datacenters": "datacenter",
    "services": "service",
    "dependencies": "dependency",
    "server_farms": "server farm",
    "servers": "server",
    "tenants": "tenant",
    "placements": "placement",
}

# Kind → key → the kind inside of it, and the field by which that refers back.
_NESTED: Mapping[Kind, Mapping[str, tuple[Kind, str]]] = {
    "regions": {"datacenters": ("datacenters", "region")},
    "services": {"depends_on": ("dependencies", "service"), "farms": ("server_farms", "service")},
    "server_farms": {"servers": ("servers", "server_farm")},
}


def flat(kind: Kind, node: Node) -> Iterator[tuple[Kind, Node]]:
    """Yield the row in *node* and those inside of it, each flat."""
    inside = _NESTED.get(kind, {})
    if not isinstance(node, Table) or not inside.keys() & node.entries.keys():
        yield kind, node
        return
    yield kind, Table({k: v for k, v in node.entries.items() if k not in inside}, node.line)
    for key, (inner, back) in inside.items():
        for item in _items(node.entries.get(key)):
            named = "on" if inner == "dependencies" else "name"
            own = item.entries if isinstance(item, Table) else {named: item}
            name = node.entries.get("name")
            yield from flat(inner, Table({**own, **({back: name} if name else {})}, item.line))


def _items(node: Node | None) -> tuple[Node, ...]:
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return ()
    return node.items if isinstance(node, Listing) else (node,)


def entry(kind: Kind, node: Node, secrets: Secrets) -> Entry:
    """Return the flat row in *node*; LineError says what is wrong with it, and where."""
    what, references = SINGULAR[kind], REFERENCES[kind]
    if kind == "dependencies":
        given = fields(node, what, tuple(references))
        service, on = (given.text(field) for field in references)
        if service == on:
            raise LineError(given.line_of("on"), f"service {service!r} depends on itself")
        return Entry(dependency(service, on), (service, on))
    if kind == "tenants":
        given = fields(node, what, (*TENANT_KEYS, *TAG_KEYS))
        tenant = read_tenant(given, secrets)
        return Entry(tenant.name, (), _tags(given, f"tenant {tenant.name!r}"), tenant)
    given = fields(node, what, ("name", *references, *TAG_KEYS, *_NESTED.get(kind, ())))
    name = given.text("name")
    return Entry(
        name,
        tuple(given.text(field) for field in references),
        _tags(given, f"{what} {name!r}"),
    )


def dependency(service: str, on: str) -> str:
    """Return what a dependency is called: no name holds the tab between the two."""
    return f"{service}\t{on}"


def _tags(given: Fields, what: str) -> tuple[tuple[str, str], ...]:
    nodes = {key: node for key in TAG_KEYS if (node := given.table(key)) is not None}
    line = next((node.line for node in nodes.values()), given.line)
    return read_tags({key: plain(node) for key, node in nodes.items()}, what, line)


def document(kind: Kind, row: Entry) -> dict[str, Any]:
    """Return *row* as `entry` takes it, without secrets."""
    found: dict[str, Any] = {} if kind == "dependencies" else {"name": row.name}
    if row.tenant is not None:
        found = tenant_document(row.tenant)
    found |= dict(zip(REFERENCES[kind], row.refers, strict=True))
    if row.tags:
        found["tags"] = dict(row.tags)
    return found
