"""`tocsin rules import` and `backtest`: rule files as proposals to a running platform."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from services.detect.rules.load import NO_RULES, rule_files, rule_texts
from services.detect.rules.model import RuleError
from shared.errors import UserError

__all__ = ["Desk", "backtest", "import_rules"]

LOOK_SECONDS = 1.0
WAIT_SECONDS = 3600.0


class Desk:
    """The rule lifecycle of one detect service, for whom *token* says one is."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Return the answer; UserError when there is none."""
        try:
            async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
                return await client.request(
                    method, f"{self._url}{path}", json=body, headers=self._headers
                )
        except httpx.HTTPError as error:
            raise UserError(f"detect at {self._url}: {error or type(error).__name__}") from error

    async def must(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return what was answered; UserError with the refusal's sentence."""
        answer = await self.ask(method, path, body)
        if not answer.is_success:
            raise UserError(_sentence(answer))
        found: dict[str, Any] = answer.json()
        return found


async def import_rules(
    desk: Desk, places: Sequence[Path], origin: str, reason: str, console: Console
) -> int:
    """Propose every rule file under *places*; return 1 if one was refused for what it says.

    A file that is in force or proposed already, word for word, is passed over.
    """
    done = passed = refused = 0
    for found in (each for path in _files(places) for each in rule_texts(path)):
        if isinstance(found, RuleError):
            refused += 1
            console.print(f"refused: {found}")
            continue
        path, text = found
        body = {"text": text, "origin": origin, "reason": reason}
        answer = await desk.ask("POST", "/v1/rule-proposals", body)
        if answer.is_success:
            done += 1
        elif answer.status_code == 409:
            passed += 1
        elif answer.status_code == 422:
            refused += 1
            console.print(f"refused: {path}: {_sentence(answer)}")
        else:
            raise UserError(_sentence(answer))
    console.print(f"{done} proposed, {passed} known already, {refused} refused")
    return 1 if refused else 0


async def backtest(
    desk: Desk, rule_id: str, begin: datetime, end: datetime, query: str | None, console: Console
) -> int:
    """Try the pending revision of a rule on stored events and print what it found."""
    body = {"from_time": begin.isoformat(), "to_time": end.isoformat(), "query": query}
    asked = await desk.must("POST", f"/v1/rules/{rule_id}/backtest", body)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS
    while loop.time() < deadline:
        found = (await desk.must("GET", f"/v1/rules/{rule_id}/history"))["backtest"]
        if found and found["replay_id"] == asked["replay_id"]:
            console.print(_outcome(found))
            for event in found["samples"]:
                console.print(f"  {event}")
            return 0
        await asyncio.sleep(LOOK_SECONDS)
    raise UserError(f"the back-test {asked['replay_id']} has not ended within an hour")


def _outcome(found: Mapping[str, Any]) -> str:
    span = f"in {found['events']} events ({found['outcome']})"
    if "left" in found:  # of a filter
        return f"leaves out {found['matches']} of {found['matches'] + found['left']} matches {span}"
    return f"{found['matches']} matches {span}"


def _files(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if not place.exists():
            raise UserError(f"{place} is not there")
    yield from (path for path in rule_files(places) if path.name not in NO_RULES)


def _sentence(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return f"HTTP {answer.status_code}"
    return str(body.get("detail") or body.get("title") or f"HTTP {answer.status_code}")
