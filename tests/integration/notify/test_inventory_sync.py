"""The inventory fetched over HTTP: schedule, ETag, refusals, and where it never goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.notify import inventory_intake
from tests.integration.notify.stage import Desk, Stage
from tests.integration.notify.test_import import start
from tests.support.waiting import until

pytestmark = pytest.mark.integration

ROWS = (
    '{"kind": "placements", "tenant": "delta", "server": "m1"}\n'
    '{"kind": "placements", "tenant": "gamma", "server": "m2"}\n'
)


class Source:
    """An inventory system that answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.end = ""
        self.status, self.headers, self.body = 200, {"etag": '"one"'}, ROWS
        self.asked: list[dict[str, str]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        self.asked.append(fields)
        known = "etag" in self.headers and self.headers["etag"] == fields.get("if-none-match")
        status, body = (304, "") if known else (self.status, self.body)
        headers = {"content-length": str(len(body)), "connection": "close", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} so\r\n{lines}\r\n{body}".encode())
        await writer.drain()
        writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def source() -> AsyncIterator[Source]:
    made = Source()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    async with server:
        made.end = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made


def settings(source: Source, name: str, allow: bool = True, **more: Any) -> dict[str, Any]:
    url = f"http://{source.end}/inventory.ndjson?key=secret"
    return {
        "inventory_file": None,
        "inventory_sync": [{"name": name, "url": url, "seconds": 3600, **more}],
        "inventory_sync_allow": [source.end] if allow else [],
    }


async def result(desk: Desk) -> Any:
    (item,) = (await desk.get("/v1/inventory/syncs"))["items"]
    return item if item["outcome"] else None


async def sync(desk: Desk, name: str, query: str = "") -> Any:
    path = f"/v1/inventory/syncs/{name}{query}"
    answer = await desk.call("POST", path, who="ines", role="policy_admin")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_source_is_fetched_when_its_turn_comes_and_only_if_it_changed(
    stage: Stage, source: Source, tmp_path: Path
) -> None:
    await start(stage)
    token = tmp_path / "token"
    token.write_text("t0p\n")
    async with stage.running(**settings(source, "cmdb", token_file=token)) as desk:
        first = await until(lambda: result(desk))
        assert first["outcome"] == "changed"
        assert first["detail"]["changes"]["placements"]["removed"] == 3
        assert (first["host"], first["failures"]) == ("127.0.0.1", 0)
        assert "secret" not in json.dumps(first)
        assert first["next_at"] > first["checked_at"]
        assert source.asked[0]["authorization"] == "bearer t0p"
        assert "if-none-match" not in source.asked[0]
        version = (await desk.get("/v1/inventory"))["version"]
        assert (await desk.get("/v1/inventory"))["source"] == "sync:cmdb"

        assert (await sync(desk, "cmdb"))["outcome"] == "unchanged"
        assert source.asked[-1]["if-none-match"] == '"one"'

        source.headers, source.body = {"etag": '"two"'}, ROWS.replace("m2", "m3")
        tried = await sync(desk, "cmdb", "?dry_run=true")
        assert tried["kinds"]["placements"]["counts"]["added"] == 1
        assert (await desk.get("/v1/inventory"))["version"] == version
        assert (await sync(desk, "cmdb"))["version"] == tried["version"]
        assert (await desk.get("/v1/inventory"))["version"] == tried["version"]
        metrics = (await desk.client.get("/metrics")).text
        assert 'tocsin_notify_inventory_sync_total{outcome="changed",source="cmdb"} 2.0' in metrics
        denied = await desk.call("POST", "/v1/inventory/syncs/cmdb")
        assert denied.status_code == 403
        unknown = await desk.call("POST", "/v1/inventory/syncs/x", who="i", role="policy_admin")
        assert unknown.status_code == 404


async def test_what_cannot_be_taken_changes_nothing_and_is_shown(
    stage: Stage, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await start(stage)
    source.body = ROWS + '{"kind": "placements", "tenant": "nobody", "server": "m2"}\n'
    async with stage.running(**settings(source, "bad")) as desk:
        refused = await until(lambda: result(desk))
        assert (refused["outcome"], refused["failures"]) == ("refused", 1)
        (row,) = refused["detail"]["first"]
        assert (row["line"], "'nobody'" in row["why"]) == (3, True)
        # It is asked for again in full: what was refused was not taken.
        await sync(desk, "bad")
        assert "if-none-match" not in source.asked[-1]

        for status, headers, why in (
            (302, {"location": "http://169.254.169.254/"}, "redirects"),
            (503, {}, "HTTP 503"),
            (304, {}, "HTTP 304"),  # though nothing was known that could be unchanged
            (200, {"content-encoding": "gzip"}, "packed"),
            (200, {"content-length": "9999"}, "RemoteProtocolError"),
        ):
            source.status, source.headers = status, dict(headers)
            failed = await sync(desk, "bad")
            assert (failed["outcome"], why in failed["detail"]["why"]) == ("failed", True), failed
        source.status, source.headers = 200, {}
        monkeypatch.setattr(inventory_intake, "MAX_DOCUMENT", 50)
        assert "at most" in (await sync(desk, "bad"))["detail"]["why"]
        assert (await result(desk))["failures"] == 8
        assert (await desk.get("/v1/inventory"))["version"] == before


async def test_only_what_is_allowed_may_be_private(stage: Stage, source: Source) -> None:
    await start(stage)
    async with stage.running(**settings(source, "near", allow=False)) as desk:
        failed = await until(lambda: result(desk))
        assert failed["outcome"] == "failed"
        assert "only https" in failed["detail"]["why"]
        assert source.asked == []
