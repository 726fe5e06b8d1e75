"""Triage: detections a second grouped on one core, durably and alone; memory of open groups.

Targets: at least 5,000 detections a second; 100,000 open groups in under 300 MB.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from services.escalate.consumer import DETECTIONS_CONSUMER, DetectionHandler
from services.escalate.desk import Known, settle
from services.escalate.grouping import Group, Rules
from services.escalate.proposal import Policies
from services.escalate.sighting import sighting_of
from services.escalate.standing import Standing
from shared.clock import utc_now
from shared.consume import Delivery
from shared.contracts.detect import DetectionRaisedV1
from shared.serve import seldom_collect
from shared.topology import consumer
from tests.support.world import World
from tests.unit.escalate.given import detection, directory, priority_policy, severity_policy

pytestmark = pytest.mark.benchmark

DETECTIONS = int(os.environ.get("TOCSIN_BENCH_DETECTIONS", "20000"))
GROUPS = int(os.environ.get("TOCSIN_BENCH_GROUPS", "100000"))
BATCH = consumer(DETECTIONS_CONSUMER).batch
LEVELS = ("informational", "low", "low", "medium")
TACTICS = ("initial-access", "execution", "discovery", "collection")
RAW = "<Event>" + "x" * 900 + "</Event>"


def mixed(count: int, hosts: int) -> list[DetectionRaisedV1]:
    """Return detections of 40 rules over *hosts*, within six hours."""
    chance = Random(6)  # noqa: S311 - reproducible, not secret
    return [
        detection(
            f"bench-{hosts}-{n}", at=chance.randrange(360), rule=f"rule-{chance.randrange(40)}",
            level=chance.choice(LEVELS), entities={"host": f"host-{chance.randrange(hosts)}",
            "user": "u"}, raw=RAW, attack_tactics=[chance.choice(TACTICS)], service="api",
            region="eu-west",
        )
        for n in range(count)
    ]  # fmt: skip


def storm(count: int) -> list[DetectionRaisedV1]:
    """Return detections of one rule, each on a host of its own."""
    return [
        detection(f"storm-{n}", entities={"host": f"struck-{n}"}, raw=RAW) for n in range(count)
    ]


def in_batches(detections: Sequence[DetectionRaisedV1]) -> list[list[Delivery]]:
    deliveries = [
        Delivery(DetectionRaisedV1.SUBJECT, {}, found.to_json(), n, 1)
        for n, found in enumerate(detections)
    ]
    return [deliveries[n : n + BATCH] for n in range(0, len(deliveries), BATCH)]


@pytest.mark.parametrize("kind", ["1 host", "1,000 hosts", "storm"])
async def test_detections_a_second_into_postgresql(world: World, kind: str) -> None:
    found = {
        "1 host": lambda: mixed(DETECTIONS, 1),
        "1,000 hosts": lambda: mixed(DETECTIONS, 1000),
        "storm": lambda: storm(DETECTIONS),
    }[kind]()
    batches = in_batches(found)
    policies = Policies(Rules(), directory(), severity_policy(), priority_policy())
    handler = DetectionHandler(
        world.engine("escalate"), lambda: policies, "log", utc_now, lambda: None, lambda: None
    )
    await handler(in_batches([detection(f"warm-{kind}")])[0])
    seldom_collect()  # as the service does
    begun, worked = time.perf_counter(), time.process_time()
    for batch in batches:
        await handler(batch)
    took, worked = time.perf_counter() - begun, time.process_time() - worked
    print(
        f"\ntriage, {kind}: {DETECTIONS / took:,.0f} detections/s committed in PostgreSQL"
        f" ({DETECTIONS / worked:,.0f} a second of one core)"
    )


def test_grouping_alone() -> None:
    sightings = [sighting_of(d) for d in mixed(DETECTIONS, 1000)]
    groups: dict[UUID, Group] = {}
    standings: dict[UUID, Standing] = {}
    by_key: dict[UUID, set[UUID]] = {}
    worked = time.process_time()
    for start in range(0, len(sightings), BATCH):
        part = sightings[start : start + BATCH]
        keys = {s.key for s in part}
        near = [groups[i] for key in keys for i in by_key.get(key, ()) if i in groups]
        warm = {key: standings[key] for key in keys if key in standings}
        done = settle(Known(near, warm), part, Rules(threshold=10**9), utc_now())
        for gone in done.absorbed:
            groups.pop(gone, None)
        groups.update(done.groups)
        standings.update(done.standings)
        for group in done.groups.values():
            by_key.setdefault(group.key, set()).add(group.id)
    worked = time.process_time() - worked
    print(f"\ngrouping alone: {len(sightings) / worked:,.0f} detections/s on one core")


def resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_memory_of_open_groups() -> None:
    sightings = (
        sighting_of(
            detection(
                n,
                entities={"host": f"host-{n}"},
                attack_tactics=["execution"],
                service="api",
                region="eu-west",
                server=f"host-{n}",
            )
        )
        for n in range(GROUPS)
    )
    before = resident()
    groups = [
        next(iter(settle(Known(), [s], Rules(), utc_now()).groups.values())) for s in sightings
    ]
    used = resident() - before
    assert len(groups) == GROUPS
    print(f"\n{GROUPS:,} open groups: {used / 1e6:,.0f} MB, were they all in memory")
    assert used < 300e6
