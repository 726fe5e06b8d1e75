"""The story that the demo plays: an attack, and the people who deal with it, over real HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx

from tocsin.demo_events import (
    ATTACKED,
    BROKEN,
    attack_events,
    attack_lines,
    benign_events,
    benign_lines,
)
from tocsin.people import Person, StoryError, eventually

__all__ = ["Cast", "Outcome", "Story"]

BENIGN_EVENTS, BENIGN_LINES, BATCH = 6_000, 300, 500


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: the people, and the keys of the log sources."""

    alice: Person  # service team
    bob: Person  # security response
    carol: Person  # incident communications
    olga: Person  # operator
    api_key: str
    host_key: str


@dataclass(slots=True)
class Outcome:
    """What happened, for the summary."""

    sent: int = 0
    accepted: int = 0
    quarantined: int = 0
    detections: list[dict[str, Any]] = field(default_factory=list)
    incident: dict[str, Any] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    affected: dict[str, Any] = field(default_factory=dict)
    obligations: list[dict[str, Any]] = field(default_factory=list)
    notifications: list[dict[str, Any]] = field(default_factory=list)
    timeline: list[str] = field(default_factory=list)


Step = Callable[[], Awaitable[str]]


class Story:
    """The steps in order; each does its part and returns a line on what came of it."""

    def __init__(
        self, client: httpx.AsyncClient, urls: Mapping[str, str], cast: Cast, now: datetime
    ) -> None:
        self._client, self._urls, self._cast, self._now = client, urls, cast, now
        self.outcome = Outcome()
        self._incident = ""

    def steps(self) -> list[tuple[str, Step]]:
        return [
            ("logs", self.ordinary_logs),
            ("attack", self.attack),
            ("detection", self.detections_raised),
            ("incident", self.incident_opens),
            ("severity", self.severity_is_set),
            ("escalation", self.escalated),
            ("v-team", self.v_team_forms),
            ("confirmation", self.confirmed),
            ("scope", self.scope_is_set),
            ("containment", self.contained),
            ("approval", self.list_approved),
            ("notification", self.customers_notified),
            ("history", self.looked_back),
        ]

    async def ordinary_logs(self) -> str:
        events = list(benign_events(BENIGN_EVENTS, self._now))
        for start in range(0, len(events), BATCH):
            await self._send(self._cast.api_key, b"\n".join(events[start : start + BATCH]))
        lines = "\n".join(benign_lines(BENIGN_LINES, self._now)).encode()
        await self._send(self._cast.host_key, lines, text=True)
        await self._send(self._cast.api_key, BROKEN)
        self.outcome.sent = BENIGN_EVENTS + BENIGN_LINES + 3
        return (
            f"{self.outcome.accepted:,} events on disk, "
            f"{self.outcome.quarantined} broken ones in quarantine, none lost"
        )

    async def attack(self) -> str:
        lines = list(attack_lines(self._now))
        events = list(attack_events(self._now))
        await self._send(self._cast.host_key, "\n".join(lines).encode(), text=True)
        await self._send(self._cast.api_key, b"\n".join(events))
        self.outcome.sent += len(lines) + len(events)
        return f"a password guessed, an account taken over, customers' data exported ({ATTACKED})"

    async def detections_raised(self) -> str:
        async def probe() -> list[dict[str, Any]]:
            shown = await self._cast.bob.get("detect", "/v1/detections?limit=100")
            found: list[dict[str, Any]] = shown["items"]
            return found if len({d["rule_id"] for d in found}) >= 6 else []

        found = await eventually("six rules fire", probe)
        self.outcome.detections = found
        titles = sorted({d["title"] for d in found})
        return f"{len(found)} detections by {len(titles)} rules: {', '.join(titles)}"

    async def incident_opens(self) -> str:
        async def probe() -> list[dict[str, Any]]:
            items = (await self._cast.alice.get("cases", "/v1/incidents"))["items"]
            return [i for i in items if ATTACKED in i["title"]]

        found = await eventually("an incident opens", probe)
        if len(found) != 1:
            raise StoryError(f"{len(found)} incidents about one host")
        self._incident = found[0]["incident_id"]
        shown = await self._cast.alice.get("cases", f"/v1/incidents/{self._incident}")
        proposal = shown["severity_proposal"]
        reasons = "; ".join(
            c["reason"] for c in sorted(proposal["contributions"], key=lambda c: -c["points"])[:3]
        )
        return f"{shown['number']}: {shown['title']}; proposed {proposal['level']} ({reasons} …)"

    async def severity_is_set(self) -> str:
        early = await self._cast.alice.commands(
            self._incident, "escalate", owning_team="security-response"
        )
        self._refused(early, 409, "escalating before the severity is set")
        await self._cast.alice.does(
            self._incident,
            "set-severity",
            level="SEV1",
            reason="one export is certain, more than one tenant is reached",
            inputs={"privacy": "personal", "affected_tenants": 3, "impact": "no_impact"},
        )
        return "SEV1, by the service team; escalation before that was refused (409)"

    async def escalated(self) -> str:
        shown = await self._until("escalated")
        return f"to {shown['escalation']['owning_team']}, by policy; both teams were paged"

    async def v_team_forms(self) -> str:
        stale = await self._cast.bob.try_to(
            "cases", f"/v1/incidents/{self._incident}/record-summary",
            {"summary": "x", "potential_impact": "x"}, version=1,
        )  # fmt: skip
        self._refused(stale, 412, "writing on an old version")
        await self._cast.bob.does(
            self._incident,
            "form-v-team",
            members=[
                {"person": "bob", "kind": "security_response"},
                {"person": "alice", "kind": "service_team"},
                {"person": "carol", "kind": "incident_communications"},
            ],
            lead="bob",
            channel="#incident",
        )
        return "security response, service team and communications; a stale write got 412"

    async def confirmed(self) -> str:
        bob, incident = self._cast.bob, self._incident
        early = await bob.commands(incident, "confirm", rationale="it is real")
        self._refused(early, 409, "confirming without summary and assessed indicators")
        await bob.does(
            incident,
            "record-summary",
            summary="An account of the support team was taken over and exported customer data.",
            potential_impact="Customer lists of several tenants left the service.",
        )
        await self._cast.alice.does(
            incident, "set-priority", priority="P1", functional="medium",
            informational="privacy_breach", recoverability="not_recoverable",
            reason="exported data cannot be called back",
        )  # fmt: skip
        shown = await bob.get("cases", f"/v1/incidents/{incident}")
        for indicator in shown["indicators"][:2]:
            await bob.does(
                incident,
                "assess-indicator",
                indicator_id=indicator["indicator_id"],
                verdict="supports",
                confidence=95,
                rationale="seen in every step",
            )
        await bob.does(incident, "confirm", rationale="export and login from one foreign address")
        return "legitimate, P1; confirming too early listed what was missing (409)"

    async def scope_is_set(self) -> str:
        begin = self._now - timedelta(hours=1)
        await self._cast.alice.does(
            self._incident,
            "set-scope",
            include=[{"region": "eu-west", "service": "api"}],
            window_from=begin.isoformat(),
            window_to=(self._now + timedelta(hours=1)).isoformat(),
        )
        path = f"/v1/incidents/{self._incident}/affected-lists"

        async def probe() -> list[dict[str, Any]]:
            lists: list[dict[str, Any]] = (await self._cast.carol.get("notify", path))["items"]
            return lists

        newest = (await eventually("customers are found", probe))[0]
        self.outcome.affected = await self._cast.carol.get(
            "notify", f"/v1/affected-lists/{newest['list_id']}"
        )
        names = [t["tenant"] for t in self.outcome.affected["tenants"]]
        return f"eu-west, service api: {len(names)} customers affected ({', '.join(names)})"

    async def contained(self) -> str:
        bob = self._cast.bob
        done = await bob.does(
            self._incident, "record-action", kind="containment", owner="bob",
            text="Sessions of m.adler ended, account locked, key rotated",
        )  # fmt: skip
        await bob.does(
            self._incident, "update-action", action_id=done["created"]["action_id"], status="done",
            result="no session left",
        )  # fmt: skip
        await bob.does(
            self._incident, "contain",
            criteria=[{"text": "no session of the intruder is left", "met": True}],
        )  # fmt: skip
        return "sessions ended, account locked, criteria ticked"

    async def list_approved(self) -> str:
        path = f"/v1/affected-lists/{self.outcome.affected['list_id']}/approve"
        answer = await self._cast.carol.try_to("notify", path)
        if answer.status_code != 200:
            raise StoryError(f"carol could not approve the list: {answer.text[:300]}")
        return "compiled by the service team, approved by communications: two signatures"

    async def customers_notified(self) -> str:
        async def probe() -> bool:
            shown = await self._cast.carol.get(
                "notify", f"/v1/notifications?incident_id={self._incident}"
            )
            self.outcome.notifications = shown["items"]
            return bool(shown["items"]) and all(n["state"] == "sent" for n in shown["items"])

        await eventually("every notice is sent", probe)
        owed = await self._cast.carol.get("notify", f"/v1/obligations?incident_id={self._incident}")
        self.outcome.obligations = owed["items"]
        due = [o["due_at"] for o in owed["items"] if o.get("due_at")]
        return (
            f"{len(self.outcome.notifications)} notices sent; {len(owed['items'])} obligations, "
            f"the first due {min(due)}"
        )

    async def looked_back(self) -> str:
        async def probe() -> bool:
            shown = await self._cast.bob.get("cases", f"/v1/incidents/{self._incident}/timeline")
            self.outcome.timeline = [entry["sentence"] for entry in shown["items"]]
            return any("notified" in line.lower() for line in self.outcome.timeline)

        await eventually("the history holds the notices", probe)
        self.outcome.incident = await self._cast.bob.get("cases", f"/v1/incidents/{self._incident}")
        return f"{len(self.outcome.timeline)} entries, append-only, each with who and when"

    async def _send(self, key: str, body: bytes, *, text: bool = False) -> None:
        answer = await self._client.post(
            f"{self._urls['ingest']}/v1/events",
            content=body,
            headers={
                "Authorization": f"Bearer {key}",
                "Content-Type": "text/plain" if text else "application/x-ndjson",
            },
        )
        if answer.status_code != 202:
            raise StoryError(f"ingest answered {answer.status_code}: {answer.text[:300]}")
        became = answer.json()
        self.outcome.accepted += became["accepted"]
        self.outcome.quarantined += became["quarantined"]

    async def _until(self, state: str) -> dict[str, Any]:
        async def probe() -> dict[str, Any] | None:
            shown = await self._cast.bob.get("cases", f"/v1/incidents/{self._incident}")
            return shown if shown["state"] == state else None

        found: dict[str, Any] = await eventually(f"the incident is {state}", probe)
        return found

    def _refused(self, answer: httpx.Response, status: int, what: str) -> None:
        if answer.status_code != status:
            raise StoryError(f"{what} was answered {answer.status_code}, not {status}")
        self.outcome.refusals.append(f"{status}: {what}")
