"""People at the API: each with their own token, reading before writing, waiting for a state."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from shared.errors import UserError

__all__ = ["Person", "StoryError", "eventually"]

LOOK_AGAIN = 0.1


class StoryError(UserError):
    """The platform did something else than the story expects; the message says what."""


class Person:
    """Somebody who works with Tocsin over its HTTP API."""

    def __init__(
        self, client: httpx.AsyncClient, urls: Mapping[str, str], name: str, token: str
    ) -> None:
        self.name = name
        self._client, self._urls = client, urls
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, service: str, path: str) -> dict[str, Any]:
        """Return what the service shows; StoryError for anything but 200."""
        answer = await self._client.get(f"{self._urls[service]}{path}", headers=self._headers)
        if answer.status_code != 200:
            raise StoryError(f"{self.name} read {service}{path}: {_said(answer)}")
        shown: dict[str, Any] = answer.json()
        return shown

    async def try_to(
        self,
        service: str,
        path: str,
        body: object = None,
        *,
        version: int | None = None,
    ) -> httpx.Response:
        """Post and return the answer, whatever it is."""
        headers = dict(self._headers)
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        return await self._client.post(
            f"{self._urls[service]}{path}", json=body if body is not None else {}, headers=headers
        )

    async def does(self, incident_id: str, verb: str, **body: Any) -> dict[str, Any]:
        """Give a command on an incident; StoryError when it is refused.

        Another's command in between is no failure: like a person, this one looks again.
        """
        answer = await self.commands(incident_id, verb, **body)
        if answer.status_code not in {200, 201}:
            raise StoryError(f"{self.name} could not {verb}: {_said(answer)}")
        done: dict[str, Any] = answer.json()
        return done

    async def commands(self, incident_id: str, verb: str, **body: Any) -> httpx.Response:
        """Give a command at the current version and return the answer, a refusal too."""
        path = f"/v1/incidents/{incident_id}"
        while True:
            shown = await self.get("cases", path)
            answer = await self.try_to("cases", f"{path}/{verb}", body, version=shown["version"])
            if answer.status_code != 412:
                return answer
            await asyncio.sleep(LOOK_AGAIN)


async def eventually(what: str, probe: Callable[[], Awaitable[Any]], limit: float = 60.0) -> Any:
    """Return the first truthy answer of *probe*; StoryError when *what* takes too long."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit
    while not (answer := await probe()):
        if loop.time() > deadline:
            raise StoryError(f"{what}: not within {limit:g} s")
        await asyncio.sleep(0.1)
    return answer


def _said(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return f"{answer.status_code}"
    unmet = "; ".join(str(u.get("detail", u)) for u in problem.get("unmet", []))
    return f"{answer.status_code} {problem.get('detail', '')} {unmet}".strip()
