"""Inventory over HTTP: dry run, refusals with lines, skipping, corrections, what was known when."""

import json
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notify import inventory_store
from services.notify.inventory import Inventory, Kind
from services.notify.inventory_export import lines
from services.notify.inventory_intake import read_draft
from services.notify.inventory_keeper import InventoryKeeper
from services.notify.inventory_store import Recorded
from shared.clock import parse_instant, rfc3339
from shared.ids import uuid7
from tests.integration.notify.stage import Desk, Stage, confirmed, scoped
from tests.support.waiting import until

pytestmark = pytest.mark.integration

TENANTS = "name,region,email\n" + "".join(
    f"{name},{region},soc@{name}.example\n"
    for name, region in (("alpha", "US"), ("gamma", ""), ("delta", "EU"), ("epsilon", "EU"))
)
ROWS = "tenant,server,role\ndelta,m1,primary\ngamma,m2,primary\n"
NO_FILE: dict[str, Path | None] = {"inventory_file": None}


async def load(
    desk: Desk, rows: str, query: str = "", kind: str = "text/csv", of: str = "/placements"
) -> Any:
    path = f"/v1/inventory{of}{query}"
    headers = {"Authorization": f"Bearer {desk.world.token('ines', 'policy_admin')}"}
    headers["Content-Type"] = kind
    return await desk.client.post(path, content=rows.encode(), headers=headers)


async def loaded(desk: Desk) -> Any:
    found = await desk.get("/v1/inventory")
    return found if found["version"] else None


async def start(stage: Stage) -> str:
    """Take the stage's file into the database and return its version."""
    async with stage.running() as desk:
        found = await until(lambda: loaded(desk))
        return str(found["version"])


async def test_an_import_is_tried_refused_and_taken(stage: Stage) -> None:
    async with stage.running() as desk:  # the file is the small way in
        before = await until(lambda: loaded(desk))
        assert (await load(desk, ROWS)).json()["code"] == "inventory_in_file"
    async with stage.running(**NO_FILE) as desk:
        assert (await until(lambda: loaded(desk)))["version"] == before["version"]
        tried = (await load(desk, ROWS, "?dry_run=true")).json()
        rows = tried["kinds"]["placements"]
        assert rows["counts"] == {"added": 1, "removed": 3, "changed": 0, "unchanged": 1}
        assert [(p["tenant"], p["server"]) for p in rows["added"]] == [("delta", "m1")]
        bad = f"{ROWS}nobody,m1,primary\n"
        refused = await load(desk, bad)
        assert refused.status_code == 422
        why = "placement names tenant 'nobody', which is not defined"
        assert refused.json()["rejected"] == [{"line": 4, "why": why}]
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
    async with stage.running(**NO_FILE) as desk:  # and it is what runs after a restart
        assert (await until(lambda: loaded(desk)))["version"] == tried["version"]


async def test_kinds_come_one_by_one_or_together_and_are_merged_or_replaced(stage: Stage) -> None:
    await start(stage)
    async with stage.running(**NO_FILE) as desk:
        await until(lambda: loaded(desk))
        more = [
            {"kind": "datacenters", "name": "dub2", "region": "eu-west"},
            {"kind": "server_farms", "name": "mail-f2", "service": "mail", "datacenter": "dub2"},
            {"kind": "servers", "name": "m9", "server_farm": "mail-f2", "labels": {"env": "test"}},
            {"kind": "placements", "tenant": "delta", "server": "m9"},
        ]
        lines = "".join(json.dumps(row) + "\n" for row in more)
        taken = await load(desk, lines, "?merge=true", "application/x-ndjson", of="")
        assert taken.json()["counts"] == {
            "added": 4, "removed": 0, "changed": 0, "unchanged": 15, "rejected": 0,
        }  # fmt: skip
        scope = {"include": [{"tags": {"env": "test"}}]}
        seen = (await desk.call("POST", "/v1/scopes/preview", json=scope)).json()
        assert [t["tenant"] for t in seen["tenants"]] == ["delta"]
        # All servers but one that placements still stand on.
        less = await load(
            desk, "name,server_farm\nm1,mail-f1\nm3,mail-f1\nm9,mail-f2\n", of="/servers"
        )
        assert less.json()["rejected"] == [
            {"line": None, "why": "server 'm2' is not in the import, but placements name it"}
        ]
        whole = await load(desk, stage.file.read_text(), "", "application/yaml", of="")
        assert whole.status_code == 422  # it holds webhook secrets, and an import keeps none
        assert "needs secret_ref" in whole.json()["rejected"][0]["why"]
        plain = stage.file.read_text().replace("secret: ", "secret_ref: ")
        again = (await load(desk, plain, "", "application/yaml", of="")).json()
        assert again["counts"]["removed"] == 4
        assert again["kinds"]["servers"]["removed"][0]["tags"] == {"env": "test"}


async def test_a_correction_keeps_both_and_a_list_is_recomputed_as_it_was_known(
    stage: Stage,
) -> None:
    await start(stage)
    async with stage.running(**NO_FILE) as desk:
        first = await until(lambda: loaded(desk))
        incident = uuid7()
        await stage.say(confirmed(incident), scoped(incident, "m1"))
        listed = await desk.newest_list(incident)
        known = rfc3339(parse_instant(first["loaded_at"]))
        # It turns out that alpha had left m1 long before, and delta was there all along.
        correction = "tenant,server,to,data\nalpha,m1,2026-01-01T00:00:00Z,personal\ndelta,m1,,\n"
        corrected = (await load(desk, correction, "?merge=true")).json()
        assert corrected["kinds"]["placements"]["counts"]["changed"] == 1

        path = f"/v1/affected-lists/{listed['list_id']}/recomputed"
        own = await desk.get(path)
        assert (own["same"], own["inventory_version"]) == (True, listed["inventory_version"])
        then = await desk.get(f"{path}?known_at={known}")
        assert then["same"] is True
        now = await desk.get(f"{path}?known_at={rfc3339(stage.clock())}")
        assert (now["added"], now["removed"]) == (["delta"], ["alpha"])
        assert now["inventory_version"] == corrected["version"]
        before = rfc3339(parse_instant("2020-01-01T00:00:00Z"))
        none = await desk.call("GET", f"{path}?known_at={before}")
        assert (none.status_code, none.json()["code"]) == (404, "no_inventory_then")

        rows = await desk.get("/v1/inventory/placements/history?tenant=alpha")
        assert [(r["row"]["to"], r["recorded_to"] is None) for r in rows["items"][-2:]] == [
            (None, False),
            ("2026-01-01T00:00:00.000000Z", True),
        ]
        assert rows["items"][-2]["recorded_to"] == rows["items"][-1]["recorded_from"]
        as_known = await desk.get(f"/v1/inventory/placements/history?tenant=alpha&known_at={known}")
        assert [r["row"]["to"] for r in as_known["items"]] == [None]
        *_, alpha = (await desk.get("/v1/inventory/tenants/history?name=alpha"))["items"]
        assert alpha["row"]["region"] == "EU"
        revisions = (await desk.get("/v1/inventory/revisions"))["items"]
        assert [r["source"] for r in revisions[:1]] == ["import"]
        assert revisions[0]["recorded_by"] == "ines"
        preview = {"include": [{"server": "m1"}], "known_at": known}
        seen = (await desk.call("POST", "/v1/scopes/preview", json=preview)).json()
        assert "alpha" in [t["tenant"] for t in seen["tenants"]]
        # Whoever was told is told from what the list stood on, not from what is known now.
        assert (await desk.newest_list(incident))["list_id"] == listed["list_id"]
    async with stage.running(**NO_FILE) as desk:  # a restart reads both back
        await until(lambda: loaded(desk))
        assert (await desk.get(f"{path}?known_at={known}"))["same"] is True


def noting_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list into which the versions go that are read as a whole from now on."""
    found: list[str] = []
    whole = inventory_store.load

    async def noted(connection: AsyncConnection, version: Recorded) -> Inventory:
        found.append(version.version)
        return await whole(connection, version)

    monkeypatch.setattr(inventory_store, "load", noted)
    return found


async def test_drafts_and_signatures_read_of_an_old_inventory_the_tenants_on_the_list_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(stage)
    incident = uuid7()
    async with stage.running(**NO_FILE) as desk:
        await until(lambda: loaded(desk), 30)
        await stage.say(confirmed(incident), scoped(incident, "m3"))
        listed = await desk.newest_list(incident)
        newer = (await load(desk, "tenant,server\nalpha,m2\n", "?merge=true")).json()["version"]
        assert newer != listed["inventory_version"]
    read_whole = noting_loads(monkeypatch)
    async with stage.running(**NO_FILE) as desk:
        await until(lambda: loaded(desk), 30)
        drafts = await desk.get(f"/v1/incidents/{incident}/drafts")
        (draft,) = drafts["customers"]
        await desk.get(f"/v1/incidents/{incident}/drafts/{draft['draft_id']}")
        assert (await desk.approve(listed["list_id"])).status_code == 200
        await desk.all_are(incident, "sent")
    assert set(read_whole) == {newer}


async def test_replicas_run_the_same_revision(stage: Stage) -> None:
    await start(stage)
    async with stage.running(**NO_FILE) as one, stage.running(**NO_FILE) as two:
        await until(lambda: loaded(one))
        await until(lambda: loaded(two))
        version = (await load(one, ROWS)).json()["version"]

        async def followed() -> bool:
            return bool((await two.get("/v1/inventory"))["version"] == version)

        await until(followed)
        # The other one records on top of it, not beside it.
        assert (await load(two, ROWS)).json()["counts"]["unchanged"] >= 2


async def test_what_another_replica_recorded_is_followed_by_what_differs(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start(stage)
    read_whole = noting_loads(monkeypatch)
    engine = stage.world.engine("notify")
    one, two, three = (InventoryKeeper(None, engine, stage.clock) for _ in range(3))
    await one.refresh()
    await two.refresh()
    # Rows that come, go and are corrected; names that change; all of it once more.
    changes: list[tuple[str, Kind, bool]] = [
        ("tenant,server,role\ndelta,m1,primary\ngamma,m2,primary\n", "placements", True),
        ("tenant,server,data\ndelta,m1,personal\nalpha,m3,\n", "placements", False),
        (TENANTS, "tenants", True),
        ("tenant,server\ndelta,m1\nepsilon,m2\n", "placements", False),
    ]
    for rows, kind, whole in changes:
        draft = read_draft(BytesIO(rows.encode()), "csv", kind)
        done = await one.bring_in(draft, whole=whole, source="import", by="ines")
        assert done.taken, done.change.rejected
        await two.refresh()
        assert as_rows(two) == as_rows(one)
    assert read_whole == [first, first]
    await three.refresh()  # and it is what stands there
    assert as_rows(three) == as_rows(two)
    assert any('"epsilon"' in row for row in as_rows(three))
    # Put back to an earlier state, the database is not what it was followed to.
    assert two.recorded is not None
    last = two.recorded.revision
    connection = await asyncpg.connect(stage.world.admin_dsn)
    try:
        for table in ("notify.inventory_placements", "notify.inventory_entries"):
            await connection.execute(f"DELETE FROM {table} WHERE recorded_from = $1", last)  # noqa: S608
            undone = f"UPDATE {table} SET recorded_to = NULL WHERE recorded_to = $1"  # noqa: S608
            await connection.execute(undone, last)
        await connection.execute("DELETE FROM notify.inventories WHERE revision = $1", last)
    finally:
        await connection.close()
    await two.refresh()
    assert two.recorded.revision == last - 1
    assert read_whole[-1] == two.recorded.version
    assert not any('"epsilon","server"' in row for row in as_rows(two))


def as_rows(keeper: InventoryKeeper) -> list[str]:
    """Return the rows; those of a server stand in no certain order."""
    assert keeper.current is not None
    return sorted(b"".join(lines(keeper.current)).decode().splitlines())


async def test_a_document_from_before_there_were_rows_becomes_rows(stage: Stage) -> None:
    document = stage.file.read_text().replace("secret: ", "secret_ref: ")
    at = stage.clock() - timedelta(days=9)
    connection = await asyncpg.connect(stage.world.admin_dsn)
    try:
        await connection.execute(
            "SET search_path TO notify; TRUNCATE inventories, affected_lists, affected_tenants,"
            " inventory_loads, inventory_entries, inventory_placements CASCADE"
        )
        await connection.execute(
            "INSERT INTO inventories (version, document, imported_at) VALUES ('old', $1, $2)",
            document,
            at,
        )
        await connection.execute(
            "INSERT INTO inventory_loads (version, loaded_at) VALUES ('old', $1)", at
        )
    finally:
        await connection.close()
    async with stage.running(**NO_FILE) as desk:
        found = await until(lambda: loaded(desk))
        assert (found["source"], found["counts"]["placements"]) == ("document", 4)
        known = rfc3339(at + timedelta(days=1))
        preview = {"include": [{"server": "m1"}], "known_at": known}
        seen = (await desk.call("POST", "/v1/scopes/preview", json=preview)).json()
        assert seen["inventory_version"] == "old"
