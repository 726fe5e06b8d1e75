"""Syslog over TLS, TCP and UDP: who is let in, what is stored, and what back-pressure means."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from services.ingest.app import create_app
from services.ingest.settings import Settings
from services.ingest.sources import Source
from shared.settings import SettingsError
from tests.support.authority import Authority
from tests.support.ingest import Stored, is_ready, make_key
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration
LINE = b"<34>1 2026-01-02T03:04:05Z fw sshd 7 - - Failed password for root"


class Place:
    """A running ingest with its ports."""

    def __init__(self, client: httpx.AsyncClient, ports: dict[str, int], ca: Authority) -> None:
        self.client, self.ports, self.ca = client, ports, ca

    async def send(self, transport: str, data: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """Send *data*, close our half, and return what comes back until the other end closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[transport], ssl=tls)
        try:
            writer.write(data)
            await writer.drain()
            if tls is None:
                writer.write_eof()
            else:
                writer.close()
                return b""
            return await reader.read()
        finally:
            writer.close()


def client_context(ca: Authority, certificate: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca.path))
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    ca = Authority(tmp_path_factory.mktemp("ca"), "root")
    await make_key(world, Source(id="fw", tenant="t1", region="eu-west"))
    settings = world.settings(
        Settings,
        syslog_tls_port=free_port(),
        syslog_tcp_port=free_port(),
        syslog_udp_port=free_port(),
        syslog_tls_certificate=ca.issue("server"),
        syslog_tls_client_ca=ca.path,
        syslog_senders={"127.0.0.1/32": "fw", "cn:firewall": "fw"},
    )
    ports = {
        name: int(getattr(settings, f"syslog_{name}_port") or 0) for name in ("tls", "tcp", "udp")
    }
    async with world.running(create_app(settings)) as client:
        await until(lambda: is_ready(client))
        yield Place(client, ports, ca)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_tcp_takes_both_framings(world: World, place: Place) -> None:
    stored = await Stored.now(world)
    await place.send("tcp", b"%d %s" % (len(LINE), LINE) + LINE + b"\n" + LINE)
    events = await stored.wait_for(3)
    assert [e["raw"] for e in events] == [LINE.decode()] * 3  # equal lines are three events
    assert {e["source_id"] for e in events} == {"fw"}
    assert {e["tenant"] for e in events} == {"t1"}
    fields = events[0]["fields"]
    assert (fields["program"], fields["facility"], fields["syslog.peer"]) == (
        "sshd", "auth", "127.0.0.1",
    )  # fmt: skip


async def test_tls_knows_its_sender_by_certificate(world: World, place: Place) -> None:
    stored = await Stored.now(world)
    context = client_context(place.ca, place.ca.issue("firewall"))
    await place.send("tls", b"%d %s" % (len(LINE), LINE), context)
    (event,) = await stored.wait_for(1)
    assert event["source_id"] == "fw"


@pytest.mark.parametrize("who", ["nobody", "stranger", "forger"])
async def test_tls_lets_no_stranger_in(
    world: World, place: Place, tmp_path: Path, who: str
) -> None:
    stored = await Stored.now(world)
    certificate = {
        "nobody": None,
        "stranger": place.ca.issue("stranger"),
        "forger": Authority(tmp_path, "other").issue("firewall"),
    }[who]
    context = client_context(place.ca, certificate)
    reader, writer = await asyncio.open_connection("127.0.0.1", place.ports["tls"], ssl=context)
    try:
        writer.write(LINE + b"\n")
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    finally:
        writer.close()
    assert await stored.events() == []


async def test_udp_is_one_message_a_datagram(world: World, place: Place) -> None:
    stored = await Stored.now(world)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for n in range(20):
            sender.sendto(LINE + b" %d\n" % n, ("127.0.0.1", place.ports["udp"]))
    events = await stored.wait_for(20)
    assert {e["fields"]["message"] for e in events} == {
        f"Failed password for root {n}" for n in range(20)
    }


async def test_what_is_no_text_is_quarantined(world: World, place: Place) -> None:
    stored = await Stored.now(world)
    await place.send("tcp", b"\xff\xfe\n" + LINE + b"\n")
    assert len(await stored.wait_for(1)) == 1
    assert [q.cause for q in await stored.quarantined()] == ["bad_encoding"]
    assert [q.door for q in await stored.quarantined()] == ["syslog"]


async def test_a_count_that_nobody_can_mean_ends_the_connection(world: World, place: Place) -> None:
    await place.send("tcp", b"999999999 x")
    token = world.token("olga", "operator")

    async def noted() -> bool:
        listed = await place.client.get(
            "/v1/refusals", headers={"authorization": f"Bearer {token}"}
        )
        return any(
            (r["door"], r["code"], r["source_id"]) == ("syslog-tcp", "unframeable", "fw")
            for r in listed.json()["items"]
        )

    await until(noted)


async def test_without_a_broker_the_sender_waits_and_nothing_is_lost(
    world: World, place: Place
) -> None:
    stored = await Stored.now(world)
    await world.broker.stop()
    reader, writer = await asyncio.open_connection("127.0.0.1", place.ports["tcp"])
    total, line = 20_000, LINE + b" " + b"x" * 400
    sending = asyncio.create_task(_pour(writer, line, total))
    # The sender is made to wait: several megabytes do not fit into sockets that nobody reads.
    waiting: list[int] = []

    def stands_still() -> bool:
        waiting.append(writer.transport.get_write_buffer_size())
        return len(waiting) > 20 and waiting[-1] > 0 and len(set(waiting[-20:])) == 1

    await until(stands_still)
    assert not sending.done()
    await world.broker.start()
    await sending
    writer.close()
    assert len(await stored.wait_for(total, 60)) == total
    assert await reader.read() == b""


async def _pour(writer: asyncio.StreamWriter, line: bytes, total: int) -> None:
    for n in range(total):
        writer.write(line + b" %d\n" % n)
        if n % 100 == 0:
            await writer.drain()
    await writer.drain()


async def test_a_stranger_by_address_is_turned_away(world: World) -> None:
    port = free_port()
    settings = world.settings(Settings, syslog_tcp_port=port, syslog_senders={"192.0.2.0/24": "fw"})
    async with world.running(create_app(settings)) as client:
        await until(lambda: is_ready(client))
        stored = await Stored.now(world)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LINE + b"\n")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        assert await stored.events() == []


async def test_no_port_is_open_by_default(world: World) -> None:
    settings = world.settings(Settings)
    assert (settings.syslog_tls_port, settings.syslog_tcp_port, settings.syslog_udp_port) == (
        None, None, None,
    )  # fmt: skip


async def test_a_listener_without_certificate_does_not_boot(world: World) -> None:
    with pytest.raises(SettingsError, match="SYSLOG_TLS_CERTIFICATE"):
        create_app(world.settings(Settings, syslog_tls_port=6514))
    with pytest.raises(SettingsError, match="syslog_senders"):
        create_app(world.settings(Settings, syslog_senders={"nonsense": "fw"}))
