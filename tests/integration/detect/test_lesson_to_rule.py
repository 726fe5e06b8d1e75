"""R14b with nothing played: what was overlooked, the lesson, the rule, the log store, the command.

Ingest with its log store, detect and cases run; what they say to each other goes over the broker.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.cases.app import create_app as create_cases
from services.cases.settings import Settings as CasesSettings
from services.detect.app import create_app as create_detect
from services.detect.settings import Settings as DetectSettings
from shared.contracts.detect import DetectionRaisedV1
from tests.integration.cases.conversation import People
from tests.support.log_store import NOW, is_stored, publish, sealed, storing
from tests.support.waiting import until
from tests.support.world import World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

RULE = "51111111-1111-4111-8111-111111111111"
FILTER = "52222222-2222-4222-8222-222222222222"
LESSON_RULE = f"""
title: Mass renaming
id: {RULE}
level: high
logsource: {{category: application}}
detection:
  s: {{action: renamed, 'user|expand': '%people%'}}
  condition: s
"""
FILTER_TEXT = f"""
title: The archive renames
id: {FILTER}
logsource: {{category: application}}
filter:
  rules: [{RULE}]
  s: {{user: archive}}
  condition: not s
"""
OVERLOOKED = [
    *({"action": "renamed", "user": user} for user in ("eve", "eve", "archive", "robot")),
    *({"action": "read", "user": "eve", "n": n} for n in range(20)),
]


@dataclass
class Cast:
    """Everybody's way in: people at cases, and clients of detect and ingest."""

    people: People
    detect: httpx.AsyncClient
    ingest: httpx.AsyncClient
    world: World

    async def ask(self, who: str, path: str, body: object | None = None) -> Any:
        method = "GET" if body is None else "POST"
        headers = self.people.bearer(who)
        answer = await self.detect.request(method, path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    async def backtests(self, rule_id: str) -> list[str]:
        """Run `tocsin rules backtest` for *rule_id*; return what it prints."""
        span = [(NOW + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S") for days in (-1, 1)]
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tocsin", "rules", "backtest", rule_id,
            "--from", span[0], "--to", span[1], "--url", str(self.detect.base_url),
            "--token", self.world.token("dan", "detection_engineer"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(running.communicate(), 90)
        assert running.returncode == 0, said.decode()
        return said.decode().splitlines()

    async def in_force(self, rule_id: str, revision: int = 1) -> None:
        """Have somebody else approve, and activate."""
        await self.ask("rita", f"/v1/rules/{rule_id}/approve", {"revision": revision})
        await self.ask("dan", f"/v1/rules/{rule_id}/activate", {})

    async def version(self) -> str:
        """Return the version of the rule in force, "" while there is none."""
        items = (await self.ask("dan", "/v1/rules"))["items"]
        return next((str(item["version"]) for item in items if item["id"] == RULE), "")

    async def raised(self) -> list[str]:
        """Return the users that detections of the rule were about."""
        found = [
            DetectionRaisedV1.from_json(body)
            for subject, _, body in await self.world.messages("DETECTIONS")
            if subject == DetectionRaisedV1.SUBJECT
        ]
        return sorted(
            str(reason.value)
            for each in found
            for reason in each.reasons
            if each.rule_id == RULE and reason.field == "user"
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cast(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    rules = tmp_path_factory.mktemp("rules")
    (rules / "placeholders.yml").write_text("people: [eve, archive]\n")
    detect = world.settings(
        DetectSettings, rules=str(rules), shipped_pack=False, reload_seconds=0.2, workers=0
    )
    async with (
        storing(world, tmp_path_factory.mktemp("log")) as ingest,
        world.running(create_detect(detect)) as at_detect,
        world.running(create_cases(world.settings(CasesSettings))) as at_cases,
    ):
        at_detect.timeout = httpx.Timeout(60)
        yield Cast(People(world, at_cases), at_detect, ingest, world)


async def test_from_what_was_overlooked_to_a_rule_and_a_filter(cast: Cast, world: World) -> None:
    await publish(world, sealed(OVERLOOKED))
    await is_stored(cast.ingest, len(OVERLOOKED))
    _, review = await cast.people.in_review()
    await cast.people.reviews(
        "dan", review, "record-lesson", category="technical_lapse",
        text="Nothing watches renaming.", proposed_rule=LESSON_RULE,
    )  # fmt: skip

    async def proposed() -> Any:
        items = (await cast.ask("dan", "/v1/managed-rules?state=proposed"))["items"]
        return [item for item in items if item["rule_id"] == RULE]

    (made,) = await until(proposed)
    assert made["origin"] == "lesson"
    first, *samples = await cast.backtests(RULE)
    assert first == f"3 matches in {len(OVERLOOKED)} events (complete)"
    assert len(samples) == 3
    assert await cast.raised() == []  # trying a rule raises nothing
    await cast.in_force(RULE)
    whole = await until(cast.version)
    await _happens(cast, "eve", "archive", "robot")
    assert await cast.raised() == ["archive", "eve"]

    await is_stored(cast.ingest, len(OVERLOOKED) + 3)
    body = {"text": FILTER_TEXT, "reason": "the archive renames by design"}
    made = await cast.ask("dan", "/v1/rule-proposals", body)
    assert (made["rule_id"], made["state"]) == (FILTER, "proposed")
    first, *samples = await cast.backtests(FILTER)
    assert first == f"leaves out 2 of 5 matches in {len(OVERLOOKED) + 3} events (complete)"
    assert len(samples) == 2
    await cast.in_force(FILTER)

    async def narrowed() -> bool:
        return await cast.version() not in ("", whole)

    await until(narrowed)
    await _happens(cast, "archive", "eve")
    assert await cast.raised() == ["archive", "eve", "eve"]
    await cast.ask("dan", f"/v1/rules/{FILTER}/retire", {"reason": "the archive is gone"})

    async def whole_again() -> bool:
        return bool(await cast.version() == whole)

    await until(whole_again)


async def _happens(cast: Cast, *users: str) -> None:
    """Have these rename, in one block, and return when eve's is detected."""
    before = (await cast.raised()).count("eve")
    await publish(cast.world, sealed([{"action": "renamed", "user": user} for user in users]))

    async def more() -> bool:
        return (await cast.raised()).count("eve") > before

    await until(more)
