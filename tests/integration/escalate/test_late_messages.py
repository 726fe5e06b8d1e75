"""A message that the broker had lost comes again after those that followed it (ADR 0021)."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from shared.contracts.cases import Scope, ScopeSelector, ScopeSetV1
from shared.contracts.escalate import EscalationRaisedV1, SeverityProposedV1
from tests.integration.escalate.test_severity_gate import about, settled, severity, tell, told
from tests.support.world import World

pytestmark = pytest.mark.integration


async def known(world: World, name: str) -> Any:
    """Return what is known of an incident and what its severity was last computed from."""
    async with world.engine("escalate").connect() as connection:
        rows = await connection.execute(
            text(
                "SELECT i.severity, i.services, i.severity_version, a.inputs, a.revision"
                " FROM incidents i JOIN assessments a ON a.incident_id = i.id WHERE i.id = :id"
            ),
            {"id": about(name)["incident_id"]},
        )
        return rows.one()


def scope(name: str, version: int, *regions: str) -> ScopeSetV1:
    include = [ScopeSelector(region=region) for region in regions]
    return ScopeSetV1(
        **about(name, version), scope=Scope(include=include), scope_version=version, set_by="sam"
    )


async def test_an_older_severity_overwrites_nothing_and_escalates_nothing(
    world: World, escalate: httpx.AsyncClient
) -> None:
    newest = severity("4001", "SEV4", 5, services=["mail"], inputs={"privacy": "none"})
    await tell(world, newest)
    await settled(world)
    before = await known(world, "4001")
    late = severity("4001", "SEV0", 3, services=["id"], inputs={"privacy": "credentials"})
    await tell(world, late)
    await settled(world)
    assert await known(world, "4001") == before
    assert (before.severity, before.services) == ("SEV4", ["mail"])
    assert await told(world, EscalationRaisedV1, "4001") == []
    await tell(world, severity("4001", "SEV1", 6))  # what is newer counts
    await settled(world)
    assert (await known(world, "4001")).severity == "SEV1"
    assert len(await told(world, EscalationRaisedV1, "4001")) == 1


async def test_an_older_scope_proposes_no_severity(
    world: World, escalate: httpx.AsyncClient
) -> None:
    await tell(world, severity("4002", "SEV4", 2), scope("4002", 7, "eu-west"))
    await settled(world)
    before = await told(world, SeverityProposedV1, "4002")
    await tell(world, scope("4002", 4, "eu-west", "us-east", "gov"))
    await settled(world)
    assert await told(world, SeverityProposedV1, "4002") == before
    await tell(world, scope("4002", 8, "eu-west", "us-east", "gov"))
    await settled(world)
    assert len(await told(world, SeverityProposedV1, "4002")) == len(before) + 1
