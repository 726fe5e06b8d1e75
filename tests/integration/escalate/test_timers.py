"""Timers and deliveries with a wound clock: no page lost, none under two keys (R11, §6)."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.escalate.directory import load_directory
from services.escalate.oncall.acknowledgement import acknowledge
from services.escalate.oncall.chains import Chains
from services.escalate.oncall.channels.wiring import channels_of, poster_of
from services.escalate.oncall.links import Links
from services.escalate.oncall.targets import Recipient
from services.escalate.pages import Page, Written, order_page, write_pages
from services.escalate.paging import MOST, SLOTS, Channel, ChannelError, Pager
from services.escalate.settings import Settings, load_policies
from shared.contracts.escalate import CoverageGapFoundV1, TeamPagedV1
from shared.ids import derived_id
from tests.integration.escalate.oncall_world import overrides
from tests.support.providers import Providers, providers
from tests.support.waiting import until
from tests.support.webhook_sink import new_webhook_secret
from tests.support.world import World

pytestmark = pytest.mark.integration
MINUTE = timedelta(minutes=1)


class Rig:
    """Escalate's two workers over a clock that only the test winds."""

    def __init__(
        self, world: World, sink: Providers, settings: Settings, channels: dict[str, Channel]
    ) -> None:
        self.now = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday: cy is on call
        self.engine, self.sink, self.channels = world.engine("escalate"), sink, channels
        assert settings.directory_file
        self.directory = load_directory(settings.directory_file)
        self.policies = load_policies(settings)

    def pager(self, instance: str = "") -> Pager:
        return Pager(self.engine, self.channels, lambda: self.now, lambda: None, instance=instance)

    def chains(self) -> Chains:
        return Chains(self.engine, lambda: self.policies, lambda: self.now)

    async def order(self, name: str, team: str = "api", severity: str = "SEV2") -> None:
        identity = derived_id("test-timer", name)
        async with self.engine.begin() as connection:
            await order_page(
                connection, identity, identity, team, "log", name, self.now, severity=severity
            )

    async def write_pages(self, to: str, count: int, reason: str = "bench") -> None:
        """Put pages on the ledger, each of a chain of its own, by webhook *to*."""
        for number in range(count):
            await self.order(f"{reason}-{to}-{number}")
        wanted = [
            (
                Written(
                    derived_id("page", derived_id("test-timer", f"{reason}-{to}-{number}"), "api"),
                    derived_id("test-timer", f"{reason}-{to}-{number}"), "api", reason, 0, self.now,
                ),
                (Recipient(None, "webhook", to),),
            )
            for number in range(count)
        ]  # fmt: skip
        async with self.engine.begin() as connection:
            assert await write_pages(connection, wanted, self.now) == count

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


class Away:
    """The engine of a PostgreSQL that is not there the next *away* times."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine, self.away = engine, 0

    def begin(self) -> AbstractAsyncContextManager[AsyncConnection]:
        if self.away:
            self.away -= 1
            raise OSError("connection refused")
        return self.engine.begin()


@asynccontextmanager
async def hanging(came: list[asyncio.StreamWriter]) -> AsyncIterator[int]:
    """Take connections on a port and never answer."""

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in came:
            writer.close()


@pytest_asyncio.fixture
async def rig(world: World, tmp_path: Path) -> AsyncIterator[Rig]:
    async with providers(new_webhook_secret()) as sink:
        # Any port of loopback: tests have providers of their own.
        given = {**overrides(tmp_path, sink), "paging_allow": ["127.0.0.0/8"]}
        settings = world.settings(Settings, **given)
        links = Links("http://127.0.0.1", b"k" * 32)
        async with poster_of(settings) as poster:
            channels = channels_of(settings, poster, links, lambda: datetime.now(UTC))
            found = Rig(world, sink, settings, channels)
            yield found
            async with found.engine.begin() as connection:  # what is left is no other test's
                await connection.exec_driver_sql(
                    "UPDATE pages SET dropped_at = now() WHERE sent_at IS NULL"
                )
                await connection.exec_driver_sql(
                    "UPDATE page_chains SET due_at = NULL, ended = 'test over'"
                    " WHERE due_at IS NOT NULL"
                )


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
    async with rig.engine.connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT channel, CAST(id AS text) AS id FROM pages WHERE reason LIKE 'twice-%'"
        )
        wanted: dict[str, set[str]] = {}
        for row in rows:
            wanted.setdefault(row.channel, set()).add(row.id)
    for channel in ("slack", "pagerduty"):
        assert len(wanted[channel]) == 100
        assert set(rig.sink.keys(f"/{channel}")) == wanted[channel]


async def test_who_comes_back_under_its_name_sends_at_once_what_it_was_sending(rig: Rig) -> None:
    await rig.write_pages("bo-hook", 20, "again")
    dying = rig.pager("here")
    assert await dying.send_due() == 20
    await dying.stop()  # before any was taken
    other = rig.pager("there")
    assert await other.send_due() == 0  # leased
    heir = rig.pager("here")
    assert await heir.send_due() == 20
    await heir.finish()
    assert len(set(rig.sink.keys("/webhook"))) == 20
    assert await rig.pager("here").send_due() == 0  # what has its fate is not taken up


async def test_a_channel_that_hangs_holds_up_no_other(rig: Rig) -> None:
    class Hanging:
        name = "slack"

        def provider(self, page: Page) -> str:
            return self.name

        async def send(self, page: Page) -> None:
            await asyncio.Event().wait()

    rig.channels["slack"] = Hanging()
    for number in range(20):
        await rig.order(f"hang-{number}")
    pager = rig.pager()
    while await rig.chains().advance():
        pass

    async def others() -> bool:
        await pager.send_due()
        return len(set(rig.sink.keys("/pagerduty"))) >= 20

    await until(others)
    await pager.stop()


async def test_a_host_that_hangs_holds_up_no_other_of_its_channel(rig: Rig, tmp_path: Path) -> None:
    """More pages than are claimed at once wait for it, and are due longer than all others."""
    came: list[asyncio.StreamWriter] = []
    async with hanging(came) as port:
        secrets = json.loads((tmp_path / "secrets.json").read_text())
        secrets["ana-hook"]["url"] = f"http://127.0.0.1:{port}/"
        (tmp_path / "secrets.json").write_text(json.dumps(secrets))
        await rig.write_pages("ana-hook", MOST + 50)
        rig.now += timedelta(seconds=1)
        await rig.write_pages("bo-hook", 40)
        pager = rig.pager()

        async def others() -> bool:
            await pager.send_due()
            return len(set(rig.sink.keys("/webhook"))) >= 40

        await until(others)
        await until(lambda: len(came) == SLOTS)  # and no more at once
        await pager.stop()
    async with rig.engine.connect() as connection:
        claimed = await connection.exec_driver_sql(
            "SELECT sum(attempts) FROM pages WHERE recipient = 'ana-hook'"
        )
        assert claimed.scalar_one() == SLOTS  # the others are free for any instance


async def test_what_became_of_pages_is_written_once_postgresql_is_back(rig: Rig) -> None:
    await rig.write_pages("bo-hook", 5, "back")
    engine = Away(rig.engine)
    pager = Pager(engine, rig.channels, lambda: rig.now, lambda: None)  # type: ignore[arg-type]
    assert await pager.send_due() == 5
    engine.away = 2  # of the times that it is asked from now on
    await pager.finish()
    async with rig.engine.connect() as connection:
        sent = await connection.exec_driver_sql(
            "SELECT count(*) FROM pages WHERE reason = 'back' AND sent_at IS NOT NULL"
        )
        assert sent.scalar_one() == 5
    assert engine.away == 0
    rig.now += timedelta(seconds=16)
    assert await pager.send_due() == 0  # so none comes a second time
    assert len(rig.sink.keys("/webhook")) == 5


async def test_what_a_channel_says_is_kept_and_a_channel_that_is_not_there_is_named(
    rig: Rig,
) -> None:
    class Broken:
        name = "pagerduty"

        def provider(self, page: Page) -> str:
            return self.name

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


async def test_a_provider_that_asks_to_wait_is_left_alone_until_then_but_not_for_a_day(
    rig: Rig,
) -> None:
    rig.sink.busy["/slack"] = "120"
    pager = rig.pager()
    await rig.order("first")
    await rig.run(pager)
    assert rig.sink.turned_away == ["/slack"]
    await rig.order("second")  # while it rests: what goes by other channels goes
    for _ in range(2):
        rig.now += timedelta(seconds=59)
        await rig.run(pager)
    assert rig.sink.turned_away == ["/slack"]
    assert len(rig.sink.keys("/pagerduty")) == 2
    rig.sink.busy["/slack"] = "86400"
    rig.now += timedelta(seconds=3)
    await rig.run(pager)
    asked = len(rig.sink.turned_away)
    assert asked in (2, 3)  # both may be on their way before the first is answered
    rig.sink.busy.clear()
    rig.now += timedelta(seconds=299)
    await rig.run(pager)
    assert rig.sink.keys("/slack") == []
    rig.now += timedelta(seconds=2)
    await rig.run(pager)
    wanted = [page for name in ("first", "second") for page in await rig.pages(name)]
    assert sorted(rig.sink.keys("/slack")) == sorted(
        str(page.id) for page in wanted if page.channel == "slack" and page.attempts == 0
    )
    assert len(rig.sink.turned_away) == asked
