"""The native door against a real broker and a real database."""

import base64
import gzip

import httpx
import orjson
import pytest
import pytest_asyncio
import zstandard

from services.ingest.app import create_app
from services.ingest.settings import Settings
from services.ingest.sources import Source
from shared.clock import utc_now
from tests.support.ingest import events_of, is_ready, make_key, quarantined_of
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def door(world: World):  # type: ignore[no-untyped-def]
    key = await make_key(world, Source(id="web", tenant="t1", region="eu-west", service="mail"))
    settings = world.settings(Settings, max_body_bytes=100_000, max_event_bytes=2_000)
    async with world.running(create_app(settings)) as client:
        client.headers["authorization"] = f"Bearer {key}"
        await until(lambda: is_ready(client))
        yield client


async def test_json_lines_are_durable_verbatim_and_labelled(
    world: World, door: httpx.AsyncClient
) -> None:
    body = b'{"n": 1,  "time": "2026-01-02T03:04:05Z"}\n\n{"n":2}\n'
    answer = await door.post("/v1/events", content=body)
    assert answer.status_code == 202, answer.text
    assert answer.json() | {"request_id": ""} == {
        "accepted": 2, "duplicates": 0, "quarantined": 0, "request_id": "",
    }  # fmt: skip
    first, second = (await events_of(world))[-2:]
    assert first["raw"] == {"n": 1, "time": "2026-01-02T03:04:05Z"}
    assert first["time"] == "2026-01-02T03:04:05.000000Z"
    assert (first["tenant"], first["region"], first["service"]) == ("t1", "eu-west", "mail")
    assert "time" not in second
    assert first["id"] != second["id"]
    raw_messages = await world.messages("EVENTS")
    body_bytes = zstandard.ZstdDecompressor().decompress(raw_messages[-1][2])
    assert b'{"n": 1,  "time": "2026-01-02T03:04:05Z"}' in body_bytes  # spaces and all


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'[{"n":1},\n {"n":2}]', {}),
        (b'{\n "n": 1\n}\n{\n "n": 2\n}', {"content-type": "application/json"}),
        (gzip.compress(b'{"n":1}\n{"n":2}'), {"content-encoding": "gzip"}),
        (zstandard.compress(b'{"n":1}\n{"n":2}'), {"content-encoding": "zstd"}),
        (b'\xef\xbb\xbf{"n":1}\r\n{"n":2}\r\n', {"content-type": "text/weird"}),
        (b'{"n":1}{"n":2}\n', {}),
    ],
    ids=["array", "concatenated", "gzip", "zstd", "bom-crlf", "one-line"],
)
async def test_every_framing(
    world: World, door: httpx.AsyncClient, body: bytes, headers: dict[str, str]
) -> None:
    answer = await door.post("/v1/events", content=body, headers=headers)
    assert (answer.status_code, answer.json().get("accepted")) == (202, 2), answer.text
    assert [e["raw"]["n"] for e in (await events_of(world))[-2:]] == [1, 2]


async def test_text_lines_are_parsed_beside_their_text(
    world: World, door: httpx.AsyncClient
) -> None:
    line = "Jan  3 04:05:06 h1 sshd[77]: Failed password for root from 10.0.0.9 port 22 ssh2"
    answer = await door.post(
        "/v1/events?product=linux&service=sshd",
        content=line.encode(),
        headers={"content-type": "text/plain; charset=utf-8"},
    )
    assert answer.json()["accepted"] == 1
    event = (await events_of(world))[-1]
    assert event["raw"] == line
    assert event["fields"]["program"] == "sshd"
    assert event["fields"]["host"] == "h1"
    assert event["logsource"] == {"product": "linux", "service": "sshd"}


async def test_a_bad_item_goes_to_quarantine_and_spoils_no_other(
    world: World, door: httpx.AsyncClient
) -> None:
    deep = b'{"a":' * 40 + b"1" + b"}" * 40
    big = orjson.dumps({"a": "x" * 3000})
    body = b"\n".join([b'{"ok":1}', b'{"broken', b"[1]", deep, big, b'{"s":"\xff"}', b'{"ok":2}'])
    answer = (await door.post("/v1/events", content=body)).json()
    assert (answer["accepted"], answer["quarantined"]) == (2, 5)
    kept = (await quarantined_of(world))[-5:]
    assert {(k.offset, k.cause) for k in kept} == {
        (1, "unparseable"), (2, "not_an_object"), (3, "too_deep"), (4, "oversize"),
        (5, "bad_encoding"),
    }  # fmt: skip
    token = world.token("olga", "operator")
    listed = await door.get("/v1/quarantine", headers={"authorization": f"Bearer {token}"})
    assert {i["cause"] for i in listed.json()["items"]} >= {"unparseable", "too_deep"}
    assert all(i["request_id"] == answer["request_id"] for i in listed.json()["items"][:5])


async def test_what_is_broken_of_one_request_shares_messages_and_is_paged_one_by_one(
    world: World, door: httpx.AsyncClient
) -> None:
    before = len(await world.messages("QUARANTINE"))
    headers = {"idempotency-key": "broken-1"}
    body = b"\n".join(b'{"broken":%d' % n for n in range(1200))
    for _ in range(2):  # the same request again is kept once
        answer = (await door.post("/v1/events", content=body, headers=headers)).json()
        assert answer["quarantined"] == 1200
        assert len(await world.messages("QUARANTINE")) == before + 3
    kept = (await quarantined_of(world))[-1200:]
    assert sorted(k.offset for k in kept) == list(range(1200))
    assert all(base64.b64decode(k.raw_base64) == b'{"broken":%d' % k.offset for k in kept)
    token = world.token("olga", "operator")
    seen: list[int] = []
    query: dict[str, int] = {"limit": 450}
    while len(seen) < 1200:
        shown = (
            await door.get(
                "/v1/quarantine", params=query, headers={"authorization": f"Bearer {token}"}
            )
        ).json()
        assert len(shown["items"]) == 450 or shown["next_cursor"] is None
        seen += [item["offset"] for item in shown["items"]]
        query["cursor"] = shown["next_cursor"]
    assert sorted(seen[:1200]) == list(range(1200))


async def test_repeating_a_request_with_its_key_adds_nothing(
    world: World, door: httpx.AsyncClient
) -> None:
    headers = {"idempotency-key": "chunk-1"}
    first = (await door.post("/v1/events", content=b'{"a":1}\n{"a":1}', headers=headers)).json()
    count = len(await events_of(world))
    again = (await door.post("/v1/events", content=b'{"a":1}\n{"a":1}', headers=headers)).json()
    assert (first["accepted"], first["duplicates"]) == (2, 0)  # equal lines are two events
    assert (again["accepted"], again["duplicates"]) == (0, 2)
    assert len(await events_of(world)) == count


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"hello", {}, 400, "unframeable"),
        (b'[{"a":1}', {}, 400, "unframeable"),
        (b"not gzip", {"content-encoding": "gzip"}, 400, "unframeable"),
        (b"{}", {"content-encoding": "br"}, 415, "unknown_encoding"),
        (b'{"a":"' + b"x" * 200_000 + b'"}', {}, 413, "too_large"),
        (gzip.compress(b"[" + b"0" * 5_000_000 + b"]"), {"content-encoding": "gzip"}, 413,
         "too_large"),
        (b'{"a"}', {}, 400, "unframeable"),
        (b"{}", {"authorization": ""}, 401, "key_missing"),
        (b"{}", {"authorization": "Bearer tocsin_abc_" + "x" * 43}, 401, "key_invalid"),
        (b"{}", {"authorization": "Basic !!!"}, 401, "key_missing"),
    ],
)  # fmt: skip
async def test_refusals_are_problem_documents(
    door: httpx.AsyncClient, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await door.post("/v1/events", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_key_used_for_another_body_loses_nothing(door: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "constant"}
    for number in range(3):
        body = b'{"number":%d}' % number
        answer = (await door.post("/v1/events", content=body, headers=headers)).json()
        assert (answer["accepted"], answer["duplicates"]) == (1, 0)


@pytest.mark.parametrize(
    "line", ["0001-01-01T00:00:00+10:00 host app: x", "<34>1 9999-12-31T23:59:59-10:00 h a - - - x"]
)
async def test_an_impossible_time_refuses_no_neighbour(door: httpx.AsyncClient, line: str) -> None:
    answer = await door.post(
        "/v1/events", content=f"good\n{line}".encode(), headers={"content-type": "text/plain"}
    )
    assert answer.json()["accepted"] == 2, answer.text


async def test_half_a_character_in_an_array_is_quarantined_alone(door: httpx.AsyncClient) -> None:
    body = b'[{"a":1},{"cmd":"x\\ud83d"},{"b":2}]'
    answer = (await door.post("/v1/events", content=body)).json()
    assert (answer["accepted"], answer["quarantined"]) == (2, 1)


async def test_an_item_of_any_size_is_kept_whole(world: World, door: httpx.AsyncClient) -> None:
    settings = world.settings(Settings, max_body_bytes=4_000_000)
    item = orjson.dumps({"a": "x" * 1_500_000})
    async with world.running(create_app(settings)) as client:
        await until(lambda: is_ready(client))
        answer = await client.post(
            "/v1/events", content=item, headers={"authorization": door.headers["authorization"]}
        )
        assert answer.json()["quarantined"] == 1
    parts = (await quarantined_of(world))[-3:]
    assert [(p.part, p.parts) for p in parts] == [(0, 3), (1, 3), (2, 3)]
    assert b"".join(base64.b64decode(p.raw_base64) for p in parts) == item


async def test_too_many_items_are_413(world: World, door: httpx.AsyncClient) -> None:
    async with world.running(create_app(world.settings(Settings, max_items=10))) as client:
        await until(lambda: is_ready(client))
        answer = await client.post(
            "/v1/events",
            content=b"[" + b"1," * 10 + b"1]",
            headers={"authorization": door.headers["authorization"]},
        )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_an_expired_key_opens_nothing(world: World, door: httpx.AsyncClient) -> None:
    key = await make_key(world, Source(id="old"), expires=utc_now())
    answer = await door.post(
        "/v1/events", content=b"{}", headers={"authorization": f"ApiKey {key}"}
    )
    assert answer.status_code == 401


async def test_quarantine_is_for_operators(world: World, door: httpx.AsyncClient) -> None:
    token = world.token("carl", "customer_contact", tenant="t1")
    answer = await door.get("/v1/quarantine", headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "role_missing")


async def test_without_broker_it_answers_503_and_recovers_by_itself(
    world: World, door: httpx.AsyncClient
) -> None:
    await world.broker.stop()
    answer = await door.post("/v1/events", content=b'{"a":1}')
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"]
    ready = await door.get("/readyz")
    assert ready.status_code == 503
    assert "broker" in ready.json()["missing"]
    await world.broker.start()
    await until(lambda: is_ready(door))
    assert (await door.post("/v1/events", content=b'{"a":1}')).status_code == 202
