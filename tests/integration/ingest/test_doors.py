"""Every door against a real broker: what clients want to hear, and when they must not hear it."""

import base64
import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import cramjam
import httpx
import pytest
import pytest_asyncio
import zstandard
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from services.ingest.doors.protobufs import Entry, Status
from services.ingest.keys import ApiKey
from shared.clock import utc_now
from tests.support.ingest import Stored, at_the_door, compact
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration
Door = tuple[httpx.AsyncClient, ApiKey]

EVENT = {"EventID": 4625, "user": "alice"}
BULK = b'{"index":{"_index":"logs"}}\n' + compact(EVENT) + b"\n"
OTLP = ExportLogsServiceRequest()
OTLP.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "hello"
LOKI = {"streams": [{"stream": {"app": "a"}, "values": [["1767323045123456789", "hello"]]}]}
FIREHOSE = {"requestId": "r-1", "records": [{"data": base64.b64encode(compact(EVENT)).decode()}]}
CLOUD = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": EVENT}
STRUCTURED = "application/cloudevents+json"

# door → path, body, content type, status of success
DOORS: dict[str, tuple[str, bytes, str, int]] = {
    "native": ("/v1/events", compact(EVENT), "application/json", 202),
    "elasticsearch": ("/_bulk", BULK, "application/x-ndjson", 200),
    "hec": ("/services/collector/event", compact({"event": EVENT}), "", 200),
    "otlp": ("/v1/logs", OTLP.SerializeToString(), "application/x-protobuf", 200),
    "loki": ("/loki/api/v1/push", compact(LOKI), "application/json", 204),
    "cloudevents": ("/v1/cloudevents", compact(CLOUD), STRUCTURED, 202),
    "firehose": ("/v1/firehose", compact(FIREHOSE), "application/json", 200),
}
EVERY_DOOR = pytest.mark.parametrize("name", DOORS)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(world: World) -> AsyncIterator[Door]:
    async with at_the_door(world, max_body_bytes=300_000, max_event_bytes=5_000) as place:
        yield place


def credentials(name: str, key: object) -> dict[str, str]:
    if name == "firehose":
        return {"x-amz-firehose-access-key": str(key)}
    scheme = {"hec": "Splunk", "elasticsearch": "ApiKey"}.get(name, "Bearer")
    return {"authorization": f"{scheme} {key}"}


async def knock(door: Door, name: str, body: bytes | None = None, **headers: str) -> httpx.Response:
    client, key = door
    path, usual, content_type, _ = DOORS[name]
    given = credentials(name, key)
    if content_type:
        given["content-type"] = content_type
    given |= {k.replace("_", "-"): v for k, v in headers.items()}
    return await client.post(path, content=usual if body is None else body, headers=given)


@EVERY_DOOR
async def test_success_is_stored_with_the_labels_of_the_credential(
    world: World, door: Door, name: str
) -> None:
    stored = await Stored.now(world)
    answer = await knock(door, name)
    assert answer.status_code == DOORS[name][3], answer.text
    assert answer.headers["x-request-id"]
    (event,) = await stored.events()
    assert event["raw"] == ("hello" if name in {"otlp", "loki"} else EVENT)
    assert (event["tenant"], event["source_id"]) == ("t1", "web")


@EVERY_DOOR
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "snappy"])
async def test_compressed_bodies(world: World, door: Door, name: str, encoding: str) -> None:
    pack: Any = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": zstandard.compress,
        "snappy": lambda b: bytes(cramjam.snappy.compress(b)),
    }[encoding]
    answer = await knock(door, name, pack(DOORS[name][1]), content_encoding=encoding)
    assert answer.status_code == DOORS[name][3], answer.text


@EVERY_DOOR
@pytest.mark.parametrize("encoding", ["gzip", "zstd", "snappy", "deflate"])
async def test_a_bomb_is_413(door: Door, name: str, encoding: str) -> None:
    flat = b"[" + b"0" * 20_000_000
    bomb: bytes = {
        "gzip": lambda: gzip.compress(flat),
        "zstd": lambda: zstandard.compress(flat),
        "deflate": lambda: zlib.compress(flat),
        "snappy": lambda: bytes(cramjam.snappy.compress_raw(flat))[:200_000],
    }[encoding]()
    answer = await knock(door, name, bomb, content_encoding=encoding)
    assert answer.status_code == 413, answer.text


@EVERY_DOOR
async def test_what_is_too_large_is_413_and_an_unknown_encoding_415(door: Door, name: str) -> None:
    assert (await knock(door, name, b"x" * 300_001)).status_code == 413
    assert (await knock(door, name, content_encoding="br")).status_code == 415


@EVERY_DOOR
@pytest.mark.parametrize("body", [b"\x00\x01\x02", b"{", b"[", b'{"a":', b"\xff\xfe"])
async def test_what_cannot_be_framed_is_400_and_stores_nothing(
    world: World, door: Door, name: str, body: bytes
) -> None:
    stored = await Stored.now(world)
    answer = await knock(door, name, body)
    if name == "cloudevents":  # one event by definition, so it is framed, and kept aside
        assert answer.status_code == 202
        assert len(await stored.quarantined()) == 1
    else:
        assert answer.status_code == 400, answer.text
        assert not await stored.quarantined()
    assert not await stored.events()


@EVERY_DOOR
@pytest.mark.parametrize("key", ["", "tocsin_xyz_" + "x" * 43, "nonsense"])
async def test_a_stranger_learns_nothing(door: Door, name: str, key: str) -> None:
    client, _ = door
    path, body, *_ = DOORS[name]
    headers = credentials(name, key) if key else {}
    answer = await client.post(path, content=body, headers=headers)
    known = key.startswith("tocsin_")
    assert answer.status_code == (403 if name == "hec" and known else 401), answer.text
    assert "xyz" not in answer.text


async def test_refusals_are_listed_for_operators(world: World, door: Door) -> None:
    client, key = door
    answer = await client.post("/_bulk", content=b"nonsense", headers=credentials("hec", key))
    listed = await client.get(
        "/v1/refusals", headers={"authorization": f"Bearer {world.token('olga', 'operator')}"}
    )
    last = listed.json()["items"][0]
    assert last["request_id"] == answer.headers["x-request-id"]
    assert (last["door"], last["code"], last["source_id"]) == (
        "elasticsearch", "unframeable", "web",
    )  # fmt: skip
    assert "line [1]" in last["detail"]


# Back-pressure: whole requests, in each protocol's words -----------------------------------------

BUSY = {"elasticsearch": 429}


@EVERY_DOOR
async def test_without_a_broker_the_whole_request_is_turned_away(
    world: World, door: Door, name: str
) -> None:
    await world.broker.stop()
    try:
        answer = await knock(door, name)
    finally:
        await world.broker.start()
    await until(lambda: _takes(door))
    assert answer.status_code == BUSY.get(name, 503), answer.text
    assert int(answer.headers["retry-after"]) >= 1
    if name == "hec":
        assert answer.json() == {"text": "Server is busy", "code": 9}
    if name == "otlp":
        assert Status.FromString(answer.content).code == 14  # UNAVAILABLE
    if name == "elasticsearch":
        assert answer.json()["error"]["type"] == "es_rejected_execution_exception"
        assert "items" not in answer.json()
    if name == "firehose":
        assert answer.json()["requestId"] == ""
        assert answer.json()["errorMessage"]


async def _takes(door: Door) -> bool:
    return (await knock(door, "native")).status_code == 202


async def test_load_is_shed_before_a_body_is_read(world: World) -> None:
    async with at_the_door(world, max_in_flight_bytes=0) as (client, key):

        async def never() -> AsyncIterator[bytes]:
            yield b'{"a":1}\n'

        # Nothing is held, so nothing is over the bound …
        headers = credentials("native", key)
        answer = await client.post("/v1/events", content=b'{"a":1}', headers=headers)
        assert answer.status_code == 202

        # … but a second chunk is, as soon as a first one is held.
        async def chunks() -> AsyncIterator[bytes]:
            yield b'{"a":1}\n' * 100
            yield b'{"a":1}\n' * 100

        answer = await client.post("/v1/events", content=chunks(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")


async def test_a_source_over_its_rate_is_429(world: World) -> None:
    async with at_the_door(world, "fast", source_events_per_second=1.0) as (client, key):
        body = b'{"a":1}\n' * 50
        headers = credentials("native", key)
        first = await client.post("/v1/events", content=body, headers=headers)
        assert first.status_code == 202
        second = await client.post("/v1/events", content=body, headers=headers)
        assert (second.status_code, second.json()["code"]) == (429, "rate_limited")
        assert 1 <= int(second.headers["retry-after"]) <= 60
        assert second.headers["ratelimit"].startswith('"source";r=0;t=')
        splunk = await client.post(
            "/services/collector", content=b"{}", headers=credentials("hec", key)
        )
        assert (splunk.status_code, splunk.json()["code"]) == (503, 9)


# Elasticsearch -----------------------------------------------------------------------------------


async def test_bulk_answers_each_action_in_order_compactly(world: World, door: Door) -> None:
    stored = await Stored.now(world)
    body = b"\n".join(
        [
            b'{"create":{"_index":"a"}}', b'{"n":1}',
            b'{"index":{}}', b'{"broken',
            b'{"delete":{"_index":"a","_id":"1"}}',
            b'{"update":{"_id":"9"}}', b'{"doc":{"n":2}}', b"",
        ]
    )  # fmt: skip
    answer = await knock(door, "elasticsearch", body)
    assert answer.text.split('"items"')[0].endswith('"errors":true,')
    statuses = [(op, item["status"]) for i in answer.json()["items"] for op, item in i.items()]
    assert statuses == [("create", 201), ("index", 201), ("delete", 403), ("update", 201)]
    assert len(await stored.events()) == 2
    assert [q.cause for q in await stored.quarantined()] == ["unparseable"]


async def test_a_good_bulk_has_the_text_that_shippers_search_for(door: Door) -> None:
    answer = await knock(door, "elasticsearch", BULK * 3)
    assert '"errors":false,"items":[{"index":{"status":201}},' in answer.text
    assert answer.headers["x-elastic-product"] == "Elasticsearch"


async def test_the_vendored_type_is_echoed(door: Door) -> None:
    vendored = "application/vnd.elasticsearch+json; compatible-with=9"
    kind = "application/vnd.elasticsearch+x-ndjson; compatible-with=9"
    answer = await knock(door, "elasticsearch", accept=vendored, content_type=kind)
    assert answer.headers["content-type"] == vendored


@pytest.mark.parametrize("path", ["/_bulk", "/logs-app/_bulk", "/logs-app/_doc/_bulk"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_bulk_paths(world: World, door: Door, path: str, method: str) -> None:
    client, key = door
    stored = await Stored.now(world)
    body = b'{"index":{}}\n{"n":1}\n'
    answer = await client.request(
        method, path, content=body, headers=credentials("elasticsearch", key)
    )
    assert answer.status_code == 200
    (event,) = await stored.events()
    assert event.get("fields", {}).get("_index") == (None if path == "/_bulk" else "logs-app")


async def test_an_id_is_a_document_once(world: World, door: Door) -> None:
    stored = await Stored.now(world)
    body = b'{"index":{"_index":"i","_id":"once"}}\n{"n":1}\n'
    first, again = [(await knock(door, "elasticsearch", body)).json() for _ in range(2)]
    assert (first["items"], first["errors"]) == ([{"index": {"status": 201}}], False)
    assert (again["items"], again["errors"]) == ([{"index": {"status": 200}}], False)
    assert len(await stored.events()) == 1


@pytest.mark.parametrize(
    "path",
    ["/", "/_license", "/_xpack", "/_cluster/health", "/_cat/health", "/_nodes/http",
     "/_index_template/x", "/_ilm/policy/x", "/_ingest/pipeline/x", "/_data_stream/x",
     "/_logstash/pipeline"],
)  # fmt: skip
async def test_the_handshake_is_for_senders_and_names_the_product(door: Door, path: str) -> None:
    client, key = door
    assert (await client.get(path)).status_code == 401
    for method in ("GET", "HEAD", "PUT"):
        answer = await client.request(method, path, headers=credentials("elasticsearch", key))
        assert (answer.status_code, answer.headers["x-elastic-product"]) == (200, "Elasticsearch")
        assert bool(answer.content) == (method != "HEAD")


# Splunk ------------------------------------------------------------------------------------------


async def test_hec_takes_concatenated_objects_with_their_labels(world: World, door: Door) -> None:
    stored = await Stored.now(world)
    body = (
        b'{"time":"1767323045.5","host":"h","sourcetype":"st","event":{"n": 1},"fields":{"k":"v"}}'
        b'{"time":1767323045,"event":"plain line"}\n\n{"event":7}{"fields":{"only":1}}{"event":""}'
    )
    answer = await knock(door, "hec", body, content_type="application/x-www-form-urlencoded")
    assert answer.json() == {"text": "Success", "code": 0}
    first, second, third = await stored.events()
    assert (first["raw"], first["time"]) == ({"n": 1}, "2026-01-02T03:04:05.500000Z")
    assert first["fields"] == {"host": "h", "sourcetype": "st", "k": "v"}
    assert (second["raw"], second["fields"]["message"]) == ("plain line", "plain line")
    assert third["raw"] == "7"
    assert [q.cause for q in await stored.quarantined()] == ["no_event", "no_event"]


@pytest.mark.parametrize("path", ["/services/collector/raw", "/services/collector/raw/1.0"])
async def test_hec_raw_is_lines(world: World, door: Door, path: str) -> None:
    client, key = door
    stored = await Stored.now(world)
    answer = await client.post(
        f"{path}?host=fw&sourcetype=cisco&token={key}", content=b"one\ntwo\r\n"
    )
    assert answer.status_code == 200, answer.text
    events = await stored.events()
    assert [e["raw"] for e in events] == ["one", "two"]
    assert {e["fields"]["sourcetype"] for e in events} == {"cisco"}


async def test_hec_says_what_is_wrong_in_its_numbers(door: Door) -> None:
    client, _ = door
    assert (await knock(door, "hec", b" ")).json() == {"text": "No data", "code": 5}
    bad = (await knock(door, "hec", b"nonsense")).json()
    assert (bad["code"], bad["invalid-event-number"]) == (6, 0)
    assert (await client.post("/services/collector")).json()["code"] == 2
    unknown = {"authorization": "Splunk tocsin_abc_" + "x" * 43}
    assert (await client.post("/services/collector", headers=unknown)).json()["code"] == 4


@pytest.mark.parametrize("path", ["/services/collector/health", "/services/collector/health/1.0"])
async def test_hec_health_is_for_load_balancers(door: Door, path: str) -> None:
    answer = await door[0].get(path)
    assert answer.json() == {"text": "HEC is healthy", "code": 17}


async def test_a_receipt_is_confirmed_by_any_process_and_only_if_it_is_one(
    world: World, door: Door
) -> None:
    client, key = door
    channel = "0c0d7b0e-1111-4222-8333-444455556666"
    given = await knock(door, "hec", x_splunk_request_channel=channel)
    receipt = given.json()["ackId"]
    headers = credentials("hec", key)

    async def asked(client: httpx.AsyncClient, channel: str, ids: list[int]) -> dict[str, bool]:
        answer = await client.post(
            f"/services/collector/ack?channel={channel}",
            content=compact({"acks": ids}),
            headers=headers,
        )
        acks: dict[str, bool] = answer.json()["acks"]
        return acks

    assert await asked(client, channel, [receipt, 0, receipt + 1]) == {
        str(receipt): True, "0": False, str(receipt + 1): False,
    }  # fmt: skip
    assert await asked(client, "another", [receipt]) == {str(receipt): False}
    async with at_the_door(world) as (another, _):
        assert await asked(another, channel, [receipt]) == {str(receipt): True}
    missing = await client.post("/services/collector/ack", content=b"{}", headers=headers)
    assert (missing.status_code, missing.json()["code"]) == (400, 10)


# OTLP --------------------------------------------------------------------------------------------


async def test_otlp_json_keeps_ids_as_hex_and_numbers_as_numbers(world: World, door: Door) -> None:
    stored = await Stored.now(world)
    record = {
        "timeUnixNano": "1767323045123456789",
        "severityNumber": 13,
        "traceId": "5b8efff798038103d269b633813fc60c",
        "body": {"kvlistValue": {"values": [{"key": "n", "value": {"intValue": "42"}}]}},
        "attributes": [{"key": "a", "value": {"arrayValue": {"values": [{"boolValue": True}]}}}],
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    body = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}
    answer = await knock(door, "otlp", compact(body), content_type="application/json")
    assert (answer.status_code, answer.content) == (200, b"{}")
    (event,) = await stored.events()
    assert (event["raw"], event["time"]) == ({"n": 42}, "2026-01-02T03:04:05.123457Z")
    assert event["fields"]["traceId" if "traceId" in event["fields"] else "trace_id"] == (
        "5b8efff798038103d269b633813fc60c"
    )
    assert (event["fields"]["service.name"], event["fields"]["a"]) == ("shop", [True])


async def test_an_odd_record_is_quarantined_alone(world: World, door: Door) -> None:
    stored = await Stored.now(world)
    good = LogRecord()
    good.body.string_value = "good"
    bad, large = b"\x2a\x05ab", b"\x2a" + b"\x80" * 6_000
    scope = b"".join(
        b"\x12" + bytes(_varint(len(r))) + r for r in (good.SerializeToString(), bad, large)
    )
    resource = b"\x12" + bytes(_varint(len(scope))) + scope
    body = b"\x0a" + bytes(_varint(len(resource))) + resource
    answer = await knock(door, "otlp", body)
    assert (answer.status_code, answer.content) == (200, b"")
    assert [e["raw"] for e in await stored.events()] == ["good"]
    assert sorted(q.cause for q in await stored.quarantined()) == ["oversize", "unparseable"]


def _varint(value: int) -> list[int]:
    return [value] if value < 128 else [value & 127 | 128, *_varint(value >> 7)]


async def test_otlp_refuses_with_a_status_in_the_same_encoding(door: Door) -> None:
    answer = await knock(door, "otlp", b"\x0a\xff")
    assert Status.FromString(answer.content).code == 3
    assert answer.headers["content-type"] == "application/x-protobuf"
    answer = await knock(door, "otlp", b"{", content_type="application/json")
    assert answer.json()["code"] == 3


# Loki --------------------------------------------------------------------------------------------


async def test_loki_protobuf_is_snappy(world: World, door: Door) -> None:
    stored = await Stored.now(world)
    entry = Entry(line="level=warn msg=hello")
    entry.timestamp.seconds, entry.timestamp.nanos = 1767323045, 123456789
    entry.structuredMetadata.add(name="trace", value="t1")
    labels, packed = b'{app="a", quoted="say \\"hi\\""}', entry.SerializeToString()
    stream = b"\x0a%c%s\x12%c%s" % (len(labels), labels, len(packed), packed)
    body = b"\x0a" + bytes(_varint(len(stream))) + stream
    answer = await knock(
        door,
        "loki",
        bytes(cramjam.snappy.compress_raw(body)),
        content_type="application/x-protobuf",
        x_scope_orgid="another-tenant",
    )
    assert answer.status_code == 204, answer.text
    (event,) = await stored.events()
    assert (event["raw"], event["time"]) == ("level=warn msg=hello", "2026-01-02T03:04:05.123457Z")
    assert event["tenant"] == "t1"
    assert {k: event["fields"][k] for k in ("app", "quoted", "trace")} == {
        "app": "a", "quoted": 'say "hi"', "trace": "t1",
    }  # fmt: skip


async def test_a_json_line_is_an_event(world: World, door: Door) -> None:
    stored = await Stored.now(world)
    values = [["1767323045123456789", '{"EventID":1}', {"pod": "p"}], ["x", "not json {"], [1]]
    body = {"streams": [{"stream": {"app": "a"}, "values": values}]}
    assert (await knock(door, "loki", compact(body))).status_code == 204
    first, second = await stored.events()
    assert (first["raw"], first["fields"]) == ({"EventID": 1}, {"app": "a", "pod": "p"})
    assert second["raw"] == "not json {"
    assert len(await stored.quarantined()) == 1


# CloudEvents: the SDK is the oracle --------------------------------------------------------------


def cloud_event(identity: str) -> CloudEvent:
    attributes = {
        "specversion": "1.0", "id": identity, "source": "/sök", "type": "com.example.login",
        "subject": "al ice", "time": utc_now(), "datacontenttype": "application/json",
    }  # fmt: skip
    return CloudEvent(attributes, dict(EVENT))


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_what_the_sdk_writes_is_read(world: World, door: Door, mode: str) -> None:
    client, key = door
    stored = await Stored.now(world)
    write = to_binary if mode == "binary" else to_structured
    message = write(cloud_event(f"sdk-{mode}"), JSONFormat())
    headers = {**message.headers, **credentials("cloudevents", key)}
    answer = await client.post("/v1/cloudevents", content=message.body, headers=headers)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1), answer.text
    (event,) = await stored.events()
    assert event["raw"] == EVENT
    assert (event["fields"]["ce.source"], event["fields"]["ce.subject"]) == ("/sök", "al ice")
    assert "time" in event


async def test_a_batch_is_deduplicated_by_source_and_id(world: World, door: Door) -> None:
    batch = compact([CLOUD | {"id": "b1"}, CLOUD | {"id": "b2"}, {"no": "event"}])
    kind = "application/cloudevents-batch+json"
    first = (await knock(door, "cloudevents", batch, content_type=kind)).json()
    again = (await knock(door, "cloudevents", batch, content_type=kind)).json()
    assert (first["accepted"], first["duplicates"], first["quarantined"]) == (2, 0, 1)
    assert (again["accepted"], again["duplicates"], again["quarantined"]) == (0, 2, 1)
    empty = (await knock(door, "cloudevents", b"[]", content_type=kind)).json()
    assert empty["accepted"] == 0


async def test_data_of_any_kind(world: World, door: Door) -> None:
    stored = await Stored.now(world)
    bare = {k: v for k, v in CLOUD.items() if k != "data"}
    for number, data in enumerate(
        [{"data": "text"}, {"data_base64": base64.b64encode(b"\xff\x00").decode()}, {}]
    ):
        body = compact({**bare, "id": f"kind-{number}", **data})
        assert (await knock(door, "cloudevents", body)).status_code == 202
    text, binary, none = await stored.events()
    assert text["raw"] == "text"
    assert (binary["raw"], binary["fields"]["ce.encoding"]) == ("/wA=", "base64")
    assert none["raw"]["ce.type"] == "t"


async def test_binary_mode_needs_its_attributes_and_formats_are_named(door: Door) -> None:
    answer = await knock(door, "cloudevents", b"{}", content_type="application/json", ce_id="1")
    assert (answer.status_code, answer.json()["code"]) == (400, "unframeable")
    xml = await knock(door, "cloudevents", b"{}", content_type="application/cloudevents+xml")
    assert xml.status_code == 415


async def test_the_webhook_handshake(door: Door) -> None:
    client, _ = door
    asking = {"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"}
    answer = await client.options("/v1/cloudevents", headers=asking)
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventemitter.example.com"
    assert answer.headers["webhook-allowed-rate"] == "*"
    assert (await client.options("/v1/cloudevents")).status_code == 400


async def test_event_grid_is_validated_and_taken(world: World, door: Door) -> None:
    client, key = door
    validation = [{"id": "1", "data": {"validationCode": "code-1"}, "topic": "/t"}]
    headers = {"aeg-event-type": "SubscriptionValidation", "content-type": "application/json"}
    path = f"/v1/cloudevents?token={key}"
    answer = await client.post(path, content=compact(validation), headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "code-1"})
    stored = await Stored.now(world)
    event = {"id": "e1", "topic": "/t", "eventType": "x", "eventTime": "2026-01-02T03:04:05Z"}
    headers["aeg-event-type"] = "Notification"
    for _ in range(2):
        await client.post(path, content=compact([event]), headers=headers)
    (found,) = await stored.events()
    assert (found["raw"], found["time"]) == (event, "2026-01-02T03:04:05.000000Z")


# Firehose ----------------------------------------------------------------------------------------


async def test_firehose_echoes_its_request_and_repeats_add_nothing(
    world: World, door: Door
) -> None:
    stored = await Stored.now(world)
    trail = compact({"eventName": "ConsoleLogin"})
    bundle = {
        "messageType": "DATA_MESSAGE", "logGroup": "g", "logStream": "s", "owner": "1",
        "logEvents": [{"id": "1", "timestamp": 1767323045123, "message": trail.decode()}],
    }  # fmt: skip
    contents = [
        trail + b"\n" + trail,
        gzip.compress(compact(bundle)),
        b"2 123456789010 eni-1 ACCEPT OK",
        gzip.compress(compact({"messageType": "CONTROL_MESSAGE"})),
    ]
    records: list[object] = [{"data": base64.b64encode(c).decode()} for c in contents]
    body = compact({"requestId": "f-1", "timestamp": 1, "records": [*records, {"data": "%"}]})
    common = '{"commonAttributes":{"env":"prod"}}'
    for _ in range(2):
        answer = await knock(
            door, "firehose", body,
            x_amz_firehose_request_id="f-1",
            x_amz_firehose_common_attributes=common,
        )  # fmt: skip
        assert answer.status_code == 200
        assert answer.json()["requestId"] == "f-1"
        assert answer.json()["timestamp"] > 1_600_000_000_000
    events = await stored.events()
    assert [e["raw"] for e in events] == [
        {"eventName": "ConsoleLogin"}, {"eventName": "ConsoleLogin"},
        {"eventName": "ConsoleLogin"}, "2 123456789010 eni-1 ACCEPT OK",
    ]  # fmt: skip
    assert events[2]["fields"]["cloudwatch.logGroup"] == "g"
    assert {e["fields"]["env"] for e in events} == {"prod"}
    assert [q.cause for q in await stored.quarantined()][:1] == ["bad_encoding"]
