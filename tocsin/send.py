"""Ship files of logs to a running platform: repeats until confirmed, never twice, with progress."""

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from shared.errors import UserError
from shared.ids import jitter, uuid7
from tocsin.reading import Chunk, chunks, open_log

__all__ = ["SendError", "Sent", "Target", "post_chunk", "send_file"]

ATTEMPTS = 12
IN_FLIGHT = 4
LONGEST_WAIT = 60.0
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


@dataclass(slots=True)
class Progress:
    """Up to which item a file is confirmed without a gap, on disk."""

    path: Path | None
    done: int = 0
    _behind: dict[int, int] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path | None, identity: str, target: Target) -> "Progress":
        """Return what *folder* knows; what cannot be read counts as nothing, and is sent again
        under the same ids."""
        if folder is None:
            return cls(None)
        named = f"{identity}\n{target.url}\n{target.key}"
        path = folder / f"file-{hashlib.sha256(named.encode()).hexdigest()[:32]}.json"
        try:
            return cls(path, int(json.loads(path.read_bytes())["done"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path)

    def confirm(self, chunk: Chunk) -> None:
        """Note that *chunk* is durable; written when it closes a gap."""
        self._behind[chunk.start] = chunk.start + chunk.count
        before = self.done
        while (end := self._behind.pop(self.done, None)) is not None:
            self.done = end
        if self.path is None or self.done == before:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(json.dumps({"done": self.done}).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)

    def forget(self) -> None:
        """Forget a file that was sent whole."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


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
    states: Path | None = None,
    on_progress: Callable[[int, Sent], None] = lambda position, sent: None,
    on_wait: Callable[[str], None] = lambda problem: None,
) -> Sent:
    """Send *path*; return what became of it once everything is durable.

    The same file sent again counts as duplicates unless *again* is true. Under *states* is kept how
    far an interrupted file was confirmed, so that the next time goes on from there.

    Raises ReadingError or SendError; what was confirmed before stays.
    """
    identity = str(uuid7()) if again else await asyncio.to_thread(file_identity, path)
    sent = Sent()
    progress = await asyncio.to_thread(Progress.load, states, identity, target)
    with open_log(path) as log:

        async def ship(chunk: Chunk) -> None:
            if chunk.start + chunk.count <= progress.done:
                return
            name = f"{identity}:{chunk.start}"
            answer = await post_chunk(client, target, chunk, name, on_wait=on_wait)
            sent.accepted += answer["accepted"]
            sent.duplicates += answer["duplicates"]
            sent.quarantined += answer["quarantined"]
            progress.confirm(chunk)
            on_progress(log.position, sent)

        await _ship_all(chunks(log), ship)
        progress.forget()
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
    attempts: int | None = ATTEMPTS,
) -> dict[str, int]:
    """Send one chunk under *key* until it is confirmed; return what became of its items.

    *on_wait* hears before each repetition what made it necessary. Raises SendError when it is
    refused, or after the last of *attempts* (None: it never gives up). What `Retry-After` asks for
    is waited for, at most a minute.
    """
    headers = {
        "Authorization": f"Bearer {target.key}",
        "Content-Type": "text/plain" if chunk.is_text else "application/x-ndjson",
        "Idempotency-Key": key,
    }
    problem, asked = "no answer", 0.0
    for attempt in count() if attempts is None else range(attempts):
        if attempt:
            on_wait(problem)
            await asyncio.sleep(asked + jitter(min(10.0, 0.25 * 2 ** min(attempt, 10))))
        asked = 0.0
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
        asked = _retry_after(answer)
    raise SendError(problem)


def _retry_after(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return min(LONGEST_WAIT, float(text)) if text.isdecimal() else 0.0


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", answer.text[:200]))
    except ValueError:
        return answer.text[:200]
