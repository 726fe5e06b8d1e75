"""Before there was any inventory: scopes wait for one, and a stored one outlives its file."""

import pytest
from sqlalchemy import text

from shared.contracts.notify import ObligationIdentifiedV1
from shared.ids import uuid7
from tests.integration.notify.stage import Stage, confirmed, scoped
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def test_a_scope_waits_for_an_inventory_and_holds_up_no_clock(stage: Stage) -> None:
    incident, other = uuid7(), uuid7()
    later = stage.file.with_name("later.yml")
    async with stage.running(inventory_file=later) as desk:
        await stage.say(scoped(incident, "m1"), confirmed(other))
        # The other incident's clock runs, though the scope before it cannot be resolved.
        await until(lambda: stage.published(other, ObligationIdentifiedV1))
        lists = await desk.get(f"/v1/incidents/{incident}/affected-lists")
        assert lists["items"] == []  # and not "nobody"
        ready = (await desk.client.get("/readyz")).json()
        assert set(ready["missing"]) == {"inventory"}

        later.write_text(stage.file.read_text())
        listed = await desk.newest_list(incident)
        assert listed["counts"]["probable"] == 2
        assert (await desk.client.get("/readyz")).status_code == 200


async def test_the_last_good_version_is_recalled_when_the_file_is_bad_at_the_start(
    stage: Stage,
) -> None:
    stage.file.write_text("regions: [")
    async with stage.running() as desk:

        async def recalled() -> object:
            found = await desk.get("/v1/inventory")
            return found["version"] and found["refused_file"]

        await until(recalled)
    async with stage.world.engine("notify").connect() as connection:
        document = await connection.scalar(
            text("SELECT document FROM inventory_entries WHERE document LIKE '%http%' LIMIT 1")
        )
    assert document is not None
    assert "whsec" not in document
