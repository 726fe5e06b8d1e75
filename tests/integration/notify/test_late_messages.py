"""A message that the broker had lost comes again after those that followed it (ADR 0021)."""

from datetime import timedelta

import pytest

from services.notify import incidents
from shared.clock import rfc3339
from shared.ids import uuid7
from tests.integration.notify.stage import AWARE, clock_set, confirmed
from tests.support.world import World

pytestmark = pytest.mark.integration


async def test_what_was_told_later_stays(world: World) -> None:
    incident, corrected = uuid7(), AWARE - timedelta(hours=2)
    first, second = clock_set(incident, 7, "aware", AWARE), clock_set(incident, 9, "aware", AWARE)
    async with world.engine("notify").begin() as connection:
        await incidents.note(connection, second, facts={"aware_at": corrected})
        await incidents.note(connection, confirmed(incident, 10), state="dismissed")
        late = await incidents.note(
            connection, first, state="confirmed", facts={"aware_at": AWARE, "summary": "Mail read"}
        )
        known = await incidents.find(connection, incident)
        assert known == late
        assert late.state == "dismissed"
        assert late.facts["aware_at"] == rfc3339(corrected)
        assert late.facts["summary"] == "Mail read"  # nobody had told that yet
        newest = await incidents.note(
            connection, clock_set(incident, 11, "aware", AWARE), facts={"aware_at": AWARE}
        )
        assert newest.facts["aware_at"] == rfc3339(AWARE)
