"""People talking to the cases service: reads the version, sends the verb, shows the answer."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from shared.clock import rfc3339, utc_now
from tests.support.world import World

__all__ = ["TEAM", "People"]

TEAM = [
    {"person": "rita", "kind": "security_response"},
    {"person": "sam", "kind": "service_team"},
    {"person": "ines", "kind": "incident_communications"},
]


@dataclass
class People:
    """The cast of a test: sam (service team), rita (security response) and others."""

    world: World
    client: httpx.AsyncClient

    def bearer(self, person: str) -> dict[str, str]:
        roles = {
            "sam": ["service_team"],
            "rita": ["security_response"],
            "rob": ["security_response"],
            "ines": ["incident_communications"],
            "mia": ["subject_matter_expert"],
            "lars": ["legal"],
            "emil": ["executive_incident_manager"],
            "dora": ["duty_manager"],
            "anna": ["auditor"],
            "otto": ["operator"],
            "eve": ["evidence_custodian"],
            "carl": ["evidence_custodian"],
            "dan": ["detection_engineer"],
            "lena": ["legal"],
        }[person]
        return {"Authorization": f"Bearer {self.world.token(person, *roles)}"}

    async def get(self, person: str, path: str, **params: Any) -> httpx.Response:
        return await self.client.get(path, params=params, headers=self.bearer(person))

    async def opened(self, title: str = "Odd logins") -> str:
        """Open an incident by hand; return its id."""
        answer = await self.client.post(
            "/v1/incidents",
            json={"title": title, "reason": "seen by me", "services": ["mail"]},
            headers=self.bearer("sam"),
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["incident_id"])

    async def send(
        self,
        person: str,
        incident: str,
        verb: str,
        body: dict[str, Any] | None = None,
        *,
        version: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Give a command at *version*, or at the version that is current."""
        if version is None:
            seen = await self.get("anna", f"/v1/incidents/{incident}")
            version = seen.json()["version"]
        return await self.client.post(
            f"/v1/incidents/{incident}/{verb}",
            json=body or {},
            headers={"If-Match": f'"{version}"', **self.bearer(person), **(headers or {})},
        )

    async def does(self, person: str, incident: str, verb: str, **body: Any) -> dict[str, Any]:
        """Give a command that is accepted; return the answer."""
        answer = await self.send(person, incident, verb, body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def shown(self, incident: str, person: str = "anna") -> dict[str, Any]:
        """Return the incident in full, as *person* reads it."""
        answer = await self.get(person, f"/v1/incidents/{incident}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def indicates(self, incident: str, value: str, vector: str = "web") -> str:
        """Add an indicator; return its id."""
        body = {"type": "domain", "value": value, "attack_vector": vector}
        added = await self.does("mia", incident, "add-indicator", **body)
        return str(added["created"]["indicator_id"])

    async def confirmed(self, *values: str) -> str:
        """Return a confirmed incident; the indicators *values* support it."""
        incident = await self.investigating()
        await self.does(
            "sam", incident, "record-summary", summary="Root guessed", potential_impact="One tenant"
        )
        for value in values:
            key = await self.indicates(incident, value)
            body = {"indicator_id": key, "verdict": "supports", "confidence": 90}
            await self.does("rita", incident, "assess-indicator", rationale="seen", **body)
        await self.does("rita", incident, "confirm", rationale="real", justification="plain")
        return incident

    async def reviews(self, person: str, review: str, verb: str, **body: Any) -> dict[str, Any]:
        """Give a command on a review that is accepted; return the answer."""
        answer = await self.asks(person, review, verb, body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def asks(
        self, person: str, review: str, verb: str, body: dict[str, Any] | None = None
    ) -> httpx.Response:
        """Give a command on a review, at the version that is current."""
        seen = await self.get("anna", f"/v1/reviews/{review}")
        return await self.client.post(
            f"/v1/reviews/{review}/{verb}",
            json=body or {},
            headers={"If-Match": f'"{seen.json()["version"]}"', **self.bearer(person)},
        )

    async def in_review(self) -> tuple[str, str]:
        """Return an incident that is under review, and the review."""
        incident = await self.confirmed("evil.example")
        action = await self.does(
            "sam", incident, "record-action", kind="containment", text="Disable root", owner="sam"
        )
        key = action["created"]["action_id"]
        await self.does("sam", incident, "update-action", action_id=key, status="done")
        await self.does("rita", incident, "contain", criteria=[{"text": "gone", "met": True}])
        await self.does(
            "sam", incident, "record-root-cause", status="determined", cause="a weak password"
        )
        await self.does("sam", incident, "draft-recovery-plan", steps=["Rotate keys"])
        await self.does("rita", incident, "approve-recovery-plan", version=1)
        await self.does("rita", incident, "eradicate", verification="nothing found")
        until = rfc3339(utc_now() + timedelta(days=14))
        await self.does("sam", incident, "recover", verification="passed", monitoring_until=until)
        await self.does("rita", incident, "declare-no-customers-affected", reason="empty mailbox")
        started = await self.does("rita", incident, "start-review")
        return incident, str(started["created"]["review_id"])

    async def signed_off(self, review: str) -> None:
        """Hold the review and have it signed off."""
        await self.reviews(
            "sam", review, "record-summary", sequence="At night.", technical_summary="A password."
        )
        text = "Seen late."
        await self.reviews(
            "rita", review, "evaluate-response", sufficient=True, complete=True, text=text
        )
        await self.reviews("rita", review, "submit", no_lessons_reason="nothing new")
        await self.reviews("rob", review, "sign-off")

    async def investigating(self) -> str:
        """Return an incident whose v-team has been formed."""
        incident = await self.opened()
        await self.does("sam", incident, "set-severity", level="SEV2")
        await self.does(
            "sam",
            incident,
            "set-priority",
            priority="P2",
            functional="low",
            informational="privacy_breach",
            recoverability="extended",
        )
        await self.does("sam", incident, "escalate", owning_team="sr-eu")
        await self.does("rita", incident, "form-v-team", members=TEAM, lead="rita")
        return incident
