"""Golden searches over a real store: expected counts, pages, figures, refusals (R02b, R19b)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psutil
import pytest
import pytest_asyncio

from shared.clock import rfc3339
from shared.contracts.ingest import Logsource
from tests.support.log_store import NOW, is_stored, publish, sealed, storing
from tests.support.waiting import until
from tests.support.world import World

pytestmark = pytest.mark.integration
WINDOW = {"from": rfc3339(NOW - timedelta(hours=12)), "to": rfc3339(NOW + timedelta(hours=12))}


def at(minutes: int) -> str:
    return rfc3339(NOW + timedelta(minutes=minutes))


WINDOWS = [
    {
        "@timestamp": at(n),
        "Event": {
            "System": {"EventID": 4625 if n % 2 else 4624, "Computer": f"DC{n % 3}"},
            "EventData": {"TargetUserName": "Alice" if n % 4 == 1 else f"svc{n}", "Port": n * 10},
        },
        "Image": "C:\\Windows\\System32\\cmd.exe" if n % 5 == 0 else "C:\\Temp\\x.exe",
    }
    for n in range(40)
]
CLOUD = [
    {
        "eventTime": at(60 + n),
        "eventSource": "s3.amazonaws.com",
        "awsRegion": "eu-west-1",
        "eventName": "DeleteTrail" if n == 3 else "ListBuckets",
        "userIdentity": {"userName": "alice"},
        "resources": [{"ARN": f"arn:{n}"}, {"ARN": "arn:shared"}],
        "ok": n % 2 == 0,
        "note": 'said "hello" über 100% a_b' if n == 5 else None,
    }
    for n in range(10)
]
LINES = [
    b"<34>1 2026-03-01T14:00:00Z host1 sshd 77 - - Failed password for root from 203.0.113.9",
    b"<34>1 2026-03-01T14:01:00Z host2 sshd 77 - - Accepted publickey for alice",
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    folder: Path = tmp_path_factory.mktemp("store")
    async with storing(world, folder) as client:
        windows = Logsource(product="windows", service="security")
        await publish(world, sealed(WINDOWS, "dc", tenant="t1", logsource=windows))
        await publish(world, sealed(CLOUD, "aws", tenant="t2", logsource=Logsource()))
        from services.ingest.envelope import Enveloper, Limits, Sealed
        from services.ingest.framing import frame_text
        from services.ingest.sources import Source

        text = Enveloper(Source(id="ssh", server="host1"), None, NOW, Limits(10_000, 32))
        lines = [text.seal(item) for item in frame_text(b"\n".join(LINES))]
        await publish(world, [one for one in lines if isinstance(one, Sealed)])
        await is_stored(client, 52)
        yield client


async def find(client: httpx.AsyncClient, query: str, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/search", json={"query": query, **WINDOW, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def count(client: httpx.AsyncClient, query: str) -> int:
    found = await find(client, query, limit=1000, aggregations={"n": {"kind": "count"}})
    number = found["aggregations"]["n"]["count"]
    assert len(found["hits"]) == number  # the page and the figure agree
    return int(number)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", 52),
        ("*", 52),
        ("EventID:4625", 20),
        ("eventid:4625 AND targetusername:ALICE", 10),
        ("Event.System.EventID:4625", 20),
        ("System.EventID:4624", 20),
        ("EventID:4625 NOT TargetUserName:alice", 10),
        ("EventID:4625 -TargetUserName:alice", 10),
        ("NOT EventID:*", 12),
        ("_exists_:resources.ARN", 10),
        ("ARN:arn:shared", 10),
        ("ARN:arn:4", 1),
        ("resources.arn:(arn:1 OR arn:2)", 2),
        ("Port:>=200", 20),
        ("Port:[100 TO 120]", 3),
        ("Port:{100 TO 120}", 1),
        ("Port:<30", 3),
        (r"Image:*\\cmd.exe", 8),
        (r"Image:C:\Windows\System32\cmd.exe", 8),
        (r'"C:\Windows\System32"', 8),
        ("Image:*cm?.exe", 8),
        ("Computer:dc?", 40),
        ("alice", 21),
        ("userName:alice OR TargetUserName:alice", 20),
        ('"Failed password" root', 1),
        ("203.0.113.9", 1),
        ("ok:true", 5),
        ('"said \\"hello\\""', 1),
        ("über", 1),
        ('"100% a_b"', 1),
        ("note:*100%*", 1),
        ("note:*100_*", 0),
        ("source:aws", 10),
        ("tenant:t1 AND (EventID:4625 OR source:aws)", 20),
        ("server:host1", 2),
        ("nosuchfield:1", 0),
        ("NOT nosuchfield:1", 52),
        ("product:windows", 40),
    ],
)
async def test_golden_queries(client: httpx.AsyncClient, query: str, expected: int) -> None:
    assert await count(client, query) == expected


async def test_r02b_one_query_answers_from_every_kind_of_source(client: httpx.AsyncClient) -> None:
    found = await find(client, "alice", limit=100)  # R02b
    assert {hit["source_id"] for hit in found["hits"]} == {"dc", "aws", "ssh"}


@pytest.mark.parametrize(
    ("query", "sources"),
    [
        ("logsource.product:windows", {"dc"}),  # as its source was registered
        ("logsource.product:aws", {"aws"}),  # as the event says
        ("product:aws AND logsource.service:cloudtrail", {"aws"}),
        ("logsource.service:security", {"dc"}),
    ],
)
async def test_events_are_found_by_their_logsource(
    client: httpx.AsyncClient, query: str, sources: set[str]
) -> None:
    found = await find(client, query, limit=100)
    assert {hit["source_id"] for hit in found["hits"]} == sources
    for hit in found["hits"]:
        said = hit["logsource"] or hit["observed_logsource"]
        assert said["product"] in {"windows", "aws"}


async def test_events_come_back_verbatim_and_newest_first(client: httpx.AsyncClient) -> None:
    found = await find(client, "EventID:*", limit=2)
    first = found["hits"][0]
    assert orjson.loads(first["raw"]) == WINDOWS[39]
    assert first["raw"] == orjson.dumps(WINDOWS[39]).decode()  # byte for byte
    assert (first["time"], first["tenant"]) == (at(39), "t1")
    assert first["logsource"] == {"product": "windows", "service": "security"}
    line = (await find(client, "sshd", limit=1, sort="time"))["hits"][0]
    assert line["raw"] == LINES[0].decode()
    one = await client.get(f"/v1/events/{first['id']}")
    assert one.json() == first
    assert (await client.get(f"/v1/events/{uuid4()}")).status_code == 404


@pytest.mark.parametrize("sort", ["-time", "time", "Port", "-Port", "TargetUserName"])
async def test_pages_hold_every_event_once(client: httpx.AsyncClient, sort: str) -> None:
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        more = {"cursor": cursor} if cursor else WINDOW
        body = {"query": "source:(dc OR aws)", "limit": 7, "sort": sort, **more}
        page = (await client.post("/v1/search", json=body)).json()
        seen += page["hits"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len({hit["id"] for hit in seen}) == len(seen) == 50
    if sort.endswith("time"):
        times = [hit["time"] for hit in seen]
        assert times == sorted(times, reverse=sort.startswith("-"))
    if sort == "Port":
        ports = [orjson.loads(h["raw"])["Event"]["EventData"]["Port"] for h in seen[:40]]
        assert ports == sorted(ports)


async def test_figures(client: httpx.AsyncClient) -> None:
    found = await find(
        client,
        "source:dc",
        limit=0,
        aggregations={
            "ids": {"kind": "terms", "field": "EventID"},
            "top": {"kind": "terms", "field": "TargetUserName", "size": 1},
            "by_time": {"kind": "histogram", "interval": "10m"},
            "ports": {"kind": "stats", "field": "Port", "percentiles": [50, 100]},
            "users": {"kind": "distinct", "field": "TargetUserName"},
            "arns": {"kind": "terms", "field": "ARN"},
        },
    )
    figures = found["aggregations"]
    assert found["hits"] == []
    assert figures["ids"] == {
        "buckets": [{"value": "4624", "count": 20}, {"value": "4625", "count": 20}],
        "others": 0,
    }
    assert figures["top"] == {"buckets": [{"value": "Alice", "count": 10}], "others": 30}
    by_time = [(b["from"], b["count"]) for b in figures["by_time"]["buckets"] if b["count"]]
    assert by_time == [(at(n), 10) for n in (0, 10, 20, 30)]
    assert sum(1 for _ in figures["by_time"]["buckets"]) == 144  # empty ones too
    ports = figures["ports"]
    assert (ports["count"], ports["min"], ports["max"], ports["avg"]) == (40, 0, 390, 195)
    assert ports["percentiles"] == [{"percent": 50, "value": 195}, {"percent": 100, "value": 390}]
    assert figures["users"] == {"count": 31}
    assert figures["arns"] == {"buckets": [], "others": 0}


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({"query": "a:1 AND"}, "query_malformed", "character 8"),
        ({"query": "x", "cursor": "zzz"}, "malformed", "cursor"),
        ({"query": "x", "from": at(5), "to": at(1)}, "malformed", "before it begins"),
        ({"query": "x", "last": "1y"}, "malformed", ""),
        ({"query": "x", "limit": 100000}, "malformed", ""),
        ({"query": "x", "aggregations": {"a": {"kind": "terms"}}}, "malformed", ""),
        (
            {"last": "52w", "aggregations": {"a": {"kind": "histogram", "interval": "1s"}}},
            "malformed",
            "buckets",
        ),
    ],
)
async def test_refusals_say_what_and_where(
    client: httpx.AsyncClient, body: dict[str, Any], code: str, says: str
) -> None:
    answer = await client.post("/v1/search", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert says in answer.json()["detail"]


async def test_a_cursor_belongs_to_its_query(client: httpx.AsyncClient) -> None:
    cursor = (await find(client, "source:dc", limit=1))["next_cursor"]
    answer = await client.post("/v1/search", json={"query": "source:aws", "cursor": cursor})
    assert answer.status_code == 422


async def test_what_users_write_is_never_sql(client: httpx.AsyncClient) -> None:
    for nasty in ('a:"\'; DROP TABLE x; --"', "\"' OR '1'='1\"", 'f\\"x:1', "a'b:1", "$p0:$p1"):
        assert await count(client, nasty) == 0


async def test_a_tenant_sees_its_own_events_only(world: World, client: httpx.AsyncClient) -> None:
    token = world.token("tina", "service_team", tenant="t2")
    header = {"authorization": f"Bearer {token}"}
    body = {"query": "alice", **WINDOW, "aggregations": {"n": {"kind": "count"}}}
    found = (await client.post("/v1/search", json=body, headers=header)).json()
    assert {hit["tenant"] for hit in found["hits"]} == {"t2"}
    assert found["aggregations"]["n"]["count"] == 10
    foreign = (await find(client, "source:dc", limit=1))["hits"][0]["id"]
    assert (await client.get(f"/v1/events/{foreign}", headers=header)).status_code == 404
    outsider = world.token("carl", "customer_contact", tenant="t2")
    refused = await client.post(
        "/v1/search", json=body, headers={"authorization": f"Bearer {outsider}"}
    )
    assert refused.status_code == 403


async def test_an_extract_proves_itself(client: httpx.AsyncClient) -> None:
    body = {"query": "EventID:4625", **WINDOW, "sort": "time"}
    answer = await client.post("/v1/search/extract", json=body)
    assert answer.status_code == 200
    assert answer.headers["tocsin-sha256"] == hashlib.sha256(answer.content).hexdigest()
    assert answer.headers["tocsin-events"] == "20"
    assert answer.headers["tocsin-complete"] == "true"
    lines = [orjson.loads(line) for line in answer.content.splitlines()]
    assert [line["raw"] for line in lines] == [e for n, e in enumerate(WINDOWS) if n % 2]
    short = await client.post("/v1/search/extract", json={**body, "limit": 3})
    assert (short.headers["tocsin-events"], short.headers["tocsin-complete"]) == ("3", "false")


async def test_saved_queries(world: World, client: httpx.AsyncClient) -> None:
    saved = {"name": "failed logons", "search": {"query": "EventID:4625", **WINDOW, "limit": 5}}
    made = await client.post("/v1/saved-queries", json=saved)
    assert made.status_code == 201, made.text
    where = f"/v1/saved-queries/{made.json()['id']}"
    assert (await client.post("/v1/saved-queries", json=saved)).json()["code"] == "name_used"
    assert len((await client.post(f"{where}/search")).json()["hits"]) == 5
    bad = {"name": "bad", "search": {"query": "a:1 OR"}}
    assert (await client.post("/v1/saved-queries", json=bad)).json()["code"] == "query_malformed"

    changed = {"name": "logons", "search": {"query": "EventID:4624", **WINDOW}}
    assert (await client.put(where, json=changed)).status_code == 428
    old = {"If-Match": '"9"'}
    assert (await client.put(where, json=changed, headers=old)).status_code == 412
    now = {"If-Match": (await client.get(where)).headers["etag"]}
    assert (await client.put(where, json=changed, headers=now)).json()["version"] == 2

    other = {"authorization": f"Bearer {world.token('olga', 'service_team')}"}
    assert (await client.get(where, headers=other)).json()["name"] == "logons"
    assert (await client.delete(where, headers=other)).json()["code"] == "not_owner"
    assert [q["name"] for q in (await client.get("/v1/saved-queries")).json()["items"]] == [
        "logons"
    ]
    assert (await client.delete(where)).status_code == 204
    assert (await client.get(where)).status_code == 404


async def test_a_search_can_be_cancelled_and_its_process_is_replaced(
    world: World, client: httpx.AsyncClient
) -> None:
    before = await count(client, "alice")
    for process in search_processes():
        process.suspend()  # it hears nothing, and has to be ended
    ids = [str(uuid4()) for _ in range(5)]
    asked = [
        asyncio.create_task(client.post("/v1/search", json={**WINDOW, "search_id": i}))
        for i in ids[:4]
    ]

    async def all_run() -> bool:
        return len((await client.get("/v1/search")).json()["items"]) == 4

    await until(all_run)
    fifth = await client.post("/v1/search", json={**WINDOW, "search_id": ids[4]})
    assert (fifth.status_code, fifth.json()["code"]) == (429, "too_many_searches")
    assert fifth.headers["retry-after"]
    stranger = {"authorization": f"Bearer {world.token('olga', 'service_team')}"}
    assert (await client.delete(f"/v1/search/{ids[0]}", headers=stranger)).status_code == 404
    for i in ids[:4]:
        assert (await client.delete(f"/v1/search/{i}")).status_code == 204
    answers = await asyncio.gather(*asked)
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(409, "search_cancelled")] * 4
    assert await count(client, "alice") == before


def search_processes() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if any("shared.companion" in part for part in child.cmdline())
    ]


async def test_a_client_that_goes_away_takes_its_search_with_it(
    world: World, client: httpx.AsyncClient
) -> None:
    for process in search_processes():
        process.suspend()
    header = {"authorization": client.headers["authorization"]}
    async with httpx.AsyncClient(base_url=client.base_url, headers=header) as other:
        with pytest.raises(httpx.ReadTimeout):
            await other.post("/v1/search", json=WINDOW, timeout=0.5)

    async def none_runs() -> bool:
        return not (await client.get("/v1/search")).json()["items"]

    await until(none_runs)
