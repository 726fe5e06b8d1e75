"""Real attacks, SigmaHQ's rules: detections where they are expected and nowhere else."""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.ingest.envelope import keyed_event_id
from services.ingest.framing import frame_json
from services.ingest.sources import Source
from tests.support.waiting import until
from tests.system.test_kill_everything import person, rows
from tocsin.people import Person
from tocsin.reading import chunks, open_log
from tocsin.stack import LOCAL_SOURCE, Stack, StackOptions

pytestmark = [pytest.mark.system, pytest.mark.corpus, pytest.mark.timeout(280)]

Json = dict[str, Any]
RULES = (
    "rules", "rules-emerging-threats", "rules-threat-hunting", "rules-placeholder",
    "rules-compliance",
)  # fmt: skip


def places(folder: Path, names: list[str]) -> dict[UUID, tuple[str, int]]:
    """Return event id → (file, record) for what `tocsin send` makes of the files."""
    found = {}
    for name in names:
        identity = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        with open_log(folder / name) as log:
            for chunk in chunks(log):
                key = f"{identity}:{chunk.start}"
                for item in frame_json(chunk.body):
                    event = keyed_event_id(Source(id=LOCAL_SOURCE), key, item)
                    found[event] = (name, chunk.start + item.index)
    return found


async def test_hits_are_the_expected_ones(place: Path, corpus: Path) -> None:
    folder = corpus / "windows-attacks"
    expected = json.loads((folder / "expected-hits-provider-alias.json").read_text())["files"]
    wanted = sorted((f, record, rule) for f, hits in expected.items() for record, rule in hits)
    rules = os.pathsep.join(str(corpus / "sigma" / name) for name in RULES)
    options = StackOptions(
        root=place / "p",
        random_ports=True,
        environment={"TOCSIN_DETECT_RULES": rules, "TOCSIN_DETECT_SHIPPED_PACK": "false"},
    )
    async with Stack(options) as stack, httpx.AsyncClient(timeout=30, trust_env=False) as client:
        names = sorted(expected)
        said = await send(stack.home.root, [folder / name for name in names])
        assert "20,385 events accepted" in said

        async def all_evaluated() -> bool:
            done = await rows(stack, "SELECT coalesce(sum(events), 0) AS n FROM detect.blocks")
            return bool(done[0]["n"] >= 20_385)

        await until(all_evaluated, 120)
        where = places(folder, names)
        raised = [
            json.loads(row["body"])
            for row in await rows(stack, "SELECT body FROM detect.detections")
        ]
        hits = sorted((*where[UUID(d["event_ids"][0])], d["rule_id"]) for d in raised)
        assert hits == wanted
        assert len(hits) == 328
        bob = person(stack, client, "bob", "security_response")
        await incidents_name_rule_fields_and_values(bob, raised)
        again = await send(stack.home.root, [folder / names[0]])
        assert again.startswith("0 events accepted")


async def send(home: Path, files: list[Path]) -> str:
    """Run `tocsin send` as a user would; return what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin", "send", "--home", str(home), *map(str, files),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def incidents_name_rule_fields_and_values(bob: Person, raised: list[Json]) -> None:
    """Every severe detection is counted in an incident; those listed say why they fired."""
    severe = {d["detection_id"] for d in raised if d["level"] in {"high", "critical"}}
    assert severe

    async def incidents() -> list[Json]:
        rows = (await bob.get("cases", "/v1/incidents?limit=200"))["items"]
        found = [await bob.get("cases", f"/v1/incidents/{r['incident_id']}") for r in rows]
        counted = sum(i["detection_count"] for i in found)
        return found if counted >= len(severe) else []

    found = await until(incidents, every=1)
    listed = [d for i in found for d in i["detections"] if d["detection_id"] in severe]
    assert listed
    for detection in listed:
        assert detection["title"]
        assert detection["rule_id"]
        assert detection["reasons"], detection
        assert all(r["selection"] and "value" in r for r in detection["reasons"])
