"""Placements imported over HTTP: dry run, refusal with lines, skipping, and a list that follows."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from shared.ids import uuid7
from tests.integration.notify.stage import Desk, Stage, confirmed, scoped
from tests.support.waiting import until

pytestmark = pytest.mark.integration

ROWS = "tenant,server,role\ndelta,m1,primary\ngamma,m2,primary\n"


async def load(desk: Desk, rows: str, query: str = "", kind: str = "text/csv") -> Any:
    path = f"/v1/inventory/placements{query}"
    headers = {"Authorization": f"Bearer {desk.world.token('ines', 'policy_admin')}"}
    headers["Content-Type"] = kind
    return await desk.client.post(path, content=rows.encode(), headers=headers)


async def loaded(desk: Desk) -> Any:
    found = await desk.get("/v1/inventory")
    return found if found["version"] else None


async def stored(stage: Stage, version: str) -> bool:
    async with stage.world.engine("notify").connect() as connection:
        query = text("SELECT count(*) FROM inventory_loads WHERE version = :version")
        return bool(await connection.scalar(query, {"version": version}))


async def test_an_import_is_tried_refused_and_taken(stage: Stage) -> None:
    async with stage.running() as desk:  # the file is the small way in
        before = await until(lambda: loaded(desk), 30)
        assert (await load(desk, ROWS)).json()["code"] == "inventory_in_file"
        await until(lambda: stored(stage, before["version"]), 30)
    no_file: dict[str, Path | None] = {"inventory_file": None}
    async with stage.running(**no_file) as desk:
        assert (await until(lambda: loaded(desk), 30))["version"] == before["version"]
        tried = (await load(desk, ROWS, "?dry_run=true")).json()
        assert tried["counts"] == {"added": 1, "removed": 3, "unchanged": 1, "rejected": 0}
        assert [(p["tenant"], p["server"]) for p in tried["added"]] == [("delta", "m1")]
        bad = f"{ROWS}nobody,m1,primary\n"
        refused = await load(desk, bad)
        assert refused.status_code == 422
        assert refused.json()["rejected"] == [{"line": 4, "why": "tenant 'nobody' is not defined"}]
        assert (await load(desk, ROWS, kind="text/plain")).status_code == 415
        denied = await desk.call("POST", "/v1/inventory/placements", content=ROWS.encode())
        assert denied.status_code == 403
        assert (await desk.get("/v1/inventory"))["version"] == before["version"]
        taken = (await load(desk, bad, "?skip_rejected=true")).json()
        assert (taken["version"], taken["counts"]["rejected"]) == (tried["version"], 1)
        assert (await desk.get("/v1/inventory"))["version"] == tried["version"]
        incident = uuid7()
        await stage.say(confirmed(incident), scoped(incident, "m1"))
        listed = await desk.newest_list(incident)
        assert listed["inventory_version"] == tried["version"]
        explained = await desk.get(f"/v1/affected-lists/{listed['list_id']}")
        assert [t["tenant"] for t in explained["tenants"]] == ["delta"]
    async with stage.running(**no_file) as desk:  # and it is what runs after a restart
        assert (await until(lambda: loaded(desk), 30))["version"] == tried["version"]
