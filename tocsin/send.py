"""Ship files of logs to a running platform: repeats until confirmed, never twice, with progress."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from shared.errors import UserError
from shared.ids import jitter, uuid7
from tocsin.reading import Chunk, chunks, open_log

__all__ = ["SendError", "Sent", "Target", "post_chunk", "send_file"]

ATTEMPTS = 12
IN_FLIGHT = 4
_RETRY = frozenset({408, 429, 502, 503, 504})


class SendError(UserError):
    """The platform did not take it; the message says what it answered."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send, with whose key, and the logsource of what is sent (Sigma's three words)."""

    url: str
    key: str
    product: str | None = None
    category: str | None = None
    service: str | None = None

    @property
    def query(self) -> dict[str, str]:
        hints = {"product": self.product, "category": self.category, "service": self.service}
        return {name: value for name, value in hints.items() if value}


@dataclass(slots=True)
class Sent:
    """What became of a file."""

    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0


def file_identity(path: Path) -> str:
    """Return what makes repeating a file harmless: the digest of its content."""
    if str(path) == "-":
        return str(uuid7())
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def send_file(
    client: httpx.AsyncClient,
    target: Target,
    path: Path,
    *,
    again: bool = False,
    on_progress: Callable[[int, Sent], None] = lambda position, sent: None,
    on_wait: Callable[[str], None] = lambda problem: None,
) -> Sent:
    """Send *path*; return what became of it once everything is durable.

    The same file sent again counts as duplicates unless *again* is true. Raises ReadingError or
    SendError; what was confirmed before stays.
    """
    identity = str(uuid7()) if again else await asyncio.to_thread(file_identity, path)
    sent = Sent()
    with open_log(path) as log:

        async def ship(chunk: Chunk) -> None:
            name = f"{identity}:{chunk.start}"
            answer = await post_chunk(client, target, chunk, name, on_wait=on_wait)
            sent.accepted += answer["accepted"]
            sent.duplicates += answer["duplicates"]
            sent.quarantined += answer["quarantined"]
            on_progress(log.position, sent)

        await _ship_all(chunks(log), ship)
        on_progress(log.position, sent)
    return sent


async def _ship_all(
    found: Iterator[Chunk], ship: Callable[[Chunk], Coroutine[Any, Any, None]]
) -> None:
    """Ship what is found, a few at a time; the first failure ends it."""
    slots = asyncio.Semaphore(IN_FLIGHT)
    try:
        async with asyncio.TaskGroup() as group:
            while (chunk := await asyncio.to_thread(next, found, None)) is not None:
                await slots.acquire()
                group.create_task(ship(chunk)).add_done_callback(lambda _: slots.release())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def post_chunk(
    client: httpx.AsyncClient,
    target: Target,
    chunk: Chunk,
    key: str,
    *,
    on_wait: Callable[[str], None] = lambda problem: None,
) -> dict[str, int]:
    """Send one chunk under *key* until it is confirmed; return what became of its items.

    *on_wait* hears before each repetition what made it necessary. Raises SendError when it is
    refused, or after the last attempt.
    """
    headers = {
        "Authorization": f"Bearer {target.key}",
        "Content-Type": "text/plain" if chunk.is_text else "application/x-ndjson",
        "Idempotency-Key": key,
    }
    problem = "no answer"
    for attempt in range(ATTEMPTS):
        if attempt:
            on_wait(problem)
            await asyncio.sleep(jitter(min(10.0, 0.25 * 2**attempt)))
        try:
            answer = await client.post(
                f"{target.url}/v1/events",
                params=target.query,
                content=chunk.body,
                headers=headers,
            )
        except httpx.HTTPError as error:
            problem = f"{target.url} cannot be reached ({error or type(error).__name__})"
            continue
        if answer.status_code == 202:
            body: dict[str, int] = answer.json()
            return body
        problem = f"ingest answered {answer.status_code}: {_detail(answer)}"
        if answer.status_code not in _RETRY:
            break
    raise SendError(problem)


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", answer.text[:200]))
    except ValueError:
        return answer.text[:200]
