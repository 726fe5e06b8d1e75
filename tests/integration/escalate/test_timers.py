"""Timers and deliveries with a wound clock: no page lost, none under two keys (R11, §6)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from services.escalate.directory import load_directory
from services.escalate.oncall.acknowledgement import acknowledge
from services.escalate.oncall.chains import Chains
from services.escalate.oncall.channels.wiring import channels_of
from services.escalate.oncall.links import Links
from services.escalate.pages import Page, order_page
from services.escalate.paging import ChannelError, LogChannel, Pager
from services.escalate.settings import Settings, load_policies
from shared.contracts.escalate import CoverageGapFoundV1, TeamPagedV1
from shared.ids import derived_id
from tests.integration.escalate.oncall_world import overrides
from tests.support.providers import Providers, providers
from tests.support.webhook_sink import new_webhook_secret
from tests.support.world import World

pytestmark = pytest.mark.integration
MINUTE = timedelta(minutes=1)


class Rig:
    """Escalate's two workers over a clock that only the test winds."""

    def __init__(self, world: World, sink: Providers, folder: Path) -> None:
        self.now = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday: cy is on call
        self.engine, self.sink = world.engine("escalate"), sink
        settings = world.settings(Settings, **overrides(folder, sink))
        assert settings.directory_file
        self.directory = load_directory(settings.directory_file)
        self.policies = load_policies(settings)
        links = Links("http://127.0.0.1", b"k" * 32)
        log = LogChannel()
        self.channels = {log.name: log, **channels_of(settings, links, lambda: datetime.now(UTC))}

    def pager(self) -> Pager:
        return Pager(self.engine, self.channels, lambda: self.now, lambda: None)

    def chains(self) -> Chains:
        return Chains(self.engine, lambda: self.policies, lambda: self.now)

    async def order(self, name: str, team: str = "api", severity: str = "SEV2") -> None:
        identity = derived_id("test-timer", name)
        async with self.engine.begin() as connection:
            await order_page(
                connection, identity, identity, team, "log", name, self.now, severity=severity
            )

    async def run(self, pager: Pager) -> None:
        """Do what is due now, to the end."""
        while await self.chains().advance():
            pass
        while await pager.send_due():
            await pager.finish()

    async def pages(self, name: str) -> list[Page]:
        async with self.engine.connect() as connection:
            rows = await connection.exec_driver_sql(
                "SELECT id, incident_id, team, channel, reason, turn, person FROM pages"
                " WHERE reason = $1 ORDER BY turn, channel, id",
                (name,),
            )
            return [
                Page(r.id, r.incident_id, r.team, r.channel, r.reason, r.turn, person=r.person)
                for r in rows
            ]


@pytest_asyncio.fixture
async def rig(world: World, tmp_path: Path) -> AsyncIterator[Rig]:
    async with providers(new_webhook_secret()) as sink:
        yield Rig(world, sink, tmp_path)


async def test_a_provider_that_is_down_for_ten_minutes_loses_no_page(rig: Rig) -> None:
    rig.sink.down = True
    pager = rig.pager()
    for number in range(10):
        await rig.order(f"down-{number}")
    begun = rig.now
    while rig.now < begun + 10 * MINUTE:
        await rig.run(pager)
        rig.now += timedelta(seconds=15)
    assert rig.sink.taken == []
    rig.sink.down = False
    rig.now += MINUTE  # the most that a page waits once the provider is back
    await rig.run(pager)
    for path, channel in (("/slack", "slack"), ("/pagerduty", "pagerduty")):
        wanted = {
            str(page.id)
            for number in range(10)
            for page in await rig.pages(f"down-{number}")
            if page.channel == channel
        }
        assert len(wanted) == 10
        assert Counter(rig.sink.keys(path)) == Counter(wanted)  # each, and each once


async def test_nobody_answers_so_the_next_ones_are_asked_until_the_alarm(
    rig: Rig, world: World
) -> None:
    await rig.order("climb", "sr-global", "SEV0")
    pager, begun = rig.pager(), rig.now
    for minute in range(90):
        rig.now = begun + minute * MINUTE
        await rig.run(pager)
    found = await rig.pages("climb")
    people = {turn: {p.person for p in found if p.attempts == turn} for turn in range(14)}
    # primary (office hours: cy) and secondary (bo or ana), lead, duty manager, executive manager
    assert "cy" in people[0]
    assert people[0] & {"ana", "bo"}
    assert people[1] == people[2] == people[3] == {"cy"}
    assert (
        max(p.attempts for p in found) == 13
    )  # three rounds of four, then the two of the fallback
    async with world.engine("escalate").connect() as connection:
        subjects = await connection.exec_driver_sql("SELECT subject FROM outbox")
        told = Counter(row.subject for row in subjects)
    assert told[CoverageGapFoundV1.SUBJECT] == 1
    assert told[TeamPagedV1.SUBJECT] >= len(found)


async def test_an_answer_stops_the_chain_and_drops_what_is_not_sent(rig: Rig) -> None:
    rig.sink.down = True
    await rig.order("answered", "api", "SEV0")
    pager = rig.pager()
    await rig.run(pager)
    (first, second) = await rig.pages("answered")
    async with rig.engine.begin() as connection:
        done = await acknowledge(connection, rig.directory, first.id, "cy", rig.now)
        assert done
        assert done.fresh
    rig.sink.down = False
    rig.now += timedelta(hours=2)
    await rig.run(pager)
    assert [page.id for page in await rig.pages("answered")] == [first.id, second.id]
    taken = {key for _, key, _ in rig.sink.taken}
    assert taken.isdisjoint({str(first.id), str(second.id)})


async def test_two_instances_and_one_that_dies_page_each_once_by_key(rig: Rig) -> None:
    """The scaled form of `tests/benchmarks/test_paging.py`: timers over a restart."""
    for number in range(100):
        await rig.order(f"twice-{number}")
    chains = [rig.chains() for _ in range(2)]
    while any(await asyncio.gather(*(one.advance() for one in chains))):
        pass
    dying, heir = rig.pager(), rig.pager()
    await dying.send_due()
    await dying.stop()  # in the middle: what was claimed stays leased, sent or not
    while await heir.send_due():
        await heir.finish()
    rig.now += timedelta(seconds=16)  # the leases end
    while await heir.send_due():
        await heir.finish()
    for path, channel in (("/slack", "slack"), ("/pagerduty", "pagerduty")):
        wanted = {
            str(page.id)
            for number in range(100)
            for page in await rig.pages(f"twice-{number}")
            if page.channel == channel
        }
        assert len(wanted) == 100
        assert set(rig.sink.keys(path)) == wanted


async def test_a_channel_that_hangs_holds_up_no_other(rig: Rig) -> None:
    class Hanging:
        name = "slack"

        async def send(self, page: Page) -> None:
            await asyncio.Event().wait()

    rig.channels["slack"] = Hanging()
    for number in range(20):
        await rig.order(f"hang-{number}")
    pager = rig.pager()
    while await rig.chains().advance():
        pass
    for _ in range(50):
        await pager.send_due()
        await asyncio.sleep(0.05)
        if len(set(rig.sink.keys("/pagerduty"))) >= 20:
            break
    assert len(set(rig.sink.keys("/pagerduty"))) == 20
    await pager.stop()


async def test_what_a_channel_says_is_kept_and_a_channel_that_is_not_there_is_named(
    rig: Rig,
) -> None:
    class Broken:
        name = "pagerduty"

        async def send(self, page: Page) -> None:
            raise ChannelError("the pager is off\x00")

    rig.channels["pagerduty"] = Broken()
    del rig.channels["slack"]
    await rig.order("broken")
    await rig.run(rig.pager())
    async with rig.engine.connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT channel, last_error, attempts FROM pages WHERE reason = 'broken'"
        )
        errors = {row.channel: (row.last_error, row.attempts) for row in rows}
    assert errors == {
        "pagerduty": ("the pager is off", 1), "slack": ("there is no channel slack", 1),
    }  # fmt: skip
