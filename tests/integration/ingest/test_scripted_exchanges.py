"""Exchanges of shippers that do not run here, written from their documentation and sources.

These are scripts, not recordings: each plays the requests that the shipper is documented to send,
in its order and with its headers, and asserts what it is documented to look for in the answer.
"""

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from services.ingest.keys import ApiKey
from tests.support.ingest import Stored, at_the_door, compact
from tests.support.world import World

pytestmark = pytest.mark.integration
Door = tuple[httpx.AsyncClient, ApiKey]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(world: World) -> AsyncIterator[Door]:
    async with at_the_door(world) as place:
        yield place


def basic(key: ApiKey) -> httpx.BasicAuth:
    return httpx.BasicAuth("any", str(key))


async def test_filebeat(world: World, door: Door) -> None:
    """libbeat on connecting: version, licence; then policy, template, data stream; then bulk."""
    client, key = door
    stored = await Stored.now(world)
    beat = {"User-Agent": "Elastic-filebeat/8.17.0", "Accept": "application/json"}

    async def ask(method: str, path: str, **kwargs: object) -> httpx.Response:
        answer = await client.request(method, path, auth=basic(key), headers=beat, **kwargs)  # type: ignore[arg-type]  # httpx takes content
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["x-elastic-product"] == "Elasticsearch"
        return answer

    root = (await ask("GET", "/")).json()
    assert root["version"]["number"].startswith("8.")
    assert root["version"]["build_flavor"] == "default"
    licence = (await ask("GET", "/_license?human=false")).json()["license"]
    assert (licence["status"], licence["type"]) == ("active", "basic")
    await ask("GET", "/_ilm/policy/filebeat")
    assert (await ask("PUT", "/_ilm/policy/filebeat", content=b"{}")).json()["acknowledged"]
    await ask("HEAD", "/_index_template/filebeat-8.17.0")
    await ask("PUT", "/_index_template/filebeat-8.17.0", content=b'{"index_patterns":["f-*"]}')
    await ask("PUT", "/_data_stream/filebeat-8.17.0")
    event = {
        "@timestamp": "2026-01-02T03:04:05.678Z",
        "message": "Failed password for root",
        "agent": {"type": "filebeat", "version": "8.17.0"},
        "ecs": {"version": "8.0.0"},
    }
    body = b'{"create":{"_index":"filebeat-8.17.0"}}\n' + compact(event) + b"\n"
    answer = await client.post(
        "/_bulk?filter_path=errors%2Citems.%2A.error%2Citems.%2A.status",
        content=gzip.compress(body * 3),
        auth=basic(key),
        headers=beat
        | {"Content-Type": "application/json; charset=UTF-8", "Content-Encoding": "gzip"},
    )
    assert answer.json()["errors"] is False
    assert [i["create"]["status"] for i in answer.json()["items"]] == [201] * 3
    events = await stored.events()
    assert [e["raw"] for e in events] == [event] * 3
    assert events[0]["time"] == "2026-01-02T03:04:05.678000Z"


async def test_winlogbeat(world: World, door: Door) -> None:
    """The same client; the event carries `winlog.event_data`, and is kept as it came."""
    client, key = door
    stored = await Stored.now(world)
    event = {
        "@timestamp": "2026-01-02T03:04:05.678Z",
        "winlog": {
            "channel": "Security",
            "event_id": "4625",
            "event_data": {"TargetUserName": "alice", "LogonType": "3"},
        },
        "agent": {"type": "winlogbeat"},
    }
    body = b'{"create":{"_index":"winlogbeat-8.17.0"}}\n' + compact(event) + b"\n"
    import base64

    api_key = base64.b64encode(f"any:{key}".encode()).decode()
    answer = await client.post(
        "/_bulk", content=body, headers={"Authorization": f"ApiKey {api_key}"}
    )
    assert answer.json()["errors"] is False
    (stored_event,) = await stored.events()
    assert stored_event["raw"] == event


async def test_fluent_bit_es(world: World, door: Door) -> None:
    """out_es: no handshake; success is status 200 with `"errors":false,"items":[` in the answer."""
    client, key = door
    stored = await Stored.now(world)
    record = {"@timestamp": "2026-01-02T03:04:05.678Z", "log": "hello"}
    body = b'{"create":{"_index":"fluent-bit","_type":"_doc"}}\n' + compact(record) + b"\n"
    answer = await client.post(
        "/_bulk",
        content=body,
        auth=basic(key),
        headers={"User-Agent": "Fluent-Bit", "Content-Type": "application/x-ndjson"},
    )
    assert answer.status_code == 200
    assert '"errors":false,"items":[' in answer.text
    assert len(await stored.events()) == 1


async def test_fluent_bit_http_and_splunk_and_loki(world: World, door: Door) -> None:
    """out_http takes 200 to 205 for success; out_splunk sends objects one after another; out_loki
    looks for 200 or 204."""
    client, key = door
    stored = await Stored.now(world)
    bearer = {"User-Agent": "Fluent-Bit", "Authorization": f"Bearer {key}"}
    lines = b'{"date":1767323045.5,"log":"a"}\n{"date":1767323046.5,"log":"b"}\n'
    http = await client.post(
        "/v1/events", content=lines, headers=bearer | {"Content-Type": "application/x-ndjson"}
    )
    assert 200 <= http.status_code <= 205
    splunk = await client.post(
        "/services/collector/event",
        content=b'{"time":1767323045.5,"event":{"log":"c"}}{"time":1767323046.5,"event":{"log":"d"}}',
        headers={"User-Agent": "Fluent-Bit", "Authorization": f"Splunk {key}"},
    )
    assert splunk.status_code == 200
    push = {"streams": [{"stream": {"job": "fb"}, "values": [["1767323045500000000", "e"]]}]}
    loki = await client.post(
        "/loki/api/v1/push",
        content=compact(push),
        headers=bearer | {"Content-Type": "application/json"},
    )
    assert loki.status_code in (200, 204)
    assert len(await stored.events()) == 5


async def test_vector_elasticsearch(world: World, door: Door) -> None:
    """Health, then bulk in gzip; a failure is told by the text `"errors":true`."""
    client, key = door
    stored = await Stored.now(world)
    health = await client.get("/_cluster/health", auth=basic(key))
    assert health.status_code == 200
    body = b'{"index":{"_index":"vector-2026.01.02"}}\n' + compact({"message": "hello"}) + b"\n"
    answer = await client.post(
        "/_bulk?timeout=60s",
        content=gzip.compress(body),
        auth=basic(key),
        headers={"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"},
    )
    assert answer.status_code == 200
    assert '"errors":true' not in answer.text
    assert len(await stored.events()) == 1


async def test_vector_splunk_hec_with_acknowledgements(world: World, door: Door) -> None:
    """Health with the token; events on a channel; then the receipt is asked for until true."""
    client, key = door
    stored = await Stored.now(world)
    token = {
        "Authorization": f"Splunk {key}",
        "X-Splunk-Request-Channel": "0c0d7b0e-1111-4222-8333-444455556666",
    }
    assert (await client.get("/services/collector/health/1.0", headers=token)).status_code == 200
    body = b'{"event":{"message":"a"},"fields":{},"time":1767323045.123}'
    sent = await client.post(
        "/services/collector/event",
        content=gzip.compress(body),
        headers=token | {"Content-Encoding": "gzip", "Content-Type": "application/json"},
    )
    receipt = sent.json()["ackId"]
    asked = await client.post(
        "/services/collector/ack", content=compact({"acks": [receipt]}), headers=token
    )
    assert asked.json() == {"acks": {str(receipt): True}}
    assert len(await stored.events()) == 1


async def test_logstash(world: World, door: Door) -> None:
    """HEAD and GET of the root, licence, template; then bulk."""
    client, key = door
    stored = await Stored.now(world)
    assert (await client.head("/", auth=basic(key))).status_code == 200
    assert (await client.get("/_license", auth=basic(key))).json()["license"]["status"] == "active"
    assert (await client.put("/_index_template/logstash", auth=basic(key))).status_code == 200
    body = b'{"index":{"_id":null,"_index":"ls","routing":null}}\n{"message":"x"}\n'
    answer = await client.post(
        "/_bulk", content=body, auth=basic(key), headers={"Content-Type": "application/json"}
    )
    assert answer.json()["items"] == [{"index": {"status": 201}}]
    assert len(await stored.events()) == 1
