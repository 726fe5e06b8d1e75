"""Unmodified client libraries, each through its own door, against a real broker."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import elasticsearch
import elasticsearch.helpers
import httpx
import opensearchpy
import opensearchpy.helpers
import pytest
import pytest_asyncio
from logging_loki import LokiHandler
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from splunk_handler import SplunkHandler
from splunk_hec_handler import SplunkHecHandler

from services.ingest.keys import ApiKey
from tests.support.ingest import Stored, at_the_door
from tests.support.world import World

pytestmark = pytest.mark.integration
COUNT = 250


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(world: World) -> AsyncIterator[tuple[httpx.AsyncClient, ApiKey]]:
    async with at_the_door(world) as place:
        yield place


@contextlib.contextmanager
def logger_with(handler: logging.Handler) -> Iterator[logging.Logger]:
    logger = logging.Logger("shipper", logging.INFO)
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        handler.close()


async def test_elasticsearch_py_with_an_api_key(
    world: World, door: tuple[httpx.AsyncClient, ApiKey]
) -> None:
    client, key = door
    stored = await Stored.now(world)

    def ship() -> tuple[int, Any, str]:
        import base64

        encoded = base64.b64encode(f"x:{key}".encode()).decode()
        with elasticsearch.Elasticsearch(str(client.base_url), api_key=encoded) as es:
            version = es.info()["version"]["number"]
            actions = [{"_index": "logs", "n": n, "user": "alice"} for n in range(COUNT)]
            done, errors = elasticsearch.helpers.bulk(es, actions, chunk_size=100)
            return done, errors, version

    done, errors, version = await asyncio.to_thread(ship)
    assert (done, errors, version) == (COUNT, [], "8.17.0")
    events = await stored.events()
    assert sorted(e["raw"]["n"] for e in events) == list(range(COUNT))
    assert {e["fields"]["_index"] for e in events} == {"logs"}
    assert {e["tenant"] for e in events} == {"t1"}


async def test_elasticsearch_py_sees_a_known_document_as_conflict(
    world: World, door: tuple[httpx.AsyncClient, ApiKey]
) -> None:
    client, key = door
    stored = await Stored.now(world)
    actions = [
        {"_op_type": "create", "_index": "logs", "_id": f"doc-{n}", "n": n} for n in range(5)
    ]

    def ship() -> tuple[int, Any]:
        with elasticsearch.Elasticsearch(
            str(client.base_url), basic_auth=("elastic", str(key))
        ) as es:
            elasticsearch.helpers.bulk(es, actions)
            return elasticsearch.helpers.bulk(es, actions, raise_on_error=False)

    done, errors = await asyncio.to_thread(ship)
    assert (done, [e["create"]["status"] for e in errors]) == (0, [409] * 5)
    assert len(await stored.events()) == 5


async def test_opensearch_py_with_gzip_and_basic_auth(
    world: World, door: tuple[httpx.AsyncClient, ApiKey]
) -> None:
    client, key = door
    stored = await Stored.now(world)

    def ship() -> tuple[int, Any]:
        search = opensearchpy.OpenSearch(
            str(client.base_url), http_auth=("admin", str(key)), http_compress=True
        )
        actions = [{"_index": "logs", "n": n, "text": "x" * 500} for n in range(COUNT)]
        try:
            done, errors = opensearchpy.helpers.bulk(search, actions)
            return done, errors
        finally:
            search.close()

    assert await asyncio.to_thread(ship) == (COUNT, [])
    assert len(await stored.events()) == COUNT


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
async def test_opentelemetry_sdk(
    world: World, door: tuple[httpx.AsyncClient, ApiKey], compression: Compression
) -> None:
    client, key = door
    stored = await Stored.now(world)

    def ship() -> bool:
        exporter = OTLPLogExporter(
            endpoint=f"{client.base_url}/v1/logs",
            headers={"authorization": f"Bearer {key}"},
            compression=compression,
        )
        provider = LoggerProvider(Resource({"service.name": "checkout", "host.name": "h1"}))
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        logger = provider.get_logger("app", "1.2")
        for n in range(COUNT):
            logger.emit(
                timestamp=1_767_323_045_123_456_789,
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                body=f"login of alice failed {n}" if n % 2 else {"EventID": 4625, "n": n},
                attributes={"source.ip": "203.0.113.7", "ports": [22, 443]},
            )
        flushed = provider.force_flush()
        provider.shutdown()
        return flushed

    assert await asyncio.to_thread(ship)
    events = await stored.events()
    assert len(events) == COUNT
    assert {e["time"] for e in events} == {"2026-01-02T03:04:05.123457Z"}
    maps = [e for e in events if isinstance(e["raw"], dict)]
    lines = [e for e in events if isinstance(e["raw"], str)]
    assert {e["raw"]["EventID"] for e in maps} == {4625}
    assert lines[0]["fields"]["message"].startswith("login of alice failed")
    for event in events:
        assert event["fields"]["service.name"] == "checkout"
        assert event["fields"]["source.ip"] == "203.0.113.7"
        assert event["fields"]["ports"] == [22, 443]
        assert event["fields"]["severity_text"] == "WARN"
        assert event["fields"]["otel.scope.name"] == "app"


async def test_splunk_handler(world: World, door: tuple[httpx.AsyncClient, ApiKey]) -> None:
    client, key = door
    stored = await Stored.now(world)

    def ship() -> None:
        handler = SplunkHandler(
            host=client.base_url.host,
            port=str(client.base_url.port),
            token=str(key),
            index="main",
            protocol="http",
            verify=False,
            flush_interval=0.2,
        )
        with logger_with(handler) as logger:
            for n in range(COUNT):
                logger.warning("failed login %s", n)
            handler.force_flush()

    await asyncio.to_thread(ship)
    events = await stored.wait_for(COUNT)
    assert len(events) == COUNT
    assert {e["fields"]["index"] for e in events} == {"main"}
    assert events[0]["raw"].startswith("failed login")


async def test_splunk_hec_handler(world: World, door: tuple[httpx.AsyncClient, ApiKey]) -> None:
    client, key = door
    stored = await Stored.now(world)

    def ship() -> None:
        handler = SplunkHecHandler(
            client.base_url.host, str(key), port=client.base_url.port, proto="http", ssl_verify=0
        )
        with logger_with(handler) as logger:
            for n in range(10):
                logger.warning({"action": "login", "n": n})

    await asyncio.to_thread(ship)
    events = await stored.wait_for(10)
    assert len(events) == 10
    assert all("time" in e for e in events)


async def test_python_logging_loki(world: World, door: tuple[httpx.AsyncClient, ApiKey]) -> None:
    client, key = door
    stored = await Stored.now(world)

    def ship() -> None:
        handler = LokiHandler(
            url=f"{client.base_url}/loki/api/v1/push",
            tags={"application": "shop"},
            auth=("any", str(key)),
            version="1",
        )
        with logger_with(handler) as logger:
            for n in range(10):
                logger.error("payment %s refused", n, extra={"tags": {"kind": "fraud"}})

    await asyncio.to_thread(ship)
    events = await stored.wait_for(10)
    assert [e["raw"] for e in events] == [f"payment {n} refused" for n in range(10)]
    assert {e["fields"]["application"] for e in events} == {"shop"}
    assert {e["fields"]["kind"] for e in events} == {"fraud"}
    assert all("time" in e for e in events)
