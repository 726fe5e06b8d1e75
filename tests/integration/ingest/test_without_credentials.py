"""R19a: who shows nothing is refused everywhere, with the settings that production ships with."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
import pytest_asyncio

from services.ingest.app import create_app
from services.ingest.settings import Settings
from tests.support.ingest import is_ready
from tests.support.manifests import DEPLOY, documents
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration
DOORS = (
    "/v1/events", "/_bulk", "/services/collector/event", "/v1/logs", "/loki/api/v1/push",
    "/v1/cloudevents", "/v1/firehose",
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.running(create_app(world.settings(Settings))) as client:
        await until(lambda: is_ready(client))
        yield client


async def said_to(port: int, data: bytes) -> bytes:
    """Return all that whoever listens there says to *data* until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


@pytest.mark.parametrize("path", DOORS)
async def test_r19a_no_door_opens_without_a_key(client: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, {"authorization": f"Bearer tocsin_x_{'x' * 43}"}):
        answer = await client.post(path, content=b'{"n":1}', headers=headers)
        assert answer.status_code in {401, 403}, answer.text


async def test_r19a_the_broker_knows_nobody_without_a_key_of_its_own(world: World) -> None:
    place = urlsplit(world.nats_url)
    told = await said_to(place.port or 0, b'CONNECT {"verbose":true}\r\nPING\r\n')
    assert b"-ERR 'Authorization Violation'" in told
    assert b"PONG" not in told


async def test_r19a_the_database_wants_a_password(world: World) -> None:
    place = world.admin_dsn.rpartition("@")[2]
    with pytest.raises(
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)
    ):
        await asyncpg.connect(f"postgresql://tocsin_ingest:wrong@{place}")


def test_r19a_production_opens_no_listener_without_tls_but_http_behind_the_ingress() -> None:
    """The only syslog listener that Kubernetes ships is TLS with certificates of its senders."""
    (component,) = documents(DEPLOY / "k8s/components/syslog/ingest.yaml")
    (container,) = component["spec"]["template"]["spec"]["containers"]
    names = {each["name"] for each in container["env"]}
    assert "TOCSIN_INGEST_SYSLOG_TLS_CLIENT_CA" in names
    assert not names & {"TOCSIN_INGEST_SYSLOG_TCP_PORT", "TOCSIN_INGEST_SYSLOG_UDP_PORT"}
    base = [d for d in documents(DEPLOY / "k8s/base/ingest.yaml") if d["kind"] == "Deployment"]
    (container,) = base[0]["spec"]["template"]["spec"]["containers"]
    assert [port["name"] for port in container["ports"]] == ["http"]
    assert not [e["name"] for e in container["env"] if "SYSLOG" in e["name"]]


async def test_r19a_nothing_but_http_listens_by_default(
    world: World, client: httpx.AsyncClient
) -> None:
    settings = world.settings(Settings)
    ports = (settings.syslog_tcp_port, settings.syslog_udp_port, settings.syslog_tls_port)
    assert ports == (None, None, None)
    told = await said_to(client.base_url.port or 0, b"<34>1 - - - - - - a line of syslog\n")
    assert not told.startswith(b"HTTP/1.1 2")
