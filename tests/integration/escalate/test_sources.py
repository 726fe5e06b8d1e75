"""A log source that falls silent pages its team and counts as a detection of its host (R12a)."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from shared.clock import rfc3339
from shared.cloudevents import outgoing
from shared.contracts.escalate import IncidentProposedV1
from shared.contracts.ingest import LogSourceResumedV1, LogSourceSilentV1
from shared.ids import uuid7
from tests.support.waiting import until
from tests.support.world import World
from tests.unit.escalate.given import NOON, detection

pytestmark = pytest.mark.integration


def silent(source: str, service: str = "api", **more: Any) -> LogSourceSilentV1:
    values: dict[str, Any] = {
        "event_id": uuid7(), "occurred_at": NOON + timedelta(minutes=10), "source_id": source,
        "kind": "server", "service": service, "last_received_at": NOON, "silent_since": NOON,
        "max_silence_seconds": 300,
    }  # fmt: skip
    return LogSourceSilentV1.model_validate({**values, **more})


async def tell(world: World, *events: Any) -> None:
    async with world.bus("ingest") as bus:
        for event in events:
            await bus.publish(outgoing(event, source="ingest"), stream="SOURCES")


async def chains(world: World, source: str) -> list[Any]:
    async with world.engine("escalate").connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT team, reason, asks, ended FROM page_chains"
            " WHERE reason LIKE 'log source ' || $1 || ' %' ORDER BY started_at",
            (source,),
        )
        return list(rows)


async def test_r12a_its_team_is_paged_until_it_is_heard_again(
    world: World, escalate: httpx.AsyncClient
) -> None:
    told = silent("web-1")
    await tell(world, told, told)
    (chain,) = await until(lambda: chains(world, "web-1"))
    assert (chain.team, chain.asks, chain.ended) == ("api", "source", None)
    assert chain.reason.startswith(
        f"log source web-1 (server) of service api has sent nothing since {rfc3339(NOON)}"
    )
    await tell(
        world,
        LogSourceResumedV1(
            event_id=uuid7(), occurred_at=NOON, source_id="web-1", silent_since=NOON,
            last_received_at=NOON + timedelta(hours=1),
        ),
    )  # fmt: skip

    async def ended() -> bool:
        return [c.ended for c in await chains(world, "web-1")] == ["source resumed"]

    await until(ended)


async def test_a_dark_site_does_not_page_for_every_source(
    world: World, escalate: httpx.AsyncClient
) -> None:
    await tell(world, *(silent(f"dark-{n}", "mail") for n in range(8)), silent("last-1", "other"))
    await until(lambda: chains(world, "last-1"))
    paged = [n for n in range(8) if await chains(world, f"dark-{n}")]
    assert paged == [0, 1, 2, 3, 4]
    (last,) = await chains(world, "dark-4")
    assert "are not paged" in last.reason


async def test_the_silence_of_a_host_joins_what_else_is_detected_of_it(
    world: World, escalate: httpx.AsyncClient
) -> None:
    found = detection("before-the-silence", level="low", entities={"host": "quiet-host"}, at=5)
    async with world.bus("detect") as bus:
        await bus.publish(outgoing(found, source="detect"), stream="DETECTIONS")
    await tell(world, silent("quiet-log", server="quiet-host"))

    async def proposed() -> list[IncidentProposedV1]:
        every = [
            IncidentProposedV1.from_json(data)
            for subject, _, data in await world.messages("ESCALATIONS")
            if subject == IncidentProposedV1.SUBJECT
        ]
        return [p for p in every if p.grouping.entity.value == "quiet-host"]

    (proposal,) = await until(proposed)
    assert {d.rule_id for d in proposal.detections} == {"rule-a", "source:silent"}
