"""`tocsin inventory`: tried, taken, refused with lines; out again as rows; shown as known then."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from shared.clock import rfc3339
from tests.integration.notify.stage import Desk, Stage
from tests.integration.notify.test_import import NO_FILE, loaded
from tests.support.waiting import until
from tocsin.cli import app
from tocsin.service_client import RefusedError

pytestmark = pytest.mark.integration


async def run(desk: Desk, role: str, *arguments: str) -> Result:
    """Run the command as somebody of *role* does from elsewhere."""
    where = ["--url", str(desk.client.base_url), "--token", desk.world.token("ines", role)]
    command = ["inventory", *arguments, *where]
    return await asyncio.to_thread(CliRunner().invoke, app, command)


async def rows(desk: Desk, *arguments: str) -> list[dict[str, Any]]:
    done = await run(desk, "auditor", *arguments)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_in_and_out_and_what_was_known_when(stage: Stage, tmp_path: Path) -> None:
    whole, more = tmp_path / "estate.yml", tmp_path / "more.csv"
    whole.write_text(stage.file.read_text().replace("secret: ", "secret_ref: "))
    more.write_text("tenant,server\ndelta,m1\n")
    async with stage.running(**NO_FILE) as desk:
        tried = await run(desk, "policy_admin", "import", str(whole), "--dry-run")
        assert tried.exit_code == 0, tried.output
        assert '+ tenants {"name": "alpha"' in tried.stdout
        assert "would become version" in tried.stdout
        assert (await desk.get("/v1/inventory"))["version"] is None
        assert (await run(desk, "policy_admin", "import", str(whole))).exit_code == 0
        await until(lambda: loaded(desk))
        first = rfc3339(stage.clock())

        merge = ["import", str(more), "--kind", "placements", "--merge"]
        taken = await run(desk, "policy_admin", *merge)
        assert taken.exit_code == 0, taken.output
        assert '+ placements {"tenant": "delta", "server": "m1", "role": "primary"}' in taken.stdout
        assert "nothing changes" in (await run(desk, "policy_admin", *merge)).stdout

        more.write_text("tenant,server\nnobody,m1\n")
        assert (await run(desk, "policy_admin", *merge, "--dry-run")).exit_code == 1
        refused = await run(desk, "policy_admin", *merge)
        assert f"{more}:2: placement names tenant 'nobody'" in refused.output
        assert isinstance(refused.exception, RefusedError)
        denied = await run(desk, "service_team", *merge)
        assert isinstance(denied.exception, RefusedError)

        # What comes out is what goes in, as of now and as of then.
        out = tmp_path / "all.ndjson"
        assert (await run(desk, "auditor", "export", str(out))).exit_code == 0
        same = await run(desk, "policy_admin", "import", str(out), "--dry-run")
        assert "nothing changes" in same.stdout, same.output
        now, then = await rows(desk, "export"), await rows(desk, "export", "--at", first)
        assert [row for row in now if row not in then] == [
            {"kind": "placements", "tenant": "delta", "server": "m1", "role": "primary"}
        ]
        placed = ["show", "--tenant", "delta"]
        assert [row["server"] for row in await rows(desk, *placed)] == ["m1", "m3"]
        assert [row["server"] for row in await rows(desk, *placed, "--at", first)] == ["m3"]
        (alpha,) = await rows(desk, "show", "--kind", "tenants", "--name", "alpha")
        assert alpha["region"] == "EU"
        (revision,) = await rows(desk, "show", "--at", first)
        assert (revision["revision"], revision["recorded_by"]) == (1, "ines")
        assert (await rows(desk, "show"))[0]["revision"] == 2
        early = await run(desk, "auditor", "export", "--at", "2020-01-01T00:00:00Z")
        assert isinstance(early.exception, RefusedError)
        assert "No inventory was known" in str(early.exception)
