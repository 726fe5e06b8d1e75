"""People who keep evidence: announce, send the bytes, give commands."""

import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.integration.cases.conversation import People

__all__ = ["MAX_BYTES", "Clockwork", "Custody", "content_digest", "metadata"]

MAX_BYTES = 80 << 20


@dataclass
class Clockwork:
    """The time of day, moved on by tests; tokens still have to be valid, so never by much."""

    ahead: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def content_digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


def metadata(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "log_extract",
        "collector": "eve",
        "tool": "journalctl",
        "tool_version": "252",
        "method": "exported over ssh",
        "source_asset": "mail-01",
        "volatility_rank": 5,
        "acquired_at": "2026-01-02T03:04:05Z",
        "file_name": "auth.log",
        **changes,
    }


@dataclass
class Custody:
    """The service, its directory and its clock."""

    people: People
    folder: Path
    clock: Clockwork

    @property
    def client(self) -> httpx.AsyncClient:
        return self.people.client

    async def announced(self, incident: str | None = None, **changes: Any) -> str:
        incident = incident or await self.people.opened()
        answer = await self.client.post(
            f"/v1/incidents/{incident}/evidence",
            json=metadata(**changes),
            headers=self.people.bearer("eve"),
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["evidence_id"])

    async def put(
        self,
        item: str,
        data: bytes | AsyncIterator[bytes],
        digest: str | None = None,
        person: str = "eve",
        **headers: str,
    ) -> httpx.Response:
        if digest is None and isinstance(data, bytes):
            digest = content_digest(data)
        named = {"Content-Digest": digest} if digest else {}
        return await self.client.put(
            f"/v1/evidence/{item}/content",
            content=data,
            headers={**named, **self.people.bearer(person), **headers},
        )

    async def collected(self, data: bytes, incident: str | None = None, **changes: Any) -> str:
        item = await self.announced(incident, **changes)
        answer = await self.put(item, data)
        assert answer.status_code == 200, answer.text
        return item

    async def see(self, item: str, person: str = "anna") -> dict[str, Any]:
        answer = await self.people.get(person, f"/v1/evidence/{item}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def send(self, person: str, item: str, verb: str, **body: Any) -> httpx.Response:
        version = (await self.see(item))["version"]
        return await self.client.post(
            f"/v1/evidence/{item}/{verb}",
            json=body,
            headers={"If-Match": f'"{version}"', **self.people.bearer(person)},
        )

    async def does(self, person: str, item: str, verb: str, **body: Any) -> list[str]:
        answer = await self.send(person, item, verb, **body)
        assert answer.status_code == 200, answer.text
        events: list[str] = answer.json()["events"]
        return events

    async def read(self, person: str, item: str, purpose: str = "analysis") -> httpx.Response:
        return await self.people.get(person, f"/v1/evidence/{item}/content", purpose=purpose)

    def path(self, data: bytes) -> Path:
        digest = hashlib.sha256(data).hexdigest()
        return self.folder / "sha256" / digest[:2] / digest[2:4] / digest

    def temps(self) -> list[Path]:
        return list((self.folder / "tmp").glob("*"))
