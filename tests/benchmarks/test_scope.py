"""A region-wide scope over 1,000,000 placements of 100,000 tenants (target: under 1 s)."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from services.notify.inventory import (
    ENTRY_KINDS,
    Contacts,
    Entry,
    Inventory,
    Kind,
    Placement,
    Placements,
    Tenant,
    assemble,
)
from services.notify.inventory_entries import dependency
from services.notify.scope import Confidence, resolve
from shared.contracts.cases import Scope

pytestmark = pytest.mark.benchmark

PLACEMENTS, TENANTS, SERVERS, FARMS = 1_000_000, 100_000, 20_000, 1000
REGIONS, SERVICES = 4, 50
PLANS = ("gold", "silver", "free")
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
    entries: dict[Kind, dict[str, Entry]] = {kind: {} for kind in ENTRY_KINDS}
    for n in range(REGIONS):
        entries["regions"][f"r{n}"] = Entry(f"r{n}")
        entries["datacenters"][f"r{n}-dc"] = Entry(f"r{n}-dc", (f"r{n}",))
    for n in range(SERVICES):
        entries["services"][f"svc{n}"] = Entry(f"svc{n}")
        if n:
            name = dependency(f"svc{n}", f"svc{n - 1}")
            entries["dependencies"][name] = Entry(name, (f"svc{n}", f"svc{n - 1}"))
    for n in range(FARMS):
        farm = f"f{n}"
        tags = (("env", "prod" if n % 3 else "test"),)
        entries["server_farms"][farm] = Entry(
            farm, (f"svc{n % SERVICES}", f"r{n % REGIONS}-dc"), tags
        )
    for n in range(SERVERS):
        entries["servers"][f"s{n:05}"] = Entry(f"s{n:05}", (f"f{n % FARMS}",))
    contacts = Contacts(emails=("a@example.com",))
    for n in range(TENANTS):
        name = f"tenant-{n:06}"
        tenant = Tenant(name=name, display_name=name, contacts=contacts)
        entries["tenants"][name] = Entry(name, (), (("plan", PLANS[n % 3]),), tenant)
    rows = placements(Random(7))  # noqa: S311 - reproducible, not secret
    return assemble("v", entries, Placements(rows))


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
        "a tag of farms": {"include": [{"tags": {"env": "test"}}]},
        "a tag of tenants, one region": {"include": [{"region": "r1", "tags": {"plan": "gold"}}]},
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
