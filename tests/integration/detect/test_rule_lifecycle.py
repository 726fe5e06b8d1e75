"""A rule's way from lesson or proposal into force and out again; noise, with all counts kept."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
import pytest_asyncio
from rich.console import Console

from services.detect.app import create_app
from services.detect.settings import Settings
from services.ingest.blocks import build_block
from services.ingest.envelope import Enveloper, Limits, Sealed
from services.ingest.framing import frame_json
from services.ingest.sources import Source
from shared.clock import utc_now
from shared.cloudevents import Outgoing, outgoing
from shared.contracts.cases import IncidentConfirmedV1, IncidentDismissedV1, LessonLearnedV1
from shared.contracts.detect import DetectionRaisedV1, ReplayRequestedV1
from shared.contracts.ingest import (
    REPLAY_BLOCK_SUBJECT,
    REPLAY_ID_HEADER,
    REPLAY_PURPOSE_HEADER,
    Logsource,
    ReplayFinishedV1,
)
from tests.support.waiting import until
from tests.support.world import World
from tocsin.rules_remote import Desk as RemoteDesk
from tocsin.rules_remote import import_rules

pytestmark = pytest.mark.integration

NEW = "41111111-1111-4111-8111-111111111111"
FILE = "42222222-2222-4222-8222-222222222222"
SOURCE = Source(
    id="api", tenant="t1", service="api", server="a1",
    logsource=Logsource(category="application", service="api"),
)  # fmt: skip


def rule(identity: str, action: str, title: str = "A rule") -> str:
    return (
        f"title: {title}\nid: {identity}\nlevel: high\nstatus: test\n"
        f"logsource: {{category: application}}\n"
        f"detection: {{s: {{action: {action}}}, condition: s}}\n"
    )


def block(action: str, host: str = "web-1", count: int = 1) -> Outgoing:
    enveloper = Enveloper(SOURCE, None, utc_now(), Limits(64 * 1024, 32))
    lines = b"\n".join(
        orjson.dumps({"action": action, "host": host, "n": str(uuid4())}) for _ in range(count)
    )
    sealed = [s for i in frame_json(lines) if isinstance(s := enveloper.seal(i), Sealed)]
    return build_block(sealed, utc_now())


class Desk:
    """People at detect's API."""

    def __init__(self, world: World, client: httpx.AsyncClient) -> None:
        self._world, self._client = world, client

    def remote(self, who: str) -> RemoteDesk:
        return RemoteDesk(str(self._client.base_url), self._world.token(who, "detection_engineer"))

    async def ask(
        self, who: str, method: str, path: str, body: object = None, role: str = ""
    ) -> httpx.Response:
        token = self._world.token(who, role or "detection_engineer")
        headers = {"Authorization": f"Bearer {token}"}
        return await self._client.request(method, path, json=body, headers=headers)

    async def get(self, path: str) -> Any:
        answer = await self.ask("ann", "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def does(self, who: str, path: str, body: object = None) -> Any:
        answer = await self.ask(who, "POST", path, body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def refused(self, who: str, path: str, body: object = None) -> list[str]:
        answer = await self.ask(who, "POST", path, body)
        assert answer.status_code == 409, answer.text
        return [unmet["code"] for unmet in answer.json()["unmet"]]

    async def rule_ids(self) -> set[str]:
        return {item["id"] for item in (await self.get("/v1/rules?limit=1000"))["items"]}


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def desk(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    folder: Path = tmp_path_factory.mktemp("rules")
    (folder / "r.yml").write_text(rule(FILE, "export", "From a file"))
    settings = world.settings(Settings, rules=str(folder), shipped_pack=False, reload_seconds=0.2)
    async with world.running(create_app(settings)) as client:
        desk = Desk(world, client)
        await until(lambda: _ready(client))
        yield desk


async def _ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == 200


async def found(world: World, rule_id: str) -> list[DetectionRaisedV1]:
    raised = [
        DetectionRaisedV1.from_json(data)
        for subject, _, data in await world.messages("DETECTIONS")
        if subject == DetectionRaisedV1.SUBJECT
    ]
    return [detection for detection in raised if detection.rule_id == rule_id]


async def test_a_rule_is_proposed_tried_approved_in_force_tuned_and_retired(
    world: World, desk: Desk
) -> None:
    text = rule(NEW, "deleted")
    made = await desk.does("ann", "/v1/rule-proposals", {"text": text, "reason": "we need it"})
    assert (made["rule_id"], made["state"]) == (NEW, "proposed")
    assert await desk.refused("ann", f"/v1/rules/{NEW}/approve", {"revision": 1}) == [
        "own_rule", "not_backtested",
    ]  # fmt: skip
    assert await desk.refused("ann", f"/v1/rules/{NEW}/activate") == ["not_approved"]
    await _backtest(world, desk, matches=2)
    assert (await desk.does("bob", f"/v1/rules/{NEW}/approve", {"revision": 1}))["state"] == (
        "approved"
    )
    assert NEW not in await desk.rule_ids()
    assert (await desk.does("ann", f"/v1/rules/{NEW}/activate"))["state"] == "active"

    async def in_force() -> bool:
        return NEW in await desk.rule_ids()

    await until(in_force)
    async with world.bus("ingest") as bus:
        await bus.publish(block("deleted"), stream="EVENTS")
        await until(lambda: found(world, NEW))

    tuned = rule(NEW, "removed", "A better rule")
    await desk.does("bob", "/v1/rule-proposals", {"text": tuned, "reason": "too loud so far"})
    body = {"revision": 2, "without_backtest": "the attack goes on"}
    await desk.does("ann", f"/v1/rules/{NEW}/approve", body)
    assert (await desk.does("bob", f"/v1/rules/{NEW}/activate"))["state"] == "tuned"
    shown = await desk.get(f"/v1/rules/{NEW}/history")
    assert [event["type"] for event in shown["history"]] == [
        "proposed", "backtest_requested", "backtested", "approved", "activated",
        "proposed", "approved", "activated",
    ]  # fmt: skip
    assert "+title: A better rule" in shown["history"][5]["diff"]
    assert "-title: A rule" in shown["history"][5]["diff"]

    await desk.does("ann", f"/v1/rules/{NEW}/retire", {"reason": "not needed"})
    await until(lambda: _gone(desk, NEW))


async def _gone(desk: Desk, rule_id: str) -> bool:
    return rule_id not in await desk.rule_ids()


async def _backtest(world: World, desk: Desk, matches: int) -> None:
    """Play ingest: the request comes by, stored blocks and their end go back."""
    period = {"from_time": "2026-01-01T00:00:00Z", "to_time": "2026-01-02T00:00:00Z"}
    asked = await desk.does("ann", f"/v1/rules/{NEW}/backtest", period)

    async def request() -> list[ReplayRequestedV1]:
        return [
            ReplayRequestedV1.from_json(data)
            for subject, _, data in await world.messages("DETECTIONS")
            if subject == ReplayRequestedV1.SUBJECT
        ]

    (wanted,) = await until(request)
    assert (str(wanted.replay_id), wanted.purpose) == (asked["replay_id"], "backtest")
    stored = block("deleted", count=matches)
    headers = {
        **stored.headers, REPLAY_ID_HEADER: str(wanted.replay_id),
        REPLAY_PURPOSE_HEADER: "backtest",
    }  # fmt: skip
    async with world.bus("ingest") as bus:
        for number in range(2):  # the same block twice counts once
            again = Outgoing(f"replay-{number}", REPLAY_BLOCK_SUBJECT, stored.payload, headers)
            await bus.publish(again, stream="REPLAYS")
        finished = ReplayFinishedV1(
            event_id=uuid4(), occurred_at=utc_now(), replay_id=wanted.replay_id,
            purpose="backtest", outcome="complete", events=matches, blocks=1,
        )  # fmt: skip
        await bus.publish(outgoing(finished, source="ingest"), stream="REPLAYS")

    async def tried() -> Any:
        return (await desk.get(f"/v1/rules/{NEW}/history"))["backtest"]

    result = await until(tried)
    assert (result["matches"], result["events"], len(result["samples"])) == (matches,) * 3
    assert await found(world, NEW) == []  # a back-test raises nothing


async def test_a_rule_of_a_file_can_be_retired_and_comes_back(desk: Desk) -> None:
    await desk.does("ann", f"/v1/rules/{FILE}/retire", {"reason": "too loud here"})
    await until(lambda: _gone(desk, FILE))
    skipped = (await desk.get("/v1/rules/errors"))["skipped"]
    assert [item["reason"] for item in skipped] == ["retired"]
    await desk.does("ann", f"/v1/rules/{FILE}/reinstate", {"reason": "quiet now"})

    async def back() -> bool:
        return FILE in await desk.rule_ids()

    await until(back)


async def test_a_bad_rule_is_refused_with_its_line(desk: Desk) -> None:
    body = {"text": "title: x\nid: 1\n", "reason": "we need it"}
    answer = await desk.ask("ann", "POST", "/v1/rule-proposals", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "rule_rejected")
    assert "line 1: 'logsource' must be a map" in answer.text
    outsider = await desk.ask("eve", "POST", "/v1/rule-proposals", body, role="auditor")
    assert outsider.status_code == 403


def lesson(text: str) -> Outgoing:
    message = LessonLearnedV1(
        event_id=uuid4(), occurred_at=utc_now(), review_id=uuid4(), incident_id=uuid4(),
        version=3, position=9, actor="rita", lesson_id=uuid4(), category="technical_lapse",
        text="We saw no mass renaming", proposed_rule=text,
    )  # fmt: skip
    return outgoing(message, source="cases")


def verdict(rule_id: str, real: bool, incident: UUID | None = None) -> Outgoing:
    common: dict[str, Any] = {
        "event_id": uuid4(), "occurred_at": utc_now(), "incident_id": incident or uuid4(),
        "number": "TOCSIN-2026-0001", "version": 5, "position": 20, "actor": "bob",
        "rule_ids": [rule_id],
    }  # fmt: skip
    if not real:
        dismissed = IncidentDismissedV1(**common, classification="false_positive", reason="no")
        return outgoing(dismissed, source="cases")
    now = datetime.now(UTC)
    confirmed = IncidentConfirmedV1(
        **common, confirmed_at=now, aware_at=now, detected_at=now, severity="SEV2", title="t",
        summary="s", potential_impact="p",
    )  # fmt: skip
    return outgoing(confirmed, source="cases")


async def test_r14b_a_lesson_becomes_a_proposal(world: World, desk: Desk) -> None:
    identity = "43333333-3333-4333-8333-333333333333"
    async with world.bus("cases") as bus:
        await bus.publish(lesson("no rule at all"), stream="CASES")
        await bus.publish(lesson(rule(identity, "renamed")), stream="CASES")

    async def proposals() -> Any:
        items = (await desk.get("/v1/managed-rules?state=proposed"))["items"]
        return [item for item in items if item["rule_id"] == identity]

    (made,) = await until(proposals)
    assert made["origin"] == "lesson"
    first = (await desk.get(f"/v1/rules/{identity}/history"))["history"][0]
    assert first["actor"] == "rita"
    assert {"incident_id", "lesson_id"} <= set(first)


async def test_r04a_false_positives_lower_precision_rank_and_risk(world: World, desk: Desk) -> None:
    before = await _ranked(desk)
    async with world.bus("cases") as bus:
        for _ in range(3):
            await bus.publish(verdict(FILE, real=False), stream="CASES")

    async def judged() -> bool:
        return bool((await _ranked(desk))["false"] == 3)

    await until(judged)
    after = await _ranked(desk)
    assert after["lower_bound"] < before["lower_bound"]
    assert after["rank"] < before["rank"]
    types = [e["type"] for e in (await desk.get(f"/v1/rules/{FILE}/history"))["history"]]
    assert types.count("precision_changed") == 3
    async with world.bus("ingest") as ingest:
        await ingest.publish(block("export", "web-9"), stream="EVENTS")
    (raised,) = await until(lambda: found(world, FILE))
    assert raised.risk_score < 70
    assert raised.verdict_hint == "suspicious"


async def _ranked(desk: Desk) -> Any:
    items = (await desk.get("/v1/rule-ranking"))["items"]
    return next(item for item in items if item["rule_id"] == FILE)


async def test_r03_a_tier_reorders_the_queue(world: World, desk: Desk) -> None:
    async with world.bus("ingest") as bus:
        for host in ("tier-a", "tier-b"):
            await bus.publish(block("export", host), stream="EVENTS")

    async def hosts() -> list[str]:
        items = (await desk.get("/v1/detections?order=risk&limit=500"))["items"]
        return [e["value"] for i in items for e in i["entities"] if e["value"].startswith("tier-")]

    async def both() -> bool:
        return len(await hosts()) == 2

    await until(both)
    for host in ("tier-a", "tier-b"):
        answer = await desk.ask("ann", "PUT", f"/v1/asset-tiers/host/{host}", {"tier": 4})
        assert answer.json()["rescored"] == 1
    answer = await desk.ask("ann", "PUT", "/v1/asset-tiers/host/TIER-A", {"tier": 1})
    assert answer.status_code == 200
    assert (await hosts())[0] == "tier-a"
    await desk.ask("ann", "PUT", "/v1/asset-tiers/host/tier-a", {"tier": 4})
    await desk.ask("ann", "PUT", "/v1/asset-tiers/host/tier-b", {"tier": 1})
    assert (await hosts())[0] == "tier-b"


async def test_r26b_what_is_suppressed_is_recorded_and_counted_but_not_told(
    world: World, desk: Desk
) -> None:
    soon = (utc_now() + timedelta(days=1)).isoformat()
    wanted = {"rule_id": FILE, "entity_type": "host", "entity_value": "noisy",
              "reason": "a load test until tomorrow", "expires_at": soon}  # fmt: skip
    made = await desk.does("ann", "/v1/suppressions", wanted)
    async with world.bus("ingest") as bus:
        await bus.publish(block("export", "noisy", 3), stream="EVENTS")
        await bus.publish(block("export", "other"), stream="EVENTS")

    async def told() -> bool:
        return any(
            entity.value == "other" for d in await found(world, FILE) for entity in d.entities
        )

    await until(told)
    silent = [d for d in await found(world, FILE) for e in d.entities if e.value == "noisy"]
    assert silent == []

    async def counted() -> bool:
        items = (await desk.get("/v1/suppressions"))["items"]
        return bool(next(i for i in items if i["id"] == made["id"])["suppressed"] == 3)

    await until(counted)
    groups = (await desk.get("/v1/detection-groups"))["items"]
    group = next(g for g in groups if g["group_key"].endswith("host:noisy"))
    assert (group["detections"], group["suppressed"]) == (3, 3)
    await desk.does("bob", f"/v1/suppressions/{made['id']}/end")
    for bad in ({"reason": "silence everything", "expires_at": soon},
                {**wanted, "expires_at": "2020-01-01T00:00:00Z"},
                {**wanted, "expires_at": "2036-01-01T00:00:00Z"}):  # fmt: skip
        assert (await desk.ask("ann", "POST", "/v1/suppressions", bad)).status_code == 422


async def test_more_than_an_hours_share_is_recorded_but_not_told(world: World, desk: Desk) -> None:
    async with world.bus("ingest") as bus:
        await bus.publish(block("export", "flood", 150), stream="EVENTS")

    async def group() -> Any:
        items = (await desk.get("/v1/detection-groups"))["items"]
        return next((g for g in items if g["group_key"].endswith("host:flood")), None)

    flood = await until(group)
    assert (flood["detections"], flood["throttled"]) == (150, 50)


async def test_rule_files_are_imported_as_proposals(desk: Desk, tmp_path: Path) -> None:
    identity = "44444444-4444-4444-8444-444444444444"
    (tmp_path / "good.yml").write_text(rule(identity, "imported"))
    (tmp_path / "bad.yml").write_text("title: x\n")
    said = StringIO()
    console = Console(file=said, width=200)
    for _ in range(2):
        ended = await import_rules(
            desk.remote("ann"), [tmp_path], "threat_intelligence", "as reported", console
        )
        assert ended == 1  # one file is no rule
    assert "1 proposed, 0 known already, 1 refused" in said.getvalue()
    assert "0 proposed, 1 known already, 1 refused" in said.getvalue()
    assert "bad.yml: line 1: 'logsource' must be a map" in said.getvalue()
    items = (await desk.get("/v1/managed-rules?state=proposed"))["items"]
    made = next(item for item in items if item["rule_id"] == identity)
    assert made["origin"] == "threat_intelligence"


async def test_explain_says_why_a_rule_did_not_fire(desk: Desk) -> None:
    body = {
        "rule_id": FILE,
        "event": {"action": "Import"},
        "logsource": {"category": "application"},
    }
    answer = await desk.does("ann", "/v1/explain", body)
    assert (answer["fires"], answer["leaves"][0]["cause"]) == (False, "mismatch")
    own = {"rule": rule(NEW, "x"), "event": {}, "logsource": {"product": "windows"}}
    answer = await desk.does("ann", "/v1/explain", own)
    assert (answer["routed"], answer["leaves"][0]["cause"]) == (False, "absent")
    assert (await desk.ask("ann", "POST", "/v1/explain", {"event": {}})).status_code == 422
