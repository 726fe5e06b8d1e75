"""A region-wide scope over 1,000,000 placements of 100,000 tenants (target: under 1 s)."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from services.notify.inventory import (
    Contacts,
    Farm,
    Inventory,
    Placement,
    Placements,
    Server,
    Service,
    Tenant,
)
from services.notify.scope import Confidence, resolve
from shared.contracts.cases import Scope

pytestmark = pytest.mark.benchmark

PLACEMENTS, TENANTS, SERVERS, REGIONS, SERVICES = 1_000_000, 100_000, 20_000, 4, 50
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def placements(chance: Random) -> Iterator[Placement]:
    classes = ((), ("personal",), ("personal", "payment"))
    for n in range(PLACEMENTS):
        start = BEGIN + timedelta(hours=chance.randrange(4_000))
        yield Placement(
            tenant=f"tenant-{n % TENANTS:06}",
            server=f"s{chance.randrange(SERVERS):05}",
            valid_from=None if n % 3 == 0 else start,
            valid_to=start + timedelta(days=60) if n % 3 == 1 else None,
            role=chance.choice(("primary", "replica", "backup")),
            data_classes=chance.choice(classes),
        )


def estate() -> Inventory:
    farms: dict[str, Farm] = {}
    servers: dict[str, Server] = {}
    for n in range(SERVERS):
        region = f"r{n % REGIONS}"
        service = f"svc{n % SERVICES}"
        farm = f"f{n % 1000}"
        farms.setdefault(farm, Farm(farm, service, f"{region}-dc", region))
        servers[f"s{n:05}"] = Server(f"s{n:05}", farm, service, f"{region}-dc", region)
    contacts = Contacts(emails=("a@example.com",))
    names = [f"tenant-{n:06}" for n in range(TENANTS)]
    return Inventory(
        version="v",
        regions=frozenset(f"r{n}" for n in range(REGIONS)),
        datacenters={f"r{n}-dc": f"r{n}" for n in range(REGIONS)},
        services={
            f"svc{n}": Service(f"svc{n}", frozenset({f"svc{n - 1}"}) if n else frozenset())
            for n in range(SERVICES)
        },
        farms=farms,
        servers=servers,
        tenants={n: Tenant(name=n, display_name=n, contacts=contacts) for n in names},
        placements=Placements(placements(Random(7))),  # noqa: S311 - reproducible, not secret
    )


def test_a_region_wide_scope() -> None:
    inventory = estate()
    assert inventory.placements.rows == PLACEMENTS
    print(f"\n1,000,000 placements: {inventory.placements.bytes() / 2**20:.0f} MiB of columns")
    scopes: dict[str, dict[str, Any]] = {
        "one region": {"include": [{"region": "r1"}]},
        "all regions": {"include": [{"region": f"r{n}"} for n in range(REGIONS)]},
        "one service and all that depends on it": {
            "include": [{"service": "svc0"}],
            "follow_dependencies": "transitive",
        },
        "one tenant": {"include": [{"tenant": "tenant-000007"}]},
    }
    window = {"window_from": BEGIN + timedelta(days=30), "window_to": BEGIN + timedelta(days=90)}
    for name, given in scopes.items():
        scope = Scope.model_validate({**given, **window})
        times = []
        found = resolve(inventory, scope, as_of=BEGIN)
        for _ in range(3):
            begun = time.process_time()
            found = resolve(inventory, scope, as_of=BEGIN)
            times.append(time.process_time() - begun)
        rows = sum(len(tenant.rows) for tenant in found.tenants)
        counts = {c.value: found.count(c) for c in Confidence}
        print(f"{name}: {min(times):.2f} s of one core, {rows:,} placements, {counts}")
        if name == "one region":
            assert min(times) < 1
