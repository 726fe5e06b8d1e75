"""The NATS launcher against the real server: what was acknowledged stays."""

import asyncio
import json
import os
import signal
import stat
from pathlib import Path

import httpx
import nats
import pytest
from nats.js.api import StreamConfig

from tocsin.embedded.errors import PlatformError
from tocsin.embedded.nats import EmbeddedNats
from tocsin.embedded.ports import claim_port
from tocsin.embedded.process import until

pytestmark = pytest.mark.integration

AUTHORIZATION = 'authorization { users: [ { user: "svc", password: "right" } ] }'


async def test_a_killed_server_keeps_what_it_acknowledged(open_dir: Path) -> None:
    server = EmbeddedNats(open_dir / "nats")
    await server.start()
    port = server.port
    client = await nats.connect(server.url, allow_reconnect=False)
    stream = client.jetstream()
    await stream.add_stream(StreamConfig(name="KEPT", subjects=["kept"]))
    for number in range(50):
        await stream.publish("kept", str(number).encode())
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert await until(lambda: not server.is_alive)
    await client.close()
    await server.start()
    try:
        assert server.port == port
        client = await nats.connect(server.url)
        info = await client.jetstream().stream_info("KEPT")
        await client.close()
        assert info.state.messages == 50
    finally:
        await server.stop()


async def test_every_message_is_synced_and_payloads_are_limited(open_dir: Path) -> None:
    monitor = claim_port(None, "monitoring")
    server = EmbeddedNats(open_dir / "nats", monitor_port=monitor)
    await server.start()
    try:
        async with httpx.AsyncClient() as http:
            shown = (await http.get(f"http://127.0.0.1:{monitor}/varz")).json()
        assert shown["host"] == "127.0.0.1"
        assert shown["max_payload"] == 1024 * 1024
        assert shown["jetstream"]["config"]["sync_always"] is True
        assert stat.S_IMODE(server.config_path.stat().st_mode) == 0o600
    finally:
        await server.stop()


async def test_the_given_authorization_holds(open_dir: Path) -> None:
    server = EmbeddedNats(open_dir / "nats", authorization=AUTHORIZATION)
    await server.start()
    try:
        client = await nats.connect(server.url, user="svc", password="right")
        await client.close()
        # Not with nats-py, which leaves a refused connection open.
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert json.loads((await reader.readline()).removeprefix(b"INFO "))["auth_required"]
        writer.write(b'CONNECT {"user":"svc","pass":"wrong"}\r\nPING\r\n')
        assert await reader.readline() == b"-ERR 'Authorization Violation'\r\n"
        writer.close()
        await writer.wait_closed()
    finally:
        await server.stop()


async def test_a_live_server_on_the_same_store_is_refused_or_adopted(open_dir: Path) -> None:
    first = EmbeddedNats(open_dir / "nats")
    await first.start()
    with pytest.raises(PlatformError, match=rf"Another NATS \(pid {first.pid}\) serves"):
        await EmbeddedNats(open_dir / "nats").start()
    successor = EmbeddedNats(open_dir / "nats", run_dir=open_dir)
    await successor.start()
    try:
        assert await until(lambda: not first.is_alive)
        assert successor.is_alive
    finally:
        await successor.stop()
        await first.stop()


async def test_a_failed_start_says_what_the_server_said(open_dir: Path) -> None:
    server = EmbeddedNats(open_dir / "nats", authorization="no such { block")
    with pytest.raises(PlatformError, match=r"NATS did not start .*nats-server"):
        await server.start()
    assert not server.is_alive


async def test_a_taken_port_is_refused_with_a_sentence(open_dir: Path) -> None:
    first = EmbeddedNats(open_dir / "nats")
    await first.start()
    try:
        with pytest.raises(PlatformError, match=f"Port {first.port} for NATS is taken"):
            await EmbeddedNats(open_dir / "other", port=first.port).start()
    finally:
        await first.stop()
